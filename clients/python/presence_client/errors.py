"""What can go wrong between a client and the server; each message is a sentence."""

from typing import Literal, TypeAlias

Code: TypeAlias = Literal[
    "invalid-message", "unknown-action", "payload-too-large", "not-authenticated",
    "token-invalid", "token-expired", "forbidden", "not-found", "conflict", "rate-limited",
    "unavailable", "internal",
]  # fmt: skip
_RETRYABLE = frozenset[Code]({"rate-limited", "unavailable", "internal"})


class ClientError(Exception):
    """The base of all of them.

    Attributes:
        retry_after_seconds: how long to wait before the next try, if the server said so.
    """

    retry_after_seconds: float | None = None


class CannotConnect(ClientError):
    """No server answers, or it refused the handshake with the HTTP status `status`."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


#: What can go wrong before a stack is reached, as the TypeScript client calls it too.
OwnCode: TypeAlias = Literal[
    "api-url-invalid", "handshake-refused", "token-malformed", "token-unavailable"
]


class Misconfigured(CannotConnect):
    """Waiting does not mend it: the message says what to change, `code` what is wrong.

    Attributes:
        code: `api-url-invalid`: the URL is none, or no stack is behind it; `handshake-refused`: the
            stack lets no socket in from here; `token-malformed`: what was given as a token is none.
    """

    def __init__(self, code: OwnCode, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.code = code


class NoToken(CannotConnect):
    """The callable that makes tokens failed, or did not answer; it may be for a moment only."""

    code: OwnCode = "token-unavailable"


#: More on these than their names say.
_REASONS = {
    "replaced": "this user has too many, and another one took its place",
    "kicked": "by an administrator",
}


class ConnectionOver(ClientError):
    """The connection is closed; `reason` is that of the `closing` frame, if there was one."""

    def __init__(self, code: int | None, reason: str | None = None) -> None:
        more = f": {_REASONS[reason]}" if reason in _REASONS else ""
        super().__init__(f"The connection was closed ({reason or code or 'without a word'}{more}).")
        self.code = code
        self.reason = reason


class Refused(ClientError):
    """The server answered with an error of the protocol.

    Attributes:
        status: of the HTTP answer; None on the socket.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        retry_after_seconds: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_seconds = retry_after_seconds
        self.status = status

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in _RETRYABLE


class NotAnswered(ClientError, TimeoutError):
    """No answer came in time; whether the request was served is not known."""
