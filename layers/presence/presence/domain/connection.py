"""One WebSocket connection: whose it is, until when, what it may, and how fast it may ask."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from presence.domain.errors import Forbidden, NotAuthenticated, RateLimited, TokenExpired

#: A token is accepted for this long after its `exp`: the clocks of issuers differ.
TOKEN_LEEWAY_MILLISECONDS = 30_000

#: A connection may ask once a second on average, and this many times at once.
COST_MILLISECONDS = 1_000
BURST = 20

#: How often `typing` is relayed, for each connection and chat session.
TYPING_MILLISECONDS = 1_000

#: The only chat sessions that somebody may join, or prefixes ending in `*`; None for all.
AllowedSessions: TypeAlias = frozenset[str] | None


class State(StrEnum):
    """The gate opens once and closes for good."""

    OPEN = "open"
    AUTHENTICATED = "authenticated"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says, and nothing that a client says besides."""

    user_id: str
    expires_at: int
    scope: frozenset[str] = frozenset()
    allowed_sessions: AllowedSessions = None


@dataclass(frozen=True, slots=True)
class Connection:
    """`endpoint` is the callback URL that it was opened at: another one cannot reach it.

    `sessions` are the chat sessions it has joined, `typed` when it last said in which of them that
    somebody types (if that was a moment ago), `is_watching` whether it watches anybody.

    `shards` says where it is among the subscribers of a large session it has joined, and
    `everyone_shards` where among those who hear of everybody; the first shard is not named.
    """

    connection_id: str
    endpoint: str
    opened_at: int
    state: State = State.OPEN
    user_id: str | None = None
    token_expires_at: int | None = None
    allowed_sessions: AllowedSessions = None
    spent_until: int = 0
    sessions: frozenset[str] = frozenset()
    typed: Mapping[str, int] = field(default_factory=dict)
    is_watching: bool = False
    shards: Mapping[str, frozenset[int]] = field(default_factory=dict)
    everyone_shards: frozenset[int] = frozenset()

    def shards_of(self, session_id: str) -> frozenset[int]:
        """In which shards of a chat session's subscribers it is; in none if it has not joined."""
        first = frozenset({0}) if session_id in self.sessions else frozenset[int]()
        return self.shards.get(session_id, first)

    def takes_part_in(self, session_id: str) -> bool:
        """Whether it has joined a chat session, and its token still lets it in."""
        return session_id in self.sessions and is_allowed(session_id, self.allowed_sessions)

    def user_at(self, now: int) -> str:
        """Whose connection it is.

        Raises:
            NotAuthenticated: nobody's yet, or nobody's any more.
            TokenExpired: its token is over by more than the leeway (I12).
        """
        if self.state is not State.AUTHENTICATED or self.user_id is None:
            raise NotAuthenticated(
                "Authenticate first; open a new connection if this one was closed."
            )
        if self.is_token_over(now):
            raise TokenExpired("Authenticate again with a fresh token.")
        return self.user_id

    def is_token_over(self, now: int) -> bool:
        return lease_limit(self.token_expires_at or 0) <= now

    def paid(self, now: int) -> "Connection":
        """The connection after one action at *now*.

        Raises:
            RateLimited: see `spend`.
        """
        return replace(self, spent_until=spend(self.spent_until, now))

    def typing(self, session_id: str, now: int) -> "Connection | None":
        """The connection after it told a chat session that somebody types; None if it just did."""
        lately = {name: at for name, at in self.typed.items() if now - at < TYPING_MILLISECONDS}
        return None if session_id in lately else replace(self, typed={**lately, session_id: now})


# ── what happens to a gate in one transaction with its user ────────────────────────────────


@dataclass(frozen=True, slots=True)
class Admission:
    """An open connection becomes somebody's."""

    connection_id: str
    opened_at: int
    token_expires_at: int
    allowed_sessions: AllowedSessions = None


@dataclass(frozen=True, slots=True)
class Joining:
    """A connection begins to hear a chat session; `shards` is where it is heard already.

    `allowed_by` is the entry of its claim that lets it in, and has to be there still; None if it
    has no claim, and then it must have got none.
    """

    connection_id: str
    opened_at: int
    session_id: str
    shards: frozenset[int] = frozenset()
    allowed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Leaving:
    """A connection stops hearing a chat session; `shards` is where it was heard."""

    connection_id: str
    session_id: str
    shards: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True)
class Closing:
    """A connection is over; what it was is still there for whoever clears up behind it."""

    connection_id: str


ConnectionChange: TypeAlias = Admission | Joining | Leaving | Closing


def lease_limit(token_expires_at: int) -> int:
    """A lease does not outlive its token, so a connection that stays silent ends with it."""
    return token_expires_at + TOKEN_LEEWAY_MILLISECONDS


def is_allowed(session_id: str, allowed: AllowedSessions) -> bool:
    """Whether the claim `chat_sessions` of a token lets its user into a chat session."""
    return allowed is None or any(_lets_in(entry, session_id) for entry in allowed)


def entry_allowing(session_id: str, allowed: AllowedSessions) -> str | None:
    """The entry of the claim that lets its user into a chat session; None if there is no claim.

    Raises:
        Forbidden: there is a claim, and no such entry.
    """
    if allowed is None:
        return None
    entries = [entry for entry in allowed if _lets_in(entry, session_id)]
    if not entries:
        raise no_access()
    return min(entries)


def _lets_in(entry: str, session_id: str) -> bool:
    return entry == session_id or (entry.endswith("*") and session_id.startswith(entry[:-1]))


def no_access() -> Forbidden:
    """One refusal for every reason, and for sessions that do not exist (T34)."""
    return Forbidden("Ask for access to this chat session.")


def spend(spent_until: int, now: int) -> int:
    """What `spent_until` becomes when a connection asks for something at *now*.

    The generic cell rate algorithm (ITU-T I.371): one instant is the whole bucket, so one
    conditional write keeps it.

    Raises:
        RateLimited: the bucket is empty; says in how many seconds it is not.
    """
    after = max(spent_until, now) + COST_MILLISECONDS
    excess = after - now - BURST * COST_MILLISECONDS
    if excess > 0:
        seconds = -(-excess // 1000)
        raise RateLimited(f"Ask again in {seconds} s.", retry_after_seconds=seconds)
    return after
