"""The meter, end to end: real clients in Node, the real handlers, no stack."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.bill import picture, report
from bench.bill.__main__ import DAYS, KEPT, PICTURE, Made, run
from bench.bill.days import DayError, clients, length, read_day, script
from bench.bill.stage import bundle
from bench.bill.template import Template
from bench.builds import ROOT
from presence.metrics import ONLINE_USERS, OPEN_CONNECTIONS, SWEEP_COVERAGE
from tests.tools import Tools

SHORT = DAYS / "short.yaml"


@pytest.fixture(scope="module")
def told(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    del tools  # bundling needs them
    module = tmp_path_factory.mktemp("client") / "client.mjs"
    bundle(ROOT / "web" / "src", module)
    return run(Made("here", ROOT, module), SHORT, 1)


@pytest.fixture(scope="module")
def bill(told: dict[str, Any]) -> dict[str, Any]:
    return report.bill("here", report.monthly(read_day(SHORT), [told]))


def test_clients_and_functions_get_through_the_day(told: dict[str, Any]) -> None:
    assert told["failures"] == []
    assert not [name for name in told["used"] if name.startswith("problems/")]
    assert told["used"]["connections/opened"] == 2


def test_what_people_did_is_on_the_bill(told: dict[str, Any]) -> None:
    used = told["used"]
    for action in ("authenticate", "join", "message", "status"):
        assert used[f"frames_in/{action}: asks for an answer"] == 2
        assert used[f"invocations/{action}"] == 2
        assert used[f"writes/{action}"] >= 2
    assert used["frames_out/posts: new-message"] == 2
    assert used["minutes/connections"] == 12  # two of five minutes and some seconds
    assert used["frames_in/ping"] >= 2


def test_each_invocation_and_each_frame_is_counted_once(told: dict[str, Any]) -> None:
    used = told["used"]
    asking = {name for name in used if name.startswith("frames_in/")} - {"frames_in/ping"}
    frames = sum(used[name] for name in asking)  # a ping goes one way
    answered = sum(
        it
        for name, it in used.items()
        if name.startswith("empty_answers/")
        or (name.startswith("frames_out/") and not name.startswith("frames_out/posts"))
    )
    assert answered == frames


def test_no_user_costs_what_the_sweep_and_the_polls_cost(told: dict[str, Any]) -> None:
    idle = told["idle_minute"]
    assert idle["invocations/sweep"] == 1
    causes = {name.partition("/")[2].partition(":")[0] for name in idle}
    assert causes == {"sweep", "polls", "metrics"}
    assert 0.4 < _used(report.idle_bill("here", told)) < 3


#: What it costs to be seen: metrics and their lines, alarms, the dashboard.
SEEN = {"metrics", "all"}


def _used(bill: dict[str, Any]) -> float:
    return float(sum(it for cause, it in bill["by_cause"].items() if cause not in SEEN))


def test_to_be_seen_costs_what_was_promised(told: dict[str, Any]) -> None:
    """At most $6 a month with nobody there; of a day, what is the same for all days."""
    idle = report.idle_bill("here", told)
    assert 3 < idle["total"] - _used(idle) <= 6
    assert {it.split()[1] for it in told["idle_metrics"]} == {
        it.name for it in (OPEN_CONNECTIONS, ONLINE_USERS, SWEEP_COVERAGE)
    }
    fixed = report.dollars(report.fixed(told))
    assert fixed["metrics"] + fixed["alarms"] + fixed["dashboards"] <= 14


def test_no_line_of_metrics_is_one_of_an_invocation(told: dict[str, Any]) -> None:
    used = told["used"]
    assert used["log_bytes/metrics: lines"] > 0
    assert used.get("log_bytes/ping: lines", 0) == 0


def test_a_bill_adds_up_by_item_and_by_cause(bill: dict[str, Any]) -> None:
    assert sum(bill["dollars"].values()) == pytest.approx(bill["total"], rel=1e-4)
    assert sum(bill["by_cause"].values()) == pytest.approx(bill["total"], rel=1e-4)


def test_what_may_be_billed_is_in_the_sum_if_it_is_counted() -> None:
    amounts = {"messages_in/ping": 1e6, "empty_answers/ping": 2e6, "bytes_out/frames": 1e9}
    without, counted = report.bill("a", amounts), report.bill("b", amounts, ["empty_answers"])
    assert (without["total"], counted["total"]) == (1.0, 3.0)
    assert counted["by_cause"] == {"ping": 3.0}
    assert without["apart"].keys() - counted["apart"].keys() == {"empty_answers"}
    shown = {bill["build"]: _rows(bill) for bill in (without, counted)}
    assert "(Empty answers: an empty frame, if one is sent)" in shown["a"]
    assert "Empty answers: an empty frame, if one is sent" in shown["b"]


def _rows(bill: dict[str, Any]) -> set[str]:
    """The lines of its table; the picture has the items of the sum, too."""
    day = report.of_day(read_day(SHORT), [bill])
    rows = {row[0] for row in report.bill_rows(day)}
    drawn = picture.draw(report.record([day], bill, {}))
    assert ("Empty answers" in drawn) is ("Empty answers: an empty frame, if one is sent" in rows)
    return rows


def test_tables_and_picture_have_both_builds(bill: dict[str, Any]) -> None:
    other = {**bill, "build": "other", "total": 2 * bill["total"]}
    day = report.of_day(read_day(SHORT), [bill, other])
    assert day["ratio"] == 0.5
    for _, header, rows in report.tables(day):
        assert {len(row) for row in rows} <= {len(header)}
    drawn = picture.draw(report.record([day], bill, {}))
    assert "other" in drawn
    assert drawn.count("<rect") > 12


# ── days ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", sorted(DAYS.glob("*.yaml")), ids=lambda it: it.stem)
def test_a_day_can_be_read_and_its_cut_ones_have_the_same_acts(file: Path) -> None:
    day = read_day(file)
    cuts = (1, *day.cut)
    once = [
        sorted((name, client) for _, client, name, _ in script(clients(day, cut), cut))
        for cut in cuts
    ]
    # Those who are there touch their device again and again; all else is done once.
    assert len({tuple(it for it in acts if it[0] != "touch") for acts in once}) == 1
    assert all(length(day, cut) % 60_000 == 0 for cut in cuts)


def test_the_template_names_a_function_for_each_route() -> None:
    template = Template.read(ROOT / "template.yaml", {"TokenIssuer": "bench"})
    assert template.routes.keys() >= {"$connect", "$disconnect", "$default", "ping"}
    assert set(template.routes.values()) <= template.functions.keys()
    assert "ping" not in template.routes or template.answering >= {"authenticate"}
    [announce] = [it for it in template.functions.values() if [*it.sources("DynamoDB")]]
    assert [it["Stream"] for it in announce.sources("DynamoDB")] == ["Users"]
    for name in template.functions:
        assert all(isinstance(it, str) for it in template.environment(name).values())


def test_the_picture_is_that_of_the_record_that_is_kept() -> None:
    record = json.loads(KEPT.read_text("utf-8"))
    assert PICTURE.read_text("utf-8") == picture.draw(record)


# ── records ────────────────────────────────────────────────────────────────────────────────


def played(cut: float, writes: float) -> dict[str, Any]:
    used = {"writes/ping": writes}
    fixed = {"metrics": [], "alarms": 0, "dashboards": 0}
    return {"cut": cut, "used": used, "idle_minute": {}, "minutes": 1, **fixed}


def test_two_cut_days_of_which_the_longer_uses_less_are_no_line() -> None:
    day = read_day(DAYS / "readme.yaml")
    assert report.monthly(day, [played(4, 30), played(2, 50)])["writes/ping"] > 0
    with pytest.raises(report.CutError, match="too short"):
        report.monthly(day, [played(4, 50), played(2, 30)])


def test_a_day_that_is_cut_to_less_than_two_hours_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "day.yaml"
    file.write_text((DAYS / "readme.yaml").read_text("utf-8").replace("cut: [4", "cut: [5"))
    with pytest.raises(DayError, match="two hours"):
        read_day(file)


def test_what_the_meter_does_not_know_is_said_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "day.yaml"
    file.write_text(SHORT.read_text("utf-8").replace("spread", "sprayed"))
    with pytest.raises(DayError, match="sprayed"):
        read_day(file)


def test_a_day_that_is_played_again_takes_the_place_of_its_former_bill() -> None:
    former = {"date": "then", "days": [{"name": "b", "is": "old"}, {"name": "c", "is": "old"}]}
    found = {"date": "now", "days": [{"name": "b", "is": "new"}, {"name": "a", "is": "new"}]}
    both = report.merged(former, found)
    assert [(it["name"], it["is"]) for it in both["days"]] == [
        ("a", "new"),
        ("b", "new"),
        ("c", "old"),
    ]
    assert both["date"] == "now"
