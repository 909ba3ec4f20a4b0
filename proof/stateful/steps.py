"""How a step is taken: what is asked, and how the answer is held against the oracle."""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import pytest
from hypothesis.stateful import RuleBasedStateMachine

from proof.stateful.oracle import (
    LEASE,
    LEEWAY,
    LONG_LEASE,
    OFFLINE,
    SLOW_HEARTBEAT,
    Impossible,
    Oracle,
    Token,
    View,
    expect,
)
from proof.stateful.probes import ANSWER, Look, awaited, probed, require_told
from proof.stateful.rig import TAKES, Rig, Waiting
from tests.functions.conftest import Event

USERS, ROOMS = ("ada", "bob", "eve"), ("lobby", "team")

#: Answers in which users may be missing that the connection may not see.
REACHING = ("online-users-list", "watching", "verified")

Told: TypeAlias = Any
#: What a step makes of the oracle, at which time, when that was the answer.
Effect: TypeAlias = Callable[[Oracle, int, Told], Oracle]


@dataclass(frozen=True)
class Step:
    """Something to run, and its effects in their order: what is between them, others may see.

    If it `comes_again`, AWS may bring it once more at any time.
    """

    run: Callable[[], Told]
    effects: Sequence[Effect] = ()
    comes_again: bool = False

    def told(self, answer: Told) -> "Sequence[Done]":
        return [(effect, answer) for effect in self.effects]


Done: TypeAlias = tuple[Effect, Told]


@dataclass(frozen=True)
class Signed:
    """A token as it is sent, and what it says."""

    user: str
    text: str
    says: Token


@dataclass
class Client:
    """Takes what is newer than what it holds; `is_listed`: it has asked for the list."""

    known: dict[str, tuple[int, str, str | None]] = field(default_factory=dict)
    is_listed: bool = False

    def take(self, told: Event) -> None:
        if told["version"] > self.known.get(told["userId"], (-1,))[0]:
            self.known[told["userId"]] = (told["version"], told["status"], told.get("text"))


def presences(frame: Event) -> list[Event]:
    """All that a frame tells of users; `joined` may be users, or chat sessions with members."""
    found: list[Event] = [
        it for name in ("changes", "users", "members") for it in frame.get(name, ())
    ]
    for it in frame.get("joined", ()):
        found += [it] if "userId" in it else it.get("members", ())
    return found + ([frame["presence"]] if "presence" in frame else [])


def code_of(frame: Event | None) -> str:
    return "ok" if frame is None or not frame["type"].endswith("error") else str(frame["code"])


