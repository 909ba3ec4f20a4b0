"""Makes many posts from one thread: each is answered, tried again or given up before it returns."""

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from heapq import heappop, heappush
from math import isqrt

from presence.adapters.posting.links import Link, Links, Security
from presence.adapters.posting.signature import (
    Credentials,
    Endpoint,
    Frame,
    Stamp,
    encoded,
    stamp,
)

#: How many posts may be in flight.
FIRST, LEAST, MOST = 16, 2, 256
#: So many posts more with each round.
STEP = 4
#: A larger share of refusals ends the doubling.
MANY = 1 / 8
#: A post is late after so many times what the posts of a round took on the average, in seconds.
LATE, SOONEST, LATEST = 5, 0.05, 0.5

#: How often the clocks of all posts in flight are looked at, in seconds.
_TICK = 0.025
#: For so many answers, one post may be made a second time while the first is in flight: where all
#: is slow, making everything twice would make it slower.
_ANSWERS_PER_COPY = 50
_FEW = 8
#: With the window, less than the 1,024 files that Lambda lets a function open.
_MOST_LATE = 256

_OK, _REDIRECT, _GONE, _BUSY, _FAULT = 200, 300, 410, 429, 500


class Outcome(Enum):
    TAKEN = auto()
    GONE = auto()
    AGAIN = auto()
    REFUSED = auto()


# Looking a member up in its class takes as long as all else that is done to judge an answer.
_TAKEN, _AGAIN = Outcome.TAKEN, Outcome.AGAIN


