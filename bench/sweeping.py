"""A sweep that finds very many users dead at once.

    python -m bench.sweeping [--against REF] [--rounds N] [--users N]

The real handler and adapters on a local AWS. A function of 512 MB has 0.29 of a core, and a request
to AWS takes some milliseconds where the local AWS takes others, so the time on AWS is modelled:
processor time by that share, and CALL_SECONDS for each request, one after the other. With
`--against` another commit does the same, in turn with this one.
"""

from bench.builds import arguments, measure
from bench.printing import number, print_note, print_table

#: Of a core, for a function of 512 MB: a full one takes 1,769 MB ("Configure Lambda memory").
SHARE = 512 / 1_769
#: DynamoDB and SQS answer in single-digit milliseconds.
CALL_SECONDS = 0.006


def main() -> None:
    parser = arguments("A sweep that finds very many users dead.")
    parser.add_argument("--users", type=int, default=10_000)
    parser.set_defaults(rounds=1)
    chosen = parser.parse_args()
    found = measure("sweeping", chosen, chosen.users)
    rows, first = [], 0.0
    for build, (calls, cpu, seconds) in found.items():
        modelled = cpu / SHARE + calls * CALL_SECONDS
        first = first or modelled
        shown = (calls, cpu, seconds, modelled, first / modelled)
        rows.append((build, *map(number, shown)))
    header = ("", "requests", "CPU s", "s here", "s on AWS, modelled", "this build's share")
    print_table(f"One sweep, {chosen.users:,} silent deaths", header, rows)
    print_note(
        f"Modelled: CPU at {SHARE:.2f} of a core, {CALL_SECONDS * 1000:g} ms a request. "
        "A sweep has 55 s."
    )


if __name__ == "__main__":
    main()
