from pathlib import Path

import pytest

from local import bootstrap
from local.bootstrap import ENVIRONMENTS, Environment
from local.stack import ROOT


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "aws.txt").write_text("one==1")
    (tmp_path / "venv").mkdir()
    return Environment("venv", "aws.txt", "a test")


def test_an_environment_is_made_once_for_a_lock(environment: Environment) -> None:
    assert not environment.is_made()
    environment.stamp.write_text(environment.wanted())
    assert environment.is_made()
    (bootstrap.ROOT / "requirements" / "aws.txt").write_text("one==2")
    assert not environment.is_made()


@pytest.mark.parametrize("lock", [environment.lock for environment in ENVIRONMENTS])
def test_locks_pin_every_package_by_hash_and_name_no_index(lock: str) -> None:
    lines = (ROOT / "requirements" / lock).read_text().splitlines()
    assert all("==" in line or line.startswith("    --hash=sha256:") for line in lines if line)
    assert not [line for line in lines if "://" in line]


def test_the_tests_run_with_what_the_layer_brings() -> None:
    layer = (ROOT / "layers" / "presence" / "requirements.txt").read_text()
    developer = (ROOT / "requirements" / "dev.txt").read_text()
    pins = [line.split(" ")[0] for line in layer.splitlines() if not line.startswith(" ")]
    assert pins
    assert not [pin for pin in pins if f"\n{pin} " not in f"\n{developer}"]
