"""What would be published: others can import it, and it is small."""

import json
import shutil
from pathlib import Path

import pytest

from tests.docs.markdown import CLIENT, table
from tests.node import WEB, Tools

KIB = 1024
#: Bytes of `gzip -9`. Hooks come on top of the core, components on top of the hooks.
LIMITS = {
    "core": 10.5 * KIB,
    "hooks": 2.5 * KIB,
    "components": 4.5 * KIB,
    "styles": 1.5 * KIB,
}


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


def test_the_readme_says_what_it_weighs(sizes: dict[str, int]) -> None:
    said = {row["Part"]: row["KB"] for row in table(CLIENT.read_text("utf-8"), "Part", "KB")}
    measured = (f"{sizes[part] / KIB:.1f}" for part in LIMITS)

    assert list(said.values()) == list(measured)


@pytest.fixture(scope="module")
def sizes(tools: Tools) -> dict[str, int]:
    found: dict[str, int] = json.loads(tools.script("size.mjs"))
    return found


# ── how it is measured ─────────────────────────────────────────────────────────────────────

SOURCES = {
    "index.ts": 'export { connect } from "./connect.js";',
    "connect.ts": 'export const connect = () => "CORE ".repeat(3);',
    "react/hooks.ts": """\
        import { useState } from "react";
        import { connect } from "../connect.js";
        export const useConnection = () => useState(connect);
    """,
    "react/index.ts": """\
        export * from "./hooks.js";
        export { Dot } from "./components/dot.js";
    """,
    "react/components/dot.tsx": """\
        import { label } from "../../label.js";
        import { useConnection } from "../hooks.js";
        export const Dot = () => <i title={label}>{useConnection()}</i>;
    """,
    "label.ts": 'export const label = "a label";',
    "styles.css": "i { color: red; } /* why */",
}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def measure(tools: Tools, sources: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads(tools.script("size.mjs", sources))
    return found


def grow(file: Path) -> None:
    """Add what gzip cannot make smaller."""
    noise = "".join(f"{number**7:x}" for number in range(100))
    file.write_text(file.read_text().replace('"', f'"{noise}', 1))


def test_each_part_is_counted_once(tools: Tools, sources: Path) -> None:
    before = measure(tools, sources)
    grow(sources / "connect.ts")
    core = measure(tools, sources)
    assert core["core"] > before["core"] + 100
    assert core == before | {"core": core["core"]}

    # Only components use it, so it is theirs wherever it stands.
    grow(sources / "label.ts")
    components = measure(tools, sources)
    assert components["components"] > core["components"] + 100
    assert components == core | {"components": components["components"]}


def test_comments_and_what_an_application_has_anyway_cost_nothing(
    tools: Tools, sources: Path
) -> None:
    before = measure(tools, sources)
    assert before["hooks"] < 200
    for name in ("connect.ts", "styles.css"):
        (sources / name).write_text(f"/* {'why ' * 100} */\n{SOURCES[name]}")

    assert measure(tools, sources) == before


@pytest.mark.parametrize("entry", ["index.ts", "react/index.ts", "styles.css"])
def test_a_part_that_is_not_there_has_no_size(tools: Tools, sources: Path, entry: str) -> None:
    (sources / entry).unlink()

    with pytest.raises(AssertionError, match=f"^{entry} is not there"):
        measure(tools, sources)
