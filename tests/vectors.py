"""Stories of one user, with what the reducer answers: the TypeScript test double answers the same.

    python -m tests.vectors stories.jsonl

writes one JSON object a line:

    {"user": User, "steps": [{"now": ms, "event": UserEvent, "refused": {"code", "message"}}
                           | {"now": ms, "event": UserEvent, "user": User, "effects": [...],
                              "nextChangeAt": ms | null, "views": [View, ...]}, ...]}

Values are written as the dataclasses are, with their fields in camelCase; an event or an effect
has its class as `type`. A story starts at a random instant of a random user's life: most users
are unknown, some are about to reach a limit. This is the only file that ties the two together.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

from presence.domain import freshness
from presence.domain.disclosure import Disclosure, Precision, Rules
from presence.domain.errors import PresenceError
from presence.domain.events import (
    Allowed,
    Authenticated,
    Barred,
    Blocked,
    Chosen,
    Disconnected,
    Erased,
    GraceEnded,
    Joined,
    Left,
    Probed,
    Renewed,
    Seen,
    TimePassed,
    TimerDue,
    Unblocked,
    UserEvent,
)
from presence.domain.reducer import reduce
from presence.domain.standing import Standing
from presence.domain.user import Choice, Farewell, FrozenView, Lease, Status, User
from presence.limits import MAX_BARRED, MAX_BLOCKED, MAX_CONNECTIONS, MAX_SCENES, MAX_SESSIONS

STORIES = 1_000
STEPS = 15

#: What the double does not keep. Of `standing` it keeps the barred chat sessions; what was revoked
#: is with its tokens; the rate limits are of connections. Each view has `heard_at` apart.
LEFT_OUT = {"revision", "standing", "token", "arrival", "heard_at"}
START = 1_800_000_000_000
LEASE = 75_000
GRACE = 10_000
USER = "ada"
CONNECTIONS = ("laptop", "phone", "tab")
SESSIONS = ("lobby", "team", "attic")
VIEWERS = ("eve", "grace")
DURATIONS = (*(-2_000, -1, 0, 1, 1_000) * 3, GRACE - 1, GRACE, 30_000)

Json: TypeAlias = Any


def write(path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number in range(STORIES):
            file.write(json.dumps(story(number), separators=(",", ":")) + "\n")


def story(number: int) -> dict[str, Json]:
    """The same number tells the same story, on every machine."""
    random = Random(number)  # noqa: S311  not a secret
    user = BEGINNINGS[number % len(BEGINNINGS)](random)
    return {"user": plain(user), "steps": [*steps(random, user)]}


def steps(random: Random, user: User) -> Iterator[dict[str, Json]]:
    now = START
    for _ in range(STEPS):
        now = later(random, user, now)
        event = happening(random, user, now)
        asked = {"now": now, "event": typed(event)}
        try:
            user, effects = reduce(user, event, now)
        except PresenceError as error:
            yield asked | {"refused": {"code": error.code, "message": error.message}}
            continue
        yield asked | {
            "user": plain(user),
            # The double sets its timers by what is next.
            "effects": [typed(effect) for effect in effects if not isinstance(effect, TimerDue)],
            "nextChangeAt": user.next_change_at,
            "views": [view(user, viewer, now) for viewer in (None, USER, VIEWERS[0])],
        }


def view(user: User, viewer: str | None, now: int) -> dict[str, Json]:
    return {
        "viewer": viewer,
        "presence": plain(user.seen_by(viewer)),
        "sessions": plain(user.sessions_seen_by(viewer)),
        "heardAt": freshness.seen_by(user, viewer, now).heard_at,
        "isProbed": freshness.needs_probe(user, viewer, now),
    }


# ── what happens ───────────────────────────────────────────────────────────────────────────


def later(random: Random, user: User, now: int) -> int:
    """Often just when something ends, or a millisecond before or after; clocks may go back."""
    ends = [lease.expires_at for lease in user.leases.values()]
    ends += [end for it in user.farewells for end in it.ends]
    ends += [at for at in (user.grace_until, user.until, user.next_change_at) if at is not None]
    if ends and random.random() < 0.15:
        return max(now, random.choice(ends) + random.choice((-1, 0, 1)))
    return now + random.choice(DURATIONS)


def happening(random: Random, user: User, now: int) -> UserEvent:
    kind = random.choices([*EVENTS], [it.weight for it in EVENTS.values()])[0]
    return EVENTS[kind].make(Moment(random, user, now))


@dataclass(frozen=True)
class Moment:
    random: Random
    user: User
    now: int

    def connection(self) -> str:
        return self.random.choice([*self.user.leases, *self.user.leases, *CONNECTIONS])

    def session(self) -> str:
        return self.random.choice([*SESSIONS, *sorted(self.user.sessions)[:3], "one-more"])

    def sessions(self) -> tuple[str, ...]:
        return tuple(self.session() for _ in range(self.random.choice((1, 1, 3))))

    def lease(self) -> Lease:
        seen_at = self.now + self.random.choice((-3_000, -5, 0, 0))
        return Lease(
            expires_at=seen_at + self.random.choice((LEASE, LEASE, 5_000)),
            seen_at=seen_at,
            device=self.random.choice((None, "phone")),
            is_active=self.random.random() < 0.8,
            sessions=self.some(SESSIONS),
            lasts=self.random.choice((None, None, None, LEASE, 4 * LEASE)),
        )

    def some(self, names: tuple[str, ...]) -> frozenset[str]:
        return frozenset(name for name in names if self.random.random() < 0.3)

    def is_active(self) -> bool | None:
        return self.random.choice((None, True, False))

    def to_come(self, *durations: int) -> int:
        return self.now + self.random.choice(durations)


def authenticated(at: Moment) -> UserEvent:
    names = (at.connection(), f"new-{at.random.randrange(3)}")
    named = tuple(sorted(at.some((*SESSIONS, "one-more"))))
    grace_until = at.to_come(0, GRACE)
    return Authenticated(
        at.random.choice(names),
        at.lease(),
        at.is_active(),
        session_ids=named,
        grace_until=grace_until,
    )


def chosen(at: Moment) -> UserEvent:
    text = at.random.choice((None, None, "At lunch"))
    until = at.random.choice((None, at.to_come(-1, 1, 3_000, GRACE, LEASE)))
    chosen_at = at.random.choice((None, None, at.now, at.now - 1, at.now - 2_000, at.now + 1))
    disclosure = at.random.choice((None, None, None, *Disclosure))
    return Chosen(at.random.choice([*Choice]), text, until, chosen_at, disclosure)


def probed(at: Moment) -> UserEvent:
    seen = {name: it.seen_at for name, it in at.user.leases.items()}
    unheard = {at.connection(): at.now, **seen}
    names = at.some((*unheard,))
    late = at.random.choice((0, 0, 0, -1))
    found = {name: it + late for name, it in unheard.items() if name in names}
    return Probed(found, at.to_come(1, 3_000, GRACE))


def unblocked(at: Moment) -> UserEvent:
    names = at.some((*VIEWERS, *[f"blocked-{number}" for number in range(30)]))
    return Unblocked(names, gone=at.random.random() < 0.2)


@dataclass(frozen=True)
class Kind:
    weight: int
    make: Callable[[Moment], UserEvent]


EVENTS = {
    Authenticated: Kind(5, authenticated),
    Renewed: Kind(3, lambda at: Renewed(at.connection(), at.lease(), at.is_active())),
    Disconnected: Kind(4, lambda at: Disconnected(at.connection(), at.to_come(GRACE, 1_000, 0))),
    Probed: Kind(2, probed),
    GraceEnded: Kind(1, lambda _: GraceEnded()),
    Joined: Kind(4, lambda at: Joined(at.connection(), at.sessions())),
    Left: Kind(2, lambda at: Left(at.connection(), at.sessions())),
    Chosen: Kind(4, chosen),
    Seen: Kind(1, lambda _: Seen()),
    Blocked: Kind(2, lambda at: Blocked(at.random.choice(VIEWERS))),
    Unblocked: Kind(3, unblocked),
    Barred: Kind(1, lambda at: Barred(at.session())),
    Allowed: Kind(1, lambda at: Allowed(at.session())),
    Erased: Kind(1, lambda at: Erased(allows_sessions=at.random.random() < 0.5)),
    TimePassed: Kind(2, lambda _: TimePassed()),
}


# ── where a story begins ───────────────────────────────────────────────────────────────────


def rules(random: Random) -> Rules:
    precision = random.choice([Precision.EXACT, *Precision])
    return Rules(random.choice((0, GRACE, GRACE)), precision, random.choice((3_000, 30_000)))


def unknown(random: Random) -> User:
    probed_at = random.choice((0, 0, START - 1, START + 3_000))
    floor = random.choice((0, 0, START + 5))
    return User(USER, floor=floor, probed_at=probed_at, rules=rules(random))


def known(leases: Mapping[str, Lease], blocked: int = 0) -> User:
    views = {f"blocked-{number}": FrozenView(START - 5, START - 5) for number in range(blocked)}
    since: dict[str, Any] = {"version": START, "own_version": START, "last_seen": START}
    return User(
        USER, leases=leases, status=Status.ONLINE, blocked=views, rules=Rules(GRACE), **since
    )


def with_connections(random: Random) -> User:
    names = [f"tab-{number}" for number in range(MAX_CONNECTIONS - random.randrange(2))]
    return known({name: Lease(START + LEASE, START) for name in names})


def with_sessions(random: Random) -> User:
    names = [f"session-{number}" for number in range(MAX_SESSIONS - random.randrange(3))]
    return known({"laptop": Lease(START + LEASE, START, sessions=frozenset(names))})


def with_bars(_: Random) -> User:
    barred = frozenset(f"barred-{number}" for number in range(MAX_BARRED - 1))
    return User(USER, standing=Standing(barred=barred), rules=Rules(GRACE))


def with_blocks(random: Random) -> User:
    return known({"laptop": Lease(START + LEASE, START)}, MAX_BLOCKED - random.randrange(2))


def with_farewells(random: Random) -> User:
    """Viewers go on seeing as many states of the user as there may be."""
    user = known({"laptop": Lease(START + LEASE, START)}, MAX_SCENES)
    until = [START + random.choice((3_000, GRACE)) for _ in user.blocked]
    views = {
        name: replace(it, farewell=Farewell(at, Status.ONLINE, f"text {at} {name}"))
        for at, (name, it) in zip(until, user.blocked.items(), strict=True)
    }
    return replace(user, blocked=views)


#: Limits are rare, and long to write.
LIMITS = (with_connections, with_sessions, with_blocks, with_bars, with_farewells)
BEGINNINGS = (*[unknown] * 27, *LIMITS)


# ── as JSON ────────────────────────────────────────────────────────────────────────────────


def typed(value: Json) -> Json:
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", type(value).__name__).lower()
    return {"type": kind} | plain(value)


def plain(value: Json) -> Json:
    if is_dataclass(value) and not isinstance(value, type):
        names = names_of(type(value))
        kept = {name: plain(getattr(value, field)) for field, name in names.items()}
        return kept | {"barred": plain(value.standing.barred)} if isinstance(value, User) else kept
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return sorted(value) if isinstance(value, frozenset) else value


@cache
def names_of(kind: type[Any]) -> Mapping[str, str]:
    """The fields of a dataclass, each with what it is called in the double."""
    return {it.name: camel(it.name) for it in fields(kind) if it.name not in LEFT_OUT}


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
