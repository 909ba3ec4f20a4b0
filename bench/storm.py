"""A join storm: a thousand come into one chat session within a second.

    python -m bench.storm [joins]

The real use cases on the fakes of the tests, without a network: what is counted is what the
gateway is asked to post. All users are connected. The joins come one after the other, and the
stream brings them in batches: of one record, which is no coalescing, or of what `CoalesceSeconds` 1
collects. A second is longer than the storm, so that is the event source's `BatchSize`.
"""

import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.printing import number, print_note, print_table
from local.stack import ROOT
from presence.ports import Delivery, Post
from tests.fakes import FakeGateway
from tests.world import World

JOINS = 1_000
SESSION = "storm"
HEADER = ("", "announcements", "frames", "MB", "CPU s")


@dataclass
class CountingGateway(FakeGateway):
    """Takes every post and keeps none."""

    frames: int = 0
    bytes: int = 0

    def post(self, posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        del until
        for post in posts:
            self.frames += len(post.connection_ids)
            self.bytes += len(post.connection_ids) * len(post.text.encode())
        return Delivery()


@dataclass
class Storm(World):
    """No connection subscribes to everyone: recipients are members of the session."""

    is_global: bool = False
    gateway: CountingGateway = field(default_factory=CountingGateway)


@dataclass(frozen=True, slots=True)
class Sent:
    announcements: int
    frames: int
    bytes: int
    cpu_seconds: float

    @property
    def figures(self) -> Sequence[float]:
        return self.announcements, self.frames, self.bytes / 1e6, self.cpu_seconds


def storm(joins: int, batch: int) -> Sent:
    """What is sent when the stream brings so many records at a time."""
    world = Storm()
    for visitor in range(joins):
        world.join(f"user-{visitor:05}", _connection(visitor))
    world.stream()
    world.gateway.frames = world.gateway.bytes = 0
    started, announcements = time.process_time(), 0
    for visitor in range(joins):
        world.enter(_connection(visitor), SESSION)
        if len(world.tables.stream) - world.announced >= batch or visitor == joins - 1:
            world.stream()
            announcements += 1
    spent = time.process_time() - started
    if world.deliveries.waiting:
        raise AssertionError("what waits in the queue is not counted")
    return Sent(announcements, world.gateway.frames, world.gateway.bytes, spent)


def batch_size() -> int:
    """Of the stream of Users, as the template has it."""
    template = (ROOT / "template.yaml").read_text("utf-8")
    found = re.search(
        r"BatchSize: (\d+)\n\s+MaximumBatchingWindowInSeconds: !Ref CoalesceSeconds", template
    )
    if found is None:
        raise LookupError("the template coalesces nothing")
    return int(found[1])


def _connection(visitor: int) -> str:
    return f"L0SM9c{visitor:0>9}="


def main() -> None:
    joins, batch = int(sys.argv[1]) if sys.argv[1:] else JOINS, batch_size()
    alone, together = storm(joins, 1), storm(joins, batch)
    ratios = (a / b for a, b in zip(alone.figures, together.figures, strict=True))
    print_table(
        f"{joins:,} join one chat session within a second",
        HEADER,
        [
            ("batches of 1", *map(number, alone.figures)),
            (f"batches of {batch}", *map(number, together.figures)),
            ("times less", *map(number, ratios)),
        ],
    )
    print_note(
        "Frames: one for each connection that is told. CPU: of the joins and announcements, on "
        "fakes, without a post."
    )


if __name__ == "__main__":
    main()
