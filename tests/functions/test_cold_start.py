"""What a cold start may not cost; how much it does is in bench/cold_start.py."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HANDLERS = sorted(path.stem for path in (ROOT / "functions").glob("*.py"))


def test_who_has_nothing_to_post_imports_nothing_to_post_with() -> None:
    imports = "".join(f"import functions.{name}\n" for name in HANDLERS)
    code = f"{imports}import sys\nprint(*(it for it in sys.modules if 'posting' in it))"

    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "websocket" in HANDLERS
    assert told.stdout.strip() == ""
