"""What has to hold, from what was done: a second opinion about who is online.

It shares no code with the product. A connection is live until its lease ends, and everything else
follows from that as a function of time: nothing here is stored, swept, or told by a stream.
Each step says what its answer may be, so two steps that ran at the same time can be held against
both orders (linearizability). Where the protocol leaves something open, several statuses may hold.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from proof.stateful.rig import MAX_CONNECTIONS

LEASE, GRACE, AUTHENTICATION, LEEWAY = 75_000, 10_000, 10_000, 30_000
#: The lease of a client that may keep the background's heartbeat, and that heartbeat in seconds.
LONG_LEASE, SLOW_HEARTBEAT = 810_000, 540
BETWEEN_PINGS, COST, BURST, YOUNG = 10_000, 1_000, 20, 10_000
#: So many frames of a connection may be refused, before it authenticated and for their rate.
UNAUTHENTICATED, LIMITED = 5, 100
#: How long after it was replaced a connection is closed, at the latest.
TELLS = 31_000

#: A status and a text.
View: TypeAlias = tuple[str, str | None]
OFFLINE: View = ("offline", None)


class Impossible(AssertionError):
    """The product did what must not happen."""


def expect(found: object, *allowed: object) -> None:
    if found not in allowed:
        raise Impossible(f"{found}, but it may only be {allowed}")


@dataclass(frozen=True)
class Token:
    """`end` is when it ends, leeway included; `allowed` are the only chat sessions, None is all."""

    end: int = 0
    issued: int = 0
    name: str = ""
    allowed: frozenset[str] | None = None

    def allows(self, room: str) -> bool:
        return self.allowed is None or room in self.allowed


@dataclass(frozen=True)
class Conn:
    """`spent` is the bucket if it was charged only where that is certain, or wherever it may be.

    `heard` is when its lease was renewed last, `lasts` for how long, and `told_by` until when the
    server has to close it, if another connection took its place. `limited` counts the frames that
    came beyond its rate, and `refused` those that were refused before that. `doubtful` are rooms
    out of which its user was taken while it was silent: it may be in them again, if the user is
    let in before it is closed.
    """

    opened: int
    user: str | None = None
    is_closed: bool = False
    token: Token = Token()
    end: int = 0
    heard: int = 0
    lasts: int = LEASE
    told_by: int = 0
    active: bool | None = True
    rooms: frozenset[str] = frozenset()
    doubtful: frozenset[str] = frozenset()
    watched: frozenset[str] = frozenset()
    spent: tuple[int, int] = (0, 0)
    typed: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0
    limited: int = 0

    @property
    def is_struck_out_by_one(self) -> bool:
        """Whether the server closes it for the next frame that it refuses."""
        is_unknown = self.user is None and self.refused >= UNAUTHENTICATED - 1
        return is_unknown or self.limited >= LIMITED - 1

    @property
    def token_end(self) -> int:
        return self.token.end

    @property
    def is_limited(self) -> bool:
        """Whether it sees only users in the chat sessions that its token names."""
        return self.is_claimed and self.token.allowed is not None

    @property
    def is_claimed(self) -> bool:
        return self.user is not None and not self.is_closed

    def refusal(self, user: str) -> str | None:
        """Why a user with a token is refused."""
        if self.is_closed:
            return "not-authenticated"
        return None if self.user in (None, user) else "forbidden"

    def is_live(self, now: int) -> bool:
        return self.is_claimed and now < self.end

    def lease_end(self, now: int) -> int:
        return min(now + self.lasts, self.token_end)


@dataclass(frozen=True)
class Leaving:
    """What is seen of a user who hides, as if the last connection had been closed.

    `rooms` are those in which the user is seen, each until when.
    """

    until: int
    views: frozenset[View]
    rooms: Mapping[str, int]


@dataclass(frozen=True)
class Person:
    """`left` are rooms whose last connection was closed, and until when it is expected back.

    `unsure` are those of which it is open whether that was forgotten in between. `hid` is
    whether they were hidden when the last connection closed, though they have chosen otherwise
    since. `hides` is what all others see of it, `blocked` what those see who are blocked.
    Tokens that were issued before `good_from`, or are called like one of `revoked`, are refused,
    and `barred` are the rooms out of which the user was taken. When the user was `probed` last is
    also when that may have been; `asked` are the connections that took it, heard last when.
    """

    choice: str = "online"
    text: str | None = None
    until: int | None = None
    earlier: tuple[tuple[str, str | None, int | None], ...] = ()
    hides: Leaving | None = None
    grace: int = 0
    left: Mapping[str, int] = field(default_factory=dict)
    unsure: Mapping[str, int] = field(default_factory=dict)
    blocked: Mapping[str, Leaving | None] = field(default_factory=dict)
    hid: bool = False
    good_from: int = 0
    revoked: frozenset[str] = frozenset()
    barred: frozenset[str] = frozenset()
    probed: int = 0
    perhaps_probed: int = 0
    asked: Mapping[str, int] = field(default_factory=dict)

    def accepts(self, token: Token) -> bool:
        return token.issued >= self.good_from and token.name not in self.revoked

    def chosen(self, now: int) -> View:
        """What stands at *now*: of those that have not ended, the last."""
        made = (("online", None, None), *self.earlier, (self.choice, self.text, self.until))
        choice, text, _ = [it for it in made if it[2] is None or it[2] > now][-1]
        return choice, text


@dataclass(frozen=True)
class Oracle:
    people: Mapping[str, Person] = field(default_factory=dict)
    conns: Mapping[str, Conn] = field(default_factory=dict)
    #: When users were erased last, and whatever was told of them before was over.
    forgotten: Mapping[str, int] = field(default_factory=dict)
    #: For how long leases are stored to last: it is open for those who are back without a ping.
    kept: Mapping[str, int] = field(default_factory=dict)

    # ── what follows from it ───────────────────────────────────────────────────────────

    def person(self, user: str) -> Person:
        return self.people.get(user, Person())

    def live(self, user: str, now: int) -> dict[str, Conn]:
        return {it: c for it, c in self.conns.items() if c.user == user and c.is_live(now)}

    def is_here(self, user: str, now: int) -> bool:
        return now < self.person(user).grace or bool(self.live(user, now))

    def own(self, user: str, now: int) -> set[View]:
        """What the user's own devices may be told."""
        if not self.is_here(user, now):
            return {("offline", self.person(user).chosen(now)[1])}
        choice, text = self.person(user).chosen(self._there_at(user, now))
        if choice != "online":
            return self._unless_hidden(user, {(choice, text)}, text, now)
        seen = {it.active for it in self.live(user, now).values()}
        statuses = {"online", "away"} if None in seen or not seen else {"away"}
        found = {(it, text) for it in ({"online"} if True in seen else statuses)}
        return self._unless_hidden(user, found, text, now)

    def _there_at(self, user: str, now: int) -> int:
        """When the user was there last: in grace nothing that was chosen ends."""
        if self.live(user, now):
            return now
        ends = (it.end for it in self.conns.values() if it.user == user and it.end <= now)
        return max(self.person(user).grace - GRACE, *(end - 1 for end in ends), 0)

    def _unless_hidden(self, user: str, views: set[View], text: str | None, now: int) -> set[View]:
        """A user who left while invisible is shown by a connection alone."""
        is_shown = self.live(user, now) or not self.person(user).hid
        return views if is_shown or "invisible" in dict(views) else {("offline", text)}

    def leaving(self, viewer: str | None, user: str, now: int) -> Leaving | None:
        """What *viewer* goes on seeing of a user who hides, as long as it lasts."""
        person = self.person(user)
        found = person.hides
        if viewer is not None and viewer in person.blocked:
            found = person.blocked[viewer]
        elif self.live(user, now) and "invisible" not in dict(self.own(user, now)):
            found = None
        return found if found is not None and now < found.until else None

    def public(self, user: str, now: int) -> set[View]:
        if (leaving := self.leaving(None, user, now)) is not None:
            return set(leaving.views)
        hidden = ("invisible", "offline")
        return {OFFLINE if it[0] in hidden else it for it in self.own(user, now)}

    def view(self, viewer: str | None, user: str, now: int) -> set[View]:
        if viewer == user:
            return self.own(user, now)
        if viewer not in self.person(user).blocked:
            return self.public(user, now)
        leaving = self.leaving(viewer, user, now)
        return {OFFLINE} if leaving is None else set(leaving.views)

    def is_quiet(self, viewer: str | None, user: str, now: int) -> bool:
        """Whether *viewer* must not see that the user does something."""
        if viewer == user:
            return self.own(user, now) == {OFFLINE}
        hides = self.leaving(viewer, user, now) is not None
        return hides or self.view(viewer, user, now) == {OFFLINE}

    def _begin_to_leave(self, user: str, now: int) -> Leaving | None:
        """What is seen of a user who begins to hide now."""
        person, live, views = self.person(user), self.live(user, now), self.public(user, now)
        if (known := self.leaving(None, user, now)) is not None or OFFLINE in views:
            return known
        until = now + GRACE if live else person.grace
        rooms = {it: at for it, at in {**person.unsure, **person.left}.items() if at > now}
        held = {room for conn in live.values() for room in conn.rooms}
        return Leaving(until, frozenset(views), {**rooms, **dict.fromkeys(held, until)})

    def members(self, viewer: str | None, room: str, now: int) -> tuple[set[str], set[str]]:
        """Who has to be in the room for a viewer, and who may be.

        A user whose invisible status ends in time is there when a timer has seen to it. A
        device that fell silent beside a live one leaves when a later run has seen to that.
        """
        must, may = set[str](), set[str]()
        for user, person in self._shown_to(viewer, now):
            if (leaving := self.leaving(viewer, user, now)) is not None:
                may |= {user} if room in leaving.rooms else set()
                must |= {user} if leaving.rooms.get(room, 0) >= leaving.until else set()
                continue
            if viewer in person.blocked or OFFLINE in self.public(user, now):
                continue
            held = any(room in it.rooms for it in self.live(user, now).values())
            if held or now < person.left.get(room, 0):
                (may if person.choice == "invisible" else must).add(user)
            claimed = [it for it in self.conns.values() if it.is_claimed and it.user == user]
            known = any(room in {*it.rooms, *it.doubtful} - person.barred for it in claimed)
            if now < person.unsure.get(room, 0) or known:
                may.add(user)
        return must, must | may

    def _shown_to(self, viewer: str | None, now: int) -> Iterator[tuple[str, Person]]:
        """What others go on seeing for a while of a user is not shown to that user."""
        for user, person in self.people.items():
            if user != viewer or self.is_here(user, now):
                yield user, person

    def reaches(self, name: str, user: str, now: int) -> tuple[bool, bool]:
        """Whether a connection has to see a user at all, and whether it may (I20)."""
        conn = self.conns[name]
        if conn.token.allowed is None or conn.user == user:
            return True, True
        rooms = conn.token.allowed - self.person(str(conn.user)).barred
        found = [self.members(conn.user, room, now) for room in rooms]
        return any(user in must for must, _ in found), any(user in may for _, may in found)

    def shown(self, name: str, user: str, now: int) -> set[View]:
        """What a connection is shown of a user."""
        must, may = self.reaches(name, user, now)
        found = self.view(self.conns[name].user, user, now) if may else set[View]()
        return found if must else found | {OFFLINE}

    def deadlines(self) -> Iterator[int]:
        """When something changes by itself."""
        for conn in self.conns.values():
            if not conn.is_closed:
                yield from (conn.end, conn.told_by, conn.token_end, conn.opened + AUTHENTICATION)
        for it in self.people.values():
            yield from (it.grace, it.until or 0, *it.left.values())
            yield from (end or 0 for _, _, end in it.earlier)
            for leaving in (it.hides, *it.blocked.values()):
                yield from () if leaving is None else (leaving.until, *leaving.rooms.values())

    # ── what is done ───────────────────────────────────────────────────────────────────

    def _conn(self, name: str, conn: Conn) -> "Oracle":
        return replace(self, conns={**self.conns, name: conn})

    def _person(self, user: str, person: Person) -> "Oracle":
        return replace(self, people={**self.people, user: person})

    def opened(self, name: str, now: int) -> "Oracle":
        return self._conn(name, Conn(now))

    def authenticated(
        self,
        name: str,
        user: str,
        token: Token,
        *,
        active: bool | None,
        rooms: frozenset[str] = frozenset(),
        now: int,
        told: str,
    ) -> "Oracle":
        conn = self.conns[name]
        if token.end <= now:
            expect(told, "token-expired")
            return self
        is_revoked = not self.person(user).accepts(token)
        refusals = {it for it in [conn.refusal(user), "token-invalid" if is_revoked else ""] if it}
        if refusals:
            expect(told, *refusals)
            return self
        expect(told, "ok")
        was = conn.active if conn.is_live(now) else True
        lasts = conn.lasts if conn.is_live(now) else LEASE
        claimed = self._with_token(replace(conn, user=user, lasts=lasts), token, rooms)
        active = was if active is None else active
        claimed = replace(claimed, end=claimed.lease_end(now), heard=now, active=active)
        after = self._makes_room(user, name, now)._arrived(user, is_written=True, now=now)
        for room in rooms & claimed.rooms:
            after = after._forgets_room(claimed, room)
        return after._conn(name, claimed)

    def _with_token(self, conn: Conn, token: Token, asked: frozenset[str]) -> Conn:
        """What a token does not allow ends with its admission; its first claim ends the watch list.

        Where seeing begins again no frame says so: then nothing is certain of what is watched.
        """
        barred = self.person(str(conn.user)).barred
        rooms = {it for it in {*conn.rooms, *asked} - barred if token.allows(it)}
        doubtful = {it for it in conn.doubtful - rooms if token.allows(it)}
        is_same = (conn.token.allowed is None) == (token.allowed is None)
        watched = conn.watched if is_same else frozenset[str]()
        known = replace(conn, rooms=frozenset(rooms), doubtful=frozenset(doubtful))
        return replace(known, watched=watched, token=token)

    def _makes_room(self, user: str, name: str, now: int) -> "Oracle":
        """The connection heard longest ago goes, if there are as many as may be.

        Only its lease ends at once, and with it what is known of its rate. It may bring the lease
        back, until the server closes it; the limit of its user counts on.
        """
        live = self.live(user, now)
        if name in live or len(live) < MAX_CONNECTIONS:
            return self
        oldest = min(live, key=lambda it: (live[it].heard, it))
        rooms = live[oldest].rooms
        spent = (0, live[oldest].spent[1])
        replaced = replace(live[oldest], end=now, told_by=now + TELLS, spent=spent)
        after = self._conn(oldest, replaced)
        held = {room for it in after.live(user, now).values() for room in it.rooms}
        person = self.person(user)
        left = {**person.left, **dict.fromkeys(rooms - held, now + GRACE)}
        return after._person(user, replace(person, left=left))

    def _arrived(self, user: str, *, is_written: bool, now: int) -> "Oracle":
        person = replace(self.person(user), grace=0, hid=False)
        if not self.is_here(user, now):
            unsure = {} if is_written else person.left
            person = replace(person, left={}, unsure=unsure)
        return self._person(user, person)

    def refusal(self, name: str, now: int) -> str | None:
        """Why a frame that is not `authenticate` must be refused (I6, I12)."""
        conn = self.conns[name]
        if not conn.is_claimed:
            return "not-authenticated"
        return "token-expired" if conn.token_end <= now else None

    def is_revoked(self, name: str) -> bool:
        """Whether nothing may be served by the token of a connection, closed or not (I18)."""
        conn = self.conns[name]
        return conn.user is not None and not self.person(conn.user).accepts(conn.token)

    def lets_into(self, name: str, room: str) -> bool:
        conn = self.conns[name]
        return conn.token.allows(room) and room not in self.person(str(conn.user)).barred

    def acted(self, name: str, now: int, told: str) -> "Oracle":
        """An action that is paid, and lets the lease run on."""
        return self._heard(name, (COST, COST), None, now, told)

    def said_typing(self, name: str, room: str, now: int, told: str) -> "Oracle":
        """What comes too soon behind another is dropped, and renews nothing."""
        conn = self.conns[name]
        if self.is_revoked(name):
            expect(told, "token-invalid", "forbidden", "ok", self.refusal(name, now))
            if told == "ok" and now - conn.typed.get(room, 0) >= COST:
                raise Impossible(f"{name} types, and its token is revoked (I18)")
            return self._refused(name)
        if self.refusal(name, now) is None:
            if room not in conn.rooms:
                expect(told, "forbidden")
                return self
            if now - conn.typed.get(room, 0) < COST:
                expect(told, "ok")
                return self
        after = self._heard(name, (COST, COST), None, now, told)
        typed = {**conn.typed, room: now} if told == "ok" else conn.typed
        return after._conn(name, replace(after.conns[name], typed=typed))

    def pinged(
        self, name: str, active: bool | None, now: int, told: str, *, lasts: int = LEASE
    ) -> "Oracle":
        """It says how long its lease lasts from now on."""
        conn = self.conns[name]
        same = active in (None, conn.active) and lasts == conn.lasts
        is_free = same and conn.lease_end(now) - BETWEEN_PINGS >= conn.end
        if conn.is_live(now) and not (is_free or conn.active is None):
            return self._heard(name, (COST, COST), active, now, told, lasts=lasts)
        least_most = (0, 0) if is_free else (0, COST)
        return self._heard(name, least_most, active, now, told, lasts=lasts)

    def _heard(
        self,
        name: str,
        price: tuple[int, int],
        active: bool | None,
        now: int,
        told: str,
        *,
        lasts: int | None = None,
    ) -> "Oracle":
        refusal = self.refusal(name, now)
        if self.is_revoked(name):
            expect(told, "token-invalid", *filter(None, [refusal]))
            return self._refused(name)
        if refusal is not None:
            expect(told, refusal)
            return self._refused(name)
        conn = self.conns[name]
        least, most = (max(it, now) + more for it, more in zip(conn.spent, price, strict=True))
        full = now + BURST * COST
        if told == "rate-limited" and most > full:
            return self._conn(name, replace(conn, limited=conn.limited + 1))
        if least > full:
            raise Impossible("more than the burst is served (I14)")
        end = conn.end if lasts in (None, conn.lasts) else min(conn.end, now + 1)
        lasts = self._lasts(name, now) if lasts is None else lasts
        conn = replace(conn, spent=(least, most), lasts=lasts, end=end)
        expect(told, "ok")
        return self._renewed(name, conn, active, now)

    def _lasts(self, name: str, now: int) -> int:
        """How long a lease is good after a frame that does not say it.

        Who is back with such a frame may be silent as long as any, unless nobody has seen that the
        lease was over.
        """
        conn = self.conns[name]
        if conn.is_live(now):
            return conn.lasts
        found = self.kept.get(name, LONG_LEASE) or LEASE
        expect(found, conn.lasts, LONG_LEASE)
        return found

    def _refused(self, name: str) -> "Oracle":
        conn = self.conns[name]
        return self._conn(name, replace(conn, refused=conn.refused + 1))

    def _renewed(self, name: str, conn: Conn, active: bool | None, now: int) -> "Oracle":
        if active is None:  # an expired lease may or may not have been noticed
            active = conn.active if conn.is_live(now) or conn.active else None
        renewed = replace(conn, end=max(conn.end, conn.lease_end(now)), heard=now, active=active)
        barred = self.person(str(conn.user)).barred
        renewed = replace(renewed, doubtful=renewed.doubtful - barred)
        if conn.is_live(now):
            return self._conn(name, renewed)
        made_room = self._makes_room(str(conn.user), name, now)
        return made_room._arrived(str(conn.user), is_written=False, now=now)._conn(name, renewed)

    def watches(self, name: str, user: str, *, is_on: bool) -> "Oracle":
        conn, one = self.conns[name], frozenset({user})
        watched = conn.watched | one if is_on else conn.watched - one
        return self._conn(name, replace(conn, watched=watched))

    def joined(self, name: str, room: str) -> "Oracle":
        conn = self.conns[name]
        if conn.is_closed:
            raise Impossible(f"{name} is over, and joined {room} (I6)")
        after = replace(conn, rooms=conn.rooms | {room}, doubtful=conn.doubtful - {room})
        return self._forgets_room(conn, room)._conn(name, after)

    def left_room(self, name: str, room: str) -> "Oracle":
        conn = self.conns[name]
        after = replace(conn, rooms=conn.rooms - {room}, doubtful=conn.doubtful - {room})
        return self._forgets_room(conn, room)._conn(name, after)

    def _forgets_room(self, conn: Conn, room: str) -> "Oracle":
        person = self.person(str(conn.user))
        rest = [{k: v for k, v in it.items() if k != room} for it in (person.left, person.unsure)]
        return self._person(str(conn.user), replace(person, left=rest[0], unsure=rest[1]))

    def chose(
        self, user: str, choice: str, text: str | None, until: int | None, now: int
    ) -> "Oracle":
        person = self.person(user)
        leaving = self._begin_to_leave(user, now)
        is_hidden = leaving is not None and leaving is self.leaving(None, user, now)
        hid = not self.live(user, now) and (is_hidden or self.public(user, now) == {OFFLINE})
        known = (*person.earlier, (person.choice, person.text, person.until))
        outlast = [it for it in known if until and (it[2] is None or it[2] > until)]
        # A connection shows who does not hide any more: nothing of before is seen after it.
        kept = None if self.live(user, now) else self.leaving(None, user, now)
        hides = leaving if choice == "invisible" else kept
        chosen = replace(person, choice=choice, text=text, until=until, hid=hid, hides=hides)
        return self._person(user, replace(chosen, earlier=tuple(outlast)))

    def blocked(self, user: str, viewer: str, now: int, *, is_on: bool) -> "Oracle":
        person = self.person(user)
        blocked = {name: it for name, it in person.blocked.items() if name != viewer}
        if is_on:
            leaving = self._begin_to_leave(user, now)
            blocked[viewer] = person.blocked.get(viewer, leaving)
        return self._person(user, replace(person, blocked=blocked))

    def closed(self, name: str, now: int, *, grace: int = GRACE) -> "Oracle":
        """The connection is over; a live user gets the grace period."""
        conn = self.conns.get(name)
        if conn is None or conn.is_closed:
            return self
        after = self._conn(name, replace(conn, is_closed=True, end=min(conn.end, now)))
        if not conn.is_live(now) or not grace:
            return after
        user = str(conn.user)
        person, others = self.person(user), after.live(user, now)
        held = {room for it in others.values() for room in it.rooms}
        left = {**person.left, **dict.fromkeys(conn.rooms, now + grace)}
        left = {room: until for room, until in left.items() if room not in held}
        return after._person(user, replace(person, grace=now + grace, left=left))

    def hung_up(self, name: str, now: int) -> "Oracle":
        """The server closed the socket: it must have had a reason (I2, I12)."""
        conn = self.conns[name]
        if conn.limited + conn.refused >= LIMITED:
            return self.closed(name, now)
        overdue = conn.user is None and now >= conn.opened + AUTHENTICATION
        is_flooding = conn.user is None and conn.refused >= UNAUTHENTICATED
        is_over = conn.is_claimed and now >= conn.end
        if not (conn.is_closed or overdue or is_flooding or is_over):
            raise Impossible(f"{name} was closed, and its lease runs until {conn.end}")
        return self.closed(name, now, grace=0)

    def lost(self, name: str, at: int, now: int) -> "Oracle":
        """API Gateway said that the socket is gone; of a young one that may be wrong."""
        conn = self.conns[name]
        return self.closed(name, now) if at - conn.opened > YOUNG else self

    def kicked(self, user: str, now: int) -> "Oracle":
        after = self
        for name in self.live(user, now):
            after = after.closed(name, now, grace=0)
        person = replace(after.person(user), grace=0, left={}, unsure={}, hides=None)
        person = replace(person, blocked=dict.fromkeys(person.blocked))
        return after._person(user, person)

    def revoked(self, user: str, *, before: int = 0, name: str = "", now: int) -> "Oracle":
        """Tokens are refused from now on, and no connection goes on by one of them."""
        person = self.person(user)
        names = person.revoked | {name} if name else person.revoked
        decided = replace(person, good_from=max(before, person.good_from), revoked=names)
        after = self._person(user, decided)
        for it in self.live(user, now):
            after = after.closed(it, now, grace=0) if after.is_revoked(it) else after
        return after

    def taken_out(self, user: str, room: str, now: int) -> "Oracle":
        """Out of a room, on all devices, until the user is let in again."""
        person, after = self.person(user), self
        for name, conn in self.conns.items():
            if conn.user == user and room in conn.rooms:
                doubtful = conn.doubtful if conn.is_live(now) else conn.doubtful | {room}
                rooms = conn.rooms - {room}
                after = after._conn(name, replace(conn, rooms=rooms, doubtful=doubtful))
        rest = [{k: v for k, v in it.items() if k != room} for it in (person.left, person.unsure)]
        out = replace(person, left=rest[0], unsure=rest[1], barred=person.barred | {room})
        return after._person(user, out)

    def let_in(self, user: str, room: str) -> "Oracle":
        person = self.person(user)
        return self._person(user, replace(person, barred=person.barred - {room}))

    def erased(self, user: str, now: int, *, lifts_blocks: bool) -> "Oracle":
        known = self.person(user)
        kept = Person(good_from=known.good_from, revoked=known.revoked)
        kept = replace(kept, probed=known.probed, perhaps_probed=known.perhaps_probed)
        kept = kept if lifts_blocks else replace(kept, barred=known.barred)
        after = self.kicked(user, now)._person(user, kept)
        after = replace(after, forgotten={**after.forgotten, user: now})
        for other in self.people if lifts_blocks else ():
            after = after.blocked(other, user, now, is_on=False)
        return after
