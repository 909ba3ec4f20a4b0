"""The client's own tests, in all their projects: in Node, and with both versions of React."""

import json
from pathlib import Path

import pytest

from tests import vectors
from tests.node import Tools


@pytest.mark.slow
def test_the_tests_of_the_client_pass(tools: Tools) -> None:
    tools.run("vitest", "run")


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
