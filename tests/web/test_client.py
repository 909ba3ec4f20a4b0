"""The client's own tests in all their projects, its style and types, and the committed demo."""

import re
from pathlib import Path

import pytest

from local.stack import ROOT
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
