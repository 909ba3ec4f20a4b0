"""What people do with their devices, and what a back end decides about them: a table of whims."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from presence.domain.connection import Connection, State
from presence.domain.events import Chosen, TokenRevoked, TokensRevoked
from presence.domain.user import Choice
from presence.protocol.frames import presence as frame_of
from proof.simulation.cloud import SECOND
from proof.simulation.decisions import owner_of
from proof.simulation.devices import Device
from proof.simulation.memory import STALE
from tests.world import GRACE, LEASE

if TYPE_CHECKING:
    from proof.simulation.simulation import Simulation

PEOPLE = ("ada", "bob", "cyd")
SESSIONS = ("hall", "room")
#: A closed connection record is deleted so much later by TTL, at the earliest.
FORGOTTEN = 15 * 60 * SECOND
#: No request takes longer.
REQUEST = 60 * SECOND

Whim: TypeAlias = Callable[[Device], None]


class People:
    """`whims` has how often something is done, compared to the rest."""

    def __init__(self, simulation: "Simulation") -> None:
        self.simulation = simulation
        self.rng, self.clock = simulation.rng, simulation.clock
        self.whims: Mapping[Whim, float] = {
            Device.close: 2,
            Device.die: 1,
            Device.quit: 1,
            self._back_soon: 2,
            self._part: 1,
            self._pass_by: 1,
            lambda it: it.turn(is_active=self.rng.random() < 0.5): 2,
            lambda it: it.join(self._session()): 2,
            lambda it: it.leave(self._session()): 1,
            lambda it: it.speak(self._session()): 1,
            Device.authenticate: 1,
            lambda it: it.verify(self.rng.choice(PEOPLE)): 6,
            self._choose: 1,
            self._read: 2,
            self._block: 1,
            self._kick: 0.3,
            self._revoke: 0.5,
            self._remove_member: 0.7,
            self._allow_member: 0.7,
            self._forget: 1,
            lambda _: simulation.sweep(): 1,
        }

    def live(self, device: Device) -> None:
        if self.simulation.is_over:
            return
        self.clock.later(self.rng.randint(SECOND, 40 * SECOND), partial(self.live, device))
        if self.clock.now < device.waits_until:
            return
        if not device.link:
            device.connect()
        elif device.is_here:
            (whim,) = self.rng.choices([*self.whims], [*self.whims.values()])
            whim(device)

    def _session(self) -> str:
        return self.rng.choice(SESSIONS)

    # ── what people do ─────────────────────────────────────────────────────────────────

    def _back_soon(self, device: Device) -> None:
        device.close()
        self.clock.later(self.rng.randrange(GRACE), device.connect_again)

    def _part(self, device: Device) -> None:
        """One device falls silent, and another closes when that is about to be noticed."""
        others = [
            it
            for it in self.simulation.devices
            if it.user_id == device.user_id and it is not device
        ]
        other, session_id = self.rng.choice(others), self._session()
        for it in (device, other):
            it.waits_until = self.clock.now + LEASE + 3 * GRACE
            if it.is_here:
                it.join(session_id)
        self.clock.later(self.rng.randrange(GRACE), device.die)
        self.clock.later(LEASE - self.rng.randrange(2 * GRACE), other.close)

    def _pass_by(self, device: Device) -> None:
        """A user changes and leaves a chat session while another one comes: they never meet."""
        session_id = self._session()
        others = [it for it in self.simulation.devices if it.user_id != device.user_id]
        other = self.rng.choice(others)
        chosen = Chosen(self.rng.choice((Choice.AWAY, Choice.BUSY, Choice.DND)))
        device.join(session_id)
        if other.is_here:
            other.leave(session_id)
        self._later(device, 3 * SECOND, lambda it: it.choose(chosen))
        self._later(device, 3 * SECOND, lambda it: it.leave(session_id))
        self._later(other, 3 * SECOND + SECOND // 2, lambda it: it.join(session_id))

    def _later(self, device: Device, after: int, whim: Whim) -> None:
        """Some time after that, if it is there by then."""

        def act() -> None:
            if device.is_here:
                whim(device)

        self.clock.later(after + self.rng.randrange(SECOND // 2), act)

    def _choose(self, device: Device) -> None:
        until = self.rng.choice((None, None, self.clock.now + 20 * SECOND))
        choice = self.rng.choice(list(Choice))
        if choice is Choice.INVISIBLE:
            self.simulation.hidden.add(device.user_id)
        chosen_at = self.rng.choice((None, None, self.clock.now - 5 * SECOND))
        device.choose(Chosen(choice, self.rng.choice((None, "out")), until, chosen_at))

    def _block(self, device: Device) -> None:
        blocking = self.simulation.cases.blocking
        act = self.rng.choice((blocking.block, blocking.unblock))
        other = self.rng.choice([it for it in PEOPLE if it != device.user_id])
        self.simulation.functions.until_done("block", lambda now: act(device.user_id, other, now))

    # ── what a back end does ───────────────────────────────────────────────────────────

    def _read(self, device: Device) -> None:
        """A reader asks over HTTP, with a token that has no claim, or without one."""
        simulation, asked_at = self.simulation, self.clock.now
        viewer_id = self.rng.choice((None, device.user_id))
        user_id = self.rng.choice(PEOPLE)

        def answered(result: Any) -> None:
            if not isinstance(result, BaseException):
                simulation.checks.hears(viewer_id, frame_of(result))
                simulation.checks.read(result, asked_at - STALE)
                simulation.reads(viewer_id, frame_of(result), asked_at)

        statuses = simulation.cases.statuses
        simulation.functions.invoke(
            f"GET {user_id}", lambda now: statuses.read(user_id, viewer_id, now), answered
        )

    def _kick(self, device: Device) -> None:
        """Some back ends take away the token after that."""
        if self.rng.random() < 0.5:
            self.clock.later(self.rng.randrange(10 * SECOND), partial(self._revoke, device))
        simulation, user_id = self.simulation, device.user_id
        self._end_all(user_id, [it for it in simulation.sockets if owner_of(it) == user_id])

        def work(now: int) -> None:
            simulation.checks.leaves(user_id)
            simulation.cases.removal.kick(user_id, now)

        simulation.functions.invoke("kick", work, lambda _: None)

    def _end_all(self, user_id: str, links: list[str]) -> None:
        """A request is about to end these connections: nothing is certain of them any more."""
        for link in links:
            self.simulation.expired.add(link)
            self.simulation.checks.ends(link)
        self.simulation.checks.leaves(user_id)

    def _revoke(self, device: Device) -> None:
        """All tokens of a user that were issued so far, or one; the last few seconds are not."""
        simulation, user_id = self.simulation, device.user_id
        decisions, token = simulation.decisions, device.token
        before = self.clock.now - self.rng.choice((0, 0, 60 * SECOND))
        event: TokensRevoked | TokenRevoked = TokensRevoked(before)
        if token is not None and token.token_id is not None and self.rng.random() < 0.5:
            event = TokenRevoked(token.token_id)
        ending = [
            link
            for link, sent in decisions.tokens.items()
            if owner_of(link) == user_id and any(_refuses(event, it) for it in sent)
        ]
        self._end_all(user_id, ending)
        certain = self._certain(user_id)

        def work(now: int) -> None:
            simulation.checks.leaves(user_id)
            simulation.cases.removal.revoke(user_id, event, now)

        def answered(result: Any) -> None:
            if not isinstance(result, BaseException):
                decisions.revokes(user_id, event)
                simulation.is_rid_of(certain.intersection(ending))

        simulation.functions.invoke(f"revoke {user_id}", work, answered)

    def _remove_member(self, device: Device) -> None:
        simulation, user_id, session_id = self.simulation, device.user_id, self._session()
        decisions, removal = simulation.decisions, simulation.cases.removal
        simulation.checks.leaves(user_id, session_id)
        simulation.checks.loses(user_id, session_id)
        decisions.begins_to_remove(user_id, session_id)

        def work(now: int) -> None:
            simulation.checks.leaves(user_id, session_id)
            removal.remove_member(session_id, user_id, now)

        def answered(result: Any) -> None:
            decisions.ends_to_remove(user_id, session_id)
            simulation.checks.loses(user_id, session_id)
            if not isinstance(result, BaseException):
                decisions.removes(user_id, session_id)
                for link in simulation.sockets:
                    simulation.look_at(link)

        simulation.functions.invoke(f"remove {user_id}", work, answered)

    def _allow_member(self, device: Device) -> None:
        simulation, user_id, session_id = self.simulation, device.user_id, self._session()
        decisions, removal = simulation.decisions, simulation.cases.removal
        decisions.begins_to_allow(user_id, session_id)
        simulation.functions.invoke(
            f"allow {user_id}",
            lambda now: removal.allow_member(session_id, user_id, now),
            lambda _: decisions.ends_to_allow(user_id, session_id),
        )

    def _certain(self, user_id: str) -> set[str]:
        """The connections whose lease will last until a request that begins now is over.

        A lease that ends sooner ends the connection by a timer, which no request waits for.
        """
        until = self.clock.now + REQUEST + self.simulation.checks.margin
        leases = self.simulation.user(user_id).leases
        return {name for name, it in leases.items() if it.expires_at > until}

    def _forget(self, _: Device) -> None:
        """TTL deletes what is not needed any more, some time."""
        memory = self.simulation.memory
        for name, record in list(memory.tables.connections.items()):
            if self._is_forgotten(record):
                memory.forget(("connections", name, ""))

    def _is_forgotten(self, record: Connection) -> bool:
        is_old = record.opened_at < self.clock.now - FORGOTTEN
        return record.state is State.CLOSED and is_old


def _refuses(event: TokensRevoked | TokenRevoked, token: Any) -> bool:
    if isinstance(event, TokenRevoked):
        return bool(token.token_id == event.token_id)
    return bool(token.issued_at < event.not_before)
