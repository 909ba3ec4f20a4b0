"""The ping that names its user: one write, and no more than the record would let it do."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.application.connections import PingCommand
from presence.domain.errors import PresenceError, RateLimited
from presence.domain.events import Barred, Disconnected, TokensRevoked
from presence.domain.user import Status
from presence.limits import (
    BURST,
    LEAVE_SECONDS,
    MAX_REFUSED_FRAMES,
    TOKEN_LEEWAY_MILLISECONDS,
)
from tests.world import GRACE, HEARTBEAT, LEASE, SECOND, TOKEN_LIFE, World


def reads_of(world: World) -> list[str]:
    """What is read of records and users from now on."""
    found = list[str]()

    def noting(what: str, read: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **named: Any) -> Any:
            found.append(what)
            return read(*args, **named)

        return noted

    world.records.read = noting("record", world.records.read)  # type: ignore[method-assign]
    world.users.read = noting("user", world.users.read)  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize("is_active", [None, True])
def test_a_usual_ping_reads_nothing(world: World, is_active: bool | None) -> None:
    world.join("ada", "a1")
    world.wait(HEARTBEAT)
    revision, renew = world.user("ada").revision, world.users.renew
    reads, writes = reads_of(world), list[str]()

    def noted(user_id: str, *args: Any, **named: Any) -> Any:
        writes.append(user_id)
        return renew(user_id, *args, **named)

    world.users.renew = noted  # type: ignore[method-assign]
    world.ping("a1", is_active=is_active)

    # The fake reads its user.
    assert (reads, writes) == (["user"], ["ada"])
    assert world.user("ada").revision == revision
    assert world.user("ada").leases["a1"].expires_at == world.now + LEASE


def test_a_ping_that_names_no_user_does_the_same(world: World) -> None:
    world.join("ada", "a1")
    world.wait(HEARTBEAT)

    world.ping_unnamed("a1")

    assert world.user("ada").leases["a1"].expires_at == world.now + LEASE


@pytest.mark.fault("A ping names a user whose connection it is not.")
@pytest.mark.parametrize("named", ["ada", "nobody"])
def test_a_ping_that_names_another_user_does_nothing_to_that_user(world: World, named: str) -> None:
    world.join("ada", "a1")
    world.join("mallory", "m1")
    world.wait(HEARTBEAT)
    before = world.user(named)

    refusals = [refusal_of(world, "m1", user_id=named) for _ in range(BURST + 1)]

    assert world.user(named) == before
    assert refusals[:BURST] == [refusals[0]] * BURST
    assert refusals[0][0] == "forbidden"
    assert named not in refusals[0][1]
    assert refusals[BURST][0] == "rate-limited"


@pytest.mark.fault("A ping names a user before the connection has authenticated.")
def test_a_ping_before_authentication_does_nothing_to_the_user_it_names(world: World) -> None:
    world.join("ada", "a1")
    world.open("m1")
    before = world.user("ada")
    world.wait(HEARTBEAT)

    assert refusal_of(world, "m1", user_id="ada")[0] == "not-authenticated"
    assert world.user("ada") == before


def refusal_of(world: World, name: str, **named: Any) -> tuple[str, str]:
    with pytest.raises(PresenceError) as refusal:
        world.ping(name, **named)
    return refusal.value.code, refusal.value.message


@pytest.mark.parametrize("left", [1, LEASE - 1, LEASE, LEASE + 1])
def test_near_the_end_of_its_token_a_ping_renews_to_that_end(world: World, left: int) -> None:
    world.join("ada", "a1")
    over_at = world.now + TOKEN_LIFE + TOKEN_LEEWAY_MILLISECONDS
    keep_alive(world, "a1", over_at - left)
    reads = reads_of(world)

    world.ping("a1")

    assert reads == ["user"]
    assert world.user("ada").leases["a1"].expires_at == min(world.now + LEASE, over_at)


def test_after_its_token_a_ping_is_told_so(world: World) -> None:
    world.join("ada", "a1")
    keep_alive(world, "a1", world.now + TOKEN_LIFE + TOKEN_LEEWAY_MILLISECONDS)

    assert refusal_of(world, "a1")[0] == "token-expired"
    assert not world.read("ada").is_online


def keep_alive(world: World, name: str, until: int) -> None:
    while world.now + HEARTBEAT < until:
        world.wait(HEARTBEAT)
        world.ping(name)
    world.wait(until - world.now)


@pytest.mark.fault("A revocation stops before it closes what the token has opened.")
def test_a_ping_under_a_revoked_token_ends_the_lease(world: World) -> None:
    world.join("mallory", "m1")
    world.wait(HEARTBEAT)
    world.changes.apply("mallory", TokensRevoked(world.now), world.now)

    assert refusal_of(world, "m1")[0] == "token-invalid"
    assert world.user("mallory").leases == {}


@pytest.mark.parametrize(("later", "reads"), [(HEARTBEAT, True), (25 * 3_600 * SECOND, False)])
def test_the_record_is_read_while_a_revoked_token_could_be_good(
    world: World, later: int, reads: bool
) -> None:
    world.changes.apply("ada", TokensRevoked(world.now), world.now)
    world.wait(later)
    world.join("ada", "a1")
    world.wait(HEARTBEAT)
    seen = reads_of(world)

    world.ping("a1")

    assert ("record" in seen) is reads


@pytest.mark.fault("A connection is closed while its ping is on its way.")
def test_a_ping_between_the_halves_of_a_close_does_not_outlive_the_close(world: World) -> None:
    world.join("ada", "a1")
    world.wait(HEARTBEAT)
    connection = world.connections.close_record("a1", world.now)
    assert connection is not None

    world.ping("a1")
    world.changes.apply("ada", Disconnected("a1", grace_until=world.now + GRACE), world.now)

    assert refusal_of(world, "a1")[0] == "not-authenticated"
    assert world.user("ada").leases == {}


@pytest.mark.fault("A function dies while it closes the socket of a client that floods.")
def test_a_flooder_whose_close_stopped_halfway_is_closed_by_a_timer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.join("mallory", "m1")
    world.timers.asked.clear()

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(world.changes), "apply", dies)
    for _ in range(MAX_REFUSED_FRAMES - 1):
        world.strikes.refused("m1", RateLimited("too fast"), world.now)
    with pytest.raises(KeyboardInterrupt):
        world.strikes.refused("m1", RateLimited("too fast"), world.now)
    monkeypatch.undo()
    world.wait(LEAVE_SECONDS * SECOND)
    world.fire_timers()

    assert world.gateway.closed == ["m1"]


def test_a_ping_brings_no_user_back_into_a_chat_session_that_is_barred(world: World) -> None:
    world.join("ada", "a1")
    world.enter("a1", "room")
    world.changes.apply("ada", Barred("room"), world.now)
    world.wait(HEARTBEAT)
    before = world.user("ada").sessions

    world.ping("a1")

    assert world.user("ada").sessions == before
    assert not world.user("ada").standing.lets_into("room", None)


def test_a_ping_beside_a_narrower_token_keeps_that_one(world: World) -> None:
    world.join("ada", "a1")
    world.wait(HEARTBEAT)
    save, overtaken = world.users.save, list[bool]()

    def save_after_a_ping(*args: Any, **named: Any) -> Any:
        if not overtaken:
            overtaken.append(True)
            world.connections.ping(PingCommand("a1", "ada"), world.now)
        return save(*args, **named)

    world.users.save = save_after_a_ping  # type: ignore[method-assign]
    world.authenticate("ada", "a1", token_life=SECOND, allowed=frozenset())

    lease = world.user("ada").leases["a1"]
    assert lease.expires_at == lease.ends_by == world.now + SECOND + TOKEN_LEEWAY_MILLISECONDS


# ── with and without the name, in all states ───────────────────────────────────────────────

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ping"), st.sampled_from([None, True, False])),
        st.tuples(st.just("wait"), st.sampled_from([SECOND, 9_999, HEARTBEAT, LEASE, 300_000])),
        st.tuples(st.just("token"), st.sampled_from([SECOND, 60_000, TOKEN_LIFE])),
        st.tuples(
            st.sampled_from(["sweep", "timers", "leave", "open", "kick", "revoke", "hide", "act"]),
            st.none(),
        ),
    ),
    max_size=25,
)


def tell(world: World, step: tuple[str, Any], *, is_named: bool) -> str:
    """Do one step of a story; the code of a refusal."""
    name, what = step
    newest = f"a{len(world.owners)}"
    ping = world.ping if is_named else world.ping_unnamed
    deeds: dict[str, Callable[[], object]] = {
        "ping": lambda: ping(newest, is_active=what),
        "wait": lambda: world.wait(what),
        "token": lambda: world.authenticate("ada", newest, token_life=what),
        "sweep": world.run_sweep,
        "timers": world.fire_timers,
        "leave": lambda: world.leave(newest),
        "open": lambda: world.join("ada", f"a{len(world.owners) + 1}"),
        "kick": lambda: world.removal.kick("ada", world.now),
        "revoke": lambda: world.changes.apply("ada", TokensRevoked(world.now), world.now),
        "hide": lambda: world.hide("ada"),
        "act": lambda: world.act(newest),
    }
    try:
        deeds[name]()
    except PresenceError as refusal:
        return refusal.code
    return ""


@given(STEPS)
def test_naming_the_user_changes_nothing_but_the_price(story: list[tuple[str, Any]]) -> None:
    named, unnamed = World(), World()
    for world in (named, unnamed):
        world.join("ada", "a1")

    told = [
        (tell(named, step, is_named=True), tell(unnamed, step, is_named=False)) for step in story
    ]

    assert [one for one, _ in told] == [other for _, other in told]
    assert named.tables == unnamed.tables
    assert named.read("ada").status in set(Status)
