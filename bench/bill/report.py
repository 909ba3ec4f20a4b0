"""From what days used to bills: the record that is kept as JSON, and its tables."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeAlias

from bench.bill.counting import (
    Amounts,
    by_cause,
    combined,
    kinds,
    month,
    of_users,
    stretched,
    total,
)
from bench.bill.days import MINUTE, Day, length
from bench.bill.functions import WAITS
from bench.bill.prices import APART, PRICES, READ_ON, Price

#: What a run of run.py told.
Told: TypeAlias = Mapping[str, Any]
Record: TypeAlias = Mapping[str, Any]


class CutError(Exception):
    """Two cut days that are not on one line."""


MINUTES_A_MONTH = 30 * 24 * 60
_DIGITS = 6


def monthly(day: Day, runs: Sequence[Told]) -> dict[str, float]:
    """What the users of the day use in its days: from the day itself, or from two that are cut."""
    idle = combined((1 / len(runs), it["idle_minute"]) for it in runs)
    parts = {it["cut"]: of_users(it["used"], idle, it["minutes"]) for it in runs}
    first, *others = sorted(parts)
    found = parts[first]
    for cut in others:
        found = stretched(parts[cut], found, cut, first)
    if any(total(found, item) < 0 for item in PRICES):
        raise CutError(f"{day.name}: what is left of the day is too short to tell the whole.")
    amounts = month(found, idle, shown=day.people, users=day.scale_users, days=day.scale_days)
    return amounts | fixed(runs[0])


def fixed(run: Told) -> dict[str, float]:
    """What is paid for a month whatever is used; a metric costs as much for a day in it."""
    found = {"metrics/all": len(run["metrics"]), "alarms/all": run["alarms"]}
    return {**found, "dashboards/all": run["dashboards"]}


def priced(counted: Collection[str]) -> Mapping[str, Price]:
    """What is in the sum: all that is billed for certain, and what else is to be counted."""
    return {**PRICES, **{item: APART[item] for item in APART if item in counted}}


def dollars(amounts: Amounts, counted: Collection[str] = ()) -> dict[str, float]:
    return {item: price.of(total(amounts, item)) for item, price in priced(counted).items()}


def dollars_by_cause(amounts: Amounts, counted: Collection[str] = ()) -> dict[str, float]:
    """What each action, post, timer and sweep costs in all, the dearest first."""
    parts = [
        {cause: price.of(amount) for cause, amount in by_cause(amounts, item).items()}
        for item, price in priced(counted).items()
    ]
    found = combined((1, part) for part in parts)
    return dict(sorted(found.items(), key=lambda it: -it[1]))


def bill(build: str, amounts: Amounts, counted: Collection[str] = ()) -> dict[str, Any]:
    """One bill.

    Args:
        build: its name.
        amounts: what was used.
        counted: items of APART that are in the sum.
    """
    items = dollars(amounts, counted)
    return {
        "build": build,
        "total": _short(sum(items.values())),
        "dollars": _all_short(items),
        "by_cause": _all_short(dollars_by_cause(amounts, counted)),
        "amounts": _all_short({item: total(amounts, item) for item in (*items, "calls")}),
        "apart": _all_short({item: total(amounts, item) for item in APART if item not in items}),
        "frames_in": _all_short(kinds(amounts, "frames_in")),
        "frames_out": _all_short(kinds(amounts, "frames_out")),
        "cpu_ms": _all_short(_each(amounts)),
        "problems": kinds(amounts, "problems"),
    }


def _each(amounts: Amounts) -> dict[str, float]:
    """Milliseconds of a processor of this machine for an invocation, by cause."""
    often = by_cause(amounts, "invocations")
    return {cause: spent / often[cause] for cause, spent in by_cause(amounts, "cpu_ms").items()}


def of_day(day: Day, bills: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = {
        "name": day.name,
        "title": day.title,
        "people": day.people,
        "minutes": length(day) / MINUTE,
        "cut": list(day.cut),
        "users": day.scale_users,
        "days": day.scale_days,
        "bills": list(bills),
    }
    if len(bills) > 1:
        found["ratio"] = round(bills[0]["total"] / bills[1]["total"], 3)
    return found


def record(
    days: Sequence[Mapping[str, Any]], idle: Mapping[str, Any], builds: Mapping[str, str]
) -> dict[str, Any]:
    """All that is kept of a run.

    Args:
        days: as `of_day` makes them.
        idle: the bill of a month without a user.
        builds: the commit of each build, by its name.
    """
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "prices_read_on": READ_ON,
        "prices": {item: asdict(price) for item, price in {**PRICES, **APART}.items()},
        "waits_ms": asdict(WAITS),
        "builds": dict(builds),
        "days": list(days),
        "idle": idle,
    }


def merged(former: Record, found: Record) -> dict[str, Any]:
    """A record in which the days of *found* take the place of their former bills."""
    days = {it["name"]: it for it in (*former["days"], *found["days"])}
    return {**found, "days": [days[name] for name in sorted(days)]}


def idle_bill(build: str, run: Told, counted: Collection[str] = ()) -> dict[str, Any]:
    always = fixed({**run, "metrics": run["idle_metrics"]})
    return bill(build, combined([(MINUTES_A_MONTH, run["idle_minute"])]) | always, counted)


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _all_short(values: Mapping[str, float]) -> dict[str, float]:
    return {name: _short(it) for name, it in values.items() if it}


# ── tables ─────────────────────────────────────────────────────────────────────────────────

Rows: TypeAlias = Sequence[Sequence[str]]


def head(day: Record) -> str:
    cut = f", played at 1/{day['cut'][0]:g} and 1/{day['cut'][1]:g}" if day["cut"] else ""
    return (
        f"{day['title']}: {day['users']:,} users, {day['days']} days "
        f"(from {day['people']} users{cut})"
    )


def bill_rows(day: Record) -> Rows:
    """Dollars by item, then the sum, then what is apart."""
    bills = day["bills"]
    rows = [
        [price.name, *(f"{it['dollars'].get(item, 0):,.2f}" for it in bills)]
        for item, price in {**PRICES, **APART}.items()
        if any(it["dollars"].get(item) for it in bills)
    ]
    rows.append(["Total, $", *(f"{it['total']:,.2f}" for it in bills)])
    rows += [
        [f"({price.name})", *(f"{price.of(it['apart'].get(item, 0)):,.2f}" for it in bills)]
        for item, price in APART.items()
        if not any(it["dollars"].get(item) for it in bills)
    ]
    return [[*row, _ratio(row[1:])] for row in rows]


def _ratio(cells: Sequence[str]) -> str:
    values = [float(it.replace(",", "")) for it in cells]
    if len(values) < 2 or not values[1]:  # noqa: PLR2004  two builds
        return ""
    return f"{values[0] / values[1]:.2f}"


def amount_rows(day: Record, part: str, least: float = 0) -> Rows:
    """Amounts of one part of the bills, such as `frames_in`, in thousands."""
    bills = day["bills"]
    names = dict.fromkeys(name for it in bills for name in it[part])
    rows = [[name, *(f"{it[part].get(name, 0) / 1e3:,.1f}" for it in bills)] for name in names]
    kept = [row for row in rows if max(float(it.replace(",", "")) for it in row[1:]) * 1e3 >= least]
    return [[*row, _ratio(row[1:])] for row in kept]


def cause_rows(day: Record) -> Rows:
    bills = day["bills"]
    names = dict.fromkeys(name for it in bills for name in it["by_cause"])
    rows = [[name, *(f"{it['by_cause'].get(name, 0):,.2f}" for it in bills)] for name in names]
    return [[*row, _ratio(row[1:])] for row in rows]


def tables(day: Record) -> Iterator[tuple[str, Sequence[str], Rows]]:
    """Title, header and rows of all tables of a day."""
    builds = [it["build"] for it in day["bills"]]
    last = ["ratio"]
    yield f"{head(day)}, dollars", ["", *builds, *last], bill_rows(day)
    yield "What it is for, dollars", ["", *builds, *last], cause_rows(day)
    yield "Frames from clients, thousands", ["", *builds, *last], amount_rows(day, "frames_in")
    yield "Frames to clients, thousands", ["", *builds, *last], amount_rows(day, "frames_out")
    yield "Amounts, thousands", ["", *builds, *last], amount_rows(day, "amounts")
    yield (
        "CPU of an invocation on this machine, ms",
        ["", *builds, *last],
        [[*row, _ratio(row[1:])] for row in _plain_rows(day, "cpu_ms")],
    )


def _plain_rows(day: Record, part: str) -> Rows:
    names = dict.fromkeys(name for it in day["bills"] for name in it[part])
    return [[name, *(f"{it[part].get(name, 0):,.2f}" for it in day["bills"])] for name in names]
