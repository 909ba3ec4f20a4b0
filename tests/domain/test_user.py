"""The rules of presence, one by one, and then all of them in any order."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.domain.disclosure import Disclosure, Precision, Rules
from presence.domain.errors import Conflict, Forbidden, PresenceError
from presence.domain.events import (
    Authenticated,
    Barred,
    Blocked,
    Chosen,
    DataChanged,
    Disconnected,
    Effect,
    Erased,
    GraceEnded,
    Joined,
    LeaseExpired,
    LeaseRemoved,
    LeaseReplaced,
    LeaseStillValid,
    Left,
    PresenceChanged,
    Probed,
    Renewed,
    Seen,
    TimePassed,
    TimerDue,
    Unblocked,
    UserEvent,
    ViewChanged,
)
from presence.domain.reducer import reduce
from presence.domain.standing import Token
from presence.domain.user import Choice, Lease, Presence, Status, User
from presence.limits import MAX_CONNECTIONS, MAX_SESSIONS

NOW = 1_800_000_000_000
LEASE, GRACE, PROBE = 75_000, 10_000, 10_000
TERNARY = (None, True, False)
ADA = User("ada")
#: Of a stack with a grace period, in which hiding is told as late as leaving.
DISCREET = User("ada", rules=Rules(grace=GRACE))
ROOM = "room"


def lease(at: int, *, is_active: bool = True) -> Lease:
    return Lease(at + LEASE, seen_at=at, is_active=is_active)


def arrive(user: User, connection_id: str, at: int = NOW) -> User:
    return reduce(user, Authenticated(connection_id, lease(at)), at)[0]


def enter(user: User, connection_id: str, at: int) -> User:
    return reduce(user, Joined(connection_id, (ROOM,)), at)[0]


def leave(user: User, connection_id: str, at: int) -> User:
    return reduce(user, Disconnected(connection_id, at + GRACE), at)[0]


def wait(user: User, at: int) -> tuple[User, tuple[Effect, ...]]:
    return reduce(user, TimePassed(), at)


def news(changes: tuple[Effect, ...]) -> list[Status]:
    return [change.after.status for change in changes if isinstance(change, PresenceChanged)]


def test_the_first_connection_brings_a_user_online() -> None:
    user, changes = reduce(ADA, Authenticated("tab", lease(NOW)), NOW)

    assert user.status is Status.ONLINE
    assert user.last_seen == NOW
    assert news(changes) == [Status.ONLINE]


def test_a_second_connection_is_no_news_and_no_new_version() -> None:
    one = arrive(ADA, "laptop")

    two, changes = reduce(one, Authenticated("phone", lease(NOW + 5)), NOW + 5)

    assert news(changes) == []
    assert two.version == one.version


def test_closing_one_of_two_tabs_changes_nothing_for_others() -> None:
    both = arrive(arrive(ADA, "one"), "two")

    left, changes = reduce(both, Disconnected("one", NOW + GRACE), NOW)

    assert left.presence == both.presence
    assert changes == ()


def test_closing_the_last_tab_starts_a_grace_period_and_asks_for_a_second_look() -> None:
    user = arrive(ADA, "tab")

    left, changes = reduce(user, Disconnected("tab", NOW + GRACE), NOW)

    assert left.status is Status.ONLINE
    assert changes == (TimerDue(NOW + GRACE),)


@pytest.mark.parametrize(
    ("after", "status"),
    [(GRACE - 1, Status.ONLINE), (GRACE, Status.OFFLINE), (GRACE + 1, Status.OFFLINE)],
    ids=["a moment before", "at the end", "a moment after"],
)
def test_grace_ends_at_its_end_and_not_before(after: int, status: Status) -> None:
    left = leave(arrive(ADA, "tab"), "tab", NOW)

    assert wait(left, NOW + after)[0].status is status


def test_a_return_within_grace_announces_nothing() -> None:
    left = leave(arrive(ADA, "tab"), "tab", NOW)

    back, changes = reduce(left, Authenticated("new", lease(NOW + 5_000)), NOW + 5_000)

    assert news(changes) == []
    assert back.status is Status.ONLINE
    assert back.grace_until is None


def test_a_close_beside_an_expired_lease_starts_the_grace_period() -> None:
    """Its lease may run out at that very moment; found by the simulation."""
    dead = arrive(ADA, "phone")
    both = arrive(dead, "tab", NOW + 60_000)
    left = leave(both, "tab", NOW + LEASE - 1)

    alone, changes = wait(left, NOW + LEASE)
    back, more = reduce(alone, Authenticated("new", lease(NOW + LEASE)), NOW + LEASE + GRACE - 2)

    assert news(changes) == []
    assert [it for it in changes if isinstance(it, TimerDue)] == [TimerDue(NOW + LEASE - 1 + GRACE)]
    assert (back.status, news(more)) == (Status.ONLINE, [])


def test_a_close_beside_an_expired_lease_keeps_the_pending_leave() -> None:
    """Found by the nemesis: they left it when the lease ran out."""
    phone = enter(arrive(ADA, "phone"), "phone", NOW)
    both = enter(arrive(phone, "tab", NOW + 60_000), "tab", NOW + 60_000)
    left = leave(both, "tab", NOW + LEASE - 1)

    alone, changes = wait(left, NOW + LEASE)
    gone, more = wait(alone, NOW + LEASE - 1 + GRACE)

    assert alone.sessions == {ROOM}
    assert [it for it in changes if isinstance(it, TimerDue)] == [TimerDue(NOW + LEASE - 1 + GRACE)]
    assert (gone.sessions, news(more)) == (frozenset(), [Status.OFFLINE])


def test_a_chat_session_that_another_device_is_in_is_left_when_it_leaves() -> None:
    phone = enter(arrive(ADA, "phone"), "phone", NOW)
    left = leave(enter(arrive(phone, "tab"), "tab", NOW), "tab", NOW)

    later, changes = wait(left, NOW + GRACE)
    gone, _ = reduce(left, Left("phone", (ROOM,)), NOW + 1)

    assert (later, changes) == (left, ())
    assert gone.sessions == frozenset()


@pytest.mark.parametrize("others", [[], ["third"]], ids=["the last one", "one of two"])
def test_grace_that_was_over_beside_a_device_does_not_begin_when_it_is_thrown_out(
    others: list[str],
) -> None:
    user = enter(arrive(ADA, "phone"), "phone", NOW)
    for name in ("tab", *others):
        user = arrive(user, name)
    user = leave(enter(user, "tab", NOW), "tab", NOW)

    gone, changes = reduce(user, Disconnected("phone", NOW + GRACE), NOW + GRACE)

    assert gone.sessions == frozenset()
    assert gone.is_here == bool(others)
    assert [it for it in changes if isinstance(it, TimerDue)] == []


def test_grace_beside_a_live_device_ends_without_a_read() -> None:
    both = arrive(arrive(ADA, "phone"), "tab")
    left, changes = reduce(both, Disconnected("tab", NOW + GRACE), NOW)

    later, more = wait(left, NOW + GRACE)
    gone, news_of = wait(left, NOW + LEASE)

    assert [it for it in (*changes, *more) if isinstance(it, TimerDue)] == []
    assert later == left
    assert (gone.status, news(news_of)) == (Status.OFFLINE, [Status.OFFLINE])


@pytest.mark.parametrize("noticed_at", [LEASE, LEASE + GRACE, 2 * LEASE])
def test_the_last_to_leave_was_seen_last_whatever_a_dead_device_was_heard(noticed_at: int) -> None:
    both = arrive(arrive(ADA, "phone"), "tab", NOW + 60_000)
    left = leave(both, "tab", NOW + LEASE - 1)

    user, _ = wait(wait(left, NOW + noticed_at)[0], NOW + 2 * LEASE)

    assert user.status is Status.OFFLINE
    assert NOW + LEASE - 1 <= (user.last_seen or 0) <= NOW + LEASE - 1 + GRACE


def test_a_hidden_tab_brings_its_user_as_away() -> None:
    user, changes = reduce(ADA, Authenticated("tab", lease(NOW), is_active=False), NOW)

    assert user.status is Status.AWAY
    assert news(changes) == [Status.AWAY]


def test_an_inactive_device_that_returns_within_grace_announces_nothing() -> None:
    away, _ = reduce(ADA, Authenticated("tab", lease(NOW), is_active=False), NOW)
    left = leave(away, "tab", NOW)

    back, changes = reduce(left, Authenticated("new", lease(NOW + 5), is_active=False), NOW + 5)

    assert back.presence == away.presence
    assert news(changes) == []


def test_an_inactive_device_beside_its_next_connection_announces_nothing() -> None:
    away, _ = reduce(ADA, Authenticated("old", lease(NOW), is_active=False), NOW)

    both, changes = reduce(away, Authenticated("new", lease(NOW + 5), is_active=False), NOW + 5)
    left, more = reduce(both, Disconnected("old", NOW + GRACE), NOW + 6)

    assert both.presence == left.presence == away.presence
    assert news((*changes, *more)) == []


@pytest.mark.parametrize(
    ("before", "said", "after"),
    [(was, said, was if said is None else said) for was in (True, False) for said in TERNARY],
)
def test_authenticating_again_changes_what_is_said_of_the_person_and_nothing_else(
    *, before: bool, said: bool | None, after: bool
) -> None:
    user, _ = reduce(ADA, Authenticated("tab", lease(NOW), is_active=before), NOW)
    user, _ = reduce(user, Joined("tab", ("room",)), NOW)

    again, _ = reduce(user, Authenticated("tab", lease(NOW + 5), said), NOW + 5)

    assert again.leases["tab"] == replace(
        lease(NOW + 5, is_active=after), sessions=frozenset({"room"})
    )


def test_a_lease_that_ran_out_says_nothing_of_the_person_who_comes_back() -> None:
    user, _ = reduce(ADA, Authenticated("tab", lease(NOW), is_active=False), NOW)

    back, _ = reduce(user, Authenticated("tab", lease(NOW + LEASE)), NOW + LEASE)

    assert back.status is Status.ONLINE


def test_a_lease_that_runs_out_has_waited_already() -> None:
    user = arrive(ADA, "tab")

    gone, changes = wait(user, NOW + LEASE)

    assert gone.status is Status.OFFLINE
    assert gone.leases == {}
    assert LeaseRemoved("tab") in changes
    assert news(changes) == [Status.OFFLINE]


def test_last_seen_of_an_expired_lease_is_its_last_frame() -> None:
    user = arrive(ADA, "tab")
    user, _ = reduce(user, Renewed("tab", lease(NOW + 30_000)), NOW + 30_000)

    gone, _ = wait(user, NOW + 200_000)

    assert gone.last_seen == NOW + 30_000


def test_a_clean_close_of_the_last_live_device_still_earns_grace_beside_a_dead_one() -> None:
    user = arrive(arrive(ADA, "dead", NOW), "live", NOW + LEASE - 1)

    left = leave(user, "live", NOW + LEASE + 1)

    assert left.leases == {}
    assert left.grace_until == NOW + LEASE + 1 + GRACE


def test_a_ping_creates_nothing() -> None:
    renewed, changes = reduce(ADA, Renewed("ghost", lease(NOW)), NOW)

    assert renewed == ADA
    assert changes == ()


def test_a_ping_never_shortens_a_lease() -> None:
    user = arrive(ADA, "tab", NOW + 1_000)

    late, _ = reduce(user, Renewed("tab", lease(NOW)), NOW + 1_000)

    assert late.leases["tab"].expires_at == NOW + 1_000 + LEASE


def test_a_late_return_never_shortens_a_lease() -> None:
    """It was overtaken by the next frame of its connection, which was answered."""
    user = arrive(ADA, "tab", NOW + 1_000)

    late, _ = reduce(user, Authenticated("tab", lease(NOW)), NOW)

    assert late.leases == user.leases


def test_a_user_is_away_when_every_device_is_inactive() -> None:
    user = arrive(arrive(ADA, "laptop"), "phone")

    half, _ = reduce(user, Renewed("laptop", lease(NOW), is_active=False), NOW)
    away, changes = reduce(half, Renewed("phone", lease(NOW), is_active=False), NOW)
    back, again = reduce(away, Renewed("phone", lease(NOW + 1), is_active=True), NOW + 1)

    assert half.status is Status.ONLINE
    assert news(changes) == [Status.AWAY]
    assert away.status is Status.AWAY
    assert news(again) == [Status.ONLINE]
    assert back.version > away.version


def test_an_explicit_choice_is_not_overwritten_by_activity() -> None:
    busy, _ = reduce(arrive(ADA, "tab"), Chosen(Choice.BUSY, "deep work"), NOW)

    idle, changes = reduce(busy, Renewed("tab", lease(NOW), is_active=False), NOW)

    assert idle.presence.status is Status.BUSY
    assert changes == ()


def test_a_choice_survives_departure_and_return() -> None:
    busy, _ = reduce(arrive(ADA, "tab"), Chosen(Choice.DND, "sleeping"), NOW)
    gone, _ = wait(leave(busy, "tab", NOW), NOW + GRACE)

    back = arrive(gone, "tab2", NOW + 100_000)

    assert gone.presence.text is None
    assert (back.status, back.presence.text) == (Status.DND, "sleeping")


def test_a_choice_ends_by_itself() -> None:
    busy, changes = reduce(arrive(ADA, "tab"), Chosen(Choice.BUSY, "lunch", NOW + 60_000), NOW)

    over, news_then = wait(busy, NOW + 60_000)

    assert TimerDue(NOW + 60_000) in changes
    assert (over.status, over.text, over.until) == (Status.ONLINE, None, None)
    assert news(news_then) == [Status.ONLINE]


def test_invisible_looks_like_leaving_and_then_like_nothing_at_all() -> None:
    user = arrive(ADA, "tab")

    hidden, changes = reduce(user, Chosen(Choice.INVISIBLE, "ghost"), NOW + 1_000)
    more, quiet = reduce(hidden, Authenticated("two", lease(NOW + 2_000)), NOW + 2_000)
    seen, still = reduce(more, Seen(), NOW + 3_000)
    left = leave(leave(seen, "tab", NOW + 4_000), "two", NOW + 4_000)
    gone, silence = wait(left, NOW + 4_000 + GRACE)

    assert news(changes) == [Status.OFFLINE]
    assert hidden.presence == gone.presence
    assert (news(quiet), news(still), news(silence)) == ([], [], [])
    assert gone.presence.last_seen == NOW + 1_000
    assert gone.presence.text is None


def test_becoming_visible_again_looks_like_arriving() -> None:
    hidden, _ = reduce(arrive(ADA, "tab"), Chosen(Choice.INVISIBLE), NOW)

    shown, changes = reduce(hidden, Chosen(Choice.ONLINE), NOW + 9_000)

    assert news(changes) == [Status.ONLINE]
    assert shown.last_seen == NOW + 9_000


def hide(user: User, at: int, until: int | None = None) -> User:
    return reduce(user, Chosen(Choice.INVISIBLE, until=until), at)[0]


@pytest.mark.parametrize("looked_at", [(100_000,), (96_000, 100_000)], ids=["at once", "between"])
def test_last_seen_does_not_move_when_a_lease_expires_while_invisible(
    looked_at: tuple[int, ...],
) -> None:
    """What they hid does not come out because no read came before they would have been shown."""
    user = hide(arrive(ADA, "tab"), NOW + 5_000, until=NOW + 100_000)
    user, _ = reduce(user, Renewed("tab", lease(NOW + 20_000)), NOW + 20_000)

    for at in looked_at:
        user, changes = wait(user, NOW + at)
        assert news(changes) == []

    assert (user.status, user.last_seen) == (Status.OFFLINE, NOW + 5_000)
    assert (user.choice, user.until) == (Choice.ONLINE, None)


@pytest.mark.parametrize("looked_at", [(96_000,), (81_000, 96_000)], ids=["at once", "between"])
def test_last_seen_moves_to_the_end_of_invisible_when_the_lease_expires_later(
    looked_at: tuple[int, ...],
) -> None:
    user = hide(arrive(ADA, "tab"), NOW + 5_000, until=NOW + 80_000)
    user, _ = reduce(user, Renewed("tab", lease(NOW + 20_000)), NOW + 20_000)

    for at in looked_at:
        user, _ = wait(user, NOW + at)

    assert (user.status, user.last_seen) == (Status.OFFLINE, NOW + 80_000)


def hidden_in_grace() -> User:
    """Invisible until +8 s; the last connection is closed at +5 s."""
    return leave(hide(arrive(ADA, "tab"), NOW + 1_000, NOW + 8_000), "tab", NOW + 5_000)


def test_invisible_that_ends_in_grace_does_not_show_the_user() -> None:
    """No change announces an arrival without a connection, or a departure behind it."""
    left = hidden_in_grace()

    over, changes = wait(left, NOW + 8_000)
    gone, more = wait(over, NOW + 5_000 + GRACE)

    assert (news(changes), news(more)) == ([], [])
    assert left.presence == over.presence == gone.presence
    assert (gone.status, gone.last_seen) == (Status.OFFLINE, NOW + 1_000)
    assert gone.choice is Choice.ONLINE


def test_a_return_in_grace_after_invisible_ended_is_seen_since_then() -> None:
    left, _ = wait(hidden_in_grace(), NOW + 9_000)

    back, changes = reduce(left, Authenticated("new", lease(NOW + 9_000)), NOW + 9_000)

    assert news(changes) == [Status.ONLINE]
    assert (back.choice, back.until, back.last_seen) == (Choice.ONLINE, None, NOW + 9_000)


@pytest.mark.parametrize("choice", [Choice.ONLINE, Choice.BUSY])
def test_a_choice_without_a_connection_does_not_show_an_invisible_user_in_grace(
    choice: Choice,
) -> None:
    left = hidden_in_grace()

    chosen, changes = reduce(left, Chosen(choice), NOW + 6_000)
    back, more = reduce(chosen, Authenticated("new", lease(NOW + 7_000)), NOW + 7_000)

    assert (chosen.presence, news(changes)) == (left.presence, [])
    assert (news(more), back.last_seen) == ([Status(choice)], NOW + 7_000)


def test_a_user_who_hides_in_grace_leaves_when_it_ends() -> None:
    left = leave(arrive(ADA, "tab"), "tab", NOW + 1_000)

    hidden, changes = reduce(left, Chosen(Choice.INVISIBLE), NOW + 6_000)
    gone, more = wait(hidden, NOW + 1_000 + GRACE)

    assert (news(changes), news(more)) == ([], [Status.OFFLINE])
    assert hidden.presence == left.presence
    assert gone.presence == wait(left, NOW + 1_000 + GRACE)[0].presence


@pytest.mark.parametrize("choice", [Choice.AWAY, Choice.BUSY, Choice.DND])
def test_what_others_see_stands_still_in_grace_also_when_a_choice_ends(choice: Choice) -> None:
    """Online would announce a user who is not there."""
    user, _ = reduce(arrive(ADA, "tab"), Chosen(choice, "lunch", NOW + 8_000), NOW)
    left, due = reduce(user, Disconnected("tab", NOW + 5_000 + GRACE), NOW + 5_000)

    over, changes = wait(left, NOW + 8_000)
    back, arrival = reduce(over, Authenticated("new", lease(NOW + 9_000)), NOW + 9_000)
    gone, departure = wait(over, NOW + 5_000 + GRACE)

    assert due == (TimerDue(NOW + 5_000 + GRACE),)
    assert (over.presence, changes) == (left.presence, ())
    assert (news(arrival), back.text, back.until) == ([Status.ONLINE], None, None)
    assert (news(departure), gone.choice, gone.until) == ([Status.OFFLINE], Choice.ONLINE, None)


def test_a_choice_that_is_over_ends_with_a_grace_that_is_cut_short() -> None:
    user, _ = reduce(arrive(ADA, "tab"), Chosen(Choice.BUSY, "lunch", NOW + 8_000), NOW)
    left = leave(user, "tab", NOW + 5_000)

    gone, _ = reduce(left, GraceEnded(), NOW + 9_000)

    assert (gone.status, gone.choice, gone.until) == (Status.OFFLINE, Choice.ONLINE, None)


@pytest.mark.parametrize("looked_at", [(79_000,), (76_000, 79_000)], ids=["at once", "between"])
def test_grace_shows_what_the_last_device_showed(looked_at: tuple[int, ...]) -> None:
    """Of two dead devices the hidden one runs out last."""
    user = arrive(ADA, "laptop")
    user, _ = reduce(user, Authenticated("tab", lease(NOW + 1_500, is_active=False)), NOW + 1_500)
    user = leave(arrive(user, "phone", NOW + 60_000), "phone", NOW + 70_000)

    for at in looked_at:
        user, _ = wait(user, NOW + at)

    assert (user.leases, user.status) == ({}, Status.AWAY)


def test_marking_oneself_seen_is_a_new_version_but_no_news() -> None:
    user = arrive(ADA, "tab")

    seen, changes = reduce(user, Seen(), NOW + 1_000)

    assert seen.version > user.version
    assert changes == ()


@pytest.mark.fault("An item outgrows what DynamoDB stores, or what a ping may cost.")
def test_one_connection_too_many_replaces_the_one_heard_longest_ago() -> None:
    user = full_house()

    after, effects = reduce(user, Authenticated("one more", lease(NOW + 50)), NOW + 50)

    assert user.leases.keys() - after.leases.keys() == {"tab-0"}
    assert "one more" in after.leases
    assert LeaseReplaced("tab-0", frozenset({ROOM})) in effects
    assert not any(isinstance(it, PresenceChanged | LeaseRemoved) for it in effects)


def test_of_the_same_device_a_connection_goes_first() -> None:
    user = full_house()
    phone = replace(lease(NOW + 50), device="phone")

    after, _ = reduce(user, Authenticated("one more", phone), NOW + 50)

    assert user.leases.keys() - after.leases.keys() == {"tab-7"}


def test_a_connection_that_is_known_replaces_none() -> None:
    user = full_house()

    after, effects = reduce(user, Authenticated("tab-3", lease(NOW + 50)), NOW + 50)

    assert after.leases.keys() == user.leases.keys()
    assert not any(isinstance(it, LeaseReplaced) for it in effects)


def test_the_chat_sessions_of_a_replaced_connection_wait_for_their_user() -> None:
    event = Authenticated("one more", lease(NOW + 50), grace_until=NOW + 50 + GRACE)
    after, effects = reduce(full_house(), event, NOW + 50)

    assert after.pending_leaves == {ROOM: NOW + 50 + GRACE}
    assert not any(isinstance(it, ViewChanged) for it in effects)

    named = replace(event, session_ids=(ROOM,))
    after, effects = reduce(full_house(), named, NOW + 50)

    assert (after.pending_leaves, after.joined_sessions) == ({}, frozenset({ROOM}))
    assert not any(isinstance(it, ViewChanged | PresenceChanged) for it in effects)


def full_house() -> User:
    """As many connections as a user may have; the first is in a room, two are on the phone."""
    user = ADA
    for number in range(MAX_CONNECTIONS):
        device = "phone" if number in (7, 9) else None
        heard = replace(lease(NOW + number), device=device)
        user, _ = reduce(user, Authenticated(f"tab-{number}", heard), NOW + number)
    return reduce(user, Joined("tab-0", (ROOM,)), NOW + MAX_CONNECTIONS)[0]


# ── several chat sessions ──────────────────────────────────────────────────────────────────


def test_what_may_be_joined_is_and_the_rest_is_not() -> None:
    user, _ = reduce(arrive(ADA, "tab"), Barred("barred"), NOW)
    names = ("barred", *(f"room-{number}" for number in range(MAX_SESSIONS + 1)))

    after, _ = reduce(user, Joined("tab", names), NOW)

    assert after.sessions == set(names[1 : MAX_SESSIONS + 1])


@pytest.mark.parametrize(("name", "error"), [("barred", Forbidden), ("one-more", Conflict)])
def test_a_join_of_which_nothing_may_be_joined_is_refused(
    name: str, error: type[PresenceError]
) -> None:
    user, _ = reduce(arrive(ADA, "tab"), Barred("barred"), NOW)
    rooms = tuple(f"room-{number}" for number in range(MAX_SESSIONS))
    user, _ = reduce(user, Joined("tab", rooms), NOW)

    with pytest.raises(error):
        reduce(user, Joined("tab", (name, "barred")), NOW)


def test_a_user_who_names_the_chat_sessions_in_time_has_not_left_them() -> None:
    rooms = tuple(f"room-{number}" for number in range(MAX_SESSIONS))
    user, _ = reduce(arrive(ADA, "tab"), Joined("tab", rooms), NOW)
    user = leave(user, "tab", NOW + 1)
    assert user.pending_leaves.keys() == set(rooms)

    event = Authenticated("next", lease(NOW + 2), session_ids=rooms)
    after, effects = reduce(user, event, NOW + 2)

    assert (after.pending_leaves, after.joined_sessions) == ({}, frozenset(rooms))
    assert not any(isinstance(it, ViewChanged | PresenceChanged) for it in effects)


def test_an_admission_joins_only_what_the_token_allows() -> None:
    token = Token(NOW + 1, frozenset({"room.*"}))
    event = Authenticated("tab", lease(NOW), None, token, ("room.1", "hall", "room.2"))

    after, _ = reduce(reduce(ADA, Barred("room.2"), NOW)[0], event, NOW)

    assert after.leases["tab"].sessions == {"room.1"}


def test_a_dead_connection_makes_room_for_a_new_one() -> None:
    user = ADA
    for number in range(MAX_CONNECTIONS):
        user = arrive(user, f"tab-{number}")

    later = arrive(user, "one more", NOW + LEASE)

    assert set(later.leases) == {"one more"}


@pytest.mark.fault("A table is restored, or an item is erased.")
def test_versions_outgrow_those_of_an_item_that_was_deleted() -> None:
    before = leave(arrive(ADA, "tab"), "tab", NOW + 1)

    reborn = arrive(User("ada"), "tab", NOW + 2)

    assert reborn.version > before.version


@pytest.mark.fault("The clocks of two functions differ, or jump.")
@pytest.mark.parametrize("skew", [-5_000, -1, 0, 5_000])
def test_a_clock_that_is_off_never_turns_a_version_or_a_lease_back(skew: int) -> None:
    user = arrive(ADA, "tab")
    late = NOW + 10_000 + skew

    renewed, _ = reduce(user, Renewed("tab", lease(NOW + skew)), NOW + skew)
    busy, _ = reduce(renewed, Chosen(Choice.BUSY), late)
    back, _ = reduce(busy, Chosen(Choice.ONLINE), late - 5_000)

    assert renewed.leases["tab"].expires_at >= user.leases["tab"].expires_at
    assert user.version < busy.version < back.version


def test_a_late_return_with_too_many_sessions_is_refused() -> None:
    """More rows than one transaction holds would shut the user out of every later change."""
    user = arrive(ADA, "tab")
    for number in range(MAX_SESSIONS):
        user, _ = reduce(user, Joined("tab", (f"room-{number}",)), NOW)
    late = replace(lease(NOW), sessions=frozenset({"one-more"}))

    with pytest.raises(Conflict):
        reduce(user, Authenticated("phone", late), NOW)

    again, _ = reduce(
        user, Authenticated("phone", replace(late, sessions=frozenset({"room-1"}))), NOW
    )
    assert len(again.sessions) == MAX_SESSIONS


# ── hiding ─────────────────────────────────────────────────────────────────────────────────


def test_hiding_is_told_when_closing_the_last_tab_would_be() -> None:
    user = enter(arrive(DISCREET, "tab"), "tab", NOW)

    hidden, changes = reduce(user, Chosen(Choice.INVISIBLE, "ghost"), NOW + 1_000)
    closed = leave(user, "tab", NOW + 1_000)
    gone, more = wait(hidden, NOW + 1_000 + GRACE)

    assert (news(changes), news(more)) == ([], [Status.OFFLINE])
    assert hidden.presence == closed.presence
    assert hidden.own_presence.status is Status.INVISIBLE
    assert gone.presence == wait(closed, NOW + 1_000 + GRACE)[0].presence
    assert TimerDue(NOW + 1_000 + GRACE) in changes
    assert hidden.sessions_seen_by(None) == {ROOM}
    assert gone.sessions_seen_by(None) == frozenset()


def test_showing_up_before_hiding_is_told_announces_nothing() -> None:
    user = arrive(DISCREET, "tab")
    hidden, _ = reduce(user, Chosen(Choice.INVISIBLE), NOW + 1_000)

    shown, changes = reduce(hidden, Chosen(Choice.ONLINE), NOW + 5_000)
    later, more = wait(shown, NOW + 1_000 + GRACE)

    assert (news(changes), news(more)) == ([], [])
    assert shown.presence == hidden.presence
    assert later.status is Status.ONLINE


@pytest.mark.parametrize("after", [0, 3_000])
def test_a_choice_without_a_connection_does_not_stop_a_hidden_user_from_leaving(after: int) -> None:
    user = arrive(DISCREET, "tab")
    hidden, _ = reduce(user, Chosen(Choice.INVISIBLE), NOW)
    left = leave(hidden, "tab", NOW + after)

    chosen, changes = reduce(left, Chosen(Choice.BUSY), NOW + 4_000)
    gone, more = wait(chosen, NOW + GRACE)

    assert (news(changes), news(more)) == ([], [Status.OFFLINE])
    assert (gone.presence.last_seen, gone.version) == (NOW, NOW + GRACE)


def test_hidden_sessions_count_against_the_limit_until_they_are_left() -> None:
    """They have rows, and more than one transaction holds would shut the user out."""
    user = arrive(DISCREET, "tab")
    for number in range(MAX_SESSIONS):
        user, _ = reduce(user, Joined("tab", (f"room-{number}",)), NOW)
    hidden, _ = reduce(user, Blocked("eve"), NOW)
    left, _ = reduce(hidden, Left("tab", ("room-0",)), NOW + 1)

    with pytest.raises(Conflict):
        reduce(left, Joined("tab", ("one-more",)), NOW + 2)
    joined, _ = reduce(left, Joined("tab", ("one-more",)), NOW + GRACE)

    assert left.audiences["room-0"].only_for == {"eve"}
    assert "one-more" in joined.sessions


# ── last seen ──────────────────────────────────────────────────────────────────────────────


def turn(user: User, connection_id: str, at: int, *, is_active: bool) -> User:
    return reduce(user, Renewed(connection_id, lease(at), is_active), at)[0]


def test_last_seen_of_a_user_who_is_away_is_the_last_activity() -> None:
    user = arrive(ADA, "tab")
    user = turn(user, "tab", NOW + 30_000, is_active=True)
    away = turn(user, "tab", NOW + 60_000, is_active=False)
    later, _ = reduce(away, Renewed("tab", lease(NOW + 90_000)), NOW + 90_000)

    assert (away.status, away.last_seen) == (Status.AWAY, NOW + 60_000)
    assert later.presence == away.presence


@pytest.mark.parametrize("way", ["closed", "silent"])
def test_last_seen_is_no_heartbeat_of_a_hidden_tab(way: str) -> None:
    away = turn(arrive(ADA, "tab"), "tab", NOW + 10_000, is_active=False)
    away, _ = reduce(away, Renewed("tab", lease(NOW + 60_000)), NOW + 60_000)

    left = leave(away, "tab", NOW + 61_000) if way == "closed" else away
    gone, _ = wait(left, NOW + 300_000)

    assert (gone.status, gone.last_seen) == (Status.OFFLINE, NOW + 10_000)


def test_what_a_device_saw_that_closed_beside_a_hidden_tab_is_not_forgotten() -> None:
    user = turn(arrive(ADA, "tab"), "tab", NOW + 1_000, is_active=False)
    user = arrive(user, "phone", NOW + 2_000)

    away = leave(user, "phone", NOW + 50_000)

    assert (away.status, away.last_seen) == (Status.AWAY, NOW + 50_000)


def test_a_hidden_tab_that_comes_back_is_no_activity() -> None:
    away = turn(arrive(ADA, "tab"), "tab", NOW + 1_000, is_active=False)
    gone, _ = wait(away, NOW + 200_000)

    back, _ = reduce(
        gone, Authenticated("new", lease(NOW + 300_000, is_active=False)), NOW + 300_000
    )

    assert (back.status, back.last_seen) == (Status.AWAY, NOW + 1_000)


def test_what_an_invisible_user_does_is_no_activity_that_others_learn() -> None:
    hidden = hide(arrive(ADA, "tab"), NOW + 1_000)
    hidden = turn(hidden, "tab", NOW + 30_000, is_active=False)

    shown, _ = reduce(hidden, Chosen(Choice.ONLINE), NOW + 40_000)

    assert (shown.status, shown.last_seen) == (Status.AWAY, NOW + 1_000)


# ── choices ────────────────────────────────────────────────────────────────────────────────


def choose(user: User, choice: Choice, at: int, until: int | None = None) -> User:
    return reduce(user, Chosen(choice, choice.value, until), at)[0]


def test_a_timed_choice_gives_back_the_one_before_it() -> None:
    user = arrive(ADA, "tab")
    user = choose(user, Choice.AWAY, NOW)
    user = choose(user, Choice.BUSY, NOW + 1, NOW + 40_000)
    user = choose(user, Choice.DND, NOW + 2, NOW + 20_000)
    user = choose(user, Choice.DND, NOW + 3, NOW + 25_000)

    found = [wait(user, NOW + at)[0] for at in (24_999, 25_000, 40_000)]

    assert [it.choice for it in found] == [Choice.DND, Choice.BUSY, Choice.AWAY]
    assert [it.text for it in found] == ["dnd", "busy", "away"]
    assert [it.until for it in found] == [NOW + 25_000, NOW + 40_000, None]


def test_the_same_choice_with_an_end_does_not_come_back() -> None:
    user = choose(arrive(ADA, "tab"), Choice.BUSY, NOW)

    user = choose(user, Choice.BUSY, NOW + 1, NOW + 40_000)

    assert user.earlier == ()
    assert wait(user, NOW + 40_000)[0].choice is Choice.ONLINE


def test_a_lasting_choice_ends_all_before_it() -> None:
    user = choose(arrive(ADA, "tab"), Choice.BUSY, NOW, NOW + 40_000)

    user = choose(user, Choice.AWAY, NOW + 1)

    assert user.earlier == ()
    assert wait(user, NOW + 50_000)[0].choice is Choice.AWAY


def test_a_timed_choice_over_invisible_ends_in_hiding() -> None:
    user = hide(arrive(DISCREET, "tab"), NOW)
    user, _ = wait(user, NOW + GRACE)
    shown = choose(user, Choice.BUSY, NOW + 20_000, NOW + 40_000)

    hidden, _ = wait(shown, NOW + 40_000)
    gone, changes = wait(hidden, NOW + 40_000 + GRACE)

    assert shown.status is hidden.status is Status.BUSY
    assert (gone.choice, news(changes)) == (Choice.INVISIBLE, [Status.OFFLINE])


def test_the_lasting_choice_is_never_crowded_out() -> None:
    user = hide(arrive(ADA, "tab"), NOW)
    for number in range(9):
        user = choose(user, Choice.BUSY, NOW + 1, NOW + 70_000 - number)

    assert user.earlier[0].choice is Choice.INVISIBLE
    assert wait(user, NOW + 70_000)[0].choice is Choice.INVISIBLE


def test_an_older_choice_never_beats_a_newer_one() -> None:
    user = choose(arrive(ADA, "tab"), Choice.BUSY, NOW + 20_000)

    late, changes = reduce(user, Chosen(Choice.DND, chosen_at=NOW + 5_000), NOW + 30_000)
    newer, _ = reduce(late, Chosen(Choice.DND, chosen_at=NOW + 25_000), NOW + 31_000)
    ahead, _ = reduce(newer, Chosen(Choice.AWAY, chosen_at=NOW + 90_000), NOW + 32_000)
    plain, _ = reduce(ahead, Chosen(Choice.BUSY), NOW + 31_000)

    assert (late, changes) == (user, ())
    assert (newer.choice, newer.chosen_at) == (Choice.DND, NOW + 25_000)
    assert (ahead.choice, ahead.chosen_at) == (Choice.AWAY, NOW + 32_000)
    assert (plain.choice, plain.chosen_at) == (Choice.BUSY, NOW + 32_000)


def test_a_choice_that_is_over_when_it_comes_does_not_show_a_hidden_user() -> None:
    """Found by the simulation: it was late, or the clocks differ."""
    hidden = hide(arrive(DISCREET, "tab"), NOW)

    late, changes = reduce(hidden, Chosen(Choice.BUSY, until=NOW + 5_000), NOW + 5_000)

    assert (late, changes) == (hidden, ())


def test_own_devices_see_what_was_chosen_also_while_offline() -> None:
    user, _ = reduce(arrive(ADA, "tab"), Chosen(Choice.BUSY, "lunch", NOW + 900_000), NOW)
    gone, _ = wait(leave(user, "tab", NOW), NOW + GRACE)
    longer, more = reduce(user, Chosen(Choice.BUSY, "lunch", NOW + 950_000), NOW + 1)

    own = gone.own_presence
    assert (own.status, own.text, own.until) == (Status.OFFLINE, "lunch", NOW + 900_000)
    assert (gone.presence.text, gone.presence.until, user.presence.until) == (None, None, None)
    assert ViewChanged() in more
    assert longer.version == user.version < longer.own_version


def test_who_leaves_on_purpose_is_offline_at_once_if_no_device_remains() -> None:
    user = arrive(arrive(ADA, "phone"), "tab")

    one, changes = reduce(user, Disconnected("tab", NOW), NOW)
    none, more = reduce(one, Disconnected("phone", NOW), NOW)

    assert (news(changes), news(more)) == ([], [Status.OFFLINE])
    assert not none.is_here


# ── any story ──────────────────────────────────────────────────────────────────────────────

CONNECTIONS = st.sampled_from(["a", "b", "c"])
SESSIONS = st.sampled_from(["room", "hall"])
VIEWERS = st.sampled_from(["eve", "zoe"])
ADAS = st.builds(
    lambda grace, precision: User("ada", rules=Rules(grace, precision)),
    st.sampled_from([0, GRACE]),
    st.sampled_from(Precision),
)
EVENTS = st.one_of(
    st.tuples(st.just("arrive"), CONNECTIONS, st.sampled_from(TERNARY)),
    st.tuples(st.just("ping"), CONNECTIONS, st.sampled_from(TERNARY)),
    st.tuples(st.just("leave"), CONNECTIONS),
    st.tuples(st.just("choose"), st.sampled_from(Choice), st.sampled_from([None, 5_000, 90_000])),
    st.tuples(st.just("late"), st.sampled_from(Choice), st.sampled_from(Disclosure)),
    st.tuples(st.just("data"), st.sampled_from(["{}", '{"a":1}', '{"b":2}']), st.booleans()),
    st.tuples(st.just("seen")),
    st.tuples(st.just("probe"), CONNECTIONS, st.sampled_from([0, 1, 1_000, GRACE, LEASE - 1])),
    st.tuples(st.just("join"), CONNECTIONS, SESSIONS),
    st.tuples(st.just("part"), CONNECTIONS, SESSIONS),
    st.tuples(st.just("block"), VIEWERS),
    st.tuples(st.just("unblock"), VIEWERS),
    st.tuples(st.just("dismiss")),
    st.tuples(st.just("erase")),
    st.tuples(st.just("wait")),
)
PAUSES = st.sampled_from([0, 1, 1_000, GRACE - 1, GRACE, LEASE - 1, LEASE, LEASE + GRACE])
STORIES = st.lists(st.tuples(PAUSES, EVENTS), max_size=25)


def event_of(step: tuple, now: int) -> UserEvent:  # type: ignore[type-arg]  # noqa: C901, PLR0911, PLR0912
    match step:
        case ("arrive", connection_id, is_active):
            return Authenticated(connection_id, lease(now), is_active)
        case ("ping", connection_id, is_active):
            return Renewed(connection_id, lease(now), is_active)
        case ("leave", connection_id):
            return Disconnected(connection_id, now + GRACE)
        case ("choose", choice, None):
            return Chosen(choice, "a text")
        case ("choose", choice, duration):
            return Chosen(choice, "a text", now + duration)
        case ("late", choice, disclosure):
            return Chosen(choice, None, None, now - 2_000, disclosure)
        case ("data", data, is_patch):
            return DataChanged(data, is_patch)
        case ("seen",):
            return Seen()
        case ("probe", connection_id, unheard_for):
            return Probed({connection_id: now - unheard_for}, now + PROBE)
        case ("join", connection_id, session_id):
            return Joined(connection_id, (session_id,))
        case ("part", connection_id, session_id):
            return Left(connection_id, (session_id,))
        case ("block", viewer_id):
            return Blocked(viewer_id)
        case ("unblock", viewer_id):
            return Unblocked(frozenset({viewer_id}))
        case ("dismiss",):
            return GraceEnded()
    return Erased() if step == ("erase",) else TimePassed()


def held(user: User) -> frozenset[str]:
    return frozenset[str]().union(*(lease.sessions for lease in user.leases.values()))


def kept(user: User, event: UserEvent, now: int) -> frozenset[str]:
    """The chat sessions whose grace period goes on after this event."""
    if isinstance(event, GraceEnded | Erased):
        return frozenset()
    left = set(event.session_ids) if isinstance(event, Left) else set[str]()
    return frozenset(name for name, at in user.pending_leaves.items() if at > now) - left


def test_a_block_at_the_moment_of_expiry_raises_the_version() -> None:
    user, _ = reduce(User("ada"), Authenticated("one", lease(NOW), None), NOW)
    after, _ = reduce(user, Blocked("eve"), NOW + LEASE)

    assert not after.seen_by("eve").is_online
    assert after.seen_by("eve").version > user.seen_by("eve").version
    assert after.seen_by("eve").version == after.seen_by("zoe").version


def check_state(user: User, now: int) -> None:
    is_hidden = user.choice is Choice.INVISIBLE
    assert not (user.leases and user.farewell) or is_hidden
    is_seen = is_hidden or user.status is not Status.OFFLINE
    assert not user.leases or is_seen, "a user with a lease is not offline"
    assert all(not it.is_expired(now) for it in user.leases.values()), "no expired lease stays"
    for viewer in (None, "ada", "eve"):
        seen = user.seen_by(viewer)
        assert bool(user.sessions_seen_by(viewer)) <= seen.is_online
        assert seen.is_online <= user.is_listed, "the list would leave the user out"
    assert not user.pending_leaves or user.is_here
    awaited = {name: at for name, at in user.pending_leaves.items() if name not in held(user)}
    assert all(at > now for at in awaited.values()), "no pending leave is overdue"


@given(ADAS, STORIES)
def test_any_story_keeps_the_invariants(ada: User, story: list) -> None:  # type: ignore[type-arg]
    user, now = ada, NOW
    published = [user.presence]
    shown: dict[tuple[str | None, int], Presence] = {}

    for pause, step in story:
        now += pause
        event = event_of(step, now)
        before, (user, changes) = user, reduce(user, event, now)

        check_state(user, now)
        for viewer in (None, "ada", "eve"):
            seen, known = user.seen_by(viewer), before.seen_by(viewer)
            assert seen.version >= known.version, "versions grow"
            assert shown.setdefault((viewer, seen.version), seen) == seen, "one version, one state"
        comes = user.presence.is_online and not before.presence.is_online
        assert user.leases or not comes, "no user comes online without a connection"
        assert not user.is_here or kept(before, event, now) <= user.sessions, "grace"
        for change in changes:
            if isinstance(change, PresenceChanged):
                assert change.before.version < change.after.version, "versions grow"
                assert change.after.differs_for_others(published[-1]), "nothing is announced twice"
                published.append(change.after)
        assert not user.presence.differs_for_others(published[-1]), "everything new is announced"


@given(ADAS, STORIES, EVENTS)
def test_an_event_that_comes_twice_changes_nothing(ada: User, story: list, step: tuple) -> None:  # type: ignore[type-arg]
    user, now = ada, NOW
    for pause, earlier in story:
        now += pause
        user, _ = reduce(user, event_of(earlier, now), now)

    once, _ = reduce(user, event_of(step, now), now)
    twice, changes = reduce(once, event_of(step, now), now)

    assert twice == once
    assert changes == ()


@given(ADAS, STORIES, st.sets(CONNECTIONS), st.integers(1, LEASE), st.integers(0, LEASE))
def test_a_probe_shortens_leases_that_were_not_heard_since_and_does_nothing_else(
    ada: User,
    story: list,  # type: ignore[type-arg]
    named: set[str],
    wait_for: int,
    later: int,
) -> None:
    user, now = ada, NOW
    for pause, step in story:
        now += pause
        user, _ = reduce(user, event_of(step, now), now)
    unheard = {name: it.seen_at for name, it in user.leases.items() if name in named}
    heard = {name: replace(it, seen_at=it.seen_at + 1) for name, it in user.leases.items()}
    known, _ = wait(user, now + later)

    after, effects = reduce(user, Probed(unheard, now + later + wait_for), now + later)
    since, _ = reduce(replace(user, leases=heard), Probed(unheard, now + wait_for), now)

    assert since.leases == heard, "an answer beats the probe, however early it came"
    assert replace(after, leases={}) == replace(known, leases={}), "no version, no status"
    assert after.leases.keys() == known.leases.keys(), "no lease comes or goes"
    for name, lease in known.leases.items():
        end = min(lease.expires_at, now + later + wait_for) if name in unheard else lease.expires_at
        assert after.leases[name] == replace(lease, expires_at=end)
    timers = [it for it in effects if it == TimerDue(now + later + wait_for)]
    assert bool(timers) == (after.leases != known.leases)


@given(ADAS, STORIES, st.permutations(["a", "b", "c"]))
def test_arrivals_commute(ada: User, story: list, order: list[str]) -> None:  # type: ignore[type-arg]
    user, now = ada, NOW
    for pause, step in story:
        now += pause
        user, _ = reduce(user, event_of(step, now), now)

    def arrived(names: list[str]) -> User:
        result = user
        for name in names:
            result = arrive(result, name, now)
        return result

    assert arrived(order) == arrived(sorted(order))


@given(ADAS, STORIES, st.lists(st.integers(0, LEASE + GRACE), min_size=2, max_size=5))
def test_the_clock_alone_decides_the_same_in_one_step_or_in_many(
    ada: User,
    story: list,  # type: ignore[type-arg]
    looked_at: list[int],
) -> None:
    user, now = ada, NOW
    for gap, step in story:
        now += gap
        user, _ = reduce(user, event_of(step, now), now)

    in_many = user
    for after in sorted(looked_at):
        in_many, _ = wait(in_many, now + after)

    at_once, _ = wait(user, now + max(looked_at))
    assert unversioned(at_once) == unversioned(in_many)


def unversioned(user: User) -> User:
    """Versions name what was stored, so they depend on how often it was read."""
    blocked = {name: replace(view, version=0) for name, view in user.blocked.items()}
    return replace(user, version=0, own_version=0, blocked=blocked, returned={})


# ── probes ─────────────────────────────────────────────────────────────────────────────────


def test_who_does_not_answer_a_probe_is_offline_when_it_ends() -> None:
    user = arrive(ADA, "tab")
    at = NOW + 40_000

    probed, changes = reduce(user, Probed({"tab": NOW}, at + PROBE), at)
    before, _ = wait(probed, at + PROBE - 1)
    gone, told = wait(probed, at + PROBE)

    assert changes == (TimerDue(at + PROBE),)
    assert (before.presence, probed.presence) == (user.presence, user.presence)
    assert (gone.status, news(told)) == (Status.OFFLINE, [Status.OFFLINE])


@pytest.mark.parametrize("probe_first", [True, False])
def test_who_answers_a_probe_keeps_the_whole_lease(*, probe_first: bool) -> None:
    user, at = arrive(ADA, "tab"), NOW + 40_000
    answer, probe = Renewed("tab", lease(at + 5)), Probed({"tab": NOW}, at + PROBE)

    for event in (probe, answer) if probe_first else (answer, probe):
        user, _ = reduce(user, event, at + 5)

    assert user.leases["tab"].expires_at == at + 5 + LEASE


def test_a_device_that_answers_keeps_a_user_whose_other_device_does_not() -> None:
    both, at = arrive(arrive(ADA, "tab"), "phone"), NOW + 40_000
    probed, _ = reduce(both, Probed({"tab": NOW, "phone": NOW}, at + PROBE), at)
    answered, _ = reduce(probed, Renewed("tab", lease(at + 5)), at + 5)

    later, changes = wait(answered, at + PROBE)

    assert (set(later.leases), news(changes)) == ({"tab"}, [])


# ── a lease is said to have run out ────────────────────────────────────────────────────────


def test_a_lease_that_has_run_out_is_gone_and_one_that_is_good_says_so() -> None:
    user = arrive(ADA, "a1")

    gone, _ = reduce(user, LeaseExpired("a1"), NOW + LEASE)
    with pytest.raises(LeaseStillValid) as good:
        reduce(user, LeaseExpired("a1"), NOW + LEASE - 1)

    assert gone.leases == {}
    assert good.value.lease == user.leases["a1"]
