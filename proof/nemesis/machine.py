"""Looks at the machine itself, so that a slow one is not taken for a slow server.

    python -m proof.nemesis.machine HISTORY URL

Twice a second it asks how long a little work takes, of which the processor's own time is known,
and how long the local AWS takes to answer its own health route. Neither runs a line of ours. What
is lost is written down as time in which the machine stood still. SIGTERM ends it.
"""

import signal
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from threading import Event

from proof.nemesis.history import Writer

BETWEEN = 0.4
WORK = 0.04
#: A health route that answers within this is that of an idle emulator.
ANSWER = 0.05
#: What is lost of a round, in seconds, before it counts.
LEAST = 0.05


def share_lost() -> float:
    """How much of its time a process that has work to do does not get."""
    wall, cpu = time.monotonic(), time.process_time()
    while time.process_time() - cpu < WORK:
        pass
    return max(0.0, 1 - (time.process_time() - cpu) / (time.monotonic() - wall))


def answer_lost(url: str) -> float:
    """How many seconds the emulator did nothing but something else."""
    asked = time.monotonic()
    with suppress(OSError), urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  ours
        answer.read()
    return max(0.0, time.monotonic() - asked - ANSWER)


def main(history: Path, url: str) -> None:
    writer, is_over = Writer(history), Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    before = time.monotonic()
    while not is_over.wait(BETWEEN):
        waited = answer_lost(url)
        share = share_lost()
        now = time.monotonic()
        lost = waited + share * (now - before - waited)
        if lost > LEAST:
            writer.write("stall", at=now, start=now - min(lost, now - before))
        before = now


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
