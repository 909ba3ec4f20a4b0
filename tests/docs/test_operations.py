"""docs/operations.md names what runs, what waits, what rings and what is logged."""

import ast
from collections.abc import Iterator

from tests.docs.markdown import ROOT, code, table
from tests.docs.test_readme import only_code
from tests.template.test_template import FUNCTIONS, TEMPLATE, of_type, seconds

TEXT = (ROOT / "docs" / "operations.md").read_text("utf-8")
LAYER = ROOT / "layers" / "presence" / "presence"
#: What SQS keeps a message for, unless told otherwise.
FOUR_DAYS = 4 * 24 * 60 * 60
UNITS = {"hour": 60 * 60, "days": 24 * 60 * 60}


def test_every_function_is_named_with_its_time() -> None:
    named = {only_code(it["Function"]): it["Ends after"] for it in table(TEXT, "Function")}

    assert named == {name: f"{seconds(name)} s" for name in FUNCTIONS}


def test_every_queue_is_named_with_its_retention() -> None:
    named = {only_code(row["Queue"]): duration(row["For"]) for row in table(TEXT, "Queue", "Holds")}

    assert named == {
        name: queue.get("MessageRetentionPeriod", FOUR_DAYS)
        for name, queue in of_type("AWS::SQS::Queue").items()
    }


def duration(text: str) -> int:
    amount, unit = text.split()
    return int(amount) * UNITS[unit]


def test_every_alarm_is_named() -> None:
    named = [only_code(row["Alarm"]) for row in table(TEXT, "Alarm", "Fires when")]

    assert sorted(named) == sorted(of_type("AWS::CloudWatch::Alarm"))


def test_every_dead_letter_queue_has_an_output_that_is_named() -> None:
    named = set(code(TEXT))
    outputs = [name for name in TEMPLATE["Outputs"] if "DeadLetter" in name]

    assert len(outputs) == 3
    assert set(outputs) <= named


def test_every_field_of_the_log_is_named() -> None:
    named = {it for row in table(TEXT, "Field", "In") for it in code(row["Field"])}

    assert named == set(written())


def written() -> Iterator[str]:
    """The names of what the layer adds to its log lines."""
    for file in LAYER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(ast.Attribute(ast.Name("logger"), "append_keys" | "info")):
                    yield from (it.arg for it in node.keywords if it.arg)
