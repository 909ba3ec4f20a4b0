"""local/demo is committed, so that `make run` needs no Node: it is what its sources make."""

import json
from pathlib import Path

import pytest

from tests.bundle import BUILT, LOCK, SOURCES, changed, digests
from tests.node import Tools


def test_the_demo_was_built_from_its_sources_as_they_are() -> None:
    assert changed(BUILT) == [], "the sources have changed: run `make demo`, and commit local/demo"


def test_the_demo_was_built_from_web_demo() -> None:
    assert "web/demo" in json.loads((BUILT / LOCK).read_text())["sources"]


@pytest.mark.slow
def test_whoever_builds_the_demo_gets_the_same_files(tools: Tools, tmp_path: Path) -> None:
    tools.script("demo.mjs", SOURCES, tmp_path)

    assert digests(tmp_path, ".") == digests(BUILT, ".")
