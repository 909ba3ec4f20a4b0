"""CPU of announcing a batch of users who all move in the same chat sessions.

    python -m bench.announcing [--against REF] [--rounds N]

A batch is 100 records, the most that the stream brings at a time. With `--against` another commit
does the same, in turn with this one.
"""

from bench.builds import arguments, measure
from bench.printing import number, print_note, print_table

SESSIONS = 50
MOVERS = (5, 20, 50, 100)


def main() -> None:
    chosen = arguments("CPU of announcing a batch of movers.").parse_args()
    found = [measure("announcing", chosen, movers, SESSIONS) for movers in MOVERS]
    builds = list(found[0])
    rows = []
    for movers, figures in zip(MOVERS, found, strict=True):
        seconds = [figures[build][0] for build in builds]
        share = (number(seconds[0] / seconds[1]),) if len(seconds) > 1 else ()
        rows.append((f"{movers} users", *(number(it * 1000) for it in seconds), *share))
    header = ("", *(f"{build}, CPU ms" for build in builds), *("share",)[: len(builds) - 1])
    print_table(
        f"One batch of 100 records; all users in the same {SESSIONS} sessions", header, rows
    )
    print_note("The use cases on fakes, without posts; medians.")


if __name__ == "__main__":
    main()
