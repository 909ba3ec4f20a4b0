"""What bench.aws concludes from what was observed, and from what does not decide."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest
from botocore.stub import Stubber

from bench.aws import (
    billed,
    disconnects,
    empty_answers,
    get_connection,
    half_open,
    idle,
    last_active,
    latency,
)
from bench.aws.__main__ import arguments, target_of
from bench.aws.answers import NOT_KNOWN, Answer, percentile, seconds
from bench.aws.cloud import Cloud, Report, report_of
from bench.aws.half_open import FROZEN, GONE, Post, Silence
from bench.aws.idle import FRAMES, PINGS, POSTS, SILENT, Held
from bench.aws.ledger import Kind, Ledger, Rule, Window, is_counted, rule_of
from bench.aws.target import Target, TargetError, from_stack

URLS = {"web_socket_url": "wss://a.example/live", "callback_url": "https://a.example/live"}


def window(kind: Kind = "empty", *, messages: float | None = None, **counts: int) -> Window:
    """300 times something, in two minutes."""
    return Window(kind, 60.0, 180.0, 300, counts, messages)


def by(answers: Iterable[Answer], words: str) -> Answer:
    [found] = [it for it in answers if words in it.question]
    return found


# ── counts ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("messages", "rule"),
    [(604, "both"), (310, "in"), (450, "unclear"), (0, None), (None, None)],
)
def test_the_control_says_what_the_metric_counts(messages: float | None, rule: Rule | None) -> None:
    assert rule_of(window("heard", messages=messages, sent=300, heard=300)) == rule


@pytest.mark.parametrize(
    ("messages", "rule", "counted"),
    [
        (612, "both", True),
        (323, "both", False),
        (460, "both", None),  # neither: others were there
        (600, "in", True),
        (None, "both", None),  # nothing at all, though 320 frames are known
        (612, "unclear", None),
        (612, None, None),
    ],
)
def test_what_is_left_of_the_count_is_what_was_asked_or_is_not(
    messages: float | None, rule: Rule | None, *, counted: bool | None
) -> None:
    found = window(messages=messages, sent=300, heard=20, empty=300)
    assert is_counted(found, rule) is counted


def test_no_data_point_means_none_where_the_metric_is_known() -> None:
    assert is_counted(window("get", get=300), "both") is False
    assert is_counted(window("get", get=300), None) is None


def test_what_others_did_of_the_same_kind_is_wanted_too() -> None:
    assert is_counted(window("get", messages=460, get=460), "both") is True


def test_a_window_has_its_begin_and_not_its_end() -> None:
    ledger = Ledger(now=iter([59.9, 60.0, 179.9, 180.0]).__next__)
    for kind in ("sent", "sent", "heard", "sent"):
        ledger.note(kind)
    assert ledger.between(60, 180) == Counter({"sent": 1, "heard": 1})


# ── each experiment ────────────────────────────────────────────────────────────────────────


def empties(messages: float | None, empty: int, answering: set[str] | None) -> list[Answer]:
    rule: Rule | None = "both" if messages is not None else None
    found = window(messages=messages, sent=300, empty=empty)
    names = frozenset(answering) if answering is not None else None
    observed = empty_answers.Observed(rule, {"ping": found}, {"ping": empty}, names)
    return list(empty_answers.evaluate(observed))


def test_empty_frames_that_are_billed_belong_into_the_sum() -> None:
    seen, paid = empties(600, 300, {"ping"})
    assert (seen.found, paid.found) == ("yes", "yes")
    assert "a route that answers" in paid.question
    assert "bench.bill --count empty-answers" in paid.change


def test_empty_answers_that_are_billed_and_not_sent_are_found_too() -> None:
    seen, paid = empties(600, 0, {"ping"})
    assert (seen.found, paid.found) == ("no", "yes")


def test_empty_answers_that_are_free_leave_the_sum_as_it_is() -> None:
    seen, paid = empties(300, 0, set())
    assert (seen.found, paid.found) == ("no", "no")
    assert "a one-way route" in paid.question
    assert "right without them" in paid.change


def test_without_figures_nothing_is_guessed_and_nothing_changed() -> None:
    seen, paid = empties(None, 150, None)
    assert (seen.found, paid.found) == (NOT_KNOWN, NOT_KNOWN)
    assert (seen.change, paid.change) == ("", "")


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        ({200: 300}, "at least 150 a second"),
        ({200: 200, 429: 100}, "fewer than 150 a second"),
        ({403: 300}, NOT_KNOWN),
    ],
)
def test_the_throttle_is_a_rate_that_was_tried(statuses: dict[int, int], found: str) -> None:
    observed = get_connection.Observed("both", window("get", messages=0), statuses, 2.0)
    [free, throttle] = get_connection.evaluate(observed)
    assert free.found == "no"
    assert throttle.found == found


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (90.0, [(100.5, 90.0), (102.0, 100.1)], "yes"),
        (90.0, [(100.5, 90.0), (160.0, 90.0)], "no"),
        (None, [(100.5, None)], NOT_KNOWN),
        (99.5, [(100.5, 99.5)], NOT_KNOWN),  # in the same second: it may be rounded
    ],
)
def test_last_active_is_moved_or_stays(
    before: float | None, after: list[tuple[float, float | None]], found: str
) -> None:
    looks = last_active.Looks(100.0, before, after)
    observed = last_active.Observed({"a client's frame": looks})
    [answer] = last_active.evaluate(observed)
    assert answer.found == found
    assert ("2.00 s later" in answer.because) is (found == "yes")


def idling(lease: float = 900, **lasted: float | None) -> list[Answer]:
    names = {"silent": SILENT, "frames": FRAMES, "pings": PINGS, "posts": POSTS}
    held = [Held(kind, lasted.get(name), 1001) for name, kind in names.items()]
    observed = idle.Observed(840, lease, held, "both", window("ping", messages=0), 300)
    return list(idle.evaluate(observed))


def test_the_idle_timer_is_compared_with_a_silent_socket() -> None:
    answers = idling(silent=601.0, pings=602.0)
    assert by(answers, "silent, living").found == "after 10.0 min"
    assert by(answers, "reset by protocol pings").found == "no"
    assert by(answers, "reset by frames").found == "yes"
    assert by(answers, "reset by posts").change.endswith("keep leases.")
    assert by(answers, "pings billed").found == "no"
    assert "300 of 300" in by(answers, "pings billed").because


def test_a_socket_that_stays_open_says_nothing_if_the_silent_one_does_too() -> None:
    for answer in idling()[:4]:
        assert answer.found == NOT_KNOWN


def test_a_lease_that_ends_first_hides_the_idle_timer() -> None:
    answers = idling(lease=75, silent=100.0, pings=None)
    assert by(answers, "silent, living").found == NOT_KNOWN
    assert "HeartbeatSeconds=540" in by(answers, "reset by protocol pings").because


def silences(watched: float, *found: Silence) -> list[Answer]:
    return list(half_open.evaluate(half_open.Observed(watched, 900, 0, found)))


def test_a_silent_peer_is_found_by_the_idle_timer_and_not_by_posts() -> None:
    posts = [Post(60.0 * it, 200) for it in range(1, 14)]
    answers = silences(
        840,
        Silence(FROZEN, is_posted=False, left=598.0),
        Silence(FROZEN, is_posted=False, left=602.0),
        Silence(GONE, is_posted=True, left=None, posts=posts),
    )
    assert by(answers, "$disconnect`? Peer frozen, without").found == "10.0 min"
    assert "598 s, 602 s" in by(answers, "$disconnect`? Peer frozen, without").because
    assert by(answers, "$disconnect`? Peer gone, with posts").found == "more than 14.0 min"
    assert by(answers, "answered? Peer gone").found == "200"
    assert by(answers, "answered? Peer gone").change.startswith("Do not wait for 410")
    assert by(answers, "$disconnect`? Peer gone, without").found == NOT_KNOWN


def test_a_post_that_is_answered_410_tells_when() -> None:
    posts = [Post(60, 200), Post(120, 410)]
    answers = silences(840, Silence(GONE, is_posted=True, left=118.0, posts=posts))
    assert by(answers, "answered? Peer gone").found == "410 in the end"
    assert (
        "1 of 200, 1 of 410; the first 410 after 2.0 min"
        in by(answers, "answered? Peer gone").because
    )


def test_a_short_look_at_silence_is_no_answer() -> None:
    peer = Silence(FROZEN, is_posted=True, left=None, posts=[Post(2, 200)])
    answers = silences(20, peer)
    assert by(answers, "$disconnect`? Peer frozen, with posts").found == NOT_KNOWN
    assert by(answers, "answered? Peer frozen").change == ""


def test_a_silence_that_lasts_as_long_as_the_lease_is_longer_than_it() -> None:
    observed = half_open.Observed(840, 75, 0, [Silence(GONE, is_posted=False, left=110.0)])
    answer = by(half_open.evaluate(observed), "Peer gone, without")
    assert answer.found == "more than 75 s"
    assert "own lease" in answer.because


def test_a_disconnect_is_late_by_what_exceeds_the_grace_period() -> None:
    observed = disconnects.Observed(10, {"a clean close": [10.2, 10.4, 10.3, None]})
    [answer] = disconnects.evaluate(observed)
    assert answer.found == "0.30 s"
    assert "1 of 4 were not heard of" in answer.because
    assert answer.change


def test_a_disconnect_without_a_known_grace_period_has_it_in_it() -> None:
    [answer] = disconnects.evaluate(disconnects.Observed(None, {"a reset": [10.2]}))
    assert answer.found == "10 s"
    assert "with grace" in answer.because


WARM = [Report(1, 8.1, 9), Report(2, 10.2, 11), Report(3, 9.4, 10)]
COLD = Report(0, 120, 900, init=780)


def bills(*, has_log: bool = True, **fields: object) -> billed.Observed:
    usual = {"pings": WARM, "whole": [COLD, *WARM], "durations": None, "modelled": (11.0, 15.0)}
    return billed.Observed(has_log, **(usual | fields))  # type: ignore[arg-type]


def test_a_ping_that_takes_what_the_meter_reckons_changes_nothing() -> None:
    ping, cold = billed.evaluate(bills())
    assert (ping.found, ping.change) == ("10 ms", "")
    assert cold.found == "780 ms"
    assert "1 of 4" in cold.because


def test_a_ping_that_takes_longer_changes_the_model() -> None:
    ping, _ = billed.evaluate(bills(pings=[Report(1, 39.5, 40)]))
    assert "Waits" in ping.change


@pytest.mark.parametrize(("has_log", "why"), [(True, "SystemLogLevel"), (False, "--stack")])
def test_without_reports_the_metric_answers_for_the_ping_alone(*, has_log: bool, why: str) -> None:
    observed = bills(has_log=has_log, pings=[], whole=[], durations=(12.4, 800.0))
    ping, cold = billed.evaluate(observed)
    assert ping.found == "12 ms"
    assert cold.found == NOT_KNOWN
    assert why in cold.because
    nothing, _ = billed.evaluate(replace(observed, durations=None))
    assert nothing.found == NOT_KNOWN


def test_the_model_of_a_ping_has_one_request_or_two() -> None:
    one, two = billed.modelled()
    assert two - one == 4  # milliseconds of the second request


def test_changes_that_are_heard_late_or_not_at_all_are_said() -> None:
    changes = [latency.Change(0, 0.1, 0.4), latency.Change(10, 10.1, None)]
    whole, stream = latency.evaluate(latency.Observed(changes))
    assert (whole.found, stream.found) == ("0.40 s", "0.30 s")
    assert "1 not heard" in whole.because
    slow, _ = latency.evaluate(latency.Observed([latency.Change(0, 0.1, 5.0)]))
    assert slow.change
    [none] = latency.evaluate(latency.Observed(changes[1:]))
    assert none.found == NOT_KNOWN


REPORT = "REPORT RequestId: 1\tDuration: 8.15 ms\tBilled Duration: 9 ms\tMemory Size: 512 MB"
METRICS = {"durationMs": 8.15, "billedDurationMs": 9, "memorySizeMB": 512, "initDurationMs": 780.5}


# ── figures, lines, targets ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "report"),
    [
        (
            f"{REPORT}\tMax Memory Used: 104 MB\tInit Duration: 780.5 ms\t\n",
            Report(5, 8.15, 9, 780.5),
        ),
        (REPORT, Report(5, 8.15, 9)),
        (
            json.dumps({"type": "platform.report", "record": {"metrics": METRICS}}),
            Report(5, 8.15, 9, 780.5),
        ),
        ('{"type": "platform.start", "record": {}}', None),
        ("START RequestId: 1 Version: $LATEST", None),
    ],
)
def test_reports_are_read_in_both_formats(line: str, report: Report | None) -> None:
    assert report_of(5, line) == report


def test_sums_of_cloudwatch_are_added_and_nothing_is_not_zero() -> None:
    cloud = Cloud(local(), Ledger())
    answers: list[list[dict[str, float]]] = [[{"Sum": 300.0}, {"Sum": 12.0}], []]
    found = []
    with Stubber(cloud._metrics) as stub:
        for points in answers:
            stub.add_response("get_metric_statistics", {"Datapoints": points})
            found.append(asyncio.run(cloud.metric("MessageCount", 60, 180)))
        stub.add_client_error("get_metric_statistics", "AccessDenied")
        found.append(asyncio.run(cloud.metric("MessageCount", 60, 180)))
    cloud.close()
    assert found == [312.0, None, None]


def local() -> Target:
    return Target(
        web_socket_url="ws://127.0.0.1:1/live",
        callback_url="http://127.0.0.1:1/live",
        api_id="abc",
        token=str,
        endpoint_url="http://127.0.0.1:1",
        region="us-east-1",
        keys=("test", "test"),
    )


def test_a_stack_says_where_it_is_and_what_it_was_deployed_with() -> None:
    outputs = {"WebSocketUrl": "wss://w", "CallbackUrl": "https://c", "WebSocketApiId": "abc"}
    stack = {
        "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in outputs.items()],
        "Parameters": [{"ParameterKey": "GraceSeconds", "ParameterValue": "0"}],
    }
    found = from_stack(stack, {"WebSocketLog": "/aws/lambda/p-websocket"})
    target = Target(**found, token=str)
    assert (target.api_id, target.grace_seconds) == ("abc", 0.0)
    assert target.log_group == "/aws/lambda/p-websocket"
    with pytest.raises(TargetError, match="WebSocketUrl"):
        from_stack({"Outputs": []}, {})


def test_a_stack_of_this_machine_is_not_looked_up_at_aws() -> None:
    with pytest.raises(TargetError, match="--endpoint-url"):
        replace(local(), endpoint_url=None).check()
    local().check()


def test_what_is_asked_for_has_to_be_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRESENCE_TOKEN_SECRET", raising=False)
    urls = ["--web-socket-url", URLS["web_socket_url"]]
    with pytest.raises(TargetError, match="--callback-url"):
        target_of(arguments(urls))
    urls += ["--callback-url", URLS["callback_url"], "--api-id", "abc"]
    with pytest.raises(TargetError, match="PRESENCE_TOKEN_SECRET"):
        target_of(arguments(urls))
    command = ["--token-command", "echo token-of-{user}", "--set", "GraceSeconds=3"]
    target = target_of(arguments(urls + command))
    assert target.token("ada") == "token-of-ada"
    assert target.grace_seconds == 3.0
    assert "token" not in target.told()


def test_figures_are_said_in_units_that_are_read() -> None:
    assert [seconds(it) for it in (0.254, 12.2, 119, 606)] == [
        "0.25 s",
        "12 s",
        "119 s",
        "10.1 min",
    ]
    assert percentile([3.0, 1.0, 2.0], 95) == 3.0
    assert percentile([1.0], 50) == 1.0
