"""`sam build`, only when something that it reads has changed, and the zip files it leads to."""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from local import layer
from local.stack import ROOT, StackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BUCKET = "presence-artifacts"
_LAYER = "PresenceLayer/python"
_BUILDS = ROOT / ".presence" / "build"
_SAM = ROOT / ".venv-sam" / "bin" / "sam"
# A fixed time makes the same files the same zip.
_ZIP_TIME = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Artifacts:
    """What `sam build` made.

    Attributes:
        template: it names the code of its functions as s3://BUCKET/name.zip.
        archives: these zip files.
        imports: what the layer would put on the import path.
        fresh: `sam build` ran for it just now.
    """

    template: dict[str, Any]
    archives: tuple[Path, ...]
    imports: str
    fresh: bool


def runtime() -> str:
    """Return the Lambda runtime of this interpreter; the local AWS runs functions with no other."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def architecture() -> str:
    """Return the Lambda architecture of this machine."""
    return "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"


def build() -> Artifacts:
    """Build the template for this machine, or take the last build if it is still the same.

    Raises:
        StackError: `sam build` failed or is not installed.
    """
    _BUILDS.mkdir(parents=True, exist_ok=True)
    with _alone():
        key = fingerprint(_sources(), salt=f"{runtime()} {architecture()}")
        folder = _BUILDS / key
        fresh = not folder.exists()
        if fresh:
            _sam_build(folder)
    template = yaml.safe_load((folder / "template.json").read_text())
    return Artifacts(template, tuple(folder.glob("*.zip")), _imports(folder), fresh)


def _imports(folder: Path) -> str:
    if platform.system() == "Linux":
        return str(folder / _LAYER)
    # sam builds for Lambda's Linux; here the same versions serve that `make setup` installed.
    return os.pathsep.join((str(ROOT / "layers" / "presence"), sysconfig.get_path("purelib")))


def fingerprint(files: Iterable[Path], *, salt: str) -> str:
    """Return a short name for the content of the files, the same as long as they are the same."""
    digest = hashlib.sha256(salt.encode())
    for path in sorted(files):
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def pack(folder: Path, archive: Path) -> None:
    """Zip a folder, the same bytes for the same files; compressing costs more than it saves."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for path in sorted(item for item in folder.rglob("*") if _counts(item)):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)), _ZIP_TIME)
            entry.external_attr = 0o644 << 16
            target.writestr(entry, path.read_bytes())


def _sources() -> list[Path]:
    found = [ROOT / "template.yaml", Path(__file__), Path(layer.__file__)]
    for folder in ("functions", "layers"):
        found += (ROOT / folder).rglob("*")
    return [path for path in found if _counts(path)]


def _counts(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


@contextmanager
def _alone() -> Iterator[None]:
    """Two stacks that start together share one build; the second waits for the first."""
    with (_BUILDS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sam_build(folder: Path) -> None:
    """Run `sam build` into a folder of its own and rename it when all is there."""
    if not _SAM.exists():
        message = "sam is not installed; run `make setup`."
        raise StackError(message)
    work = _BUILDS / "work"
    shutil.rmtree(work, ignore_errors=True)
    result = subprocess.run(
        _sam_command(work),
        cwd=ROOT,
        env=_sam_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        message = f"`sam build` failed:\n{result.stdout}{result.stderr}"
        raise StackError(message)
    _collect(work)
    work.rename(folder)
    _forget_old(keep=3)


def _sam_command(work: Path) -> list[str]:
    return [
        *(str(_SAM), "build", "--cached", "--cache-dir", str(_BUILDS / "cache")),
        *("--template", "template.yaml", "--build-dir", str(work)),
        *("--parameter-overrides", f"PythonRuntime={runtime()}", f"Architecture={architecture()}"),
    ]


def _sam_environment() -> dict[str, str]:
    # sam looks for the interpreter of the runtime on the PATH: let it find ours first.
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', '')}"  # noqa: PTH120 - the virtual environment's own folder, not what its link points to
    return os.environ | {"PATH": path, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}


def _collect(work: Path) -> None:
    """Zip the code of the functions, prepare the layer, and write the template that names them."""
    layer.shrink(work / _LAYER)
    compileall.compile_dir(work / _LAYER, quiet=2, workers=0)
    template = yaml.safe_load((work / "template.yaml").read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            code = resource["Properties"]
            code["CodeUri"] = f"s3://{BUCKET}/{_archive(work, code['CodeUri'])}.zip"
    (work / "template.json").write_text(json.dumps(template))


def _archive(work: Path, folder: str) -> str:
    """Zip one folder of code; folders with the same content share a file."""
    archive = work / "new.zip"
    pack(work / folder, archive)
    stem = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    archive.rename(work / f"{stem}.zip")
    shutil.rmtree(work / folder)
    return stem


def _forget_old(*, keep: int) -> None:
    builds = [path.parent for path in _BUILDS.glob("*/template.json")]
    for old in sorted(builds, key=lambda path: path.stat().st_mtime)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
