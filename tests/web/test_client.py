"""The client's style, types and tests, the committed demo, and the package to publish."""

import json
import re
import shutil
from pathlib import Path

import pytest

from local.stack import ROOT
from tests import vectors
from tests.tools import WEB, Tools
from tests.web.sizes import LIMITS

DEMO = ROOT / "local" / "demo"


def test_the_client_is_written_in_one_style(tools: Tools) -> None:
    tools.run("biome", "check", ".")


def test_the_types_of_the_client_agree(tools: Tools) -> None:
    tools.run("tsc", "--noEmit")


@pytest.mark.slow
@pytest.mark.xdist_group("vitest")
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
@pytest.mark.xdist_group("test double")
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
    refused = {kind for kind, is_refused in events if is_refused}
    assert refused == {"authenticated", "joined", "blocked", "barred"}
    assert effects == {"lease-removed", "lease-replaced", "presence-changed", "view-changed"}


# ── the package: others can import it, and it is small ───────────────────────────────────────────


@pytest.fixture(scope="module")
def package(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `npm run build` makes it, away from the checkout."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copy(WEB / "package.json", folder)
    shutil.copytree(WEB / "src", folder / "src")
    tools.npm("run", "build", "--", "--outDir", folder / "dist")
    return folder


@pytest.mark.slow
def test_every_entry_of_the_package_can_be_imported(tools: Tools, package: Path) -> None:
    tools.run("publint", package, "--strict")


@pytest.mark.slow
def test_every_entry_of_the_package_has_its_types(tools: Tools, package: Path) -> None:
    # A stylesheet has none.
    without = ("--exclude-entrypoints", "styles.css")
    built = {"npm_config_ignore_scripts": "true"}  # it packs, and there is nothing left to build
    how = ("--pack", package, "--profile", "esm-only", *without)
    tools.run("attw", *how, environment=built)


@pytest.mark.slow
@pytest.mark.parametrize("part", LIMITS)
def test_a_part_of_the_package_stays_small(part: str, sizes: dict[str, int]) -> None:
    assert sizes[part] <= LIMITS[part]


@pytest.fixture(scope="module")
def sizes(tools: Tools) -> dict[str, int]:
    found: dict[str, int] = json.loads(tools.script("size.mjs"))
    return found
