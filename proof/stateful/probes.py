"""What has to hold when a viewer verifies a user, as a second opinion (I21, I22).

Who was heard within `FRESH` is there; who was not is asked once in that time, and has `ANSWER` to
send a frame. When the last frame came is told in steps, so that up to a `STEP` it is open whether
it is too old.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from proof.stateful.oracle import Conn, Impossible, Oracle, Person, expect

FRESH, ANSWER, STEP = 30_000, 10_000, 10_000
#: Of who was never heard.
FOREVER = 1 << 52

#: The answer to `verify`.
Verified: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """A connection asks for a user; the posts to *deaf* connections fail."""

    world: Oracle
    name: str
    user: str
    now: int
    deaf: frozenset[str] = frozenset()

    @property
    def person(self) -> Person:
        return self.world.person(self.user)

    @property
    def live(self) -> Mapping[str, Conn]:
        return self.world.live(self.user, self.now)

    @property
    def age(self) -> int:
        """How long the user was not heard."""
        return self.now - max((it.heard for it in self.live.values()), default=-FOREVER)

    @property
    def shown(self) -> tuple[bool, bool]:
        """Whether the viewer has to see what the user does, and whether that may be."""
        world, viewer = self.world, self.world.conns[self.name].user
        offline = {it == "offline" for it, _ in world.shown(self.name, self.user, self.now)}
        may = False in offline and not world.is_quiet(viewer, self.user, self.now)
        return may and True not in offline, may

    @property
    def must_probe(self) -> bool:
        is_due = self.now - max(self.person.probed, self.person.perhaps_probed) >= FRESH
        return bool(self.live) and is_due and self.age >= FRESH and self.shown[0]

    @property
    def is_due(self) -> bool:
        """Whether a probe may come; who was erased is forgotten with all probes."""
        known, forgotten = self.person.probed, self.world.forgotten.get(self.user, 0)
        return self.now - known >= FRESH or known <= forgotten

    @property
    def may_be_old(self) -> bool:
        return bool(self.live) and self.age > FRESH - STEP


def probed(look: Look, told: Verified) -> Oracle:
    """What follows from who has read a probe; a frame that came beside the question spares it."""
    world, person = look.world, look.person
    read = {it for it in told["probed"] if world.conns[it].user == look.user}
    reachable = look.live.keys() - look.deaf
    if read:
        _require_due(look)
        if read != reachable:
            raise Impossible(f"{read} are probed, and {reachable} are there (I22)")
    elif reachable and look.must_probe:
        raise Impossible(f"{look.user} is not probed, and was not heard for {look.age} ms")
    may_be = look.is_due and (look.may_be_old or look.user in told["awaited"])
    perhaps = look.now if may_be else person.perhaps_probed
    certain = look.now if read or look.must_probe else person.probed
    asked = {it: look.live[it].heard for it in read}
    return world._person(
        look.user, replace(person, probed=certain, perhaps_probed=perhaps, asked=asked)
    )


def awaited(world: Oracle, user: str, now: int, told: Verified) -> Oracle:
    """Who has read a probe, and was not heard since, has so long: nothing else is shortened."""
    until = told["until"] or now + ANSWER
    if not told["probed"]:
        return world
    for name, heard in world.person(user).asked.items():
        conn = world.conns[name]
        if conn.heard == heard and conn.is_claimed:
            world = world._conn(name, replace(conn, end=min(conn.end, until)))
    return world


def _require_due(look: Look) -> None:
    if not (look.is_due and look.may_be_old):
        ago = look.now - look.person.probed
        raise Impossible(f"{look.user} was probed {ago} ms ago, heard {look.age}: too soon (I22)")
    if not look.shown[1]:
        raise Impossible(f"{look.user} is probed for a viewer who must not see it (I22)")


def require_told(look: Look, told: Verified) -> None:
    """`heardAt`, and whether the answer may still change."""
    (presence,) = told["users"]
    heard, is_awaited = presence.get("heardAt"), look.user in told["awaited"]
    must, may = look.shown
    if not presence["isOnline"]:
        expect((heard, is_awaited), (None, False))
    elif heard is None:  # about to be seen offline
        expect((is_awaited, bool(look.live) and must), (True, False))
    elif not (look.live and may):
        raise Impossible(f"{presence} is told of who is not to be seen (I10)")
    else:
        _require_heard(look, heard, is_awaited=is_awaited)


def _require_heard(look: Look, heard: int, *, is_awaited: bool) -> None:
    newest = look.now - look.age
    if not newest - STEP < heard <= max(newest, look.person.perhaps_probed):
        raise Impossible(f"{look.user} was heard at {newest}, and is told to be at {heard}")
    expect(is_awaited, look.may_be_old, look.age >= FRESH)
