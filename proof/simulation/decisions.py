"""What the back end was told that it has decided, and what must hold from then on.

Tokens that are revoked, and chat sessions that a user is kept out of (I18); what the claim of a
token takes away, and what no late frame may give back (I19). Looked at whenever what is stored of
a connection is whole: between the items of one transaction, nothing is promised.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from presence.domain.connection import Connection, State, lease_limit
from presence.domain.events import TokenRevoked, TokensRevoked
from presence.domain.standing import AllowedSessions, Token, is_allowed
from presence.domain.user import Lease, User
from tests.fakes import FakeTables

#: What must not be, and the number of the invariant that it breaks.
Fault = tuple[str, str]


@dataclass
class Decisions:
    """`tokens` are those that each connection has sent, whatever became of them."""

    clock: Callable[[], int]
    margin: int
    tokens: defaultdict[str, list[Token]] = field(default_factory=lambda: defaultdict(list))
    #: By token id, or by user and for tokens issued before: since when such tokens are refused.
    revoked: dict[str, int] = field(default_factory=dict)
    revoked_before: defaultdict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    #: Since when a user is out of a chat session.
    removed: dict[tuple[str, str], int] = field(default_factory=dict)
    #: Requests that are under way, by user and chat session.
    removing: Counter[tuple[str, str]] = field(default_factory=Counter)
    allowing: Counter[tuple[str, str]] = field(default_factory=Counter)

    # ── what was decided ───────────────────────────────────────────────────────────────

    def refused_since(self, user_id: str, token: Token) -> int | None:
        """Since when a token must not be accepted; None if it may be."""
        found = [at for before, at in self.revoked_before[user_id] if token.issued_at < before]
        if token.token_id in self.revoked:
            found.append(self.revoked[token.token_id])
        return min(found, default=None)

    def is_refused(self, user_id: str, token: Token, at: int | None = None) -> bool:
        """Whether it must not be accepted by what begins at *at*; now, if there is none."""
        since = self.refused_since(user_id, token)
        return since is not None and since + self.margin < (self.clock() if at is None else at)

    def is_dead(self, connection_id: str, at: int | None = None) -> bool:
        """Whether all tokens that a connection ever sent are refused."""
        user_id, sent = owner_of(connection_id), self.tokens.get(connection_id, ())
        return bool(sent) and all(self.is_refused(user_id, it, at) for it in sent)

    def revokes(self, user_id: str, event: TokensRevoked | TokenRevoked) -> None:
        """The request was answered."""
        now = self.clock()
        match event:
            case TokenRevoked(token_id):
                self.revoked.setdefault(token_id, now)
            case TokensRevoked(not_before):
                self.revoked_before[user_id].append((not_before, now))

    def begins_to_remove(self, user_id: str, session_id: str) -> None:
        self.removing[user_id, session_id] += 1

    def ends_to_remove(self, user_id: str, session_id: str) -> None:
        self.removing[user_id, session_id] -= 1

    def removes(self, user_id: str, session_id: str) -> None:
        """The request was answered; one to allow it, beside this one, may have come after it."""
        if not self.allowing[user_id, session_id]:
            self.removed[user_id, session_id] = self.clock()

    def begins_to_allow(self, user_id: str, session_id: str) -> None:
        self.allowing[user_id, session_id] += 1
        self.removed.pop((user_id, session_id), None)

    def ends_to_allow(self, user_id: str, session_id: str) -> None:
        self.allowing[user_id, session_id] -= 1

    def is_out(self, user_id: str, session_id: str, at: int) -> bool:
        """Whether what begins at *at* must find the user out of a chat session."""
        since = self.removed.get((user_id, session_id))
        return since is not None and since + self.margin < at

    def is_free(self, user_id: str, session_id: str) -> bool:
        """Whether nothing is under way, or done, that ends a membership."""
        key = (user_id, session_id)
        return key not in self.removed and not self.removing[key]

    def claims(self, connection_id: str) -> Collection[AllowedSessions]:
        return [it.allowed_sessions for it in self.tokens.get(connection_id, ())]

    def always_allowed(self, connection_id: str, session_id: str) -> bool:
        """By each of its tokens: frames overtake each other, so any may be handled last."""
        return all(is_allowed(session_id, claim) for claim in self.claims(connection_id))

    # ── what is stored of a connection ─────────────────────────────────────────────────

    def faults_of(self, connection_id: str, tables: FakeTables) -> Iterator[Fault]:
        """What is wrong with a connection of which no write is under way."""
        user_id = owner_of(connection_id)
        user = tables.users.get(user_id, User(user_id))
        record, lease = tables.connections.get(connection_id), user.leases.get(connection_id)
        listed = {name for name, rows in tables.sessions.items() if connection_id in rows}
        if record is not None and record.state is State.AUTHENTICATED:
            yield from self._claim_faults(record, lease, listed)
            if lease is not None and self.is_refused(user_id, record.token):
                yield "I18", f"{connection_id} has a lease by a token that is revoked"
        if self.is_dead(connection_id) and lease is not None:
            yield "I18", f"{connection_id} has a lease, and has sent revoked tokens only"
        # Without a lease, a connection is closed by a timer, which no request waits for.
        here = set[str]() if lease is None else {*listed, *lease.sessions}
        for name, session_id in self.removed:
            if name == user_id and session_id in here:
                yield "I18", f"{connection_id} is in {session_id}, out of which it was taken"

    def _claim_faults(
        self, record: Connection, lease: Lease | None, listed: set[str]
    ) -> Iterator[Fault]:
        """The record, its lease and its rows belong to one token."""
        name, allowed = record.connection_id, record.allowed_sessions
        held = frozenset[str]() if lease is None else lease.sessions
        for it in sorted({*listed, *held, *record.sessions}):
            if not is_allowed(it, allowed):
                yield "I19", f"{name} is in {it}, which its token does not allow"
        if lease is not None and lease.sessions != record.sessions:
            yield "I19", f"{name} has {lease.sessions} in its lease, and {record.sessions}"
        if lease is not None and lease.ends_by != lease_limit(record.token_expires_at or 0):
            yield "I19", f"{name} has a lease of another token than its record: {lease} {record}"

    def takes(
        self, before: Connection | None, after: Connection | None, task: str
    ) -> Iterator[Fault]:
        """A record is written; only `authenticate` gives it a token, one that was sent."""
        if before is None or after is None or after.state is not State.AUTHENTICATED:
            return
        is_other = before.user_id is not None and before.token != after.token
        if is_other and "authenticate" not in task:
            yield "I19", f"{task} gives {after.connection_id} another token: {after.token}"
        if after.token not in self.tokens.get(after.connection_id, ()):
            yield "I19", f"{after.connection_id} never sent {after.token}"


def owner_of(connection_id: str) -> str:
    return connection_id.partition("-")[0]
