"""Mutants of the domain, the use cases and the fan-out: mistakes that their own tests miss.

mutmut takes the path of a file for the name of its module, so it works on a copy in which they
agree. What survives is a list to read: many mutants change nothing that is visible.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from local.stack import ROOT

FOLDER = ROOT / ".presence" / "mutants"
MUTATED = ("presence/domain", "presence/application", "presence/fanout")
TESTS = ("tests/domain", "tests/application", "tests/fanout")
#: What the tests import or read, beside the layer.
PARTS = ("clients", "docs", "events", "functions", "local", "template.yaml", "tests")
CONFIGURATION = f"""\
[tool.mutmut]
source_paths = {[*MUTATED]}
pytest_add_cli_args_test_selection = {[*TESTS]}
also_copy = {["presence", *PARTS]}

[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-p", "no:cacheprovider"]
pythonpath = [".", "clients/python"]
markers = ["contract", "e2e", "slow", "fault"]
"""


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    copy(ROOT / "layers" / "presence" / "presence", FOLDER / "presence")
    for name in PARTS:
        copy(ROOT / name, FOLDER / name)
    (FOLDER / "pyproject.toml").write_text(CONFIGURATION)
    mutmut = str(Path(sys.executable).with_name("mutmut"))
    done = subprocess.run((mutmut, "run"), cwd=FOLDER, check=False)
    subprocess.run((mutmut, "results"), cwd=FOLDER, check=False)
    return done.returncode


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    sys.exit(main())
