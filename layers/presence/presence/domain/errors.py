"""What can be wrong with a request, and the code that a client sees for it.

    PresenceError
    ├── InvalidMessage        the text, the fields or the cursor
    ├── UnknownAction
    ├── PayloadTooLarge
    ├── NotAuthenticated      no token yet, or the connection is over
    ├── TokenInvalid
    ├── TokenExpired
    ├── Forbidden
    ├── NotFound
    ├── Conflict
    ├── RateLimited
    └── Unavailable           a fault of ours, not of the caller: worth trying again

The codes are the protocol's; anything that is not in this tree is `internal`.
"""

from typing import ClassVar


class PresenceError(Exception):
    """A refusal. The message is a sentence for the developer of the client.

    `retry_after_seconds` is how long the caller should wait before it tries again.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class InvalidMessage(PresenceError):
    code = "invalid-message"


class UnknownAction(PresenceError):
    code = "unknown-action"


class PayloadTooLarge(PresenceError):
    code = "payload-too-large"


class NotAuthenticated(PresenceError):
    code = "not-authenticated"


class TokenInvalid(PresenceError):
    code = "token-invalid"


class TokenExpired(PresenceError):
    code = "token-expired"


class Forbidden(PresenceError):
    code = "forbidden"


class NotFound(PresenceError):
    code = "not-found"


class Conflict(PresenceError):
    code = "conflict"


class RateLimited(PresenceError):
    code = "rate-limited"


class Unavailable(PresenceError):
    code = "unavailable"


def no_access() -> Forbidden:
    """One refusal for every reason, so that it does not say which chat sessions exist."""
    return Forbidden("Ask for access to this chat session.")
