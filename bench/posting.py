"""How many posts the ways to post make in a second, and in a second of CPU time.

    python -m bench.posting [posts] [rounds]

The sink and every candidate are processes of their own; what is counted is the candidate's CPU
time. In each round all of them have their turn at the same sink, one after the other, with
connections that are open already; figures are the medians of the rounds. Only boto3 signs by
itself: all others sign as the functions do. TLS is verified, and the sink's authority is the only
one that is trusted. Candidates that are not installed are left out: see requirements/dev.in.
"""

import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from botocore.session import Session

from bench.posters import (
    BASELINE,
    CANDIDATES,
    OURS,
    REGION,
    Process,
    Run,
    connection_ids,
)
from bench.printing import print_note, print_table
from presence.adapters.gateway import engine_of
from presence.adapters.posting.engine import Outcome
from presence.adapters.posting.signature import Credentials, Frame
from tests.sink import Behaviour, Certificate, make_certificate, sink

POSTS, ROUNDS = 10_000, 3
DELAYS = (0.0, 0.005, 0.020)
#: Of a post in the tables below, where one function posts to many.
DELAY = 0.010
PLAIN, TLS = "plain", "TLS"
#: Times the baseline, in posts per CPU second.
LEAST: Mapping[str, float] = {PLAIN: 40, TLS: 30}
MOST_SECONDS, MOST_WITH_FAULTS = 1.2, 2.0
#: How many wait for a frame. boto3 posts to the first crowd only.
CROWDS = (1_000, 10_000, 100_000)
SLOW = (BASELINE, "boto3, 16 threads")
TEXT = (
    '{"type":"user-status-change","changes":[{"userId":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6",'
    '"status":"online","isOnline":true,"lastSeen":1800000000000,"version":117964800000000001}]}'
)
#: The token is as long as that of a function's role.
KEY = Credentials("AKIDEXAMPLE", "of-the-bench-only", "IQoJb3JpZ2luX2VjE" + "x" * 1000)


def main() -> None:
    posts = int(sys.argv[1]) if sys.argv[1:] else POSTS
    rounds = int(sys.argv[2]) if sys.argv[2:] else ROUNDS
    with environment() as certificate:
        compare(certificate, posts, rounds)
        print_table(
            f"One function posts to {posts:,} connections, {1000 * DELAY:.0f} ms a post",
            (
                "",
                "seconds, cold",
                "target, at most",
                "held",
                "warm",
                "with faults",
                "times",
                "held",
            ),
            [one_function(transport, certificate, posts, rounds) for transport in (PLAIN, TLS)],
        )
        print_note(
            "Cold: every connection has to be opened. Faults: 5 % are gone, and of the posts 5 % "
            "are refused with 429, 1 % never answered and 1 % reset; all others got the frame."
        )
        tell_crowds(certificate)


