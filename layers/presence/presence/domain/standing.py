"""What the back end has decided about a user: revoked tokens, and barred chat sessions.

It is stored with the user, so each decision about the user sees it, without one more read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import TypeAlias

from presence.domain.errors import Conflict, TokenInvalid
from presence.limits import (
    MAX_BARRED,
    MAX_REVOKED,
    MAX_TOKEN_SECONDS,
    TOKEN_LEEWAY_MILLISECONDS,
)

#: The only chat sessions that a user may join, or prefixes of them ending in `*`; None for all.
AllowedSessions: TypeAlias = frozenset[str] | None

#: The longest life of a token from its issue on, in milliseconds.
LONGEST_LIFE = MAX_TOKEN_SECONDS * 1000 + 2 * TOKEN_LEEWAY_MILLISECONDS


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a verified token; instants are in epoch milliseconds.

    `token_id` is the fingerprint of its claim `jti`, None without one.
    """

    expires_at: int
    allowed_sessions: AllowedSessions = None
    issued_at: int = 0
    token_id: str | None = None


def fingerprint(token_id: str) -> str:
    """A `jti` as it is stored: short, however long the issuer makes it."""
    return sha256(token_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Standing:
    """Instants are in epoch milliseconds.

    Tokens issued before `not_before` are refused, and so are those in `revoked`, which has the
    fingerprint of each and when it may be forgotten. The user may not be in the chat sessions
    `barred`.
    """

    not_before: int = 0
    revoked: Mapping[str, int] = field(default_factory=dict)
    barred: frozenset[str] = frozenset()

    def accepts(self, token: Token) -> bool:
        return token.issued_at >= self.not_before and token.token_id not in self.revoked

    def require_accepted(self, token: Token) -> None:
        """Raise TokenInvalid for a token that was revoked."""
        if not self.accepts(token):
            raise TokenInvalid("The token was revoked; sign in again.")

    def may_refuse(self, now: int) -> bool:
        """Whether any token that has not expired by *now* may be refused."""
        last = max(self.revoked.values(), default=0)
        return now < max(last, self.not_before and self.not_before + LONGEST_LIFE)

    def lets_into(self, session_id: str, allowed: AllowedSessions) -> bool:
        """Whether a token that allows these chat sessions lets the user into this one."""
        return session_id not in self.barred and is_allowed(session_id, allowed)

    def revoking_before(self, instant: int) -> "Standing":
        return replace(self, not_before=max(self.not_before, instant))

    def revoking(self, token_id: str, now: int) -> "Standing":
        """Also without this token.

        Raises:
            Conflict: MAX_REVOKED tokens are revoked already.
        """
        kept = {name: until for name, until in self.revoked.items() if until > now}
        if token_id not in kept and len(kept) >= MAX_REVOKED:
            raise Conflict(f"{MAX_REVOKED} tokens are revoked; revoke all that were issued so far.")
        return replace(self, revoked={**kept, token_id: now + LONGEST_LIFE})

    def barring(self, session_id: str) -> "Standing":
        """Also without this chat session.

        Raises:
            Conflict: MAX_BARRED chat sessions are barred already.
        """
        barred = self.barred | {session_id}
        if len(barred) > MAX_BARRED:
            raise Conflict(f"{MAX_BARRED} chat sessions are barred; revoke the user's tokens.")
        return replace(self, barred=barred)

    def allowing(self, session_id: str) -> "Standing":
        return replace(self, barred=self.barred - {session_id})

    def matters_until(self) -> int | None:
        """When it has ceased to refuse anything; 0 if it refuses nothing now, None for never."""
        if self.barred:
            return None
        revoked_until = max(self.revoked.values(), default=0)
        return max(revoked_until, self.not_before and self.not_before + LONGEST_LIFE)


def is_allowed(session_id: str, allowed: AllowedSessions) -> bool:
    """Whether the claim `chat_sessions` of a token allows a chat session."""
    return allowed is None or session_id in allowed or session_id.startswith(_prefixes(allowed))


@lru_cache(maxsize=1_000)
def _prefixes(allowed: frozenset[str]) -> tuple[str, ...]:
    """A claim has many entries, and is asked for each chat session of each user of a list."""
    return tuple(entry[:-1] for entry in allowed if entry.endswith("*"))


def matches(entry: str, session_id: str) -> bool:
    """Whether one entry of the claim allows a chat session."""
    return entry == session_id or (entry.endswith("*") and session_id.startswith(entry[:-1]))