class Steps(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.rig = Rig(self.patch)
        self.world = Oracle()
        self.past: list[tuple[int, Oracle]] = []
        self.clients: dict[str, Client] = {}
        self.steps: list[Step] = []
        #: Whether the last step was as it had to be.
        self.is_sound = False
        #: When the last of the steps was over.
        self.taken_until = 0
        #: Who fell silent, and who missed what was told when it was too young.
        self.vanished: set[str] = set()
        self.deaf: set[str] = set()
        #: What a viewer was told of a user under a version (I3), and the newest that was read.
        self.versions: dict[tuple[str, str, int], Event] = {}
        self.newest: dict[tuple[str, str], int] = {}
        #: All that were made.
        self.signed: list[Signed] = []
        #: Whether what is heard was decided some time ago.
        self.is_late = False

    @property
    def replayable(self) -> list[Step]:
        return [it for it in self.steps if it.comes_again]

    def require(self) -> None:
        """What has to hold of what is stored, after every step."""
        raise NotImplementedError

    # ── how a step is taken ────────────────────────────────────────────────────────────

    def take(self, step: Step) -> Told:
        answer = self.take_once(step)
        self.steps.append(step)
        self.taken_until = self.rig.clock.now
        return answer

    def take_once(self, step: Step) -> Told:
        """It is never repeated."""
        now = self.rig.clock.now
        answer = step.run()
        self.finish(now, step.told(answer))
        return answer

    def finish(self, now: int, done: Iterable[Done]) -> None:
        self.is_sound = False
        worlds = self.after(now, [*done, *self.closed_by_server()])
        self.rig.gateway.closed.clear()
        self.past += [(now, it) for it in worlds]
        self.world = worlds[-1]
        for name, frames in self.rig.all_heard().items():
            for frame in frames:
                self.hear(name, frame, worlds)
        self.is_late = False
        self.require()
        self.is_sound = True

    def after(self, now: int, done: Iterable[Done]) -> list[Oracle]:
        """The world as it is, and after each effect."""
        worlds = [replace(self.world, kept=self.rig.lasts())]
        for effect, answer in done:
            worlds.append(effect(worlds[-1], now, answer))
        return worlds

    def closed_by_server(self) -> Iterator[Done]:
        """Connections that the server closed; another step may have heard of it."""
        for name in self.rig.gateway.closed:
            yield (lambda world, now, told: world.hung_up(told, now)), name

    def order(self, now: int, inner: Sequence[Done], outer: Sequence[Done]) -> Sequence[Done]:
        """In which order two that ran at the same time have to be thought of.

        Either of them may have closed the connection of the other.
        """
        ends = [*self.closed_by_server()]
        orders = [*_orders(inner, [*outer, *ends]), *_orders([*inner, *ends], outer)]
        for order in orders[:-1]:
            with suppress(Impossible):
                self.after(now, order)
                return order
        return orders[-1]

    def hear(self, name: str, frame: Event, worlds: Sequence[Oracle]) -> None:
        """*worlds* are those in which the step that told it may have been decided."""
        viewer = self.world.conns[name].user
        for told in presences(frame):
            self.require_true(str(viewer), told)
            self.require_reached(name, told)
            self.clients[name].take(told)
        if frame["type"] == "user-typing":
            typing = frame["userId"]
            if self.world.is_quiet(viewer, typing, self.past[-1][0]):
                raise Impossible(f"{viewer} sees {typing} type (I10)")
        room = frame.get("chatSessionId")
        conns = [it.conns[name] for it in worlds if name in it.conns]
        if room is not None and not (
            self.is_late or any(room in it.rooms | it.doubtful for it in conns)
        ):
            raise Impossible(f"{name} hears of {room}, and is not in it (I18): {frame}")

    def require_reached(self, name: str, told: Event) -> None:
        """A guest is told only of users who were in a chat session of the guest's token (I20)."""
        user, opened = told["userId"], self.world.conns[name].opened
        if self.world.conns[name].is_limited and told["version"]:
            known = ((at, it) for at, it in reversed(self.past) if at >= opened)
            if not any(it.reaches(name, user, at)[1] for at, it in known if name in it.conns):
                raise Impossible(f"{name} is told of {user} (I20)")

    def require_true(self, viewer: str, told: Event) -> None:
        """Whatever is told, whenever it comes, was so when its version was made (I2, I3, I10)."""
        user, version = told["userId"], told["version"]
        if told["status"] == "offline" and version <= self.world.forgotten.get(user, 0):
            return  # erased: what is told late takes the place of what it was, under its version
        if self.versions.setdefault((viewer, user, version), told) != told:
            raise Impossible(f"one version, two states: {told} (I3)")
        status = (told["status"], told.get("text"))
        if version == 0:
            expect(status, OFFLINE)
            return
        expect(status, *self.views_at(version, viewer, user))

    def views_at(self, at: int, viewer: str, user: str) -> set[View]:
        """What was to be seen before and after the handler that made this version.

        A viewer who was blocked then, and is not any more, may see what was hidden then.
        """
        first = bisect_right(self.past, at - TAKES, key=lambda it: it[0])
        last = bisect_right(self.past, at, key=lambda it: it[0])
        found = set()
        for when, world in self.past[max(0, first - 1) : last]:
            moment = when if when > at - TAKES else at
            found |= world.view(viewer, user, moment)
            if viewer != user and viewer not in self.world.person(user).blocked:
                found |= world.public(user, moment)
        return found

    def worlds_since(self, at: int) -> list[Oracle]:
        """Each that was so at some instant from *at* on."""
        first = bisect_right(self.past, at, key=lambda it: it[0])
        return [it for _, it in self.past[max(0, first - 1) :]]

    # ── steps ──────────────────────────────────────────────────────────────────────────

    def frame(self, name: str, *effects: Effect, **fields: Any) -> Step:
        def run() -> Event:
            answer = self.rig.reply(name, {"id": "1", **fields})
            for told in presences(answer):
                self.clients[name].take(told)
            return answer

        return Step(run, effects)

    def token(self, user: str, life: int, allowed: frozenset[str] | None = None) -> Signed:
        """A token that ends in so many seconds."""
        seconds = self.rig.clock.now // 1000
        issued, name = min(seconds, seconds + life - 60), f"t{len(self.signed)}"
        claims = {} if allowed is None else {"chat_sessions": sorted(allowed)}
        text = self.rig.token(user, iat=issued, exp=seconds + life, jti=name, **claims)
        end = 1000 * (seconds + life) + LEEWAY
        self.signed.append(Signed(user, text, Token(end, 1000 * issued, name, allowed)))
        return self.signed[-1]

    def for_http(self, user: str, **claims: Any) -> str:
        """A token that is younger than all that was decided; clocks may be apart by seconds."""
        return self.rig.token(user, iat=self.rig.clock.now // 1000 + 1, **claims)

    def authenticating(
        self, name: str, signed: Signed, active: bool | None, rooms: Iterable[str] = ()
    ) -> Step:
        asked = frozenset(rooms)

        def effect(world: Oracle, now: int, told: Event) -> Oracle:
            code = code_of(told)
            after = world.authenticated(
                name, signed.user, signed.says, active=active, rooms=asked, now=now, told=code
            )
            self.require_seen(after, name, told, now)
            if code == "ok":
                conn, held = after.conns[name], {*told["chatSessions"]}
                if conn.is_limited:  # it does not hear of all any more
                    self.clients[name].is_listed = False
                if not conn.rooms <= held <= conn.rooms | conn.doubtful:
                    raise Impossible(f"{name} is in {held}, and should be in {conn.rooms} (I19)")
            return after

        fields = {"chatSessionIds": sorted(asked)} if asked else {}
        return self.frame(
            name, effect, action="authenticate", token=signed.text, active=active, **fields
        )

    def pinging(
        self, name: str, active: bool | None, *, is_named: bool = False, is_slow: bool = False
    ) -> Step:
        """It may name its user, as clients do: then it reads nothing; and a slow heartbeat."""
        user = self.world.conns[name].user if is_named else None
        lasts = LONG_LEASE if is_slow else LEASE

        def effect(world: Oracle, now: int, told: Event) -> Oracle:
            return world.pinged(name, active, now, code_of(told), lasts=lasts)

        named: Event = {"userId": user} if user else {}
        named |= {"heartbeatSeconds": SLOW_HEARTBEAT} if is_slow else {}
        return self.frame(name, effect, action="ping", active=active, **named)

    def acting(
        self, name: str, then: Callable[[Oracle], Oracle], action: str, **fields: Any
    ) -> Step:
        def acted(world: Oracle, now: int, told: Event) -> Oracle:
            return world.acted(name, now, code_of(told))

        def done(world: Oracle, now: int, told: Event) -> Oracle:
            if code_of(told) == "ok":
                world = then(world)
            self.require_seen(world, name, told, now)
            return world

        return self.frame(name, acted, done, action=action, **fields)

    def require_seen(self, world: Oracle, name: str, answer: Event, now: int) -> None:
        """An answer says what is so at this moment (I5, I10, I20); members see each other."""
        viewer, is_reach = str(world.conns[name].user), answer["type"] in REACHING
        for told in presences(answer):
            user = told["userId"]
            views = world.shown(name, user, now) if is_reach else world.view(viewer, user, now)
            expect((told["status"], told.get("text")), *views)

    def joining(self, name: str, room: str) -> Step:
        """What the token or the back end does not allow is refused, and charged all the same."""

        def acted(world: Oracle, now: int, told: Event) -> Oracle:
            code = code_of(told)
            return world.acted(name, now, "ok" if code == "forbidden" else code)

        def done(world: Oracle, now: int, told: Event) -> Oracle:
            code = code_of(told)
            if code in ("ok", "forbidden"):
                expect(code == "ok", world.lets_into(name, room))
            if code == "ok":
                world = world.joined(name, room)
            self.require_seen(world, name, told, now)
            return world

        return self.frame(name, acted, done, action="join", chatSessionId=room)

    def choosing(self, name: str, choice: str, text: str | None, until: int | None) -> Step:
        def then(world: Oracle) -> Oracle:
            user, now = str(world.conns[name].user), self.rig.clock.now
            return world.chose(user, choice, text, until, now)

        fields = {"status": choice, "text": text, "until": until}
        return self.acting(name, then, "status", **fields)

    def watching(self, name: str, user: str, *, is_on: bool) -> Step:
        def then(world: Oracle) -> Oracle:
            return world.watches(name, user, is_on=is_on)

        return self.acting(name, then, "watch" if is_on else "unwatch", userIds=[user])

    def leaving(self, name: str, room: str) -> Step:
        return self.acting(
            name, lambda world: world.left_room(name, room), "leave", chatSessionId=room
        )

    def quitting(self, name: str) -> Step:
        """Leave on purpose: the connection is over, without a grace period."""

        def effect(world: Oracle, now: int, told: Event) -> Oracle:
            if (refusal := world.refusal(name, now)) is not None:
                expect(code_of(told), refusal)
                return world
            expect(code_of(told), "ok")
            return world.closed(name, now, grace=0)

        return self.frame(name, effect, action="leave")

    def typing(self, name: str, room: str) -> Step:
        """Relayed at once, so a recipient has to see its user now."""

        def effect(world: Oracle, now: int, told: Event) -> Oracle:
            return world.said_typing(name, room, now, code_of(told))

        return self.frame(name, effect, action="typing", chatSessionId=room, typing=True)

    def listing(self, name: str) -> Step:
        def acted(world: Oracle, now: int, told: Event) -> Oracle:
            return world.acted(name, now, code_of(told))

        def listed(world: Oracle, now: int, told: Event) -> Oracle:
            if code_of(told) == "ok":
                viewer, found = world.conns[name].user, {it["userId"] for it in told["users"]}
                seen = {it for it in USERS if world.view(viewer, it, now) != {OFFLINE}}
                must, may = ({it for it in seen if world.reaches(name, it, now)[k]} for k in (0, 1))
                if not must <= found <= may:
                    raise Impossible(f"{found} are listed, and there are {must}, perhaps {may}")
                self.clients[name].is_listed = not world.conns[name].is_limited
            self.require_seen(world, name, told, now)
            return world

        return self.frame(name, acted, listed, action="online")

    def verifying(self, name: str, user: str) -> Step:
        """Ask whether a user is there now; the answer says besides who has read a probe."""
        asked = self.frame(name, action="verify", userIds=[user])

        def acted(world: Oracle, now: int, told: Event) -> Oracle:
            return world.acted(name, now, code_of(told))

        def seen(world: Oracle, now: int, told: Event) -> Oracle:
            if code_of(told) == "ok":
                require_told(Look(world, name, user, now), told)
            self.require_seen(world, name, told, now)
            return world

        def asks(world: Oracle, now: int, told: Event) -> Oracle:
            look = Look(world, name, user, now, self.rig.deaf)
            return probed(look, told) if code_of(told) == "ok" else world

        def waits(world: Oracle, now: int, told: Event) -> Oracle:
            return awaited(world, user, now, told)

        return Step(partial(self._verified, asked, user), [acted, seen, asks, waits])

    def _verified(self, asked: Step, user: str) -> Event:
        """What is waited for begins after the post: what runs beside it takes its time."""
        answer, began = asked.run(), self.rig.clock.now - TAKES
        ends = {self.rig.lease_end(user, it) for it in self.rig.probed()}
        until = {began + ANSWER, began - TAKES + ANSWER} & ends
        return {**answer, "probed": self.rig.probed(), "until": max(until, default=None)}

    def dropping(self, name: str) -> Step:
        def effect(world: Oracle, now: int, _: Told) -> Oracle:
            return world.closed(name, now)

        return Step(lambda: self.rig.disconnect(name), [effect], comes_again=True)

    def sweeping(self) -> Step:
        return Step(lambda: self.rig.invoke("sweep", {}))

    def reading(self, viewer: str, *users: str) -> Step:
        def run() -> Event:
            token = self.for_http(viewer)
            answer = self.rig.http("POST /batch", token=token, body={"userIds": users})
            return dict(json.loads(answer["body"]))

        def effect(world: Oracle, now: int, answer: Event) -> Oracle:
            for told in answer["users"]:
                status = (told["status"], told.get("text"))
                expect(status, *world.view(viewer, told["userId"], now))
            return world

        return Step(run, [effect])

    # ── a back end ─────────────────────────────────────────────────────────────────────

    def deciding(self, request: str, effect: Callable[[Oracle, int], Oracle], body: Any) -> Step:
        """A back end decides something about a user, over HTTP."""

        def run() -> Event:
            token = self.for_http("admin", scope="presence:admin")
            answer = self.rig.http(request, token=token, body=body)
            assert answer["statusCode"] == 204, answer
            return answer

        return Step(run, [lambda world, now, _: effect(world, now)])

    def revoking(self, user: str, body: Event) -> Step:
        """All tokens before an instant, or one by its name."""
        before, name = body.get("notBefore", 0), body.get("tokenId", "")

        def effect(world: Oracle, now: int) -> Oracle:
            return world.revoked(user, before=before, name=name, now=now)

        return self.deciding(f"POST /users/{user}/revocations", effect, body)

    def taking_out(self, user: str, room: str) -> Step:
        path = f"/chat-sessions/{room}/members/{user}"
        return self.deciding(
            f"DELETE {path}", lambda world, now: world.taken_out(user, room, now), None
        )

    def letting_in(self, user: str, room: str) -> Step:
        path = f"/chat-sessions/{room}/members/{user}"
        return self.deciding(f"PUT {path}", lambda world, _: world.let_in(user, room), None)

    def timer_run(self, waiting: Waiting) -> Step:
        body = waiting.body

        def effect(world: Oracle, now: int, _: Told) -> Oracle:
            is_gone = body["check"] == "gone"
            for name in body["connectionIds"] if is_gone else ():
                world = world.lost(name, body["at"], now)
            return world

        return Step(lambda: self.rig.handle("timers", body), [effect], comes_again=True)

    def kind(self, kind: str, name: str) -> Step:
        """A step about a device, or about whose it is."""
        user = self.world.conns[name].user or USERS[0]
        due = [it for it in self.rig.timers_waiting if it.due <= self.rig.clock.now]
        kinds: dict[str, Callable[[], Step]] = {
            "ping": lambda: self.pinging(name, None),
            "named-ping": lambda: self.pinging(name, None, is_named=True),
            "authenticate": lambda: self.authenticating(name, self.token(user, 3600), None),
            "narrow": lambda: self.authenticating(
                name, self.token(user, 3600, frozenset(ROOMS[1:])), None
            ),
            "name": lambda: self.authenticating(name, self.token(user, 3600), None, ROOMS),
            "revoke": lambda: self.revoking(user, {"notBefore": self.rig.clock.now}),
            "take-out": lambda: self.taking_out(user, ROOMS[0]),
            "let-in": lambda: self.letting_in(user, ROOMS[0]),
            "disconnect": lambda: self.dropping(name),
            "join": lambda: self.joining(name, ROOMS[0]),
            "verify": lambda: self.verifying(name, USERS[1]),
            "watch": lambda: self.watching(name, USERS[1], is_on=True),
            "status": lambda: self.choosing(name, "busy", None, None),
            "read": lambda: self.reading(USERS[2], user),
            "timer": lambda: self.timer_run(due[0]) if due else self.sweeping(),
            "sweep": self.sweeping,
        }
        return kinds[kind]()


def _orders(inner: Sequence[Done], outer: Sequence[Done]) -> Iterator[Sequence[Done]]:
    for it in range(len(outer) + 1):
        yield [*outer[:it], *inner, *outer[it:]]
