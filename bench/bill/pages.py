"""The tables of README.md and docs/cost.md, made from the record that is kept."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench.bill.days import read_day
from presence.domain.heartbeat import Heartbeats

DAYS = Path(__file__).resolve().parents[1] / "days"
KEPT = Path(__file__).resolve().parents[1] / "bill.json"
#: The day of README.md.
DAY = "readme"
#: From a lease that is over until all have been told: the next sweep, and the way to them.
TOLD_SECONDS = 63
_LEAST = 0.005


@cache
def _record() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(KEPT.read_text("utf-8"))
    return found


def _day(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(it for it in _record()["days"] if it["name"] == name)
    return found


def _table(header: Sequence[str], rule: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(row) for row in (header, *rows)]
    return "\n".join([f"| {lines[0]} |", rule, *(f"| {line} |" for line in lines[1:])])


def items(bill: Mapping[str, Any]) -> str:
    """A bill by item, with what is apart below its sum."""
    prices, amounts = _record()["prices"], {**bill["amounts"], **bill["apart"]}
    rows = [
        _item(prices[item], amounts.get(item, 0), dollars)
        for item, dollars in bill["dollars"].items()
        if dollars >= _LEAST
    ]
    rows.append(["**Total**", "", "", f"**{bill['total']:,.2f}**"])
    for item in bill["apart"]:
        price = prices[item]
        dollars = amounts[item] * price["dollars"] / price["per"]
        rows.append(_item({**price, "name": f"apart: {price['name']}"}, amounts[item], dollars))
    return _table(("Item", "How many", "Price", "$ a month"), "|---|---:|---:|---:|", rows)


def _item(price: Mapping[str, Any], amount: float, dollars: float) -> Sequence[str]:
    per = {1e6: " a million", 1e9: " a GB", 1: " each"}[price["per"]]
    many = f"{amount / price['per']:,.2f} M" if price["per"] == 1e6 else f"{amount:,.0f}"  # noqa: PLR2004
    many = f"{amount / 1e9:,.2f} GB" if price["per"] == 1e9 else many  # noqa: PLR2004
    return price["name"], many, f"${price['dollars']:g}{per}", f"{dollars:,.2f}"


def causes() -> str:
    """What the day costs by what the frames and functions were for."""
    by_cause = _day(DAY)["bills"][0]["by_cause"]
    rows = [(f"`{name}`", f"{it:,.2f}") for name, it in by_cause.items() if it >= _LEAST]
    return _table(("What for", "$ a month"), "|---|---:|", rows)


_BACKGROUND = "BackgroundHeartbeatSeconds"
#: The template's defaults.
USUAL = {"HeartbeatSeconds": 60, _BACKGROUND: 540}
#: What a person would choose, by the seconds of both heartbeats.
SETTINGS = {
    (30, 30): "fast everywhere",
    (30, 540): "fast with a person there",
    (60, 540): "usual",
    (540, 540): "thrifty",
}


def by_heartbeat() -> str:
    """What slower heartbeats save, and how much later a crash is noticed."""
    day = _day(DAY)
    bills = [{"parameters": USUAL, **day["bills"][0]}, *day["variants"]]
    rows = sorted(map(_setting, bills), key=lambda row: row[0])
    names = ("", "`HeartbeatSeconds`", "`BackgroundHeartbeatSeconds`", "$ a month")
    header = (*names, "Crash seen over HTTP within", "clients told within")
    return _table(header, "|---|---:|---:|---:|---:|---:|", (row[1] for row in rows))


def _setting(bill: Mapping[str, Any]) -> tuple[list[int], Sequence[str]]:
    """With a person at the device, and hidden or idle."""
    both = [int(bill["parameters"][name]) for name in ("HeartbeatSeconds", _BACKGROUND)]
    beats = Heartbeats(both[0] * 1000, both[1] * 1000)
    leases = [beats.lease(it * 1000) // 1000 for it in both]
    seen = [_either([f"{it + more} s" for it in leases]) for more in (0, TOLD_SECONDS)]
    name = SETTINGS.get((both[0], both[1]), "")
    return both, (name, *map(str, both), f"{bill['total']:,.0f}", *seen)


def _either(both: Sequence[str]) -> str:
    return both[0] if both[0] == both[1] else f"{both[0]}, hidden {both[1]}"


def days() -> str:
    """All days with all builds of the record."""
    found = _record()["days"]
    builds = [it["build"] for it in found[0]["bills"]]
    rows = [
        (
            day["title"],
            f"{day['users']:,}, {day['days']}",
            *(f"{it['total']:,.0f}" for it in day["bills"]),
            f"{day.get('ratio', 1):.2f}",
        )
        for day in found
    ]
    header = ("Day", "Users, days", *(f"{it}, $" for it in builds), "Ratio")
    return _table(header, f"|---|---:|{'---:|' * len(builds)}---:|", rows)


def prices() -> str:
    rows = (
        (it["name"], f"${it['dollars']:g}", f"{it['per']:,.0f} {it['unit']}".strip(), it["source"])
        for it in _record()["prices"].values()
    )
    return _table(("Item", "Price", "For", "Source"), "|---|---:|---|---|", rows)


#: What a user's contacts cause, by the meter's names.
_OF_CONTACTS = ("posts", "watch", "$disconnect")
_BEATS = ("ping", "check")


def calculator() -> str:
    """The figures of the demo's calculator, a module in TypeScript."""
    figures = {**_usual_day(), **_prices_of(_usual_day())}
    lines = (f"  {name}: {_number(value)}," for name, value in figures.items())
    return "\n".join([_MODULE, "export const FIGURES = {", *lines, "};", ""])


