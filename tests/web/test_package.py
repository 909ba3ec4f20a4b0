"""What would be published: others can import it, and it is small."""

import json
import shutil
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def sizes(tools: Tools) -> dict[str, int]:
    found: dict[str, int] = json.loads(tools.script("size.mjs"))
    return found
