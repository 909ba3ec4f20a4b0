"""One WebSocket connection: its user, token, chat sessions, rate limit, and what it may last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from presence.domain.errors import NotAuthenticated, TokenExpired, no_access
from presence.domain.heartbeat import Heartbeats
from presence.domain.standing import AllowedSessions, Token, is_allowed, matches
from presence.domain.user import Lease, User
from presence.limits import (
    MAX_OPERATIONS,
    MAX_RETURNED,
    MAX_SESSIONS,
    MIN_PING_MILLISECONDS,
    TOKEN_LEEWAY_MILLISECONDS,
    TYPING_MILLISECONDS,
)


class State(StrEnum):
    """A connection is open, then authenticated, then closed; closed is final."""

    OPEN = "open"
    AUTHENTICATED = "authenticated"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says; nothing here comes from the client itself.

    `expires_at` and `issued_at` are the token's `exp` and `iat`, in epoch milliseconds, and
    `token_id` is the fingerprint of its `jti`.
    """

    user_id: str
    expires_at: int
    scope: frozenset[str] = frozenset()
    allowed_sessions: AllowedSessions = None
    issued_at: int = 0
    token_id: str | None = None

    @property
    def is_limited(self) -> bool:
        """Whether the token names the chat sessions of its user."""
        return self.allowed_sessions is not None

    @property
    def token(self) -> Token:
        return Token(self.expires_at, self.allowed_sessions, self.issued_at, self.token_id)


@dataclass(frozen=True, slots=True)
class Typed:
    """The last `typing` that was relayed, in epoch milliseconds, and what it said."""

    at: int
    is_typing: bool


@dataclass(frozen=True, slots=True)
class Connection:
    """The stored record of a connection; instants are in epoch milliseconds.

    `endpoint` is the callback URL at which it was opened: no other one reaches its socket.
    `sessions` are the chat sessions that it has joined, `typed` its last `typing` in some of them,
    and `is_watching` says whether it may have a watch list.

    `revision` grows with each new token and with each chat session that is joined or left: a write
    that needs them as they were read needs it unchanged. `token_issued_at` and `token_id` are those
    of the token (see `Token`).

    `shards` says in which shards of a chat session's subscribers it is, and `everyone_shards` the
    same of the topic of all users; its usual shard there is not stored.
    """

    connection_id: str
    endpoint: str
    opened_at: int
    state: State = State.OPEN
    user_id: str | None = None
    token_expires_at: int | None = None
    allowed_sessions: AllowedSessions = None
    token_issued_at: int = 0
    token_id: str | None = None
    revision: int = 0
    sessions: frozenset[str] = frozenset()
    typed: Mapping[str, Typed] = field(default_factory=dict)
    is_watching: bool = False
    shards: Mapping[str, frozenset[int]] = field(default_factory=dict)
    everyone_shards: frozenset[int] = frozenset()

    def shards_of(self, session_id: str) -> frozenset[int]:
        """In which shards of a chat session's subscribers it is; none if it has not joined."""
        first = frozenset({0}) if session_id in self.sessions else frozenset[int]()
        return self.shards.get(session_id, first)

    @property
    def joined(self) -> Mapping[str, frozenset[int]]:
        """The chat sessions that it has joined, each with the shards that it is in."""
        return {session_id: self.shards_of(session_id) for session_id in self.sessions}

    @property
    def token(self) -> Token:
        return Token(
            self.token_expires_at or 0, self.allowed_sessions, self.token_issued_at, self.token_id
        )

    def takes_part_in(self, session_id: str) -> bool:
        """Whether it has joined a chat session that its token still allows."""
        return session_id in self.sessions and is_allowed(session_id, self.allowed_sessions)

    def user_at(self, now: int) -> str:
        """The id of the user that this connection may act for at *now*.

        Raises:
            NotAuthenticated: it is not authenticated yet, or it is closed.
            TokenExpired: its token expired, by more than the leeway.
        """
        if self.state is not State.AUTHENTICATED or self.user_id is None:
            raise NotAuthenticated(
                "Authenticate first; open a new connection if this one was closed."
            )
        if self.is_token_expired(now):
            raise TokenExpired("Authenticate again with a fresh token.")
        return self.user_id

    def may_act(self, now: int) -> bool:
        return self.state is not State.OPEN and not self.is_token_expired(now)

    def is_token_expired(self, now: int) -> bool:
        return lease_limit(self.token_expires_at or 0) <= now

    def typing(self, session_id: str, now: int, *, is_typing: bool) -> Mapping[str, Typed] | None:
        """`typed` after `typing` in a chat session; None if the last one was too recent.

        A stop is never too soon after its start: it would be shown for seconds.
        """
        recent = {name: it for name, it in self.typed.items() if now - it.at < TYPING_MILLISECONDS}
        last = recent.get(session_id)
        if last is not None and (is_typing or not last.is_typing):
            return None
        return {**recent, session_id: Typed(now, is_typing)}


