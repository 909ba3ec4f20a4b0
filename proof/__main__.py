"""What takes longer than a test may: `python -m proof [NAME...]`, all of them by default."""

import os
import subprocess
import sys
from time import monotonic

PYTHON = sys.executable
PROVERS = {
    "simulation": (PYTHON, "-m", "proof.simulation", "--steps", "2000000"),
    "stateful": (PYTHON, "-m", "proof.stateful.machine", "--examples", "1000"),
    "model": (PYTHON, "-m", "proof.model.checker"),
    "nemesis": (PYTHON, "-m", "proof.nemesis", "--runs", "5"),
    "fast": (PYTHON, "-m", "proof.nemesis", "--setting", "fast"),
    "thrifty": (PYTHON, "-m", "proof.nemesis", "--setting", "thrifty"),
    "mutants": (PYTHON, "-m", "proof.mutants"),
}


def main(names: list[str]) -> int:
    failed = []
    for name in names or PROVERS:
        began = monotonic()
        done = subprocess.run(PROVERS[name], check=False, env=_environment())
        print(f"{name}: exit code {done.returncode}, {monotonic() - began:.0f} s", flush=True)
        failed += [name] if done.returncode else []
    return min(len(failed), 1)


def _environment() -> dict[str, str]:
    """Every prover finds the layer, and the state machine makes up the same stories again."""
    paths = os.pathsep.join((".", "layers/presence"))
    return {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