@contextmanager
def environment() -> Iterator[Certificate]:
    """What a function finds in its environment, and which authority it trusts."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder))
        found = {
            "AWS_ACCESS_KEY_ID": KEY.access_key,
            "AWS_SECRET_ACCESS_KEY": KEY.secret_key,
            "AWS_SESSION_TOKEN": str(KEY.token),
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CA_BUNDLE": certificate.bundle,
        }
        with patch.dict(os.environ, found):
            yield certificate


# ── all candidates ─────────────────────────────────────────────────────────────────────────


def compare(certificate: Certificate, posts: int, rounds: int) -> None:
    """Print a table for each transport: the candidates, and all delays side by side."""
    names = [name for name, it in CANDIDATES.items() if it.is_installed]
    for transport in (PLAIN, TLS):
        by_delay = [
            medians(behaviour(transport, certificate, delay), certificate, posts, rounds)
            for delay in DELAYS
        ]
        header = [f"{1000 * delay:.0f} ms" for delay in DELAYS]
        print_table(
            f"Posts per CPU second and per second over {transport}, by the sink's delay",
            ("", *(cell for it in header for cell in (it, "times", "a second"))),
            [row(name, by_delay) for name in names],
        )
        times = [runs[OURS].per_cpu_second / runs[BASELINE].per_cpu_second for runs in by_delay]
        held = "held" if min(times) >= LEAST[transport] else "NOT held"
        print_note(
            f"Target: {LEAST[transport]:.0f} times {BASELINE}. {held}: {min(times):.1f} at least."
        )


def row(name: str, by_delay: Sequence[Mapping[str, Run]]) -> Sequence[str]:
    cells = [name]
    for runs in by_delay:
        times = runs[name].per_cpu_second / runs[BASELINE].per_cpu_second
        cells += [
            f"{runs[name].per_cpu_second:,.0f}",
            f"{times:.1f}",
            f"{runs[name].per_second:,.0f}",
        ]
    return cells


def medians(
    behaves: Behaviour, certificate: Certificate, posts: int, rounds: int
) -> Mapping[str, Run]:
    """The run with the median CPU time of every candidate."""
    runs = defaultdict[str, list[Run]](list)
    bundle = certificate.bundle if behaves.key else ""
    with sink(behaves) as server, ExitStack() as stack:
        processes = {
            name: Process(name, server.url, bundle, TEXT)
            for name, it in CANDIDATES.items()
            if it.is_installed
        }
        for name, process in processes.items():
            stack.callback(process.stop)
            process.run(posts // CANDIDATES[name].one_in)  # opens its connections
        for _ in range(rounds):
            for name, process in processes.items():
                runs[name].append(process.run(posts // CANDIDATES[name].one_in))
    return {
        name: sorted(of_one, key=lambda it: it.cpu_seconds)[len(of_one) // 2]
        for name, of_one in runs.items()
    }


def behaviour(transport: str, certificate: Certificate, delay: float) -> Behaviour:
    if transport == PLAIN:
        return Behaviour(delay=delay)
    return Behaviour(delay=delay, certificate=certificate.certificate, key=certificate.key)


# ── one function ───────────────────────────────────────────────────────────────────────────


def one_function(
    transport: str, certificate: Certificate, posts: int, rounds: int
) -> Sequence[str]:
    usual = behaviour(transport, certificate, DELAY)
    faulty = replace(usual, busy=0.05, hanging=0.01, resetting=0.01)
    cold, warm, with_faults = zip(
        *((*to_all(usual, posts), to_all(faulty, posts)[0]) for _ in range(rounds)), strict=True
    )
    took = statistics.median(cold)
    times = statistics.median(b / a for a, b in zip(cold, with_faults, strict=True))
    return (
        *(transport, f"{took:.2f}", f"{MOST_SECONDS}", "ok" if took <= MOST_SECONDS else "NOT"),
        *(f"{statistics.median(warm):.2f}", f"{statistics.median(with_faults):.2f}"),
        *(f"{times:.2f}", "ok" if times <= MOST_WITH_FAULTS else "NOT"),
    )


def to_all(behaves: Behaviour, posts: int) -> tuple[float, float]:
    """Seconds of the first posts to all connections, and of the second."""
    names, frame = connection_ids(posts), Frame.of(TEXT)
    if behaves.busy:
        names = [f"gone{name}" if not index % 20 else name for index, name in enumerate(names)]
    with sink(behaves) as server, closing(engine_of(Session(), server.url)) as engine:
        took = []
        for _ in range(2):
            started = time.perf_counter()
            report = engine.post([(name, frame) for name in names], 60)
            took.append(time.perf_counter() - started)
            told = {Outcome.TAKEN, Outcome.GONE}
            if forgotten := sum(outcome not in told for _, outcome in report.outcomes):
                print(f"{forgotten} posts were put off")
    return took[0], took[1]


# ── crowds ─────────────────────────────────────────────────────────────────────────────────


def tell_crowds(certificate: Certificate) -> None:
    """Print how long it takes until the last one of many has a frame."""
    sizes = [f"{size:,}" for size in CROWDS]
    for transport in (PLAIN, TLS):
        behaves = behaviour(transport, certificate, DELAY)
        ours = [seconds(OURS, behaves, certificate, size) for size in CROWDS]
        print_table(
            f"Seconds until the last of many has a frame, over {transport}, "
            f"{1000 * DELAY:.0f} ms a post",
            ("", *(cell for size in sizes for cell in (size, "times"))),
            [
                crowd_row(OURS, ours, ours),
                *(crowd_row(name, boto3s(name, behaves, certificate), ours) for name in SLOW),
            ],
        )
    print_note(
        f"One run each, in a new process, with every connection to be opened. ≈: computed, as so "
        f"many times the {CROWDS[0]:,} that were measured."
    )


def boto3s(name: str, behaves: Behaviour, certificate: Certificate) -> Sequence[float]:
    """The first is measured, the others are computed from it: to measure them takes too long."""
    took = seconds(name, behaves, certificate, CROWDS[0])
    return [took * size / CROWDS[0] for size in CROWDS]


def seconds(name: str, behaves: Behaviour, certificate: Certificate, size: int) -> float:
    bundle = certificate.bundle if behaves.key else ""
    with sink(behaves) as server, ExitStack() as stack:
        process = Process(name, server.url, bundle, TEXT)
        stack.callback(process.stop)
        return process.run(size).seconds


def crowd_row(name: str, took: Sequence[float], ours: Sequence[float]) -> Sequence[str]:
    cells = [name]
    for size, theirs, our in zip(CROWDS, took, ours, strict=True):
        sign = "≈ " if name != OURS and size != CROWDS[0] else ""
        cells += [f"{sign}{theirs:,.2f}", f"{sign}{theirs / our:,.1f}"]
    return cells


if __name__ == "__main__":
    main()