@dataclass(frozen=True, slots=True)
class Patience:
    """What a post may take, in seconds, and how often it is made."""

    timeout: float = 2.0
    tries: int = 5
    #: The longest wait before the second try; it doubles with each, and its length is random.
    first_pause: float = 0.05


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the posts, in their order, and how often which answer or error came."""

    outcomes: Sequence[tuple[str, Outcome]]
    answers: Counter[str]


@dataclass(frozen=True, slots=True)
class Pace:
    """How many posts may be in flight, and after what time one of them is late.

    Doubled each round until many are refused; then additive increase, multiplicative decrease.

    A round is as many answers as the window holds posts. The cut is half of the share that was
    refused, as in DCTCP (RFC 8257, 3.3), and not half of all: 429 is also what a single client with
    a full buffer causes, which says nothing of the quota that all APIs of the account share. Where
    the quota is the reason, the window comes to rest at twice STEP posts more than it lets through.
    """

    window: int = FIRST
    is_probing: bool = True
    late: float = LATEST

    def after(self, answered: int, refused: int, seconds: float) -> "Pace":
        """The pace behind a round whose answers came after *seconds*, added up."""
        share = refused / answered
        is_probing = self.is_probing and share <= MANY
        growth = self.window if is_probing else STEP
        window = round(self.window * (1 - share / 2)) + growth
        late = min(LATEST, max(SOONEST, LATE * seconds / answered))
        return Pace(min(MOST, max(LEAST, window)), is_probing, late)


class Engine:
    """Posts to the connections of one endpoint. It serves one caller at a time."""

    def __init__(
        self,
        endpoint: Endpoint,
        region: str,
        credentials: Callable[[], Credentials],
        security: Callable[[], Security | None],
        patience: Patience = Patience(),
    ) -> None:
        self._endpoint = endpoint
        self._region = region
        self._credentials = credentials
        self._patience = patience
        self._links = Links(endpoint, security)
        self._pace = Pace()

    def post(self, posts: Iterable[tuple[str, Frame]], seconds: float) -> Report:
        """Make all posts within *seconds*; those that had no answer by then are to be made again.

        A frame may reach its connection more than once: it is unknown what became of a post whose
        answer did not come.
        """
        jobs = [_Job(connection_id, frame) for connection_id, frame in posts]
        run = _Run(self._links, jobs, self._pace, self._stamp, self._patience)
        try:
            run.until(time.monotonic() + seconds)
        finally:
            self._pace = run.pace
            run.abandon()
        return Report([(job.connection_id, job.outcome) for job in jobs], run.answers)

    def close(self) -> None:
        """Close all connections."""
        self._links.close()

    def _stamp(self, seconds: int) -> Stamp:
        return stamp(self._endpoint, self._region, self._credentials(), seconds)


class _Job:
    """One post, until it is settled: new, in flight, or waiting to be made again."""

    __slots__ = ("connection_id", "frame", "is_settled", "outcome", "tries")

    def __init__(self, connection_id: str, frame: Frame) -> None:
        self.connection_id = connection_id
        self.frame = frame
        self.tries = 0
        self.is_settled = False
        self.outcome = _AGAIN


class _Run:
    """What is in flight, and what waits."""

    def __init__(
        self,
        links: Links,
        jobs: Sequence[_Job],
        pace: Pace,
        make_stamp: Callable[[int], Stamp],
        patience: Patience,
    ) -> None:
        self.pace = pace
        self.answers = Counter[str]()
        self._links = links
        self._fresh = deque(jobs)
        self._waiting: list[tuple[float, int, _Job]] = []
        self._unsettled = len(jobs)
        self._make_stamp = make_stamp
        self._patience = patience
        self._stamped_at = 0
        self._heard_at = 0.0
        self._in_flight = self._late = 0
        # A handshake costs processor time, waiting does not: for c connections and n posts the two
        # are c handshakes and n / c waits, which is least where c grows with the root of n.
        self._most_links = max(_FEW, 2 * isqrt(len(jobs)))
        self._copies_left = 2.0
        self._answered = self._refused = 0
        self._seconds = 0.0
        self._numbers = 0

    def until(self, deadline: float) -> None:
        """Work until all is settled, or the deadline has come."""
        if not self._unsettled:
            return
        try:
            self._links.refresh()
        except OSError as error:
            self.answers[type(error).__name__] += 1
            return
        look_at = 0.0
        while self._unsettled and (now := time.monotonic()) < deadline:
            self._launch(now)
            ready = self._links.ready(self._pause(now))
            self._heard_at = time.monotonic()
            for link in ready:
                self._advance(link, now)
            if now >= look_at:
                look_at = now + _TICK
                # By the time before the answers were read: an answer that waits to be read is
                # not late, however long that took.
                self._look_at_clocks(now)

    def abandon(self) -> None:
        """Close the connections whose answers are not awaited any more, and keep the others."""
        self._links.rest()
        for link in [link for link in self._links.all if link.job is not None]:
            self._links.drop(link)

    def _pause(self, now: float) -> float:
        if self._waiting and self._has_room():
            return min(_TICK, max(0.0, self._waiting[0][0] - now))
        return _TICK

    def _launch(self, now: float) -> None:
        """Make posts while there is room for them."""
        seconds = int(time.time())
        if seconds != self._stamped_at:
            self._stamped_at, self._stamp = seconds, self._make_stamp(seconds)
        while self._has_room() and (job := self._next(now)):
            self._make(job, now)

    def _has_room(self) -> bool:
        return self._in_flight < self.pace.window and (
            bool(self._links.idle) or len(self._links.all) - self._late < self._most_links
        )

    def _next(self, now: float) -> _Job | None:
        """The next job that is due; what waited goes first."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, job = heappop(self._waiting)
            if not job.is_settled:
                return job
        return self._fresh.popleft() if self._fresh else None

    def _make(self, job: _Job, now: float) -> None:
        job.tries += 1
        try:
            link = self._links.idle.pop() if self._links.idle else self._links.open()
        except OSError as error:
            self._failed(job, error, now)
            return
        link.job, link.since, link.is_late = job, now, False
        self._in_flight += 1
        try:
            link.send(self._stamp.request(encoded(job.connection_id), job.frame))
        except OSError as error:
            self._broke(link, error, now)

    def _advance(self, link: Link, now: float) -> None:
        if link.job is None:  # nothing was asked: it was closed on the other side
            self._links.drop(link)
            return
        try:
            answer = link.advance()
        except OSError as error:
            self._broke(link, error, now)
            return
        if answer is None:
            return
        self._seconds += self._heard_at - link.asked_at
        job = self._release(link)
        if answer.keeps:
            self._links.idle.append(link)
        else:
            self._links.drop(link)
        self._judge(job, answer.status, now, is_late=link.is_late)

    def _broke(self, link: Link, error: OSError, now: float) -> None:
        job = self._release(link)
        self._links.drop(link)
        if link.is_late:
            self.answers[type(error).__name__] += 1
        else:
            self._failed(job, error, now)

    def _release(self, link: Link) -> _Job:
        if link.is_late:
            self._late -= 1
        else:
            self._in_flight -= 1
        job: _Job = link.job
        link.job = None
        return job

    def _judge(self, job: _Job, status: int, now: float, *, is_late: bool) -> None:
        self._answered += 1
        self._copies_left += 1 / _ANSWERS_PER_COPY
        outcome = _outcome(status)
        if outcome is not _TAKEN:
            self.answers[str(status)] += 1
        if outcome is not _AGAIN:
            self._settle(job, outcome)
        else:
            self._refused += 1
            if not is_late:
                self._try_again(job, now)
        if self._answered >= self.pace.window:
            self.pace = self.pace.after(self._answered, self._refused, self._seconds)
            self._answered = self._refused = 0
            self._seconds = 0.0

    def _failed(self, job: _Job, error: OSError, now: float) -> None:
        self.answers[type(error).__name__] += 1
        self._try_again(job, now)

    def _try_again(self, job: _Job, now: float) -> None:
        """After a random pause, so that what was refused together does not come back together.

        AWS Architecture Blog, "Exponential Backoff And Jitter": full jitter.
        """
        if job.tries >= self._patience.tries:
            self._settle(job, _AGAIN)
            return
        longest = self._patience.first_pause * 2 ** (job.tries - 1)
        self._wait(job, now + random.uniform(0, longest))  # noqa: S311  no secret

    def _wait(self, job: _Job, due: float) -> None:
        self._numbers += 1
        heappush(self._waiting, (due, self._numbers, job))

    def _settle(self, job: _Job, outcome: Outcome) -> None:
        """The first answer counts: a late one may come while the post is made again."""
        if not job.is_settled:
            job.outcome = outcome
            job.is_settled = True
            self._unsettled -= 1

    def _look_at_clocks(self, now: float) -> None:
        for link in [link for link in self._links.all if link.job is not None]:
            if now - link.since >= self._patience.timeout:
                self._timed_out(link)
            elif now - link.asked_at >= self.pace.late and not link.is_late:
                self._overtake(link, now)

    def _timed_out(self, link: Link) -> None:
        """A post without an answer for so long is left to the queue."""
        job = self._release(link)
        self._links.drop(link)
        self.answers["TimeoutError"] += 1
        if not link.is_late:
            self._settle(job, _AGAIN)

    def _overtake(self, link: Link, now: float) -> None:
        """Make a late post again, and let its connection wait outside the window.

        The answer that comes first counts (Dean and Barroso, "The Tail at Scale", 2013), so what
        hangs costs the others nothing, and its own client little.
        """
        job: _Job = link.job
        if self._late >= _MOST_LATE or not (job.is_settled or self._may_copy(job)):
            return
        link.is_late = True
        self._in_flight -= 1
        self._late += 1
        if not job.is_settled:
            self._copies_left -= 1
            self._wait(job, now)

    def _may_copy(self, job: _Job) -> bool:
        return job.tries < self._patience.tries and self._copies_left >= 1


def _outcome(status: int) -> Outcome:
    """By status: not every answer of API Gateway carries a code (410 comes without a body)."""
    if _OK <= status < _REDIRECT:
        return _TAKEN
    if status == _GONE:
        return Outcome.GONE
    if status == _BUSY or status >= _FAULT:
        return _AGAIN
    return Outcome.REFUSED
