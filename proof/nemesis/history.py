"""What happened in a run, as those who took part wrote it down, and as the checker reads it.

Every process appends to a file of its own, one JSON object a line, each line written before what
it announces is done: a process that is killed leaves a history that is true as far as it goes.
All times are those of the monotonic clock, which is one for all processes of a machine.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

Line: TypeAlias = Mapping[str, Any]

OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Writer:
    """Appends lines that are in the file when `write` returns, whatever happens to us next."""

    file: Path

    def write(self, kind: str, *, at: float | None = None, **fields: Any) -> float:
        """Write a line and return its time, which is now unless given."""
        at = time.monotonic() if at is None else at
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": at, "kind": kind, **fields}) + "\n")
        return at


@dataclass(frozen=True, slots=True)
class Interval:
    start: float
    stop: float


@dataclass(frozen=True, slots=True)
class Fault:
    """What the nemesis did, from when it began until it was undone."""

    name: str
    start: float
    stop: float


@dataclass(frozen=True, slots=True)
class Call:
    """A frame from its sending to the answer; None if there was none, or no friendly one.

    The answer says that the connection `joined` the chat session of the run. `heartbeat` is what it
    names, in seconds; a frame that names none is followed as soon as the last one that did.
    """

    action: str
    sent: float
    acked: float | None = None
    joined: bool = False
    heartbeat: float | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended: its client left, closed or reset it, was killed, or saw it closed."""

    at: float
    how: str


@dataclass(frozen=True, slots=True)
class Connection:
    """`paused` says when its process was stopped without a word, `issued` how old its token is.

    `probed` says when it read a probe.
    """

    name: str
    user_id: str
    calls: Sequence[Call]
    ending: Ending | None = None
    paused: Sequence[float] = ()
    issued: float = 0.0
    probed: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a back end decided about a user, from when it asked first until it was answered.

    `revoke` refuses the user's tokens of before, `remove` takes the user out of the chat session of
    the run, until `allow`.
    """

    name: str
    user_id: str
    start: float
    stop: float


@dataclass(frozen=True, slots=True)
class Told:
    """A presence as a client received it; a status of None is a user who left the session."""

    at: float
    user_id: str
    status: str | None
    version: int = 0
    text: str | None = None
    is_applied: bool = True

    @property
    def is_online(self) -> bool:
        return self.status not in (None, OFFLINE)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One connection of an observer, and all that it heard, in order."""

    observer: str
    start: float
    stop: float
    told: Sequence[Told]

    @property
    def is_member(self) -> bool:
        """Whether it hears of others only because they are in the same chat session."""
        return self.observer == "member"


@dataclass(frozen=True, slots=True)
class Poll:
    """An HTTP answer about several users."""

    asked: float
    at: float
    told: Sequence[Told]


