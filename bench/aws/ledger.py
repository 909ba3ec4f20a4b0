"""All that goes over the wire in a run, and what CloudWatch's count of it tells.

`MessageCount` is "the number of messages sent to the WebSocket API, either from or to the client",
`ConnectCount` "the number of messages sent to the $connect route integration" (Amazon API Gateway
Developer Guide, "Monitor WebSocket API execution with CloudWatch metrics"). They are of the whole
API, so all that is known of a window is taken off, and what is left is or is not what was asked.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time
from typing import Literal, TypeAlias

#: What is counted: data frames from the client; data frames to it, with and without a payload;
#: protocol pings and pongs; requests to the management API; opened sockets.
Kind: TypeAlias = Literal["sent", "heard", "empty", "ping", "pong", "post", "get", "connect"]
#: What MessageCount has of the frames whose billing is documented.
Rule: TypeAlias = Literal["both", "in", "unclear"]

#: What else may happen in a window, as a share of what was asked in it.
TOLERANCE = 1 / 4


@dataclass
class Ledger:
    """Every event of the run with its time (seconds since the epoch)."""

    now: Callable[[], float] = time
    events: list[tuple[float, Kind]] = field(default_factory=list)

    def note(self, kind: Kind) -> None:
        self.events.append((self.now(), kind))

    def between(self, start: float, end: float) -> "Counter[Kind]":
        return Counter(kind for at, kind in self.events if start <= at < end)


@dataclass(frozen=True, slots=True)
class Window:
    """Whole minutes in which one thing was done `asked` times.

    Attributes:
        kind: of what was done.
        start: seconds since the epoch; `end` too, exclusive.
        counts: all that the bench itself sent and heard in it, by kind.
        messages: CloudWatch's MessageCount; None if there is no figure.
    """

    kind: Kind
    start: float
    end: float
    asked: int
    counts: dict[str, int]
    messages: float | None = None

    def of(self, kind: Kind) -> int:
        return self.counts.get(kind, 0)

    @property
    def wanted(self) -> int:
        """How many of its kind were there: what was asked, and what other experiments did."""
        return max(self.asked, self.of(self.kind))

    @property
    def frames(self) -> int:
        """Frames with a payload, in both directions: what is billed for certain."""
        return self.of("sent") + self.of("heard")


def rule_of(control: Window) -> Rule | None:
    """What MessageCount counts, from frames that were all answered; None without a figure.

    A metric without a data point is not the same as one that says nothing happened, so zero is no
    figure either: something did happen in the control.
    """
    if not control.messages:
        return None
    if _near(control.messages, control.frames, control.asked):
        return "both"
    return "in" if _near(control.messages, control.of("sent"), control.asked) else "unclear"


def is_counted(window: Window, rule: Rule | None) -> bool | None:
    """Whether what was asked in the window is in MessageCount; None if that cannot be told.

    Args:
        window: after a control with a figure, no data point means no message.
        rule: of the control.
    """
    if rule is None or rule == "unclear":
        return None
    base = window.frames if rule == "both" else window.of("sent")
    extra = (window.messages or 0) - base
    if _near(extra, window.wanted, window.asked):
        return True
    return False if _near(extra, 0, window.asked) else None


def because(window: Window, rule: Rule | None) -> str:
    """The figures behind `is_counted`, in a sentence."""
    if rule is None:
        return "CloudWatch has no MessageCount of this API."
    said = f"MessageCount {window.messages or 0:,.0f} with {window.of('sent'):,} frames sent"
    found = f"{said}, {window.of('heard'):,} heard with a payload, {window.of('empty'):,} empty."
    if rule == "unclear":
        return f"{found} In the control it fitted neither the frames sent nor both directions."
    return found


def _near(value: float, wanted: float, asked: int) -> bool:
    return abs(value - wanted) <= TOLERANCE * asked
