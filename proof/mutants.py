"""Mutants of the product: mistakes that the provers have to find, and mistakes that tests miss.

    python -m proof.mutants [--known]

Known are small patches, each of which breaks an invariant of docs/reliability.md; the simulation
has to find each of them by that invariant.

The others are made by mutmut, of the domain, the use cases and the fan-out. It takes the path of a
file for the name of its module, so it works on a copy in which they agree. What survives is a list
to read: many mutants change nothing that is visible.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
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


PACKAGE = ROOT / "layers" / "presence" / "presence"


@dataclass(frozen=True, slots=True)
class Mistake:
    """In a file of the product, *wrong* stands in the place of *right*, which is there once.

    `breaks` are invariants, one of which the simulation has to miss then, from its run `seed` on.
    """

    name: str
    file: str
    right: str
    wrong: str
    breaks: frozenset[str]
    seed: int = 1

    @property
    def source(self) -> str:
        return (PACKAGE / self.file).read_text("utf-8")


def _mistake(name: str, breaks: str, file: str, right: str, wrong: str) -> Mistake:
    return Mistake(name, file, right, wrong, frozenset(breaks.split()))


MISTAKES = (
    _mistake(
        "a slow heartbeat has the lease of the usual one",
        "I2",
        "domain/connection.py",
        "lasts = heartbeats.lease(heartbeats.allowed(heartbeat))",
        "lasts = heartbeats.usual_lease",
    ),
    _mistake(
        "a revocation closes nothing",
        "I18",
        "application/removal.py",
        "[name for name in user.leases if not self._has_good_token(name, user)]",
        "list[str]()",
    ),
    _mistake(
        "a closed record is taken for one with a good token",
        "I18",
        "application/removal.py",
        "if record is None or record.state is State.CLOSED:",
        "if record is None:",
    ),
    _mistake(
        "a revoked token is admitted",
        "I18 I2",
        "domain/reducer.py",
        "    user.standing.require_accepted(event.token)\n",
        "",
    ),
    _mistake(
        "a removal ends nothing",
        "I18",
        "application/removal.py",
        "            if session_id in lease.sessions:\n",
        "            if session_id not in lease.sessions:\n",
    ),
    _mistake(
        "who is barred may come back",
        "I18",
        "domain/standing.py",
        "return session_id not in self.barred and is_allowed(session_id, allowed)",
        "return is_allowed(session_id, allowed)",
    ),
    _mistake(
        "a narrower token ends nothing",
        "I19",
        "domain/reducer.py",
        "frozenset(name for name in sessions if user.standing.lets_into(name, allowed))",
        "sessions - user.standing.barred",
    ),
    _mistake(
        "a lease runs on with the token of before",
        "I19",
        "domain/reducer.py",
        "        ends_by=new.ends_by,\n",
        "        ends_by=later.ends_by,\n",
    ),
    _mistake(
        "chat sessions that are named are not joined",
        "I7",
        "domain/reducer.py",
        "    return _take_part(here, event.connection_id, event.session_ids, "
        "event.token.allowed_sessions)\n",
        "    return here\n",
    ),
    _mistake(
        "who leaves on purpose has a grace period",
        "I7",
        "application/connections.py",
        "gone = Disconnected(connection_id, grace_until=now)",
        "gone = Disconnected(connection_id, grace_until=now + self.durations.grace)",
    ),
    _mistake(
        "the connection that was heard last is replaced",
        "I2",
        "domain/reducer.py",
        "return min((lease.seen_at, name)",
        "return max((lease.seen_at, name)",
    ),
    _mistake(
        "a probe ends leases of connections that were heard since",
        "I2",
        "domain/reducer.py",
        "if event.unheard.get(name) == lease.seen_at",
        "if name in event.unheard",
    ),
    _mistake(
        "a probe ends leases of connections that were not asked",
        "I2",
        "application/verification.py",
        "lost = {*it.gone, *it.again, *it.refused}",
        "lost = set[str]()",
    ),
    _mistake(
        "a probe raises a version",
        "I21",
        "domain/reducer.py",
        "if not after.presence.equals_except_version(before.presence):",
        "if not after.presence.equals_except_version(before.presence) "
        "or any(it.expires_at < before.leases[name].expires_at"
        " for name, it in after.leases.items() if name in before.leases):",
    ),
    _mistake(
        "all who watch are told",
        "I20",
        "fanout/sight.py",
        "        if not asked:\n            return ()\n",
        "        return ()\n",
    ),
    _mistake(
        "all who read are told",
        "I20",
        "fanout/sight.py",
        "        if not self.is_restricted(reach):\n            return",
        "        if self is not None:\n            return",
    ),
    _mistake(
        "who comes late is told of what was before",
        "I20",
        "fanout/sight.py",
        "(images if is_end else images[-1:])",
        "images",
    ),
    # It takes some hundred runs.
    replace(
        _mistake(
            "a chat session is told of those who have left it",
            "I20",
            "fanout/diffs.py",
            "        if self.user.presence.is_online:\n            return known\n",
            "",
        ),
        seed=40000,
    ),
)
#: How far the simulation looks for a mistake; most are found at once.
STEPS = 400_000
FOUND = re.compile(r"^seed (\d+): (\w+) at", re.MULTILINE)


def main(arguments: Iterable[str]) -> int:
    survivors = [it for it in MISTAKES if not is_found(it)]
    print(f"{len(MISTAKES)} known mistakes, {len(survivors)} of them not found")
    made = 0 if "--known" in arguments else by_mutmut()
    return 1 if survivors or made else 0


def is_found(mistake: Mistake) -> bool:
    """Whether the simulation of the product with a mistake ends as it should."""
    folder = FOLDER.with_name("mistake")
    shutil.rmtree(folder, ignore_errors=True)
    copy(PACKAGE, folder / "presence")
    wrong = mistake.source.replace(mistake.right, mistake.wrong)
    (folder / "presence" / mistake.file).write_text(wrong, "utf-8")
    paths = os.pathsep.join(map(str, (folder, ROOT, ROOT / "clients" / "python")))
    limits = ("--steps", str(STEPS), "--seed", str(mistake.seed))
    done = subprocess.run(
        (sys.executable, "-m", "proof.simulation", *limits),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    found = FOUND.search(done.stdout)
    told = f"{found[2]}, seed {found[1]}" if found else done.stderr[-500:] or "nothing"
    print(f"{mistake.name}: {' or '.join(sorted(mistake.breaks))} expected, {told}", flush=True)
    return found is not None and found[2] in mistake.breaks


def by_mutmut() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    copy(PACKAGE, FOLDER / "presence")
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
    sys.exit(main(sys.argv[1:]))
