"""Histories written by hand: each kind of violation is found, and nothing is found in good ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from proof.nemesis.check import KINDS, inconclusive, main
from proof.nemesis.history import (
    Call,
    Connection,
    Decision,
    Ending,
    Epoch,
    Fault,
    Interval,
    Poll,
    Rules,
    Snapshot,
    Told,
    Writer,
    read,
)
from proof.nemesis.outages import Outages, later, union
from tests.proof.histories import device, heard, history, kinds, told

#: Ada comes at 10, pings until 18, and closes at 20; every observer hears of both.
CLOSED = device(10, 14, 18, ending=Ending(20, "close"))
HEARD = heard(told(10.3, "online", 10.05), told(23.4, "offline", 23.1))


def test_announced_arrivals_and_departures_are_accepted() -> None:
    answers = [poll(5, "offline"), poll(15, "online"), poll(22, "online"), poll(27, "offline")]
    member = replace(HEARD, observer="member")
    assert kinds(history(CLOSED, epochs=[HEARD, member], polls=answers)) == []


def poll(asked: float, status: str, made: float = 0) -> Poll:
    return Poll(asked, asked + 0.1, [told(asked + 0.1, status, made or _made(status, asked))])


def _made(status: str, asked: float) -> float:
    """Versions of the story of `CLOSED`."""
    return 10.05 if status == "online" else (23.1 if asked > 23 else 0)


# ── versions ───────────────────────────────────────────────────────────────────────────────


def test_an_observer_who_applies_what_is_old_is_flagged() -> None:
    news = (told(10.3, "online", 10.05), told(10.4, "away", 10.01))
    assert kinds(history(CLOSED, epochs=[heard(*news, stop=20)])) == ["version"]


def test_old_news_that_is_dropped_is_no_violation() -> None:
    news = (told(10.3, "online", 10.05), told(11, "away", 10.02, is_applied=False))
    assert kinds(history(CLOSED, epochs=[heard(*news, stop=20)])) == []


def test_a_version_of_two_states_is_flagged_across_observers() -> None:
    one = heard(told(10.3, "online", 10.05), stop=20)
    other = heard(told(10.3, "busy", 10.05), observer="other", stop=20)
    assert kinds(history(CLOSED, epochs=[one, other])) == ["version"]


def test_a_version_of_two_texts_is_flagged_between_push_and_http() -> None:
    one = heard(told(10.3, "busy", 10.05, text="lunch"), stop=20)
    answer = Poll(12, 12.1, [told(12.1, "busy", 10.05, text="tea")])
    assert kinds(history(CLOSED, epochs=[one], polls=[answer])) == ["version"]


def test_an_answer_that_goes_back_is_flagged() -> None:
    answers = [poll(12, "online", 11), poll(13, "online", 10.5)]
    assert kinds(history(CLOSED, polls=answers)) == ["version"]


@pytest.mark.parametrize("made", [12.0, 6.0])
def test_a_version_that_is_not_when_it_was_made_is_flagged(made: float) -> None:
    found = kinds(history(CLOSED, epochs=[heard(told(10.3, "online", made), stop=13)]))
    assert "instant" in found


# ── false offline ──────────────────────────────────────────────────────────────────────────


def test_offline_within_an_acknowledged_lease_is_flagged() -> None:
    news = (told(10.3, "online", 10.05), told(17, "offline"))
    assert "false-offline" in kinds(history(CLOSED, epochs=[heard(*news, stop=20)]))


def test_a_lease_counts_from_the_sending() -> None:
    """Sent at 18, acknowledged at 27: the lease is over at 28, not at 37."""
    calls = [Call("authenticate", 10, 10.1), Call("ping", 18, 27)]
    silent = Connection("a", "ada", calls)
    early = heard(told(10.3, "online", 10.05), told(27.8, "offline", 27.5))
    late = heard(told(10.3, "online", 10.05), told(28.8, "offline", 28.5))
    assert "false-offline" in kinds(history(silent, epochs=[early]))
    assert kinds(history(silent, epochs=[late])) == []


def test_a_frame_that_was_not_acknowledged_promises_nothing() -> None:
    silent = Connection("a", "ada", [Call("authenticate", 10, 10.1), Call("ping", 18)])
    news = heard(told(10.3, "online", 10.05), told(20.8, "offline", 20.5))
    assert kinds(history(silent, epochs=[news])) == []


def test_offline_within_grace_is_flagged() -> None:
    news = (told(10.3, "online", 10.05), told(22, "offline", 21.5))
    assert "false-offline" in kinds(history(CLOSED, epochs=[heard(*news)]))


def test_one_device_is_enough() -> None:
    other = device(12, 20, 28, 36, 44, name="b")
    assert "false-offline" in kinds(history(CLOSED, other, epochs=[HEARD]))


def test_late_news_of_an_absence_that_is_over_is_no_false_offline() -> None:
    back = device(25, 33, 41, name="b")
    news = (told(10.3, "online", 10.05), told(25.3, "offline", 24.9), told(25.4, "online", 25.05))
    assert kinds(history(CLOSED, back, epochs=[heard(*news, stop=45)])) == []


def test_an_http_answer_that_is_false_is_flagged() -> None:
    assert kinds(history(CLOSED, polls=[poll(15, "offline", 14)])) == ["false-offline"]


def test_an_http_answer_that_was_asked_for_before_is_no_violation() -> None:
    early = Poll(10, 10.3, [told(10.3, "offline", 0)])
    assert kinds(history(CLOSED, polls=[early])) == []


def test_a_member_who_is_said_to_have_left_is_flagged() -> None:
    news = (told(10.3, "online", 10.05), told(16, None))
    back = told(16.1, "online", 10.05, is_applied=False)
    found = kinds(history(CLOSED, epochs=[heard(*news, back, observer="member", stop=20)]))
    assert "false-offline" in found


# ── unheard, ghosts ────────────────────────────────────────────────────────────────────────


def test_an_online_that_was_never_announced_is_flagged() -> None:
    assert kinds(history(CLOSED, epochs=[heard()])) == ["unheard"]


def test_a_stream_that_stood_still_excuses_that_for_as_long() -> None:
    excused = history(
        device(10, 14, 18, 22, 26), epochs=[heard(told(24, "online", 10.05), stop=30)]
    )
    off = Fault("stream", 9, 22)
    assert kinds(replace(excused, faults=[off])) == []
    assert "unheard" in kinds(excused)
    assert "unheard" in kinds(replace(excused, faults=[replace(off, stop=19)]))


def test_a_user_online_for_ever_after_closing_is_flagged() -> None:
    ghost = heard(told(10.3, "online", 10.05))
    assert kinds(history(CLOSED, epochs=[ghost])) == ["ghost"]


def test_a_silent_connection_may_take_a_lease_and_a_sweep_to_be_announced() -> None:
    silent = device(10, 14, paused=[15])
    assert kinds(history(silent, epochs=[_gone(31.9)])) == []
    assert kinds(history(silent, epochs=[_gone(32.1)])) == ["ghost"]


def _gone(at: float) -> Epoch:
    return heard(told(10.3, "online", 10.05), told(at, "offline", at - 0.2))


def test_a_lost_disconnect_is_found_by_the_sweep() -> None:
    lost = history(CLOSED, epochs=[_gone(35)], faults=[Fault("route", 19, 21)])
    assert kinds(lost) == []
    assert kinds(replace(lost, faults=[])) == ["ghost"]
    assert kinds(replace(lost, epochs=[_gone(36.5)])) == ["ghost"]


def test_a_sweep_that_was_stopped_is_waited_for_and_no_longer() -> None:
    silent = history(device(10, 14, paused=[15]), faults=[Fault("sweep", 20, 40)])
    assert kinds(replace(silent, epochs=[_gone(51.9)])) == []
    assert kinds(replace(silent, epochs=[_gone(52.1)])) == ["ghost"]


def test_a_stopped_sweep_excuses_no_clean_ending() -> None:
    late = history(CLOSED, epochs=[_gone(39)], faults=[Fault("route", 60, 70)])
    assert kinds(late) == ["ghost"]


# ── false online ───────────────────────────────────────────────────────────────────────────


def test_online_before_the_first_arrival_is_flagged() -> None:
    news = heard(told(9, "online", 8.9), stop=20)
    assert kinds(history(CLOSED, epochs=[news])) == ["false-online"]


def test_online_after_grace_is_flagged() -> None:
    news = heard(
        told(10.3, "online", 10.05),
        told(23.4, "offline", 23.1),
        told(40, "online"),
        told(41, "offline"),
    )
    assert "false-online" in kinds(history(CLOSED, epochs=[news]))


def test_an_http_answer_of_a_ghost_is_flagged() -> None:
    assert kinds(history(CLOSED, polls=[poll(26.5, "online")])) == ["false-online"]


def test_reads_do_not_wait_for_a_sweep() -> None:
    silent = device(10, 14, paused=[15])
    assert kinds(history(silent, polls=[poll(26.9, "online")])) == []
    assert kinds(history(silent, polls=[poll(27.2, "online")])) == ["false-online"]


# ── connections, the end, the run ──────────────────────────────────────────────────────────


def test_a_connection_that_is_closed_before_its_lease_is_over_is_flagged() -> None:
    thrown_out = device(10, 14, 18, ending=Ending(20, "closed"))
    assert kinds(history(thrown_out)) == ["closed"]


def test_a_socket_that_the_local_aws_dropped_by_its_own_account_is_not() -> None:
    dropped = history(device(10, 14, 18, ending=Ending(20, "closed")), crashes=[Interval(19, 22)])
    assert kinds(dropped) == []
    assert kinds(replace(dropped, crashes=[Interval(21, 24)])) == ["closed"]


def test_a_connection_that_is_closed_when_its_lease_is_over_is_not() -> None:
    assert kinds(history(device(10, 14, ending=Ending(30, "closed")))) == []


def test_an_observer_who_believes_something_else_in_the_end_is_flagged() -> None:
    there = device(10, 14, 18, 22, 26)
    news = heard(told(10.3, "online", 10.05), stop=30)
    right, wrong = told(27, "online", 10.05), told(27, "busy", 26)
    assert kinds(history(there, epochs=[news], snapshots=[Snapshot(27, [right])])) == []
    assert kinds(history(there, epochs=[news], snapshots=[Snapshot(27, [wrong])])) == [
        "disagreement"
    ]


def test_an_observer_without_frames_disagrees_with_an_online_user() -> None:
    there = device(25, 26)
    found = history(
        there, epochs=[heard(stop=28)], snapshots=[Snapshot(27, [told(27, "online", 25)])]
    )
    assert kinds(found) == ["disagreement"]


# ── what a back end decides ────────────────────────────────────────────────────────────────


def decided(name: str, start: float, stop: float) -> Decision:
    return Decision(name, "ada", start, stop)


def test_a_frame_that_is_served_by_a_revoked_token_is_flagged() -> None:
    revoked = [decided("revoke", 15, 15.5)]
    old, late = device(10, 14, 18, issued=9), device(10, 14, 15.4, issued=9)
    fresh = device(20, 24, issued=19)
    assert kinds(history(old, decisions=revoked)) == ["revoked"]
    assert kinds(history(late, decisions=revoked)) == []
    assert kinds(history(late, fresh, decisions=revoked)) == []


def test_a_revocation_closes_at_once_what_it_concerns_and_nothing_else() -> None:
    closed = device(10, 14, ending=Ending(15.2, "closed"), issued=9)
    news = heard(told(10.3, "online", 10.05), told(15.3, "offline", 15.1), stop=20)
    assert kinds(history(closed, epochs=[news], decisions=[decided("revoke", 15, 15.5)])) == []
    found = kinds(history(closed, epochs=[news], decisions=[decided("revoke", 8, 8.5)]))
    assert found == ["closed", "false-offline"]


def test_a_join_of_a_user_who_was_taken_out_is_flagged_until_it_is_allowed() -> None:
    taken_out = [decided("remove", 15, 15.5), decided("allow", 20, 20.5)]
    calls = [Call("authenticate", 10, 10.1), Call("join", 10.1, 10.2, joined=True)]
    for at, expected in ((15.2, []), (16, ["removed"]), (19.95, []), (21, [])):
        again = [*calls, Call("join", at, at + 0.1, joined=True)]
        found = kinds(history(Connection("a", "ada", again), decisions=taken_out))
        assert found == expected


def test_a_member_who_is_taken_out_may_be_seen_to_leave() -> None:
    news = (told(10.3, "online", 10.05), told(15.3, None))
    left = history(device(10, 14, 18), epochs=[heard(*news, observer="member", stop=19)])
    assert kinds(replace(left, decisions=[decided("remove", 15, 15.5)])) == []
    assert "false-offline" in kinds(left)


def test_who_names_the_session_within_grace_must_not_be_seen_to_leave() -> None:
    back = Connection(
        "b", "ada", [Call("authenticate", 21, 21.1, joined=True), Call("ping", 25, 25.1)]
    )
    news = (told(10.3, "online", 10.05), told(23.5, None))
    found = history(CLOSED, back, epochs=[heard(*news, observer="member", stop=27)])
    assert "false-offline" in kinds(found)
    unnamed = replace(back, calls=[Call("authenticate", 21, 21.1), Call("ping", 25, 25.1)])
    late = (told(10.3, "online", 10.05), told(24, None))
    assert kinds(replace(found, connections=[CLOSED, unnamed], epochs=[_member(*late)])) == []


def _member(*news: Told) -> Epoch:
    return heard(*news, observer="member", stop=27)


def test_who_leaves_on_purpose_has_no_grace_period() -> None:
    calls = [Call("authenticate", 10, 10.1), Call("leave", 14, 14.1)]
    left = history(Connection("a", "ada", calls, Ending(14, "leave")), epochs=[_gone(14.3)])
    assert kinds(left) == []
    assert kinds(replace(left, epochs=[_gone(17.2)])) == ["ghost"]
    assert kinds(replace(left, polls=[poll(17.2, "online")], epochs=[])) == ["false-online"]


def test_traces_and_complaints_are_flagged() -> None:
    assert kinds(history(leftovers=["a row"])) == ["leftover"]
    assert kinds(history(complaints=["a device ended with 1"])) == ["run"]


def test_a_machine_that_stands_still_excuses_itself_but_not_for_long() -> None:
    late = history(CLOSED, epochs=[_gone(28)], stalls=[Interval(23.5, 26)])
    assert kinds(late) == []
    assert kinds(replace(late, stalls=[])) == ["ghost"]
    assert inconclusive(replace(late, stalls=[Interval(21, 70)])) == []
    (excuse,) = inconclusive(replace(late, stalls=[Interval(21, 83)]))
    assert excuse.kind == "run"


def test_a_lease_does_not_wait_for_a_machine_that_stands_still() -> None:
    silent = history(device(10, 14, paused=[15]), epochs=[_gone(32.5)])
    assert kinds(replace(silent, stalls=[Interval(20, 25)])) == ["ghost"]
    assert kinds(replace(silent, stalls=[Interval(29.5, 30.5)])) == []


def test_each_kind_has_a_name() -> None:
    assert set(KINDS) >= {"version", "ghost", "run"}


# ── intervals ──────────────────────────────────────────────────────────────────────────────


def test_intervals_that_meet_are_one() -> None:
    assert union([Interval(5, 6), Interval(1, 3), Interval(2, 4), Interval(6, 7)]) == [
        Interval(1, 4),
        Interval(5, 7),
    ]


def test_outages_do_not_count() -> None:
    outages = [Interval(2, 4), Interval(10, 20)]
    assert later(0, 1, outages) == 1
    assert later(0, 3, outages) == 5
    assert later(3, 3, outages) == 7
    assert later(3, 7, outages) == 21


def test_what_stops_only_the_sweep_loses_no_disconnect() -> None:
    outages = Outages.of(history(faults=[Fault("sweep", 1, 2), Fault("stream", 1, 2)]))
    assert not outages.may_lose(0, 3)
    assert Outages.of(history(faults=[Fault("workers", 1, 2)])).may_lose(0, 3)


# ── reading ────────────────────────────────────────────────────────────────────────────────


def test_a_history_is_read_from_the_files_of_all_processes(tmp_path: Path) -> None:
    nemesis, device_file = Writer(tmp_path / "n.jsonl"), tmp_path / "d.jsonl"
    nemesis.write("rules", at=0, heartbeat=2, lease=10, grace=3, sweep=5, offset=-7)
    writer = Writer(device_file)
    writer.write("open", at=1, connection="a.1", process="a", user="ada")
    call = {"call": 1, "action": "authenticate", "connection": "a.1"}
    writer.write("invoke", at=2, **call)
    writer.write("ok", at=3, **call)
    writer.write("invoke", at=4, **(call | {"call": 2, "action": "ping"}))
    nemesis.write("pause", at=5, process="a")
    nemesis.write("kill", at=6, process="a")
    nemesis.write("fault", at=9, fault="route", start=8)
    with device_file.open("a") as file:
        file.write('{"at": 6.5, "kind"')  # killed in the middle of a line

    found = read(tmp_path)

    assert found.rules == Rules(heartbeat=2, lease=10, grace=3, sweep=5, offset=-7)
    calls = [Call("authenticate", 2, 3), Call("ping", 4)]
    assert found.connections == [Connection("a.1", "ada", calls, Ending(6, "kill"), [5])]
    assert found.faults == [Fault("route", 8, 9)]
    assert (found.start, found.stop) == (0, 9)


def test_what_observers_wrote_is_read(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "o.jsonl")
    writer.write("rules", at=0, heartbeat=2, lease=10, grace=3, sweep=5, offset=0)
    online = {"userId": "ada", "status": "online", "version": 4000, "applied": True}
    writer.write("open", at=1, connection="w.1", process="w", user="watcher")
    writer.write("heard", at=2, connection="w.1", users=[online], left=[])
    writer.write("listening", at=3, connection="w.1", observer="watcher")
    writer.write("heard", at=4, connection="w.1", users=[], left=["ada"])
    writer.write("polled", at=6, asked=5, users=[online])
    writer.write("end", at=7, connection="w.1", how="close")
    writer.write("stored", at=8, users=[online])

    found = read(tmp_path)

    first = Told(2, "ada", "online", 4000)
    assert found.epochs == [Epoch("watcher", 3, 7, [first, Told(4, "ada", None)])]
    assert found.polls == [Poll(5, 6, [replace(first, at=6)])]
    assert found.snapshots == [Snapshot(8, [replace(first, at=8)])]
    assert found.users == []


def test_a_kept_history_can_be_checked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Writer(tmp_path / "n.jsonl")
    writer.write("rules", at=0, heartbeat=2, lease=10, grace=3, sweep=5, offset=0)
    assert main(tmp_path) == 0

    writer.write("leftovers", at=9, items=["a row"])

    assert main(tmp_path) == 1
    assert "9.000 s  leftover       a row" in capsys.readouterr().out
