"""What pages say and other files know: each block is made, none is typed.

`make docs` fills every `<!-- generated: NAME -->` block of the pages from where it is known.
"""

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from textwrap import dedent

from bench.bill import pages as bills
from bench.printing import Table, rendered
from presence import limits as of_ours
from presence.domain.heartbeat import Heartbeats
from presence.metrics import METRICS
from proof.nemesis.lives import LOOK
from proof.nemesis.outages import TRAVEL
from proof.nemesis.report import render
from proof.nemesis.settings import SETTINGS
from tests.docs.markdown import ROOT, pages
from tests.template.test_template import TEMPLATE
from tests.web.sizes import KIB
from tests.web.sizes import LIMITS as SIZES

_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

LIMITS = (
    (of_ours.MAX_CONNECTIONS, "connections of a user", "the one heard longest ago goes"),
    (of_ours.MAX_SESSIONS, "chat sessions of a user, over all connections", "`conflict`"),
    (of_ours.WATCHED_USERS, "watched users of a connection", "`conflict`"),
    (of_ours.MAX_BLOCKED, "users that a user blocks", "`conflict`"),
    (of_ours.MAX_PAGE, "ids in `userIds`, and `limit`", "`invalid-message`"),
    (of_ours.MAX_VERIFIED, "ids in the `userIds` of `verify`", "`invalid-message`"),
    (of_ours.MAX_TEXT_LENGTH, "characters of `text`", "`invalid-message`"),
    (of_ours.MAX_DATA_BYTES, "bytes of `data`, as JSON without white space", "`payload-too-large`"),
    (of_ours.MAX_MESSAGE_BYTES, "bytes of a frame", "`payload-too-large`"),
    (of_ours.MAX_BODY_BYTES, "bytes of an HTTP body", "`payload-too-large`"),
    (of_ours.MAX_CONTENT_BYTES, "bytes of `content`", "`payload-too-large`"),
    (of_ours.MAX_TOKEN_LENGTH, "characters of `token`", "`invalid-message`"),
    (
        of_ours.BURST,
        "actions of a connection at once, then one a second",
        "`rate-limited`, with `retryAfterSeconds`",
    ),
    (
        of_ours.USER_BURST,
        "units of a user at once, over all connections and HTTP, then five a second",
        "`rate-limited`, with `retryAfterSeconds`",
    ),
)

#: What it costs to change each parameter of the template.
COSTS = {
    "TokenSecretParameter": (
        "a function reads it once in its life: a new value needs a deployment. A second secret on "
        "a second line ends no token; a line that is taken away ends those that it signed"
    ),
    "TokenJwksUrl": "nothing while the issuer is the same; keys rotate by themselves (5 minutes)",
    "TokenIssuer": "every token of the old issuer is refused",
    "TokenAudience": "every token for the old audience is refused",
    "TokenUserClaim": "every user is another: who is online, and blocks, are by user id",
    "TokenAudienceClaims": "tokens whose audience is in a claim that is named no more are refused",
    "TokenUse": "tokens that are marked as the other kind are refused",
    "TokenClaimPrefix": (
        "claims with the old prefix say nothing any more: their `chat_sessions` limits no user"
    ),
    "AuthorizerFunctionArn": (
        "without it, the token's claim `chat_sessions` decides alone; members who are in a "
        "session already stay"
    ),
    "Visibility": (
        "all but `everyone` reads the viewer for each question, and the subscribers of each change"
    ),
    "VisibilityFunctionArn": "an invocation for each 100 pairs that share no chat session",
    "HeartbeatSeconds": (
        "most of the bill, and how late a crash is noticed ([which for whom](heartbeats.md))"
    ),
    "BackgroundHeartbeatSeconds": "the same while a page is hidden or its user idle",
    "BrowserClients": "`false`: a user whose only tab is hidden comes and goes with a short lease",
    "GraceSeconds": "a user who leaves stays online that much longer",
    "AuthenticationSeconds": "slow clients are cut off, or idle sockets stay",
    "MaxConnectionSeconds": (
        "clients reconnect more often; nothing closes a connection that stays beyond it"
    ),
    "CoalesceSeconds": "announcements come that much later, and in fewer posts",
    "DeliveryConcurrency": (
        "large audiences hear sooner; all stacks of an account share 10,000 posts a second"
    ),
    "TimerConcurrency": (
        "after a mass disconnect grace ends sooner for all; less of the account's concurrency"
        " is left for pings"
    ),
    "FreshSeconds": "shorter: more probes of users that are looked at, at two writes and a post",
    "ProbeSeconds": (
        "a dead device is known that much later; too short, a slow client is shown offline"
    ),
    "LargeAudience": "smaller: fewer posts, and members are told less",
    "TickSeconds": "twice as long: half the posts, and half the counting",
    "GlobalPresence": (
        "a change costs one post per connection, and reaches connections that authenticate "
        "from then on"
    ),
    "PublicReads": "anyone who knows the URL sees who is online",
    "LastSeenPrecision": "what is read from then on; clients keep what they hold",
    "AllowedOrigins": "pages of other origins are refused at their next connection",
    "StageName": "a new URL: connections of the old one hear nothing more and reconnect",
    "WebSocketUrl": "nothing",
    "CallbackUrl": "open connections are not taken for lost, and not reached either",
    "EndpointUrl": "nothing works any more, if AWS is not there",
    "ThrottleRatePerSecond": (
        "too low, pings are refused: 60,000 connections send 2,000 pings a second"
    ),
    "PythonRuntime": "`sam build` needs that interpreter",
    "Architecture": "x86_64: a quarter more for Lambda time",
    "MemorySize": "Lambda time costs in proportion, if it does not get shorter",
    "PointInTimeRecovery": "billed by their size (see [operations](operations.md#backups))",
    "ProtectTables": "false: the tables can be deleted, and with them blocks and choices",
    "LogLevel": "`DEBUG`: a line for each invocation, a fifth of a ping's price; `WARN`: failures",
    "LogRetentionDays": "storage",
    "WebSocketAccessLogs": (
        "one more line per message; needs a CloudWatch role in the account's API Gateway settings"
    ),
    "AlarmTopicArn": "nothing",
    "AuthenticationFailuresAlarm": (
        "too low, it rings on a usual day; too high, an issuer that is down is not noticed"
    ),
    "MonthlyBudget": "nothing: a budget without actions is free",
    "Tracing": "`Active`: $5 a million traces, of 5 % of the invocations beyond one a second",
}


