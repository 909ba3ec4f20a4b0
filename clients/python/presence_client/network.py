"""What HTTP and the socket share: tokens, waits, and which hosts no proxy reaches."""

import inspect
import random
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import urlsplit

from presence_client.errors import CannotConnect

#: A JWT, or what makes one each time that one is needed.
Token: TypeAlias = str | Callable[[], str | Awaitable[str]]

#: How long an answer may take, in seconds.
ANSWER_SECONDS = 10.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0


async def fresh(token: Token) -> str:
    """A token to send now.

    Raises:
        CannotConnect: the callable failed; the next attempt calls it again.
    """
    if isinstance(token, str):
        return token
    try:
        made = token()
        return await made if inspect.isawaitable(made) else made
    except Exception as error:
        raise CannotConnect(f"There is no token ({error}).") from error


def backoff(attempt: int) -> float:
    """How long to wait before this attempt (from 0), in seconds, with full jitter."""
    # A thousand clients that lost the same server must not come back at the same moment.
    return random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempt, 16)))  # noqa: S311


def is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}
