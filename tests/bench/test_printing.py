"""The recorder of the benches."""

import json
from pathlib import Path

import pytest

from bench.printing import RECORDS, Recorder, Table, print_table

ONE = Table("Apples", ("", "a day"), [("ada", "1"), ("grace", "≈ 2")])
TWO = Table("Pears", ("", "a day"), [("ada", "0")])


def test_a_record_has_every_table_of_the_run(tmp_path: Path) -> None:
    recorder = Recorder("fruit", tmp_path / "new")

    recorder.record(ONE)
    recorder.record(TWO)

    [file] = (tmp_path / "new").iterdir()
    record = json.loads(file.read_text("utf-8"))
    assert file.name == "fruit.json"
    assert list(record) == ["bench", "date", "python", "machine", "tables"]
    assert record["bench"] == "fruit"
    assert record["machine"]["cores"] >= 1
    assert record["tables"] == [
        {"title": "Apples", "header": ["", "a day"], "rows": [["ada", "1"], ["grace", "≈ 2"]]},
        {"title": "Pears", "header": ["", "a day"], "rows": [["ada", "0"]]},
    ]


def test_another_run_replaces_the_record(tmp_path: Path) -> None:
    Recorder("fruit", tmp_path).record(ONE)
    Recorder("fruit", tmp_path).record(TWO)

    record = json.loads((tmp_path / "fruit.json").read_text("utf-8"))
    assert [it["title"] for it in record["tables"]] == ["Pears"]


def test_outside_of_a_bench_a_table_is_printed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(RECORDS.glob("*"))

    print_table(ONE.title, ONE.header, ONE.rows)

    assert capsys.readouterr().out.splitlines()[1] == "Apples"
    assert sorted(RECORDS.glob("*")) == before
