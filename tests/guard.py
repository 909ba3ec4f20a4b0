"""Runs a command for as long as its standard input is open: `python -m tests.guard COMMAND...`.

The pipe closes however its owner ends, killed or interrupted, so nothing of a test is left behind.
"""

import subprocess
import sys
from select import select


def main() -> int:
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    while process.poll() is None:
        if select([sys.stdin], [], [], 0.1)[0]:
            process.terminate()
            break
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
