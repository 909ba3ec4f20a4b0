from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local import bootstrap
from local.bootstrap import ENVIRONMENTS, Environment, Node, NoNodeError, find_node, main, modules
from local.stack import ROOT


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "aws.txt").write_text("one==1")
    (tmp_path / "venv").mkdir()
    return Environment("venv", "a test", "aws.txt")


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


# ── the client's tools ─────────────────────────────────────────────────────────────────────

NPM = """\
echo "$(basename "$PWD") $*" >> "$CALLS"
mkdir -p node_modules
"""


class Machine:
    """A checkout, and a machine on which there is the Node that a test puts there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self._bin, self._calls = folder / "root", folder / "bin", folder / "calls"
        for lock in ("web", "web/react-18"):
            (self.root / lock).mkdir(parents=True)
            (self.root / lock / "package-lock.json").write_text("one 1")
        self._bin.mkdir()
        monkeypatch.setattr(bootstrap, "ROOT", self.root)
        monkeypatch.setenv("CALLS", str(self._calls))
        monkeypatch.setattr("shutil.which", self._which)

    def install(self, *, node: str, npm: str = NPM) -> None:
        for name, script in (("node", f"echo v{node}"), ("npm", npm)):
            (self._bin / name).write_text(f"#!/bin/sh\n{script}\n")
            (self._bin / name).chmod(0o755)

    def calls(self) -> list[str]:
        return sorted(self._calls.read_text().splitlines()) if self._calls.exists() else []

    def _which(self, name: str) -> str | None:
        return str(self._bin / name) if (self._bin / name).exists() else None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_clients_tools_are_installed_from_their_locks_and_run_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.install(node="20.19.0")

    assert main(["web"]) == 0
    flags = "ci --no-audit --no-fund --ignore-scripts --loglevel=error"
    assert machine.calls() == [f"react-18 {flags}", f"web {flags}"]
    assert capsys.readouterr().out.count("node_modules") == 4


def test_a_second_start_finds_the_clients_tools_done(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.install(node="20.19.0")
    main(["web"])
    capsys.readouterr()

    assert main(["web"]) == 0
    assert len(machine.calls()) == 2
    assert capsys.readouterr().out == ""


def test_two_at_the_same_time_install_once(machine: Machine) -> None:
    machine.install(node="20.19.0")

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(main, [["web"], ["web"]])) == [0, 0]
    assert len(machine.calls()) == 2


def test_a_new_lock_or_another_node_makes_the_clients_tools_anew(machine: Machine) -> None:
    machine.install(node="20.19.0")
    main(["web"])
    (machine.root / "web" / "package-lock.json").write_text("one 2")
    main(["web"])
    assert len(machine.calls()) == 3

    machine.install(node="22.12.0")
    main(["web"])
    assert len(machine.calls()) == 5


def test_without_node_one_sentence_is_printed_and_nothing_is_wrong(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["web"]) == 0
    assert machine.calls() == []
    (sentence,) = capsys.readouterr().out.splitlines()
    assert sentence.startswith("Node 20 is not there")
    assert sentence.endswith("what needs it is skipped.")


def test_a_node_that_is_too_old_is_named(machine: Machine) -> None:
    machine.install(node="18.20.4")
    with pytest.raises(NoNodeError, match=r"18\.20\.4"):
        find_node()


@pytest.mark.parametrize("version", ["20.19.0", "20.20.2", "22.12.0", "23.0.0", "24.1.0"])
def test_a_node_of_this_version_will_do(version: str) -> None:
    assert Node(version, "npm").is_new_enough()


@pytest.mark.parametrize("version", ["", "18.20.4", "20.18.9", "21.7.3", "22.11.0"])
def test_a_node_of_this_version_will_not_do(version: str) -> None:
    assert not Node(version, "npm").is_new_enough()


def test_when_npm_fails_its_last_lines_are_told(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.install(node="20.19.0", npm="echo 'it is the lock' >&2; exit 1")

    assert main(["web"]) == 1
    told = capsys.readouterr().err
    assert "failed; the last lines were:" in told
    assert "it is the lock" in told
    assert not any(it.is_made() for it in modules(find_node()))


def test_locks_of_the_client_pin_every_package_by_hash_and_name_no_registry() -> None:
    for folder in ("web", "web/react-18"):
        text = (ROOT / folder / "package-lock.json").read_text()
        assert text.count('"node_modules/') == text.count('"integrity": "sha512-')
        assert '"resolved"' not in text
