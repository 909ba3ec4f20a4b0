"""What a run, or many, showed: as a table, as JSON to commit, and as a section of a page."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from proof.nemesis.check import Violation
from proof.nemesis.history import OFFLINE, History, Told
from proof.nemesis.lives import SILENT, Life, lives_of, stays
from proof.nemesis.outages import Outages, lost_share
from proof.nemesis.settings import SETTINGS

Results: TypeAlias = Mapping[str, Any]

#: What a kind of death is called.
DEATHS = {
    "close": "closed cleanly",
    "kill": "process killed with -9",
    "abort": "connection reset",
    "leave": "left on purpose",
    SILENT: "silent, the socket stays open",
}
PATHS = {
    "push": "told to subscribers",
    "http": "answered over HTTP",
    "look": "known to a viewer who looks",
}
FAULTS = {
    "kill": "a device killed with -9",
    "pause": "a device stopped, its socket half-open",
    "route": "the route `$disconnect` deleted",
    "workers": "Lambda workers killed",
    "sweep": "the sweep stopped and started again",
    "two-sweeps": "two sweeps at once",
    "stream": "the consumer of the stream disabled",
    "redeploy": "redeployed while all are connected",
    "revoke": "the tokens of a user revoked",
    "remove": "a user taken out of the chat session, and let in again",
    "clock": "a device whose clock is hours off",
}


@dataclass(frozen=True, slots=True)
class Death:
    """The last device of a user died; `is_undisturbed` if nothing was done to the stack then."""

    kind: str
    path: str
    seconds: float
    is_undisturbed: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """What is kept of one run."""

    seed: int
    seconds: float
    deaths: Sequence[Death] = ()
    offlines: int = 0
    answers: int = 0
    looks: int = 0
    probes: int = 0
    lost_share: float = 0.0
    faults: Mapping[str, int] = field(default_factory=dict)
    violations: Sequence[Violation] = ()


def summary(
    seed: int, seconds: float, history: History, violations: Sequence[Violation]
) -> Summary:
    return Summary(
        seed,
        seconds,
        deaths=deaths(history),
        offlines=sum(
            it.is_applied and not it.is_online and it.at > epoch.start
            for epoch in history.epochs
            for it in epoch.told
        ),
        answers=sum(len(poll.told) for poll in history.polls),
        looks=sum(len(look.told) for look in history.looks),
        probes=sum(len(it.probed) for it in history.connections),
        lost_share=lost_share(history),
        faults=_faults(history),
        violations=violations,
    )


def _faults(history: History) -> Mapping[str, int]:
    counted = Counter(it.name for it in history.faults)
    endings = (it.ending for it in history.connections)
    counted.update(it.name for it in history.decisions if it.name != "allow")
    counted["kill"] = sum(it is not None and it.how == "kill" for it in endings)
    counted["pause"] = len({at for it in history.connections for at in it.paused})
    return counted


# ── from death to offline ──────────────────────────────────────────────────────────────────


def deaths(history: History) -> list[Death]:
    """One for each death and subscriber, or one for each death and HTTP, if the user stayed away.

    A read announces what it notices, so subscribers are measured by users that are not read.
    """
    outages = Outages.of(history)
    return [
        Death(died.kind, path, at - died.died_at, not _is_hindered(died, path, at, history))
        for user_id in history.users
        for died, until in _deaths_of(user_id, history, outages)
        for path, at in _noticed(user_id, died.died_at, until, history)
    ]


def _is_hindered(died: Life, path: str, at: float, history: History) -> bool:
    """Whether something was done meanwhile to what this news depends on."""
    names = {"workers", "redeploy"}
    names |= {"stream"} if path == "push" else set()
    names |= {"route"} if died.kind != SILENT else set()
    names |= {"sweep"} if died.kind == SILENT and path == "push" else set()
    return any(
        it.name in names and it.start < at and died.died_at < it.stop for it in history.faults
    )


def _deaths_of(user_id: str, history: History, outages: Outages) -> Iterable[tuple[Life, float]]:
    """What ended each stay of a user, and when the next began."""
    found = stays(lives_of(user_id, history, outages))
    starts = [it.start for it in found[1:]] + [history.stop]
    for stay, until in zip(found, starts, strict=True):
        if stay.last.is_acked and stay.last.kind in DEATHS:
            yield stay.last, until


def _noticed(
    user_id: str, died_at: float, until: float, history: History
) -> Iterable[tuple[str, float]]:
    """Who learned of it, when; the news of an earlier death is not that of this one.

    A read or a look announces what it notices: subscribers are measured by the other users.
    """

    def first(told: Iterable[Told]) -> float | None:
        """When it was told first; an offline user may have been told before another death."""
        found = (
            it.at
            for it in told
            if it.user_id == user_id
            and it.status == OFFLINE
            and history.rules.instant(it.version) > died_at
            and it.at < until
        )
        return min(found, default=None)

    subscribers = history.epochs if user_id not in history.noticed_users else ()
    sources = [("push", [it for it in epoch.told if it.is_applied]) for epoch in subscribers]
    for path, answers in (("http", history.polls), ("look", history.looks)):
        sources.append((path, [it for one in answers if died_at <= one.asked for it in one.told]))
    for path, told in sources:
        if (at := first(told)) is not None:
            yield path, at


# ── many runs ──────────────────────────────────────────────────────────────────────────────


def results(summaries: Sequence[Summary], about: Mapping[str, Any]) -> Results:
    """All of it as JSON; *about* says what ran: commit, date, durations."""
    found = [death for it in summaries for death in it.deaths]
    violations = [violation for it in summaries for violation in it.violations]
    offlines = sum(it.offlines for it in summaries)
    false = sum(it.kind == "false-offline" for it in violations)
    faults: Counter[str] = Counter()
    for it in summaries:
        faults.update(it.faults)
    return {
        **about,
        "seeds": [it.seed for it in summaries],
        "runs": len(summaries),
        "seconds": max((it.seconds for it in summaries), default=0),
        "faults": {name: faults[name] for name in FAULTS if faults[name]},
        "offlinesTold": offlines,
        "statusesAnswered": sum(it.answers for it in summaries),
        "verified": sum(it.looks for it in summaries),
        "probesRead": sum(it.probes for it in summaries),
        "falseOfflines": false,
        "lostShare": round(sum(it.lost_share for it in summaries) / max(1, len(summaries)), 3),
        "violations": [asdict(it) for it in violations],
        "deathToOffline": distributions(found),
    }


def kept(known: Sequence[Results], found: Results) -> Sequence[Results]:
    """The results of all settings, of each the last; those without one are of another prover."""
    settings = {it["setting"]: it for it in known if "setting" in it} | {found["setting"]: found}
    return [settings[name] for name in SETTINGS if name in settings]


def distributions(found: Sequence[Death]) -> list[Mapping[str, Any]]:
    """Seconds by kind of death, path, and whether anything was in the way."""
    return [
        {"death": kind, "path": path, "undisturbed": calm, **_distribution(seconds)}
        for calm in (True, False)
        for kind in DEATHS
        for path in PATHS
        if (
            seconds := sorted(
                it.seconds
                for it in found
                if (it.kind, it.path) == (kind, path) and it.is_undisturbed is calm
            )
        )
    ]


def _distribution(seconds: Sequence[float]) -> Mapping[str, float]:
    def percentile(share: float) -> float:
        return round(seconds[min(len(seconds) - 1, int(share * len(seconds)))], 2)

    return {
        "count": len(seconds),
        "min": percentile(0),
        "median": percentile(0.5),
        "p95": percentile(0.95),
        "p99": percentile(0.99),
        "max": round(seconds[-1], 2),
    }


HEADER = ("death", "how it shows", "count", "min", "median", "p95", "p99", "max")


def rows(found: Results, *, undisturbed: bool) -> list[tuple[str, ...]]:
    """A table of the distribution, in seconds."""
    return [
        (
            DEATHS[it["death"]],
            PATHS[it["path"]],
            f"{it['count']:,}",
            *(f"{it[name]:.1f}" for name in HEADER[3:]),
        )
        for it in found["deathToOffline"]
        if it["undisturbed"] is undisturbed
    ]


# ── a section of a page ────────────────────────────────────────────────────────────────────


def render(all_of_them: Sequence[Results]) -> str:
    """The section about the nemesis, in Markdown: of each setting what was shown."""
    return "\n\n".join(_section(it) for it in all_of_them) + "\n"


def _section(found: Results) -> str:
    faults = [(FAULTS[name], f"{count:,}") for name, count in found["faults"].items()]
    parts = (
        _what_ran(found),
        _table(("What was done", "times"), faults),
        _what_was_told(found),
        "From death to offline, in seconds, while nothing was done to what the news depends on:",
        _table(HEADER, rows(found, undisturbed=True)),
        "The same while it was attacked, outages included:",
        _table(HEADER, rows(found, undisturbed=False)),
    )
    return "\n\n".join(parts)


def _what_ran(found: Results) -> str:
    count = len(found["violations"])
    setting = f"Setting *{found['setting']}*: " if "setting" in found else ""
    return (
        f"{setting}{found['runs']} runs with {found['seconds']:.0f} seconds of faults each, at "
        f"commit `{found['commit']}` on {found['date']}, seeds {_spans(found['seeds'])}: "
        f"**{count} violations**. A run is a local stack with real sockets and processes, with "
        f"durations so short that many deaths fit in: {_durations(found['durations'])}. The "
        f"machine lost {found['lostShare']:.0%} of its time to other work."
    )


def _durations(lasts: Mapping[str, float]) -> str:
    found = [f"a lease of {lasts['lease']:g} s"]
    if lasts.get("background_lease", 0) > lasts["lease"]:
        found.append(f"of {lasts['background_lease']:g} s while hidden or beside another device")
    found += [f"a grace period of {lasts['grace']:g} s", f"a sweep every {lasts['sweep']:g} s"]
    found += [f"a heartbeat every {lasts['heartbeat']:g} s"]
    if "probe" in lasts:
        found.append(f"`FreshSeconds` {lasts['fresh']:g} and `ProbeSeconds` {lasts['probe']:g}")
    return ", ".join(found)


def _what_was_told(found: Results) -> str:
    looked = ""
    if "verified" in found:
        looked = (
            f"Those who verify were answered {found['verified']:,} times, and devices read "
            f"{found['probesRead']:,} probes. "
        )
    return (
        f"Subscribers heard {found['offlinesTold']:,} times that a user is offline, and HTTP "
        f"answered {found['statusesAnswered']:,} times with a presence. {looked}Offline of a user "
        f"who certainly was there: **{found['falseOfflines']}**. Subscribers are measured by users "
        "that are neither read over HTTP nor verified, because a read announces what it notices."
    )


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---" if name in {header[0], "how it shows"} else "---:" for name in header]
    cells = (header, rule, *lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _spans(seeds: Sequence[int]) -> str:
    """1 to 20, or a list if some are missing."""
    ordered = sorted(seeds)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered))
