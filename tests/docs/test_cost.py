"""The arithmetic of the README: every product, every sum, and what the heartbeat does to it."""

import ast
import operator
from collections.abc import Callable

import pytest

from tests.docs.markdown import README, code, table, tables
from tests.template.test_template import TEMPLATE

#: The sign itself looks like an x in code.
TIMES = "\N{MULTIPLICATION SIGN}"
PRICE = f"At list price (millions {TIMES} $)"
TEXT = README.read_text("utf-8")
BILLS = tables(TEXT, "Item", "How many")
#: The longest wait for the sweep, and what queue, stream, functions and post may take.
SWEEP_SECONDS, SPARE_SECONDS = 60, 3

OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
}


def value(text: str) -> float:
    """What a product of sums, such as `1.2 TIMES (4 + 5)`, comes to."""
    return _value(ast.parse(text.strip().replace(TIMES, "*").replace(",", ""), mode="eval").body)


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.BinOp):
        return OPERATIONS[type(node.op)](_value(node.left), _value(node.right))
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, int | float)
    return node.value


def dollars(cell: str) -> float:
    return float(cell.strip("*").replace(",", ""))


def total(bill: list[dict[str, str]]) -> float:
    return dollars(bill[-1]["$ a month"])


@pytest.mark.parametrize("bill", BILLS, ids=["10,000 users", "nobody"])
def test_every_line_is_what_it_says(bill: list[dict[str, str]]) -> None:
    for row in bill[:-1]:
        (count,), (price,) = code(row["How many"]), code(row[PRICE])
        product, _, said = count.partition("=")

        assert value(product) == pytest.approx(value(said)), row["Item"]
        assert value(price) == pytest.approx(dollars(row["$ a month"]), abs=0.005), row["Item"]
        if "GB of log" not in row["Item"] and row["Item"] != "Alarms":
            assert value(price.split(TIMES)[0]) == pytest.approx(value(said) / 1e6), row["Item"]


@pytest.mark.parametrize("bill", BILLS, ids=["10,000 users", "nobody"])
def test_the_total_is_the_sum(bill: list[dict[str, str]]) -> None:
    lines = sum(dollars(row["$ a month"]) for row in bill[:-1])

    # Each line of the small bill is rounded up or down by half a cent.
    assert lines == pytest.approx(total(bill), abs=0.011)


def test_the_bill_is_for_the_default_parameters() -> None:
    defaults = {name: it.get("Default") for name, it in TEMPLATE["Parameters"].items()}
    first = table(TEXT, "`HeartbeatSeconds`", "`LeaseSeconds`")[0]
    pings = 8 * 60 * 60 // defaults["HeartbeatSeconds"]

    assert int(first["`HeartbeatSeconds`"]) == defaults["HeartbeatSeconds"]
    assert int(first["`LeaseSeconds`"]) == defaults["LeaseSeconds"]
    assert f"10,000 {TIMES} {pings} {TIMES} 30" in TEXT
    assert defaults["MemorySize"] == 512
    assert dollars(first["Total, $ a month"]) == total(BILLS[0])


def test_a_slower_heartbeat_costs_and_notices_what_the_table_says() -> None:
    ping_lines = [row for row in BILLS[0] if row["Item"].startswith("Pings")]
    pings = sum(dollars(row["$ a month"]) for row in ping_lines)
    rest = total(BILLS[0]) - pings
    for row in table(TEXT, "`HeartbeatSeconds`", "`LeaseSeconds`"):
        heartbeat, lease = (int(row[f"`{name}Seconds`"]) for name in ("Heartbeat", "Lease"))
        scaled = pings * 30 / heartbeat

        assert lease >= 2.5 * heartbeat
        assert dollars(row["Pings"]) == pytest.approx(scaled, abs=0.005)
        assert dollars(row["Total, $ a month"]) == pytest.approx(rest + scaled, abs=0.005)
        assert row["Crash seen over HTTP within"] == f"{lease} s"
        assert row["told within"] == f"{lease + SWEEP_SECONDS + SPARE_SECONDS} s"


def test_the_promise_is_about_the_default_parameters() -> None:
    lease, grace = (TEMPLATE["Parameters"][f"{it}Seconds"]["Default"] for it in ("Lease", "Grace"))
    rows = table(TEXT, "What happens", "HTTP answers")
    closed, died = rows[0], rows[1]

    assert closed["HTTP answers"].endswith(f" {grace} s")
    assert closed["Clients are told"].endswith(f" {grace + SPARE_SECONDS} s")
    assert f" {lease} s " in died["HTTP answers"]
    assert f" {lease + SWEEP_SECONDS + SPARE_SECONDS} s " in died["Clients are told"]
