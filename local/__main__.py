"""`python -m local run|up|down|types`: a stack, or the types of the client."""

from __future__ import annotations

import argparse
import sys

from local.run import down, run, up
from local.stack import ROOT, StackError, settings


def main() -> int:
    """Do what the command line says; return the exit code."""
    wanted = _parser().parse_args()
    if wanted.command == "types":
        from local import typescript  # noqa: PLC0415 - a stack needs no reader of schemas

        print(f"made {typescript.write().relative_to(ROOT)}")
        return 0
    try:
        chosen = settings(sets=wanted.set, keep=wanted.keep)
        if wanted.command == "run":
            run(chosen)
        elif wanted.command == "up":
            up(chosen, sys.argv[2:])
        else:
            down(chosen)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=("run", "up", "down", "types"))
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a template parameter, such as GraceSeconds=2; may be repeated",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep what is stored from the last run, and for the next",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