def filled(text: str) -> str:
    """The page with every block as it has to be."""
    return _BLOCK.sub(lambda it: f"{it[1]}\n{BLOCKS[it[2]]()}\n\n{it[3]}", text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def limits() -> str:
    rows = ([f"{limit:,}", *words] for limit, *words in LIMITS)
    return table(("Limit", "Of", "Beyond it"), rows)


#: What the parts of the client are called in prose.
PARTS = {
    "core": "core",
    "hooks": "hooks and provider, on top",
    "components": "components, on top",
    "tabs": "`@presence/client/tabs`, on top of the core",
    "styles": "`styles.css`",
}


def sizes() -> str:
    rows = ((PARTS[part], f"{size / KIB:.1f}") for part, size in SIZES.items())
    return table(("Part", "KB, at most"), rows)


def parameters() -> str:
    return table(
        ("Parameter", "Default", "What it is", "What a change costs"),
        (
            (f"`{name}`", _default_of(it), it["Description"].strip(), COSTS[name])
            for name, it in TEMPLATE["Parameters"].items()
        ),
    )


def _default_of(parameter: Mapping[str, object]) -> str:
    text = str(parameter.get("Default", "required"))
    return text if text == "required" else f"`{text}`" if text else "empty"


def metrics() -> str:
    rows = ([f"`{it.name}`", it.unit.value, it.read_by, it.says] for it in METRICS)
    return table(("Metric", "Unit", "Statistic", "What"), rows)


def nemesis() -> str:
    return render(json.loads((ROOT / "docs" / "nemesis.json").read_text("utf-8"))).strip()


def promises() -> str:
    """What is promised for each setting, and what holds it; allowances are the nemesis's."""
    grace, probe, fresh = (int(TEMPLATE["Parameters"][it]["Default"]) for it in _AWAITED)
    dies, closes = "A device dies without a word", "The last connection is closed"
    rows = (
        ("A client pings every", *_of_settings(lambda _, beat: beat), "I17"),
        ("Who keeps to that and answers probes is offline", *["never"] * 3, "I2, I21"),
        (f"{dies}: exact over HTTP within", *_of_settings(Heartbeats.lease), "I5"),
        (f"{dies}: told within", *_of_settings(_told), "I5"),
        (f"{dies}: exact, after a probe, within", *[_seconds(probe)] * 3, "I21"),
        (f"{dies}: told, after a probe, within", *[_seconds(probe + LOOK)] * 3, "I21"),
        ("A user is probed at most once in", *[_seconds(fresh)] * 3, "I22"),
        (f"{closes}: exact over HTTP within", *[_seconds(grace)] * 3, "I5, I7"),
        (f"{closes}: told within", *[_seconds(grace + TRAVEL)] * 3, "I5, I7"),
    )
    return table(("", *SETTINGS, "Promise"), [*rows, ("Attacked by", *_runs(), "")])


_AWAITED = ("GraceSeconds", "ProbeSeconds", "FreshSeconds")


def _told(heartbeats: Heartbeats, beat: int) -> int:
    return heartbeats.lease(beat) + bills.TOLD_SECONDS * 1000


def _of_settings(of: Callable[[Heartbeats, int], int]) -> Iterator[str]:
    """A time of each setting, with a person at the device, and hidden if that is another."""
    for both in SETTINGS.values():
        foreground, background = (it * 1000 for it in both)
        heartbeats = Heartbeats(foreground, background)
        shown, hidden = (_seconds(of(heartbeats, it) / 1000) for it in (foreground, background))
        yield shown if shown == hidden else f"{shown}, hidden {hidden}"


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s"


def _runs() -> Iterator[str]:
    return (f"`python -m proof.nemesis --setting {name}`" for name in SETTINGS)


# ── faults ─────────────────────────────────────────────────────────────────────────────────


def faults() -> str:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return table(("Fault", "Shown by"), (row for file in files for row in _faults_of(file)))


def _faults_of(file: Path) -> Iterator[tuple[str, str]]:
    for test in ast.parse(file.read_text("utf-8")).body:
        for mark in getattr(test, "decorator_list", ()):
            match mark:
                case ast.Call(ast.Attribute(attr="fault"), [ast.Constant(str(sentence))]):
                    yield sentence, f"[`{test.name}`](../{file.relative_to(ROOT)})"  # type: ignore[attr-defined]


# ── tour ───────────────────────────────────────────────────────────────────────────────────

LAYER, WEB = "layers/presence/presence", "web/src"
#: The longest path that a newcomer can read in an evening.
EVENING_LINES = 2_500
#: What one change passes, in its order: a file, and the names in it, if not all is on the path.
PATH: tuple[tuple[str, str], ...] = (
    ("functions/websocket.py", ""),
    (f"{LAYER}/entrypoints/websocket.py", "message _serve _answer handler"),
    (f"{LAYER}/entrypoints/runtime.py", "now deadline time_left logged batch_failures"),
    (f"{LAYER}/protocol/requests.py", "SetStatus _set_status _in_time ACTIONS Envelope parse"),
    (f"{LAYER}/entrypoints/actions.py", "Call answer _change"),
    (f"{LAYER}/application/access.py", "Actor Access"),
    (f"{LAYER}/domain/connection.py", "State Connection"),
    (f"{LAYER}/domain/rate_limit.py", "Take Charge"),
    (f"{LAYER}/application/statuses.py", "Statuses"),
    (f"{LAYER}/application/user_changes.py", "UserChanges"),
    (f"{LAYER}/domain/user.py", "Presence Lease User"),
    (
        f"{LAYER}/domain/events.py",
        "Authenticated Chosen TimePassed UserEvent PresenceChanged Effect",
    ),
    (
        f"{LAYER}/domain/reducer.py",
        "reduce _without_ended _end_choice _decide_status _status _apply _choose _count_versions",
    ),
    (
        f"{LAYER}/adapters/dynamodb/users.py",
        "DynamoDBUsers.save DynamoDBUsers._save_alone DynamoDBUsers.act _swap _lease_actions",
    ),
    ("functions/announce.py", ""),
    (f"{LAYER}/entrypoints/stream.py", "announce _record"),
    (f"{LAYER}/fanout/announcer.py", "Announced Announcer"),
    (f"{LAYER}/fanout/diffs.py", "Record UserDiff _newest user_diffs"),
    (f"{LAYER}/fanout/sinks/__init__.py", ""),
    (f"{LAYER}/fanout/sinks/sockets.py", ""),
    (f"{LAYER}/fanout/recipients.py", "Few TooMany Sampled read_recipients _read_on"),
    (f"{LAYER}/fanout/planner.py", ""),
    (f"{LAYER}/fanout/payloads.py", "ByViewer PresenceByViewer PresencePayload"),
    (f"{LAYER}/fanout/broadcast.py", "Broadcast posts_of"),
    (f"{LAYER}/protocol/frames.py", "presence status_change_frames"),
    (f"{LAYER}/fanout/dispatch.py", "Dispatcher"),
    (f"{LAYER}/adapters/gateway.py", "ManagementGateway"),
    (f"{WEB}/drivers/link.ts", ""),
    (f"{WEB}/client.ts", "linkEvents"),
    (f"{WEB}/presence-store.ts", ""),
)
#: What the tour quotes: a file, how the first line begins, and how many lines.
QUOTES = {
    "quote-match": (f"{LAYER}/entrypoints/actions.py", "case SetStatus() | SetData(", 2),
    "quote-authorize": (
        f"{LAYER}/application/access.py",
        "return self.act(connection, Charge(now, units, frames))",
        1,
    ),
    "quote-reduce": (f"{LAYER}/domain/reducer.py", "after = _end_choice(", 4),
    "quote-save": (f"{LAYER}/application/user_changes.py", "after, effects = self._reduced(", 3),
    "quote-sinks": (f"{LAYER}/fanout/sinks/__init__.py", "SINKS: list", 3),
    "quote-publish": (f"{LAYER}/fanout/sinks/sockets.py", "by_topic = changes_by_topic(", 2),
    "quote-is-newer": (f"{WEB}/presence-store.ts", "function isNewer(", 4),
}


def tour_lines() -> str:
    counts = [_lines(_source(file), names.split()) for file, names in PATH]
    if sum(counts) > EVENING_LINES:
        raise ValueError(f"{sum(counts)} lines are more than an evening: shorten the path.")
    rows = (
        [f"[`{file.removeprefix(f'{LAYER}/')}`](../{file})", _spans(names), f"{count:,}"]
        for (file, names), count in zip(PATH, counts, strict=True)
    )
    total = ["**All**", "", f"**{sum(counts):,}**"]
    return table(("File", "Of it", "Lines"), chain(rows, [total]))


def _source(file: str) -> str:
    return (ROOT / file).read_text("utf-8")


def _spans(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split()) or "all"


def _lines(text: str, names: Sequence[str]) -> int:
    return sum(_length(text, name) for name in names) or len(text.splitlines())


def _length(text: str, name: str) -> int:
    """The lines of a definition, or of a method: up to the next line that is indented no deeper."""
    depth, last = 4 * name.count("."), name.rpartition(".")[2]
    start = (
        rf"^ {{{depth}}}(?:@[^\n]*\n {{{depth}}})*(?:(?:def|class|export|const|function) )*{last}\b"
    )
    body = rf"[^\n]*\n(?:(?:(?: {{{depth}}})(?:[ \t)}}\]][^\n]*))?\n)*"
    found = re.search(start + body, text, re.MULTILINE)
    if found is None:
        raise ValueError(f"there is no {name} any more: mend the path of the tour")
    return len(found[0].strip().splitlines())


def _quote(file: str, start: str, count: int) -> str:
    lines = _source(file).splitlines()
    (first,) = (number for number, line in enumerate(lines) if line.lstrip().startswith(start))
    text = dedent("\n".join(lines[first : first + count]))
    return f"```{Path(file).suffix[1:]}\n{text}\n```"


def measured(record: Path) -> str:
    """The tables of a run of a bench that is kept, as it printed them."""
    found = json.loads(record.read_text("utf-8"))
    tables = "\n\n".join(rendered(Table(**it)) for it in found["tables"])
    where = f"{found['machine']['cores']} cores, CPython {found['python']}"
    return f"On {found['date'][:10]}, {where}:\n\n```\n{tables}\n```"


RECORDS = sorted((ROOT / "bench" / "records").glob("*.json"))

BLOCKS: dict[str, Callable[[], str]] = {
    **{it.__name__: it for it in (faults, limits, metrics, nemesis, parameters, promises, sizes)},
    **{name: partial(_quote, *it) for name, it in QUOTES.items()},
    "tour-lines": tour_lines,
    **bills.BLOCKS,
    **{f"bench-{it.stem}": partial(measured, it) for it in RECORDS},
}


#: Files that are made as a whole.
FILES: dict[Path, Callable[[], str]] = {
    ROOT / "web" / "demo" / "cost-figures.ts": bills.calculator,
}


if __name__ == "__main__":
    for file, made in FILES.items():
        file.write_text(made(), "utf-8")
    for page in pages():
        page.write_text(filled(page.read_text("utf-8")), "utf-8")
