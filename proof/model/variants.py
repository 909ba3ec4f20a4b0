"""What the checker is asked: that the protocol holds, and that it would not without each rule."""

from dataclasses import dataclass
from typing import Literal

Property = Literal["I1", "I2", "I3", "I4", "I6", "I7", "I8", "TIMER", "CALM"]


@dataclass(frozen=True, slots=True)
class Case:
    """A scene of a model; with a variant, the rule that is broken, and what no longer holds."""

    model: str
    scene: str
    variant: str | None = None
    breaks: Property | None = None

    @property
    def label(self) -> str:
        return " ".join(filter(None, (self.model, self.scene, self.variant)))

    @property
    def expected(self) -> str:
        return self.breaks or "holds"

    @property
    def definitions(self) -> tuple[str, ...]:
        """Every property is checked of the protocol, and one of a variant."""
        if self.variant is None:
            return (f"-DSCENE={self.scene}",)
        return (f"-DSCENE={self.scene}", f"-D{self.variant}", f"-DONLY={self.breaks}")


GOOD = (
    Case("lifecycle", "MEETING"),
    Case("lifecycle", "DYING"),
    Case("lifecycle", "LATE"),
    Case("lifecycle", "WATCHED"),
    Case("session", "MOVING"),
    Case("session", "MUTUAL"),
    Case("session", "RETURNING"),
    Case("session", "PARTING"),
)

BAD = (
    # The aggregate is changed as a whole, and only if it is as it was read.
    Case("lifecycle", "MEETING", "NO_CAS", "I2"),
    Case("lifecycle", "LATE", "NO_LEASE_CONDITION", "I2"),
    Case("lifecycle", "LATE", "EXPIRED_STAYS", "I1"),
    Case("lifecycle", "LATE", "RETURN_SHORTENS", "I2"),
    Case("lifecycle", "MEETING", "VERSION_STAYS", "I3"),
    # The connection record is closed first, for good, and the user is written whatever was read.
    Case("lifecycle", "MEETING", "NO_RECORD", "I6"),
    Case("lifecycle", "MEETING", "USER_FIRST", "I6"),
    Case("lifecycle", "MEETING", "SKIP_NOOP", "I6"),
    Case("lifecycle", "MEETING", "ROW_APART", "I6"),
    Case("lifecycle", "MEETING", "ROWS_FIRST", "I6"),
    # A ping creates nothing and repairs nothing.
    Case("lifecycle", "DYING", "PING_UPSERTS", "I6"),
    Case("lifecycle", "WATCHED", "REASSERT", "CALM"),
    # Grace, timers and the sweep.
    Case("lifecycle", "MEETING", "NO_GRACE", "I7"),
    Case("lifecycle", "MEETING", "BLIND_TIMER", "I1"),
    Case("lifecycle", "MEETING", "TIMER_AFTER", "TIMER"),
    Case("lifecycle", "DYING", "SWEEP_BY_EXPIRY", "CALM"),
    Case("lifecycle", "DYING", "NOBODY_CLEARS_UP", "CALM"),
    Case("lifecycle", "DYING", "LOOKS_FIRST", "I2"),
    # What is told was stored, and is dropped if it is old.
    Case("lifecycle", "WATCHED", "GET_UNSTORED", "I3"),
    Case("lifecycle", "WATCHED", "GET_UNSTORED", "I8"),
    Case("lifecycle", "WATCHED", "EVERYTHING_IS_NEWS", "I8"),
    # Chat sessions.
    Case("session", "MOVING", "SNAPSHOT_FIRST", "I8"),
    Case("session", "MOVING", "AUDIENCE_AFTER", "I8"),
    Case("session", "MOVING", "EVERYTHING_IS_NEWS", "I8"),
    Case("session", "MOVING", "OLDEST_WINS", "I8"),
    Case("session", "MUTUAL", "RECORD_IS_TOLD", "I8"),
    Case("session", "MOVING", "NET_MOVES", "I8"),
    Case("session", "RETURNING", "NET_NEWS", "I8"),
    Case("session", "MUTUAL", "JOBS_COME_LATE", "I8"),
    Case("session", "MOVING", "NO_LINGERING", "I7"),
    Case("session", "PARTING", "LINGERS_ALONE", "I7"),
    Case("session", "RETURNING", "ROW_APART", "I6"),
    Case("session", "RETURNING", "ROWS_FIRST", "I6"),
    Case("session", "MOVING", "ONLY_THE_GATE_KNOWS", "I6"),
)

CASES = (*GOOD, *BAD)