def _number(value: float) -> str:
    """The number as the formatter of TypeScript wants it: an exponent has no leading zero."""
    return f"{float(f'{value:.{_DIGITS}g}'):.10g}".replace("e-0", "e-")


def _usual_day() -> Mapping[str, float]:
    record = _day(DAY)
    (group,) = read_day(DAYS / f"{DAY}.yaml").groups
    shown, hidden = (
        sum(it.minutes for it in group.devices[0].stretches if it.screen == screen) / 60
        for screen in ("visible", "hidden")
    )
    return {
        "users": record["users"],
        "days": record["days"],
        "shownHours": shown,
        "hiddenHours": hidden,
        "contacts": group.watches,
        "heartbeatSeconds": USUAL["HeartbeatSeconds"],
        "backgroundHeartbeatSeconds": USUAL[_BACKGROUND],
    }


def _prices_of(day: Mapping[str, float]) -> Mapping[str, float]:
    """What a user pays for.

    A beat is a ping, or the question that is sent in its place. What is neither a beat nor a
    minute of a connection grows with the hours of a day.
    """
    bill, idle = _day(DAY)["bills"][0], _record()["idle"]["total"]
    by_cause = bill["by_cause"]
    user_days = day["users"] * day["days"]
    user_hours = user_days * (day["shownHours"] + day["hiddenHours"])
    shown_beats = day["shownHours"] * 3600 / day["heartbeatSeconds"]
    beats = shown_beats + day["hiddenHours"] * 3600 / day["backgroundHeartbeatSeconds"]
    of_beats, of_contacts = (sum(by_cause[it] for it in names) for names in (_BEATS, _OF_CONTACTS))
    rest = bill["total"] - of_beats - of_contacts - by_cause["connections"] - idle
    return {
        "beat": of_beats / user_days / beats,
        "minute": by_cause["connections"] / user_hours / 60,
        "contactHour": of_contacts / user_hours / day["contacts"],
        "hour": rest / user_hours,
        "idle": idle,
    }


_DIGITS = 6
_MODULE = (
    "/** Made by `make docs` from bench/bill.json: a day, and its prices for a user in dollars. */"
)


#: By the names under which the pages ask for them.
BLOCKS: Mapping[str, Callable[[], str]] = {
    "cost-of-a-day": lambda: items(_day(DAY)["bills"][0]),
    "cost-by-cause": causes,
    "cost-by-heartbeat": by_heartbeat,
    "cost-of-days": days,
    "cost-while-idle": lambda: items(_record()["idle"]),
    "cost-prices": prices,
}
