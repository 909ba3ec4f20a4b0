"""Who may act, and for how long: narrower tokens, late frames, revocation, removal."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from presence.application.connections import AuthenticateCommand
from presence.application.standings import Standings
from presence.application.user_changes import UserChanges
from presence.deadline import always
from presence.domain.connection import Connection, Identity
from presence.domain.errors import (
    Conflict,
    Forbidden,
    NotAuthenticated,
    PresenceError,
    TokenExpired,
    TokenInvalid,
    Unavailable,
)
from presence.domain.events import Authenticated, TokenRevoked, TokensRevoked
from presence.domain.standing import LONGEST_LIFE
from presence.domain.user import Choice, Lease, User
from presence.fanout.dispatch import OpenSocket
from presence.limits import (
    MAX_BARRED,
    MAX_RETURNED,
    MAX_REVOKED,
    MAX_SESSIONS,
    STANDING_MILLISECONDS,
    SWAP_ATTEMPTS,
    TOKEN_LEEWAY_MILLISECONDS,
)
from presence.ports import WriteConflict
from tests.world import GRACE, HEARTBEAT, LEASE, SECOND, World

BOTH, ONE = frozenset({"team.1", "team.7"}), frozenset({"team.1"})


@pytest.fixture
def world() -> World:
    return World(is_global=False)


def refusal_of(act: Callable[[], Any]) -> str:
    with pytest.raises(PresenceError) as refusal:
        act()
    return refusal.value.code


def says(world: World, connection_id: str, session_id: str) -> list[Any]:
    """What others hear when a member speaks there now: by connection."""
    world.gateway.heard.clear()
    world.messages.say(connection_id, session_id, "secret", None, world.now)
    return sorted(world.gateway.heard)


def reads_late(world: World, connection_id: str) -> Callable[[], None]:
    """From now on the record is read as it is now, unless consistently; the call ends that."""
    old, read, late = world.records.read(connection_id), world.records.read, connection_id

    def stale(connection_id: str, *, consistent: bool = False) -> Connection | None:
        is_current = consistent or connection_id != late
        return read(connection_id) if is_current else old

    world.records.read = stale  # type: ignore[method-assign]

    def end() -> None:
        world.records.read = read  # type: ignore[method-assign]

    return end


@pytest.mark.fault("A client that was closed, or never authenticated, goes on sending.")
def test_a_refused_frame_costs_one_consistent_read_at_most(world: World) -> None:
    world.join("ada", "closed")
    world.leave("closed")
    world.open("open")
    reads, read = list[bool](), world.records.read

    def counted(connection_id: str, *, consistent: bool = False) -> Connection | None:
        reads.append(consistent)
        return read(connection_id, consistent=consistent)

    world.records.read = counted  # type: ignore[method-assign]
    with pytest.raises(NotAuthenticated):
        world.ping_unnamed("closed")
    assert reads == [False]
    for name in ("closed", "open"):
        reads.clear()
        with pytest.raises(NotAuthenticated):
            world.act(name)
        assert reads == [True]


def in_two_teams(world: World, token_life: int = 3_600_000) -> None:
    """Mallory may be in both teams, and is; the boss is in team.7."""
    world.join("boss", "b1")
    world.enter("b1", "team.7")
    world.open("m1")
    world.authenticate("mallory", "m1", allowed=BOTH, token_life=token_life)
    for session_id in BOTH:
        world.enter("m1", session_id)


# ── a narrower token ───────────────────────────────────────────────────────────────────────


def test_a_narrower_token_ends_what_it_does_not_allow_as_it_is_admitted(world: World) -> None:
    in_two_teams(world)

    welcome = world.authenticate("mallory", "m1", allowed=ONE)

    assert welcome.user.leases["m1"].sessions == ONE
    assert world.records.read("m1").sessions == ONE  # type: ignore[union-attr]
    assert says(world, "b1", "team.7") == []
    assert [it.user_id for it in world.members.of("team.7")] == ["boss"]


@pytest.mark.fault("A client keeps its user changing while it sends a token that allows less.")
@pytest.mark.parametrize("lost", range(SWAP_ATTEMPTS + 1))
def test_of_a_narrower_token_all_is_served_or_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    in_two_teams(world)
    before = world.records.read("m1")
    save, flips = world.users.save, iter(range(lost))

    def behind_a_flip(*images: Any, **others: Any) -> bool:
        if next(flips, None) is not None:
            current = world.users.read("mallory")
            save(current, current, world.now, announce=False)
        return save(*images, **others)

    with monkeypatch.context() as patch:
        patch.setattr(world.users, "save", behind_a_flip)
        try:
            world.authenticate("mallory", "m1", allowed=ONE, token_life=7_200_000)
        except Unavailable:
            assert world.records.read("m1") == before
            assert lost >= SWAP_ATTEMPTS
        else:
            assert says(world, "b1", "team.7") == []


def test_a_token_that_allows_none_of_many_chat_sessions_ends_all_of_them(world: World) -> None:
    world.join("ada", "a1")
    for number in range(MAX_SESSIONS):
        world.wait(SECOND)
        world.enter("a1", f"room-{number}")

    world.authenticate("ada", "a1", allowed=frozenset())

    assert world.tables.sessions == {}
    assert world.user("ada").sessions == frozenset()


def test_a_token_that_ends_very_much_is_admitted_while_the_user_changes_too() -> None:
    world = World(is_global=True)
    world.join("ada", "a1")
    for number in range(MAX_SESSIONS):
        world.wait(SECOND)
        world.enter("a1", f"room-{number}")
    viewers = [f"viewer-{number}" for number in range(MAX_RETURNED)]
    for viewer_id in viewers:
        world.blocking.block("ada", viewer_id, world.now)
    world.wait(GRACE)
    world.on_timer.user("ada", world.now)
    for viewer_id in viewers:
        world.blocking.unblock("ada", viewer_id, world.now)
    world.wait(HEARTBEAT)

    # In the same write all viewers are told "away", so none is ahead of the others any more.
    world.authenticate("ada", "a1", allowed=frozenset(), is_active=False)

    assert world.user("ada").sessions == frozenset()
    assert not world.user("ada").returned


def test_a_connection_that_closes_while_its_token_ends_very_much_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.join("ada", "a1")
    for number in range(MAX_SESSIONS):
        world.wait(SECOND)
        world.enter("a1", f"room-{number}")
    leave = world.changes.__class__.leave

    def closed_first(changes: UserChanges, *args: Any) -> None:
        world.leave("a1")
        leave(changes, *args)

    monkeypatch.setattr(world.changes.__class__, "leave", closed_first)

    def act() -> None:
        world.authenticate("ada", "a1", allowed=frozenset())

    assert refusal_of(act) == "not-authenticated"


def test_a_token_within_seconds_of_the_first_ends_what_was_joined_between(world: World) -> None:
    world.join("ada", "a1")
    world.enter("a1", "room")

    world.authenticate("ada", "a1", allowed=frozenset({"hall"}))

    assert world.tables.sessions == {}


@pytest.mark.fault("All tabs of one user come back at the same moment.")
def test_a_writer_that_lost_waits_and_reads_after_that(world: World) -> None:
    """What the refusal brought is old by then: others wrote meanwhile."""
    world.join("ada", "a1")
    world.open("a2")

    def another() -> None:
        current = world.user("ada")
        save(current, current, world.now, announce=False)

    save, losses, waited = world.users.save, iter(range(2)), list[None]()

    def loses_at_first(*images: Any, **others: Any) -> bool:
        if next(losses, None) is not None:
            another()
        return save(*images, **others)

    def meanwhile() -> None:
        waited.append(None)
        another()

    world.users.save = loses_at_first  # type: ignore[method-assign]
    world.meanwhile = meanwhile

    world.authenticate("ada", "a2")

    assert len(waited) == 1


# ── late frames ────────────────────────────────────────────────────────────────────────────


@pytest.mark.fault("A ping that was read long ago is served after a fresh token.")
def test_a_late_ping_gives_back_no_older_token(world: World) -> None:
    in_two_teams(world, token_life=120 * SECOND)
    world.wait(LEASE)
    world.run_sweep()  # the lease is gone, its record is not closed yet
    late = reads_late(world, "m1")
    world.authenticate("mallory", "m1", allowed=ONE, token_life=7_200_000)
    fresh = world.records.read("m1", consistent=True)
    world.changes.apply(
        "mallory", Authenticated("m1", Lease(world.now, world.now)), world.now
    )  # lapses again

    world.ping("m1")
    late()

    assert world.records.read("m1") == fresh
    assert world.user("mallory").leases["m1"].sessions == ONE
    with pytest.raises(Forbidden):
        world.enter("m1", "team.7")
    world.wait(LEASE - SECOND)
    world.ping("m1")
    world.wait(LEASE)
    world.ping("m1")  # the old token would be over


@pytest.mark.fault("A message is read with a record from before the token that forbids it.")
@pytest.mark.parametrize("way", ["message", "typing", "join"])
def test_no_action_is_served_by_an_older_token(world: World, way: str) -> None:
    in_two_teams(world)
    late = reads_late(world, "m1")
    world.authenticate("mallory", "m1", allowed=ONE)
    world.gateway.heard.clear()
    acts: dict[str, Callable[[], Any]] = {
        "message": lambda: world.messages.say("m1", "team.7", "hi", None, world.now),
        "typing": lambda: world.messages.typing("m1", "team.7", world.now, is_typing=True),
        "join": lambda: world.enter("m1", "team.7"),
    }

    with pytest.raises(Forbidden):
        acts[way]()
    late()

    assert world.gateway.heard == {}
    assert world.records.read("m1").sessions == ONE  # type: ignore[union-attr]


def test_a_late_frame_does_not_let_a_lease_outlive_a_shorter_token(world: World) -> None:
    world.join("ada", "a1")
    late = reads_late(world, "a1")
    world.authenticate("ada", "a1", token_life=10 * SECOND)

    world.ping("a1")
    late()

    assert world.user("ada").leases["a1"].expires_at == world.now + 40 * SECOND


def test_a_burst_of_actions_is_charged_one_after_the_other(world: World) -> None:
    """Each is read before the one before it is charged."""
    world.join("ada", "a1")
    reads_late(world, "a1")

    for _ in range(5):
        world.act("a1")


# ── the end of a token ─────────────────────────────────────────────────────────────────────


@dataclass
class Life:
    """Clients ping, the sweep comes once a minute, and each timer when it is due."""

    world: World
    due: list[tuple[int, Callable[[int], OpenSocket | None]]] = field(default_factory=list)

    def until(self, end: int, pinging: list[str]) -> None:
        world = self.world
        while world.now < end:
            world.wait(SECOND)
            for connection_id in pinging if world.now % HEARTBEAT == 0 else ():
                world.try_ping(connection_id)
            if world.now % (60 * SECOND) == 0:
                world.run_sweep()
            self._set()
            now, self.due, due = world.now, [it for it in self.due if it[0] > world.now], self.due
            for at, check in due:
                if at <= now and (socket := check(now)) is not None:
                    world.dispatcher.close_all([socket], always)

    def _set(self) -> None:
        world, timers = self.world, self.world.timers
        for _, user_id, seconds in (it for it in timers.asked if it[0] == "user"):
            self.due.append((world.now + seconds * SECOND, partial(world.on_timer.user, user_id)))
        for name, user_id, sessions, seconds in timers.expired:
            check = partial(world.on_timer.expired, name, user_id, sessions)
            self.due.append((world.now + seconds * SECOND, check))
        timers.asked, timers.expired = [], []


@pytest.mark.fault("A client goes on listening after its token has ended.")
@pytest.mark.parametrize("pings", [True, False])
@pytest.mark.parametrize("life", [60, 700, 3_600])
def test_a_connection_hears_nothing_more_when_its_token_is_over(
    world: World, life: int, pings: bool
) -> None:
    world.open("b1")
    world.authenticate("boss", "b1", token_life=2 * 3_600_000)
    world.open("m1")
    world.authenticate("mallory", "m1", token_life=life * SECOND)
    for connection_id in ("b1", "m1"):
        world.enter(connection_id, "room")
    over_at = world.now + life * SECOND + TOKEN_LEEWAY_MILLISECONDS

    life_of = Life(world)
    life_of.until(over_at - SECOND, ["b1", "m1"])
    assert says(world, "b1", "room") == ["m1"]
    life_of.until(over_at + 3 * SECOND, ["b1", "m1"] if pings else ["b1"])

    assert says(world, "b1", "room") == []
    assert "m1" in world.gateway.closed


def test_a_frame_that_is_refused_as_expired_closes_the_connection(world: World) -> None:
    world.open("a1")
    world.authenticate("ada", "a1", token_life=SECOND)
    world.enter("a1", "room")
    world.wait(SECOND + TOKEN_LEEWAY_MILLISECONDS)

    with pytest.raises(TokenExpired):
        world.ping("a1")
    world.fire_timers()

    assert world.frames_of("a1")[-1] == {"type": "closing", "reason": "token-expired"}
    assert set(world.gateway.closed) == {"a1"}
    assert world.tables.sessions == {}


def test_a_fresh_token_behind_the_refused_frame_keeps_the_connection(world: World) -> None:
    world.open("a1")
    world.authenticate("ada", "a1", token_life=SECOND)
    world.wait(SECOND + TOKEN_LEEWAY_MILLISECONDS)
    assert refusal_of(lambda: world.ping("a1")) == "token-expired"

    world.authenticate("ada", "a1")
    world.fire_timers()

    assert world.gateway.closed == []
    world.ping("a1")


# ── revocation ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.fault("A token is stolen, and its user signs out everywhere.")
def test_revoking_all_tokens_closes_what_they_opened_and_admits_none_of_them(world: World) -> None:
    world.join("boss", "b1")
    for connection_id in ("m1", "m2"):
        world.join("mallory", connection_id)
    for connection_id in ("b1", "m1", "m2"):
        world.enter(connection_id, "room")
    issued_at = world.now
    world.wait(SECOND)

    world.removal.revoke("mallory", TokensRevoked(world.now), world.now)

    assert world.gateway.closed == ["m1", "m2"]
    assert world.frames_of("m1")[-1] == {"type": "closing", "reason": "token-expired"}
    assert says(world, "b1", "room") == []
    assert not world.read("mallory").is_online
    assert world.try_ping("m1") == "not-authenticated"
    world.open("m3")
    assert refusal_of(lambda: authenticate(world, "m3", issued_at)) == "token-invalid"
    authenticate(world, "m3", world.now)
    assert world.read("mallory").is_online


def authenticate(world: World, name: str, issued_at: int, token_id: str | None = None) -> None:
    identity = Identity("mallory", world.now + 3_600_000, issued_at=issued_at, token_id=token_id)
    world.connections.authenticate(AuthenticateCommand(name, identity, world.now), world.now)


@pytest.mark.fault("A revocation stops before it has closed what the token opened.")
@pytest.mark.parametrize("deed", ["ping", "join"])
def test_the_next_frame_ends_what_a_revocation_left_open(
    world: World, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    in_two_teams(world)
    world.wait(2 * SECOND)
    with monkeypatch.context() as patch:
        patch.setattr(world.expiry.__class__, "evict", _crash)
        with pytest.raises(RuntimeError):
            world.removal.revoke("mallory", TokensRevoked(world.now), world.now)
    world.wait(HEARTBEAT)

    def act() -> None:
        if deed == "ping":
            world.ping("m1")
        else:
            world.enter("m1", "team.1")

    assert refusal_of(act) == "token-invalid"
    world.fire_timers()
    assert world.gateway.closed == ["m1"]
    assert not world.read("mallory").is_online
    assert says(world, "b1", "team.7") == []


def test_a_fresh_token_that_is_read_late_is_not_taken_for_the_revoked_one(world: World) -> None:
    in_two_teams(world)
    end = reads_late(world, "m1")
    world.wait(2 * SECOND)
    world.authenticate("mallory", "m1", allowed=BOTH)
    world.removal.revoke("mallory", TokensRevoked(world.now), world.now)

    world.ping("m1")

    end()
    assert world.gateway.closed == []
    assert world.read("mallory").is_online


def test_revoking_one_token_leaves_the_others(world: World) -> None:
    for name in ("m1", "m2"):
        world.open(name)
        authenticate(world, name, world.now, token_id=f"token of {name}")

    for _ in range(2):
        world.removal.revoke("mallory", TokenRevoked("token of m1"), world.now)

    assert world.gateway.closed == ["m1"]
    world.ping("m2")
    world.open("m3")
    with pytest.raises(TokenInvalid):
        authenticate(world, "m3", world.now, token_id="token of m1")


def test_a_fresh_token_of_a_connection_keeps_it_when_the_older_one_is_revoked(
    world: World,
) -> None:
    world.open("m1")
    authenticate(world, "m1", world.now, token_id="old")
    authenticate(world, "m1", world.now, token_id="new")

    world.removal.revoke("mallory", TokenRevoked("old"), world.now)

    assert world.gateway.closed == []
    world.ping("m1")


@pytest.mark.fault("A request has closed the record of a connection, and stopped there.")
def test_revoking_a_token_ends_what_a_close_has_left_of_its_connection(world: World) -> None:
    world.join("boss", "b1")
    world.open("m1")
    authenticate(world, "m1", world.now, token_id="stolen")
    for connection_id in ("b1", "m1"):
        world.enter(connection_id, "room")
    world.records.close("m1", world.now)  # does not say any more which token it was

    world.removal.revoke("mallory", TokenRevoked("stolen"), world.now)

    assert world.gateway.closed == ["m1"]
    assert not world.read("mallory").is_online
    assert list(world.tables.sessions["room"]) == ["b1"]


def test_a_connection_that_was_late_does_not_return_under_a_revoked_token(world: World) -> None:
    world.join("mallory", "m1")
    world.wait(LEASE)
    world.run_sweep()
    world.removal.revoke("mallory", TokensRevoked(world.now), world.now)

    assert world.try_ping("m1") == "token-invalid"
    world.fire_timers()

    assert world.user("mallory").leases == {}
    assert world.gateway.closed == ["m1"]


def test_an_authentication_beside_a_revocation_loses(world: World) -> None:
    world.open("m1")
    before = world.user("mallory")
    world.removal.revoke("mallory", TokensRevoked(world.now + 1), world.now)

    with pytest.raises(WriteConflict):
        world.users.save(before, before, world.now, announce=False)
    assert refusal_of(lambda: authenticate(world, "m1", world.now)) == "token-invalid"


def test_erasing_a_user_gives_no_revoked_token_back(world: World) -> None:
    world.removal.revoke("mallory", TokensRevoked(world.now + 1), world.now)
    world.open("m1")

    for _ in range(2):
        world.removal.erase("mallory", world.now, lifts_blocks=True)

    with pytest.raises(TokenInvalid):
        authenticate(world, "m1", world.now)
    world.wait(LONGEST_LIFE + 1)
    world.removal.erase("mallory", world.now, lifts_blocks=True)
    assert world.tables.users == {}


def test_there_is_an_end_to_the_tokens_that_are_revoked_one_by_one(world: World) -> None:
    for number in range(MAX_REVOKED):
        world.removal.revoke("ada", TokenRevoked(f"{number}"), world.now)
    with pytest.raises(Conflict):
        world.removal.revoke("ada", TokenRevoked("one more"), world.now)

    world.wait(LONGEST_LIFE)
    world.removal.revoke("ada", TokenRevoked("one more"), world.now)

    assert world.user("ada").standing.revoked.keys() == {"one more"}


def test_over_http_a_decision_is_known_after_some_seconds_and_asked_for_no_sooner(
    world: World,
) -> None:
    asked, read = list[str](), world.users.read

    def counted(user_id: str, *, consistent: bool = False) -> User:
        asked.append(user_id)
        return read(user_id, consistent=consistent)

    world.users.read = counted  # type: ignore[method-assign]
    standings = Standings(world.users)
    identity = Identity("ada", world.now + 3_600_000, issued_at=world.now)
    standings.require_accepted(identity, world.now)
    world.removal.revoke("ada", TokensRevoked(world.now + 1), world.now)
    asked.clear()

    standings.require_accepted(identity, world.now + STANDING_MILLISECONDS - 1)
    assert asked == []
    with pytest.raises(TokenInvalid):
        standings.require_accepted(identity, world.now + STANDING_MILLISECONDS)
    with pytest.raises(TokenInvalid):
        standings.require_accepted(identity, world.now + STANDING_MILLISECONDS + 1)
    assert asked == ["ada"]


# ── removal from a chat session ────────────────────────────────────────────────────────────


@pytest.mark.fault("A user is removed from a private chat session, and holds a token for it.")
def test_a_member_who_is_removed_hears_nothing_more_on_any_device(world: World) -> None:
    in_two_teams(world)
    world.join("mallory", "m2")
    world.enter("m2", "team.7")

    for _ in range(2):
        world.removal.remove_member("team.7", "mallory", world.now)

    assert says(world, "b1", "team.7") == []
    assert [it.user_id for it in world.members.of("team.7")] == ["boss"]
    for name in ("m1", "m2"):
        with pytest.raises(Forbidden):
            world.enter(name, "team.7")
        with pytest.raises(Forbidden):
            world.messages.say(name, "team.7", "x", None, world.now)
    assert world.records.read("m1").sessions == ONE  # type: ignore[union-attr]


def test_removal_lasts_until_the_user_is_allowed_again(world: World) -> None:
    in_two_teams(world)
    world.removal.remove_member("team.7", "mallory", world.now)
    world.leave("m1")
    world.join("mallory", "m3")
    assert refusal_of(lambda: world.enter("m3", "team.7")) == "forbidden"
    world.removal.erase("mallory", world.now, lifts_blocks=False)
    world.join("mallory", "m4")
    assert refusal_of(lambda: world.enter("m4", "team.7")) == "forbidden"

    world.removal.allow_member("team.7", "mallory", world.now)

    assert says(world, "b1", "team.7") == []
    world.enter("m4", "team.7")
    assert says(world, "b1", "team.7") == ["m4"]


def test_to_be_allowed_again_brings_no_connection_back_that_was_late(world: World) -> None:
    in_two_teams(world)
    world.wait(LEASE)
    world.authenticate("boss", "b1", allowed=BOTH)

    world.removal.remove_member("team.7", "mallory", world.now)
    world.removal.allow_member("team.7", "mallory", world.now)
    world.ping("m1")

    assert world.user("mallory").leases["m1"].sessions == {"team.1"}
    assert "m1" not in world.tables.sessions["team.7"]


def test_who_was_removed_while_late_does_not_return_to_the_session(world: World) -> None:
    in_two_teams(world)
    world.wait(LEASE)
    world.run_sweep()  # no lease names the session any more; the record does
    world.join("boss", "b2")
    world.enter("b2", "team.7")
    world.removal.remove_member("team.7", "mallory", world.now)

    world.ping("m1")

    assert world.user("mallory").leases["m1"].sessions == ONE
    assert "m1" not in says(world, "b2", "team.7")


@pytest.mark.fault("A user is removed from a chat session while a connection is late.")
@pytest.mark.parametrize("way", ["late", "halfway"])
@pytest.mark.parametrize("deed", ["message", "typing"])
def test_who_was_removed_does_not_speak_there_with_the_frame_that_comes_back(
    world: World, monkeypatch: pytest.MonkeyPatch, way: str, deed: str
) -> None:
    in_two_teams(world)
    if way == "late":
        world.wait(LEASE)
        world.run_sweep()
        world.removal.remove_member("team.7", "mallory", world.now)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(world.changes.__class__, "leave", _crash)
            with pytest.raises(RuntimeError):
                world.removal.remove_member("team.7", "mallory", world.now)
    world.gateway.heard.clear()

    def act() -> None:
        if deed == "message":
            world.messages.say("m1", "team.7", "still here", None, world.now)
        else:
            world.messages.typing("m1", "team.7", world.now, is_typing=True)

    assert refusal_of(act) == "forbidden"
    assert not world.gateway.heard


def test_a_pending_leave_does_not_outlast_the_removal(world: World) -> None:
    in_two_teams(world)
    world.leave("m1")

    world.removal.remove_member("team.7", "mallory", world.now)

    assert [it.user_id for it in world.members.of("team.7")] == ["boss"]


def test_a_crash_of_the_removal_is_mended_by_the_next_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_two_teams(world)
    with monkeypatch.context() as patch:
        patch.setattr(world.changes.__class__, "leave", _crash)
        with pytest.raises(RuntimeError):
            world.removal.remove_member("team.7", "mallory", world.now)

    world.removal.remove_member("team.7", "mallory", world.now)

    assert says(world, "b1", "team.7") == []


def _crash(*_: Any, **__: Any) -> None:
    raise RuntimeError


def test_there_is_an_end_to_the_chat_sessions_that_are_barred(world: World) -> None:
    for number in range(MAX_BARRED):
        world.removal.remove_member(f"room-{number}", "ada", world.now)

    with pytest.raises(Conflict):
        world.removal.remove_member("one-more", "ada", world.now)
    world.removal.remove_member("room-0", "ada", world.now)


@pytest.mark.fault("A request has closed the record of a connection, and stopped there.")
def test_a_removal_ends_what_a_close_has_left_of_a_connection(world: World) -> None:
    in_two_teams(world)
    world.records.close("m1", world.now)

    world.removal.remove_member("team.7", "mallory", world.now)

    assert list(world.tables.sessions["team.7"]) == ["b1"]


def test_nobody_joins_beside_a_removal(world: World) -> None:
    world.join("mallory", "m1")
    apply = world.changes.__class__.apply
    decided: list[None] = []

    def decided_first(self: Any, user_id: str, event: Any, *rest: Any, **others: Any) -> Any:
        if type(event).__name__ == "Joined" and not decided:
            decided.append(None)
            world.removal.remove_member("room", "mallory", world.now)
        return apply(self, user_id, event, *rest, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.changes.__class__, "apply", decided_first)
        with pytest.raises(Forbidden):
            world.enter("m1", "room")

    assert world.tables.sessions == {}


def test_a_choice_is_not_lost_to_a_decision_of_the_back_end(world: World) -> None:
    world.join("ada", "a1")
    world.choose("ada", Choice.BUSY, "writing")

    world.removal.remove_member("room", "ada", world.now)

    assert world.read("ada").text == "writing"


def test_a_closed_connection_is_over_whatever_was_read(world: World) -> None:
    world.join("ada", "a1")
    late = reads_late(world, "a1")
    world.leave("a1")

    with pytest.raises(NotAuthenticated):
        world.act("a1")
    with pytest.raises(NotAuthenticated):
        world.ping("a1")
    late()

    assert world.user("ada").leases == {}
