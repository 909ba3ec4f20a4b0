"""The package as another project gets it: built, and installed apart from this repository."""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import jwt
import pytest

from local.stack import ROOT

LOOK = """
import json, pathlib, presence_client.client, sys
folder = pathlib.Path(presence_client.__file__).parent
ours = {"presence", "local", "functions"} & {it.partition(".")[0] for it in sys.modules}
print(json.dumps([str(folder), (folder / "py.typed").is_file(), sorted(ours)]))
"""


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env={"HOME": str(folder)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_installs_alone_with_its_types_and_its_command(tmp_path: Path) -> None:
    fresh = tmp_path / "venv"
    venv.create(fresh, symlinks=True)
    (site,) = fresh.glob("lib/python*/site-packages")
    # Its dependencies and the build back end are those of the lock; what is linked there is not.
    (site / "lock.pth").write_text(sysconfig.get_path("purelib"))
    pip = (sys.executable, "-m", "pip", "--python", fresh / "bin" / "python", "install")
    alone = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, *alone, ROOT / "clients" / "python", folder=tmp_path)

    found = json.loads(run(fresh / "bin" / "python", "-c", LOOK, folder=tmp_path))
    assert found == [str(site / "presence_client"), True, []]
    token = run(fresh / "bin" / "presence", "token", "ada", folder=tmp_path)
    assert jwt.decode(token.strip(), options={"verify_signature": False})["sub"] == "ada"
