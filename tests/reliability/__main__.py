"""Writes docs/faults.toml and docs/nemesis.json into docs/reliability.md.

python -m tests.reliability
"""

from tests.reliability.faults import PAGE, nemesis, page_of, read

if __name__ == "__main__":
    PAGE.write_text(page_of(PAGE.read_text("utf-8"), read(), nemesis()), "utf-8")
