"""The client's own tests in all their projects, its style and types, and the committed demo."""

import json
import re
from pathlib import Path

import pytest

from local.stack import ROOT
from tests import vectors
from tests.node import Tools

DEMO = ROOT / "local" / "demo"


@pytest.mark.slow
def test_the_tests_of_the_client_pass(tools: Tools) -> None:
    tools.run("vitest", "run")


def contents(folder: Path) -> dict[str, bytes]:
    files = (it for it in folder.rglob("*") if it.is_file())
    return {str(it.relative_to(folder)): it.read_bytes() for it in files}


@pytest.mark.slow
def test_the_committed_demo_is_built_from_its_sources(tools: Tools, tmp_path: Path) -> None:
    tools.script("demo.mjs", tmp_path)
    built, committed = contents(tmp_path), contents(DEMO)

    names = {it for it in built.keys() | committed.keys() if built.get(it) != committed.get(it)}
    assert names == set(), "run `make demo`, and commit local/demo"


def test_the_demo_needs_no_exception_from_the_content_security_policy() -> None:
    html = (DEMO / "index.html").read_text()

    assert re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL) == [""]
    assert not re.search(r"<style|style=|data:", html)
    assert not re.search(r"\beval\(|new Function\(", (DEMO / "assets" / "demo.js").read_text())


@pytest.mark.slow
def test_the_test_double_answers_as_the_reducer(tools: Tools, tmp_path: Path) -> None:
    stories = tmp_path / "stories.jsonl"
    vectors.write(stories)
    replay = ("--project", "node", "tests/testing/vectors.test.ts")
    tools.run("vitest", "run", *replay, environment={"PRESENCE_VECTORS": str(stories)})

    told = [json.loads(line) for line in stories.read_text("utf-8").splitlines()]
    steps = [step for story in told for step in story["steps"]]
    events = {(step["event"]["type"], "refused" in step) for step in steps}
    effects = {it["type"] for step in steps for it in step.get("effects", ())}
    assert len({kind for kind, _ in events}) == len(vectors.EVENTS)
    assert {kind for kind, refused in events if refused} == {"authenticated", "joined", "blocked"}
    assert effects == {"lease-removed", "presence-changed", "view-changed"}
