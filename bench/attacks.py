"""What one account can make the owner pay with one call, all that may be stored being stored.

    python -m bench.attacks [--against REF]

Units by AWS's rules (`bench.meter`), and what DynamoDB alone costs for a million such calls.
"""

from bench.builds import arguments, measure
from bench.printing import number, print_note, print_table

#: Dollars for a million units of DynamoDB on demand, as in README.
WRITE, READ = 0.625, 0.125

CALLS = (
    "ping",
    "status",
    "PUT /",
    "online",
    "25 sessions: first PUT /blocked/x",
    "full account: ping",
    "full account: PUT /blocked/x",
    "full account: DELETE /blocked/x",
    "full account: PUT / invisible",
    "full account: PUT / online",
    "full account: status",
    "20 devices: ping",
    "20 devices: authenticate again",
    "20 devices: status",
    "100 such users in POST /batch",
    "list of 1,000: watch one again",
    "list of 1,000: unwatch one",
    "list of 999: watch one",
    "list of 1,000: unwatch 50",
    "list of 950: watch 50",
)


def main() -> None:
    parser = arguments("What the dearest calls cost.")
    parser.set_defaults(rounds=1)
    builds = measure("attacks", parser.parse_args())
    rows = []
    for position, call in enumerate(CALLS):
        cells = [call]
        for figures in builds.values():
            writes, reads = figures[2 * position : 2 * position + 2]
            dollars = writes * WRITE + reads * READ
            cells += [number(writes), number(reads), number(dollars)]
        rows.append(tuple(cells))
    header = ["", *(f"{it} {unit}" for it in builds for unit in ("W", "R", "$ a million"))]
    print_table("Calls of an account that stores all it may", tuple(header), rows)
    print_note("Ids of 128 characters that do not compress; DynamoDB alone, by AWS's rules.")


if __name__ == "__main__":
    main()