@dataclass(frozen=True, slots=True)
class Look:
    """An observer verified users; without an answer, `at` is when it could have come at last.

    `told` is about those who were asked for.
    """

    users: Sequence[str]
    asked: float
    at: float
    told: Sequence[Told] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was stored at an instant at which nothing moved; `told` as HTTP says it."""

    at: float
    told: Sequence[Told]


@dataclass(frozen=True, slots=True)
class Rules:
    """The durations of a run, in seconds; `offset` makes an instant of an epoch time.

    `heartbeat` and `lease` are the foreground's. `fresh` and `probe` are as `FreshSeconds` and
    `ProbeSeconds`.
    """

    heartbeat: float
    lease: float
    grace: float
    sweep: float
    offset: float = 0.0
    background: float = 0.0
    background_lease: float = 0.0
    fresh: float = 0.0
    probe: float = 0.0

    def lasts(self, heartbeat: float) -> float:
        """The lease of a client that keeps this heartbeat, which is one of the two."""
        return self.background_lease if heartbeat > self.heartbeat else self.lease

    def instant(self, version: int) -> float:
        """When a version was made: it is a hybrid clock, in epoch milliseconds."""
        return version / 1000 + self.offset


@dataclass(frozen=True, slots=True)
class History:
    rules: Rules
    connections: Sequence[Connection] = ()
    epochs: Sequence[Epoch] = ()
    polls: Sequence[Poll] = ()
    looks: Sequence[Look] = ()
    faults: Sequence[Fault] = ()
    decisions: Sequence[Decision] = ()
    stalls: Sequence[Interval] = ()
    crashes: Sequence[Interval] = ()
    snapshots: Sequence[Snapshot] = ()
    lookers: frozenset[str] = frozenset()
    leftovers: Sequence[str] = ()
    complaints: Sequence[str] = ()
    start: float = 0.0
    stop: float = 0.0

    def decided(self, name: str, user_id: str) -> Sequence[Decision]:
        """In the order of their time."""
        found = (it for it in self.decisions if (it.name, it.user_id) == (name, user_id))
        return sorted(found, key=lambda it: it.start)

    @property
    def noticed_users(self) -> frozenset[str]:
        """The users who were read over HTTP, or verified."""
        told = [it for one in self.polls for it in one.told]
        told += [it for one in self.looks for it in one.told]
        return frozenset(it.user_id for it in told)

    @property
    def users(self) -> Sequence[str]:
        """The users who are observed; the presence of an observer is not announced."""
        observers = {it.observer for it in self.epochs} | self.lookers
        return sorted({it.user_id for it in self.connections} - observers)


def read(folder: Path) -> History:
    """Read the history that the processes of a run have left in *folder*."""
    lines = sorted(_lines(folder), key=lambda line: float(line["at"]))
    of = _by_kind(lines)
    (rules,) = of["rules"]
    ends = {line["process"]: Ending(line["at"], "kill") for line in of["kill"]}
    return History(
        rules=Rules(**{name: rules[name] for name in Rules.__slots__ if name in rules}),
        connections=_connections(lines, ends),
        epochs=_epochs(lines),
        polls=[Poll(it["asked"], it["at"], _told(it["at"], it["users"])) for it in of["polled"]],
        looks=[_look(it) for it in of["looked"]],
        lookers=frozenset(it["observer"] for it in of["looked"]),
        faults=[Fault(it["fault"], it["start"], it["at"]) for it in of["fault"]],
        decisions=[
            Decision(it["decision"], it["user"], it["start"], it["at"]) for it in of["decision"]
        ],
        stalls=[Interval(it["start"], it["at"]) for it in of["stall"]],
        crashes=[Interval(it["start"], it["at"]) for it in of["crash"]],
        snapshots=[Snapshot(it["at"], _told(it["at"], it["users"])) for it in of["stored"]],
        leftovers=[text for line in of["leftovers"] for text in line["items"]],
        complaints=[line["text"] for line in of["complaint"]],
        start=lines[0]["at"],
        stop=lines[-1]["at"],
    )


def _lines(folder: Path) -> Iterator[Line]:
    """All whole lines; a process may have been killed in the middle of its last."""
    for file in folder.glob("*.jsonl"):
        for text in file.read_text("utf-8").splitlines(keepends=True):
            if text.endswith("\n"):
                yield json.loads(text)


def _by_kind(lines: Iterable[Line]) -> Mapping[str, Sequence[Line]]:
    found: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        found[line["kind"]].append(line)
    return found


@dataclass(slots=True)
class _Draft:
    """A connection while its lines are read."""

    name: str
    process: str
    user_id: str
    issued: float = 0.0
    calls: dict[int, Call] = field(default_factory=dict)
    probed: list[float] = field(default_factory=list)
    ending: Ending | None = None

    def take(self, line: Line) -> None:
        match line["kind"]:
            case "invoke":
                call = Call(line["action"], line["at"], heartbeat=line.get("heartbeat"))
                self.calls[line["call"]] = call
            case "ok":
                call, joined = self.calls[line["call"]], line.get("joined", False)
                self.calls[line["call"]] = replace(call, acked=line["at"], joined=joined)
            case "probed":
                self.probed.append(line["at"])
            case "end" if self.ending is None:
                self.ending = Ending(line["at"], line["how"])


def _connections(lines: Sequence[Line], kills: Mapping[str, Ending]) -> Sequence[Connection]:
    drafts: dict[str, _Draft] = {}
    for line in lines:
        if line["kind"] == "open":
            names = (line["connection"], line["process"], line["user"])
            drafts[line["connection"]] = _Draft(*names, line.get("issued", 0.0))
        elif line.get("connection") in drafts:
            drafts[line["connection"]].take(line)
    paused = [(line["process"], line["at"]) for line in lines if line["kind"] == "pause"]
    return [
        Connection(
            name=it.name,
            user_id=it.user_id,
            calls=[it.calls[number] for number in sorted(it.calls)],
            ending=it.ending or kills.get(it.process),
            paused=[at for process, at in paused if process == it.process],
            issued=it.issued,
            probed=tuple(it.probed),
        )
        for it in drafts.values()
    ]


def _epochs(lines: Sequence[Line]) -> Sequence[Epoch]:
    """An observer's connection counts from when it knew about every user."""
    found: list[Epoch] = []
    for start in (line for line in lines if line["kind"] == "listening"):
        name = start["connection"]
        own = [line for line in lines if line.get("connection") == name]
        ends = [line["at"] for line in own if line["kind"] == "end"]
        told = [it for line in own if line["kind"] == "heard" for it in _heard(line)]
        stop = min([*ends, lines[-1]["at"]])
        found.append(Epoch(start["observer"], start["at"], stop, told))
    return found


def _look(line: Line) -> Look:
    told = _told(line["at"], line["told"])
    return Look(line["users"], line["asked"], line["at"] if told else line["until"], told)


def _heard(line: Line) -> Iterator[Told]:
    yield from _told(line["at"], line["users"])
    for user_id in line.get("left", ()):
        yield Told(line["at"], user_id, None)


def _told(at: float, presences: Iterable[Line]) -> list[Told]:
    return [
        Told(
            at=at,
            user_id=it["userId"],
            status=it["status"],
            version=it["version"],
            text=it.get("text"),
            is_applied=it.get("applied", True),
        )
        for it in presences
    ]
