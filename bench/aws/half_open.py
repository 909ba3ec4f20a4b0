"""Silent peers: how long until `$disconnect`, with and without posts, and what posts are answered.

Two kinds of silence can be made without rights on an ordinary machine:

- *frozen*: the program neither reads nor answers; its kernel goes on acknowledging. That is a
  laptop whose browser stands still.
- *gone*: a filter on the socket drops each segment before TCP sees it (Linux; `Wire.deafen`), so
  nothing is acknowledged. That is a network that went away, half open at the other end.

When `$disconnect` came is heard by a user who watches: `offline`, less the grace period.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from time import time

from bench.aws.answers import Answer, median, seconds, unknown
from bench.aws.stage import Stage, Visitor, Watcher

FROZEN, GONE = "frozen", "gone"
#: What is noticed within a minute is noticed sooner than any lease ends.
_SOON_SECONDS = 60
#: API Gateway closes an idle connection after ten minutes ("Amazon API Gateway quotas").
_IDLE_SECONDS = 600
_EARLY = "`FreshSeconds` and leases need not wait for a probe of connections that API Gateway ends."
_LATE = "Keep leases and probes: API Gateway does not notice by itself."
_SOON_410 = "A post that is answered 410 ends a lost socket sooner than its lease does."
_NO_410 = "Do not wait for 410 to find a dead peer."


@dataclass(frozen=True, slots=True)
class Post:
    """Seconds after the peer fell silent, and the answer."""

    after: float
    status: int


@dataclass(frozen=True, slots=True)
class Silence:
    """One peer that fell silent.

    Attributes:
        kind: frozen or gone.
        left: seconds until `$disconnect`; None if it was not heard while it was watched.
        posts: those that were made; empty for a peer that is left alone.
    """

    kind: str
    is_posted: bool
    left: float | None
    posts: Sequence[Post] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """Peers that were watched for so long.

    Attributes:
        lease: seconds after which the stack itself closes a silent connection.
        grace: seconds that are taken off already; None if not known, and not taken off.
    """

    watched: float
    lease: float
    grace: float | None
    silences: Sequence[Silence]


async def observe(stage: Stage) -> Observed:
    kinds = [(kind, posted) for kind in (FROZEN, GONE) for posted in (False, True)]
    wanted = [it for it in kinds for _ in range(stage.pace.twins)]
    async with stage.crowd(len(wanted)) as visitors:
        async with stage.watcher([it.user_id for it in visitors]) as watcher:
            # What the stack posts to its own connection has come by then.
            await asyncio.sleep(stage.pace.quiet)
            peers = zip(visitors, wanted, strict=True)
            silences = [_silence(stage, watcher, it, *how) for it, how in peers]
            found = await asyncio.gather(*silences)
        lease = visitors[0].lease_seconds
    made = [it for it in found if it is not None]  # what this machine can make
    grace = stage.target.grace_seconds
    return Observed(stage.pace.watch, lease, grace, made)


async def _silence(
    stage: Stage, watcher: Watcher, visitor: Visitor, kind: str, posted: bool
) -> Silence | None:
    """None if this machine cannot make that silence."""
    if kind == FROZEN:
        visitor.wire.freeze()
    elif not visitor.wire.deafen():
        return None
    started = time()
    grace = stage.target.grace_seconds or 0.0
    waiting = asyncio.create_task(
        watcher.wait(visitor.user_id, "offline", started, stage.pace.watch)
    )
    posts: list[Post] = []
    while not waiting.done():
        await asyncio.wait([waiting], timeout=stage.pace.every)
        if posted and not waiting.done():
            status = await stage.cloud.post(visitor.connection_id, '{"type": "bench"}')
            posts.append(Post(time() - started, status))
    visitor.wire.reset()
    heard = waiting.result()
    left = None if heard is None else max(0.0, heard[0] - started - grace)
    return Silence(kind, posted, left, posts)


def evaluate(observed: Observed) -> Iterator[Answer]:
    for kind in (FROZEN, GONE):
        for posted in (False, True):
            group = [it for it in observed.silences if (it.kind, it.is_posted) == (kind, posted)]
            how = f"{kind}, {'with' if posted else 'without'} posts"
            yield _until(observed, group, f"How long until `$disconnect`? Peer {how}")
            if posted:
                yield _posts(observed, group, f"What are posts answered? Peer {kind}")


def _until(observed: Observed, group: Sequence[Silence], question: str) -> Answer:
    if not group:
        return unknown(question, "This machine cannot drop segments of a socket: use Linux.")
    left = [it.left for it in group if it.left is not None]
    if len(left) < len(group):
        watched = seconds(observed.watched)
        said = f"Not within {watched}, for {len(group) - len(left)} of {len(group)}."
        if observed.watched < _IDLE_SECONDS:
            return unknown(question, said)
        return Answer(question, f"more than {watched}", said, _LATE)
    if max(left) >= observed.lease:
        said = (
            f"The stack's own lease of {observed.lease:.0f} s ended it, after "
            f"{seconds(median(left))}: API Gateway takes longer than the lease."
        )
        return Answer(question, f"more than {seconds(observed.lease)}", said, _LATE)
    grace = (
        "the grace period is not taken off" if observed.grace is None else "less the grace period"
    )
    said = f"{', '.join(f'{it:,.0f} s' for it in sorted(left))} ({grace})."
    change = _EARLY if max(left) < _SOON_SECONDS else _LATE
    return Answer(question, seconds(median(left)), said, change)


def _posts(observed: Observed, group: Sequence[Silence], question: str) -> Answer:
    posts = [post for it in group for post in it.posts]
    if not posts:
        return unknown(question, "No post was made.")
    gone = [it.after for it in posts if it.status == HTTPStatus.GONE]
    statuses = sorted({it.status for it in posts})
    counts = ", ".join(f"{sum(it.status == s for it in posts)} of {s}" for s in statuses)
    if gone:
        said = f"{counts}; the first 410 after {seconds(min(gone))}."
        return Answer(question, "410 in the end", said, _SOON_410)
    last = seconds(max(it.after for it in posts))
    found = "200" if statuses == [HTTPStatus.OK] else "no 410"
    change = _NO_410 if observed.watched >= _IDLE_SECONDS else ""
    return Answer(question, found, f"{counts}, for {last}.", change)