# ── changes of a connection record, written in one transaction with its user ───────────────


@dataclass(frozen=True, slots=True)
class Admission:
    """An open connection becomes a user's; an authenticated one of the user gets a new token.

    `joined` and `revision` are those of the record as it was read, which must be so still: the
    chat sessions that the user's lease does not have any more end with the same write (`ended`),
    and those of `session_ids` that it has are subscribed to (`begun`).
    """

    connection_id: str
    opened_at: int
    token: Token
    revision: int = 0
    joined: Mapping[str, frozenset[int]] = field(default_factory=dict)
    session_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Returning:
    """A connection whose lease had expired is back, under the token that its record has.

    It gives the record nothing: a frame that was read long ago must not bring back an older token.
    `joined` and `revision` as in `Admission`.
    """

    connection_id: str
    revision: int
    joined: Mapping[str, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Joining:
    """A connection subscribes to those of `session_ids` that its lease has then (`begun`).

    `joined` says in which shards it is subscribed already. `allowed_by` are the entries of its
    token's claim that allow them, and must still be stored when this is written. None says that the
    token has no such claim, and must not have got one.
    """

    connection_id: str
    opened_at: int
    session_ids: Sequence[str]
    joined: Mapping[str, frozenset[int]] = field(default_factory=dict)
    allowed_by: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Leaving:
    """A connection unsubscribes from chat sessions, each with the shards where it was."""

    connection_id: str
    left: Mapping[str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Closing:
    """A connection is closed; its record keeps what is needed to remove its subscriptions."""

    connection_id: str


ConnectionChange: TypeAlias = Admission | Returning | Joining | Leaving | Closing

#: Subscriptions to chat sessions that one transaction ends: one for each shard that the connection
#: is in. Beside them are the user, the record and the row of all users; and what else becomes of
#: the user in the same moment may touch each membership, and each row of a viewer who is back.
MAX_ENDED_ROWS = MAX_OPERATIONS - 3 - MAX_SESSIONS - MAX_RETURNED


def ended(change: Admission | Returning, user: User) -> Mapping[str, frozenset[int]]:
    """The chat sessions, with their shards, that the connection has no part in as *user* is now."""
    lease = user.leases.get(change.connection_id)
    kept = change.joined.keys() if lease is None else lease.sessions
    return {name: shards for name, shards in change.joined.items() if name not in kept}


def begun(change: Admission | Joining, user: User) -> Sequence[str]:
    """The chat sessions to subscribe to: an admission knows that others are subscribed to."""
    lease = user.leases.get(change.connection_id)
    joined = frozenset[str]() if lease is None else lease.sessions
    known = change.joined.keys() if isinstance(change, Admission) else ()
    return [name for name in change.session_ids if name in joined and name not in known]


@dataclass(frozen=True, slots=True)
class Durations:
    """How long things last in one stack, in milliseconds."""

    heartbeats: Heartbeats
    grace: int
    authentication: int
    connection: int

    @property
    def between_pings(self) -> int:
        """How far apart the pings of an ordinary client are at least, jitter included."""
        return min(MIN_PING_MILLISECONDS, self.heartbeats.foreground // 2)

    def next_lease(self, now: int, heartbeat: int | None = None) -> Lease:
        """What a lease is renewed to at *now*, with this heartbeat, if its token lasts."""
        heartbeats = self.heartbeats
        lasts = heartbeats.lease(heartbeats.allowed(heartbeat))
        is_usual = lasts == heartbeats.usual_lease
        return Lease(now + lasts, seen_at=now, lasts=None if is_usual else lasts)

    def new_lease(
        self,
        token_expires_at: int,
        now: int,
        device: str | None = None,
        heartbeat: int | None = None,
    ) -> Lease:
        """A lease from *now* on, which does not outlive its token."""
        ends_by = lease_limit(token_expires_at)
        lease = replace(self.next_lease(now, heartbeat), ends_by=ends_by, device=device)
        return lease.within_token(lease)


def lease_limit(token_expires_at: int) -> int:
    """When a lease ends at the latest: a silent connection ends with its token."""
    return token_expires_at + TOKEN_LEEWAY_MILLISECONDS


def entries_allowing(session_ids: Sequence[str], allowed: AllowedSessions) -> frozenset[str] | None:
    """For each chat session an entry of the claim that allows it; None if there is no claim.

    Raises:
        Forbidden: there is a claim, and no such entry.
    """
    if allowed is None:
        return None
    found = [[it for it in allowed if matches(it, session_id)] for session_id in session_ids]
    if not all(found):
        raise no_access()
    return frozenset(min(entries) for entries in found)


def over() -> NotAuthenticated:
    """The refusal for a connection that is closed, or was never opened."""
    return NotAuthenticated("This connection is over; open a new one.")
