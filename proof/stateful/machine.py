"""What may happen, in any order: to people, their devices, and what AWS brings late or twice.

    python -m proof.stateful.machine [--examples 1000] [--seed SEED]

Each batch of examples has a seed of its own; what failed comes again with the one that was printed.
It needs the root of the repository and `layers/presence` in PYTHONPATH.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from presence import bootstrap
from presence.limits import STANDING_MILLISECONDS
from proof.stateful.oracle import LONG_LEASE, OFFLINE, Impossible, expect
from proof.stateful.rig import TAKES, Waiting, packed
from proof.stateful.steps import ROOMS, USERS, Client, Signed, Step, Steps, Told

SECOND, MINUTE = 1_000, 60_000
#: API Gateway cuts every connection after that.
LONGEST = 120 * MINUTE

users, rooms = st.sampled_from(USERS), st.sampled_from(ROOMS)
actives = st.sampled_from((None, True, False))
choices = st.sampled_from(("online", "away", "busy", "invisible"))
#: Seconds from now to the `exp` of a token; it is accepted for 30 s more.
lives = st.sampled_from((3600, 3600, 3600, 60, 5, -29, -31))
numbers = st.integers(0, 7)
KINDS = (
    *("ping", "authenticate", "disconnect", "join", "watch", "status", "read", "timer", "sweep"),
    *("named-ping", "narrow", "name", "revoke", "take-out", "let-in", "verify"),
)
#: Chat sessions of a claim; None is a token without one.
claims = st.sampled_from((None, None, frozenset(ROOMS[:1]), frozenset(ROOMS), frozenset()))


class Presence(Steps):
    devices = Bundle("devices")

    @initialize(target=devices, is_global=st.booleans(), user=users, other=users)
    def start(self, is_global: bool, user: str, other: str) -> Any:
        self.is_global = is_global
        self.rig.start(is_global=is_global)
        return multiple(self.arrive(user, None), self.arrive(other, None))

    def teardown(self) -> None:
        try:
            if self.is_sound:
                self.everybody_leaves()
        finally:
            bootstrap.app.cache_clear()
            self.patch.undo()

    # ── devices ────────────────────────────────────────────────────────────────────────

    @rule(target=devices)
    def connect(self) -> str:
        name = f"c{len(self.clients)}"
        self.clients[name] = Client()
        handshake = Step(lambda: self.rig.connect(name), [lambda it, now, _: it.opened(name, now)])
        self.take_once(handshake)
        return name

    @rule(target=devices, user=users, active=actives)
    def arrive(self, user: str, active: bool | None) -> str:
        name = str(self.connect())
        self.take(self.authenticating(name, self.token(user, 3600), active))
        if self.is_global:
            self.take(self.listing(name))
        return name

    @rule(name=devices, user=users, life=lives, active=actives)
    def authenticate(self, name: str, user: str, life: int, active: bool | None) -> None:
        self.unless_cut(name, self.authenticating(name, self.token(user, life), active))

    @rule(name=devices, life=lives, claim=claims)
    def renew_token(self, name: str, life: int, claim: frozenset[str] | None = None) -> None:
        if user := self.world.conns[name].user:
            self.unless_cut(name, self.authenticating(name, self.token(user, life, claim), None))

    @rule(name=devices, claim=claims, asked=st.sets(rooms))
    def name_rooms(self, name: str, claim: frozenset[str] | None, asked: set[str]) -> None:
        """As a client does that is back: the rooms come with the token."""
        user = self.world.conns[name].user or USERS[0]
        self.unless_cut(name, self.authenticating(name, self.token(user, 3600, claim), None, asked))

    @rule(target=devices, name=devices)
    def come_back(self, name: str) -> str:
        """Close, and be in the same rooms again by another connection."""
        conn = self.world.conns[name]
        self.take(self.dropping(name))
        other = str(self.connect())
        token = self.token(conn.user or USERS[0], 3600, conn.token.allowed)
        self.take(self.authenticating(other, token, None, conn.rooms))
        return other

    @rule(name=devices, number=numbers)
    def send_a_token_again(self, name: str, number: int) -> None:
        """An old one, which may have been revoked."""
        self.unless_cut(name, self.authenticating(name, self._older(number), None))

    def _older(self, number: int) -> Signed:
        return self.signed[-1 - number % len(self.signed)]

    @rule(name=devices, active=actives, is_named=st.booleans(), is_slow=st.booleans())
    def ping(
        self, name: str, active: bool | None, *, is_named: bool = False, is_slow: bool = False
    ) -> None:
        self.unless_cut(name, self.pinging(name, active, is_named=is_named, is_slow=is_slow))

    @rule(name=devices, room=rooms, joins=st.booleans())
    def join_or_leave(self, name: str, room: str, joins: bool) -> None:
        self.unless_cut(name, (self.joining if joins else self.leaving)(name, room))

    @rule(name=devices, user=users, is_on=st.booleans())
    def watch(self, name: str, user: str, is_on: bool) -> None:
        self.unless_cut(name, self.watching(name, user, is_on=is_on))

    @rule(name=devices, user=users)
    def verify(self, name: str, user: str) -> None:
        self.unless_cut(name, self.verifying(name, user))

    @rule(name=devices, user=users, after=st.sampled_from((0, 9, 10)), answers=st.booleans())
    def verify_and_wait(self, name: str, user: str, after: int, answers: bool) -> None:
        """Who was not heard for a while is asked; one of the devices may answer, perhaps late."""
        self.rig.wait(21 * SECOND)
        self.verify(name, user)
        self.rig.wait(after * SECOND)
        for device in sorted(self.world.person(user).asked)[: 1 if answers else 0]:
            self.ping(device, None, is_named=True)
        self.read(USERS[0])

    @rule(name=devices)
    def list_online(self, name: str) -> None:
        self.unless_cut(name, self.listing(name))

    @rule(name=devices, choice=choices, text=st.sampled_from((None, "hi")), seconds=numbers)
    def choose(self, name: str, choice: str, text: str | None, seconds: int) -> None:
        lasting = self.world.person(str(self.world.conns[name].user))
        # When it ended, the user would hide: the oracle knows of that only when it is chosen.
        is_plain = "invisible" not in {lasting.choice, *(it[0] for it in lasting.earlier)}
        until = self.rig.clock.now + seconds * SECOND if seconds and is_plain else None
        self.unless_cut(name, self.choosing(name, choice, text, until))

    @rule(name=devices, room=rooms)
    def type_something(self, name: str, room: str) -> None:
        conn = self.world.conns[name]
        if room in conn.doubtful and not conn.is_live(self.rig.clock.now):
            return  # it is refused there, and back: the oracle knows only one of these
        self.unless_cut(name, self.typing(name, room))

    @rule(name=devices)
    def flood(self, name: str) -> None:
        for _ in range(23):
            self.unless_cut(name, self.watching(name, USERS[0], is_on=False))

    @rule(name=devices)
    def disconnect(self, name: str) -> None:
        """Also late, and of a connection that is over."""
        self.take(self.dropping(name))

    @rule(name=devices)
    def quit(self, name: str) -> None:
        """Leave on purpose."""
        self.unless_cut(name, self.quitting(name))

    @rule(name=devices, is_known=st.booleans())
    def vanish(self, name: str, is_known: bool) -> None:
        """Its `$disconnect` is lost; posts are taken nevertheless, or answered 410."""
        self.vanished.add(name)
        if is_known:
            self.rig.gateway.gone.add(name)

    @rule(target=devices, user=users, seconds=st.sampled_from((0, 11)))
    def arrive_slowly(self, user: str, seconds: int) -> str:
        """API Gateway says 410 of a socket that is young; the timer comes when it comes."""
        name = str(self.connect())
        self.rig.gateway.gone.add(name)
        self.deaf.add(name)
        self.take(self.authenticating(name, self.token(user, 3600), None))
        self.announce(user, count=100, again=False)
        self.rig.wait(seconds * SECOND)
        self.rig.gateway.gone.discard(name)
        return name

    @rule(name=devices)
    def be_busy(self, name: str) -> None:
        self.rig.gateway.busy ^= {name}

    def is_cut(self, name: str) -> bool:
        return self.rig.clock.now - self.world.conns[name].opened >= LONGEST

    def unless_cut(self, name: str, step: Step) -> None:
        if not self.is_cut(name):
            self.take(step)

    # ── over HTTP ──────────────────────────────────────────────────────────────────────

    def ask(self, user: str, request: str, effect: Any, body: Any = None, scope: str = "") -> None:
        token = self.for_http(user, scope=scope)
        answer = self.take(
            Step(
                lambda: self.rig.http(request, token=token, body=body),
                [lambda world, now, _: effect(world, now)],
            )
        )
        assert answer["statusCode"] in (200, 204), answer

    @rule(viewer=users)
    def read(self, viewer: str) -> None:
        for told in self.take(self.reading(viewer, *USERS))["users"]:
            self.require_true(viewer, told)
            newest = self.newest.get((viewer, told["userId"]), 0)
            if 0 < told["version"] < newest:
                raise Impossible(f"{told} came after version {newest} (I3)")
            self.newest[viewer, told["userId"]] = told["version"]

    @rule(viewer=users, room=rooms)
    def read_members(self, viewer: str, room: str) -> None:
        now, path = self.rig.clock.now, f"/chat-sessions/{room}/members"
        answer = self.rig.http(f"GET {path}", token=self.for_http(viewer))
        # Decisions are known over HTTP some seconds later.
        known = self.worlds_since(now - STANDING_MILLISECONDS)
        is_out = answer["statusCode"] == 403
        expect(is_out, *(room in it.person(viewer).barred for it in known))
        if is_out:
            return
        found = {it["userId"] for it in json.loads(answer["body"])["members"]}
        must, may = self.world.members(viewer, room, now)
        # A user whose grace period is over is there until their timer has come.
        timed = {it.body.get("userId", "") for it in self.rig.timers_waiting}
        may |= {it for it in timed if room in self.world.person(it).left}
        if not must <= found <= may:
            raise Impossible(f"{found} in {room}, which has {must} and perhaps {may}")

    @rule(user=users, choice=choices)
    def put_status(self, user: str, choice: str) -> None:
        body = {"status": choice}
        self.ask(user, "PUT ", lambda it, now: it.chose(user, choice, None, None, now), body)

    @rule(user=users, viewer=users, is_on=st.booleans())
    def block(self, user: str, viewer: str, is_on: bool) -> None:
        if user != viewer:
            verb = "PUT" if is_on else "DELETE"
            effect = partial(_blocked, user=user, viewer=viewer, is_on=is_on)
            self.ask(user, f"{verb} /blocked/{viewer}", effect)

    @rule(user=users)
    def kick(self, user: str) -> None:
        request, admin = f"DELETE /users/{user}/connections", "presence:admin"
        self.ask("admin", request, lambda it, now: it.kicked(user, now), scope=admin)

    @rule(user=users, number=numbers, seconds=st.sampled_from((None, 0, 60)))
    def revoke(self, user: str, number: int, seconds: int | None) -> None:
        """All that were issued until so many seconds ago, or one."""
        older = self._older(number)
        if seconds is None:
            self.take(self.revoking(older.user, {"tokenId": older.says.name}))
        else:
            before = self.rig.clock.now - seconds * SECOND
            self.take(self.revoking(user, {"notBefore": before}))

    @rule(user=users, room=rooms)
    def take_out(self, user: str, room: str) -> None:
        self.take(self.taking_out(user, room))

    @rule(user=users, room=rooms)
    def let_in(self, user: str, room: str) -> None:
        self.take(self.letting_in(user, room))

    @rule(number=numbers)
    def read_by_a_revoked_token(self, number: int) -> None:
        """Over HTTP it is refused when each environment has read of it anew."""
        older, now = self._older(number), self.rig.clock.now
        if older.says.end > now and not self.world.person(older.user).accepts(older.says):
            self.rig.wait(STANDING_MILLISECONDS)
            answer = self.rig.http("POST /batch", token=older.text, body={"userIds": [*USERS]})
            expect(answer["statusCode"], 401)

    @rule(user=users, scope=st.sampled_from(("", "presence:admin")))
    def erase(self, user: str, scope: str) -> None:
        effect = partial(_erased, user=user, lifts_blocks=bool(scope))
        self.ask(user, f"DELETE /users/{user}", effect, scope=scope)
        # To those who had blocked the user, it is another viewer from now on.
        self.versions = {key: it for key, it in self.versions.items() if key[0] != user}
        self.newest = {key: it for key, it in self.newest.items() if key[0] != user}

    # ── what AWS brings ────────────────────────────────────────────────────────────────

    @rule(seconds=st.sampled_from((1, 4, 10, 11, 31, 60, 74, 76)))
    def wait(self, seconds: int) -> None:
        self.rig.wait(seconds * SECOND)

    @rule(number=numbers, offset=st.sampled_from((-1, 0, 1)))
    def wait_for_a_deadline(self, number: int, offset: int) -> None:
        """To the millisecond: the end of a lease, of grace, of a token, of a chosen status."""
        now = self.rig.clock.now
        ahead = sorted({it + offset for it in self.world.deadlines() if it + offset > now})
        if ahead:
            self.rig.clock.now = ahead[number % len(ahead)]

    @precondition(lambda self: len(self.steps) > 20)
    @rule(minutes=st.sampled_from((16, 200)), chosen=st.randoms(use_true_random=False))
    def be_away_for_long(self, minutes: int, chosen: Any) -> None:
        """Long enough for DynamoDB to delete some of what it may delete (I15)."""
        self.rig.wait(minutes * MINUTE)
        self.rig.expire(lambda: chosen.random() < 0.5)

    @rule()
    def sweep(self) -> None:
        self.take(self.sweeping())

    @rule(number=numbers, again=st.booleans())
    def fire_timer(self, number: int, again: bool) -> None:
        due = [it for it in self.rig.timers_waiting if it.due <= self.rig.clock.now]
        if due:
            waiting = due[number % len(due)]
            if self.take(self.timer_run(waiting)) and not again:
                self.rig.timers_waiting.remove(waiting)

    @rule(user=users, count=st.integers(1, 4), again=st.booleans())
    def announce(self, user: str, count: int, again: bool) -> None:
        """A batch; if it comes again, perhaps with others behind it."""
        records = self.rig.by_user.get(user, [])
        batch = records[:count]
        if batch:
            self.take(Step(lambda: self.rig.announce(user, batch), comes_again=True))
            del records[: 0 if again else count]

    @rule(number=numbers, again=st.booleans())
    def deliver(self, number: int, again: bool) -> None:
        if queue := self.rig.deliveries_waiting:
            waiting = queue[number % len(queue)]
            step = Step(partial(self.deliver_late, waiting), comes_again=True)
            if self.take(step) and not again:
                queue.remove(waiting)

    def deliver_late(self, waiting: Waiting) -> bool:
        self.is_late = True
        return self.rig.handle("deliver", waiting.body)

    @rule(number=st.integers(0, 30))
    def replay(self, number: int) -> None:
        """Whatever came before comes once more, long after."""
        if self.replayable:
            self.take(self.replayable[-1 - number % len(self.replayable)])

    @precondition(lambda self: self.steps and self.taken_until == self.rig.clock.now)
    @rule()
    def repeat(self) -> None:
        """What came last comes twice, and changes nothing but the ends of leases (I13)."""
        now = self.rig.clock.now
        comes = any(now - TAKES <= it <= now + TAKES for it in self.world.deadlines())
        # One frame more may be one too many of those that are refused.
        comes = comes or any(it.is_struck_out_by_one for it in self.world.conns.values())
        if not (comes or self.rig.has_overdue()):  # the one may see what the other did not
            before = self.rig.essence()
            self.take(self.steps[-1])
            assert self.rig.essence() == before

    @rule(
        name=devices,
        other=devices,
        outer=st.sampled_from(KINDS),
        inner=st.sampled_from(KINDS),
        number=numbers,
    )
    def race(self, name: str, other: str, outer: str, inner: str, number: int) -> None:
        """Two at the same time: one is done just before a call of the other to the tables."""
        if self.is_cut(name) or self.is_cut(other):
            return
        now, first, second = self.rig.clock.now, self.kind(outer, name), self.kind(inner, other)
        heard: list[Told] = []
        with self.rig.interrupted(number, lambda: heard.append(second.run())):
            answer = first.run()
        between = second.told(heard[0]) if heard else ()
        self.finish(now, self.order(now, between, first.told(answer)))

    @rule(name=devices)
    def ping_when_a_lease_was_seen_to_be_over(self, name: str) -> None:
        """The eviction that was about to be written loses (I2)."""
        if (conn := self.world.conns[name]).is_live(self.rig.clock.now):
            self.rig.clock.now = conn.end
            self.race(name, name, "read", "ping", 1)
            self.read(USERS[0])

    @rule(name=devices, inner=st.sampled_from(("disconnect", "authenticate", "status")))
    def write_after_another_read(self, name: str, inner: str) -> None:
        """Of two who change one user, one decides anew."""
        now, user = self.rig.clock.now, str(self.world.conns[name].user)
        for other in self.world.live(user, now):
            if other != name:
                self.race(name, other, "status", inner, 4)
                self.read(USERS[0])
                return

    # ── what must hold ─────────────────────────────────────────────────────────────────

    def require(self) -> None:
        self.whoever_has_a_lease_is_not_offline()
        self.gates_are_as_they_must_be()
        self.rows_are_those_of_claimed_gates_and_of_users()

    def whoever_has_a_lease_is_not_offline(self) -> None:
        for item in self.rig.users():
            hides = item.get("choice") == {"S": "invisible"}
            if item.get("leases", {"M": {}})["M"] and not hides:
                assert item["status"] != {"S": "offline"}, "I1"

    def gates_are_as_they_must_be(self) -> None:
        """What is closed stays closed, and what lives is not closed (I2, I6)."""
        for (name,), item in self.rig.tables.items["Connections"].items():
            if "state" in item:
                conn = self.world.conns[name]
                state = {True: "closed", False: "authenticated" if conn.user else "open"}
                expect(item["state"]["S"], state[conn.is_closed])

    def rows_are_those_of_claimed_gates_and_of_users(self) -> None:
        """I11; and what is written with users is what users say."""
        expected = {row for item in self.rig.users() for row in _rows(item)}
        found = set()
        for (topic, subscriber), item in self.rig.tables.items["Subscriptions"].items():
            if topic.startswith(("members:", "blocked:", "returned:")):
                found.add((topic, subscriber))
            elif int(item["ttl"]["N"]) >= self.rig.clock.now // 1000:
                # A page of a watch list names its connection in its topic.
                name = topic.removeprefix("watching:") if "watching:" in topic else subscriber
                assert self.world.conns[name].is_claimed, f"{name} hears {topic} (I11)"
        assert found == expected

    @rule()
    def be_calm(self) -> None:
        """All that waits is done. Each subscriber holds what a reader is told (I5, I8)."""
        now = self.rig.clock.now
        self.rig.gateway.busy.clear()
        self.take(self.sweeping())
        self.drain()
        if any(now <= it <= self.rig.clock.now for it in self.world.deadlines()):
            return  # something came to its end meanwhile
        self.is_sound = False
        for name, conn in self.world.conns.items():
            is_over = conn.is_claimed and max(conn.end, conn.told_by) <= now
            if is_over and not self.is_cut(name):
                raise Impossible(f"{name} is silent and was not closed by the sweep (I12)")
            if name not in self.vanished | self.deaf:
                self.compare(name)
        self.is_sound = True
        self.look_around()

    def look_around(self) -> None:
        for viewer in USERS:
            self.read(viewer)
        for room, viewer in zip(ROOMS, USERS, strict=False):
            self.read_members(viewer, room)

    def drain(self) -> None:
        for _ in range(20):
            # Of rapid changes the last is told when the others cannot follow it any more.
            held = [it.due for it in self.rig.timers_waiting if it.body["check"] == "told"]
            self.rig.clock.now = max([self.rig.clock.now, *held])
            due = [it for it in self.rig.timers_waiting if it.due <= self.rig.clock.now]
            for waiting in due:
                self.rig.timers_waiting.remove(waiting)
                self.take(self.timer_run(waiting))
            for waiting in [*self.rig.deliveries_waiting]:
                self.rig.deliveries_waiting.remove(waiting)
                self.take(Step(partial(self.deliver_late, waiting)))
            for user, records in self.rig.by_user.items():
                if batch := [*records]:
                    records.clear()
                    self.take(Step(partial(self.rig.announce, user, batch)))

    def compare(self, name: str) -> None:
        """What a client holds of the users that it subscribes to."""
        now, conn = self.rig.clock.now, self.world.conns[name]
        for user in self.heard_of(name, now) if conn.is_live(now) else ():
            _, *held = self.clients[name].known.get(user, (0, *OFFLINE))
            expect(tuple(held), *self.world.view(conn.user, user, now))

    def heard_of(self, name: str, now: int) -> Iterator[str]:
        conn = self.world.conns[name]
        yield str(conn.user)
        # Of others it is not told when it begins to see them, but where it is a member.
        if not conn.is_limited:
            yield from conn.watched
            yield from USERS if self.is_global and self.clients[name].is_listed else ()
        for room in conn.rooms:
            yield from self.world.members(conn.user, room, now)[0]

    def everybody_leaves(self) -> None:
        """In the end nothing is left but what people chose."""
        self.be_calm()
        self.vanished |= {*self.clients}
        for _ in range(2):
            self.rig.wait(LONG_LEASE + 20 * SECOND)
            self.be_calm()
        self.rig.expire(lambda: True)
        kinds = {topic.split(":")[0] for topic, _ in self.rig.tables.items["Subscriptions"]}
        assert kinds <= {"blocked", "returned"}, "I11"
        for item in self.rig.users():
            assert item["status"] == {"S": "offline"}
            assert not item["leases"]["M"]


def _rows(item: Any) -> Iterator[tuple[str, str]]:
    """What a stored user says about other rows."""
    user, sessions = item["user_id"]["S"], packed(item, "sessions")
    rooms = [*sessions.get("leaving", {}), *sessions.get("joined", {})]
    if item["status"] == {"S": "offline"}:
        rooms = []
    # Where a user who hides is still seen.
    scenes = {n: [*it.get("sessions", {})] for n, it in sessions.get("scenes", {}).items()}
    if "farewell" in item:
        rooms = [*scenes[item["farewell"]["M"]["scene"]["S"]]]
    for name, view in packed(item, "blocked").items():
        if "farewell" in view:
            rooms += scenes[view["farewell"]["scene"]]
        yield f"blocked:{name}", user
    yield from ((f"members:{room}", user) for room in rooms)
    yield from ((f"returned:{it}", user) for it in packed(item, "returned"))


def _blocked(world: Any, now: int, **choice: Any) -> Any:
    return world.blocked(choice["user"], choice["viewer"], now, is_on=choice["is_on"])


def _erased(world: Any, now: int, **choice: Any) -> Any:
    return world.erased(choice["user"], now, lifts_blocks=choice["lifts_blocks"])


BATCH = 100
SETTINGS = settings(
    max_examples=BATCH,
    stateful_step_count=50,
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--examples", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    chosen = parser.parse_args()
    for number in range(chosen.seed, chosen.seed + max(1, chosen.examples // BATCH)):
        sys.stdout.write(f"seed {number}\n")
        sys.stdout.flush()
        machine = seed(number)(type("Seeded", (Presence,), {}))
        run_state_machine_as_test(machine, settings=SETTINGS)


if __name__ == "__main__":
    main()
