"""What HTTP and the socket share: tokens, waits, and which hosts no proxy reaches."""

import asyncio
import inspect
import random
import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import urlsplit

from presence_client.errors import Misconfigured, NoToken, Refused

#: A JWT, or what makes one each time that one is needed.
Token: TypeAlias = str | Callable[[], str | Awaitable[str]]

#: How long an answer may take, in seconds.
ANSWER_SECONDS = 10.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
#: How long a callable may take to make a token, in seconds.
_TOKEN_SECONDS = 30.0
#: JSON, a page, or a token in quotes is none.
_TOKEN = re.compile(r"[!#-;=?-z|~]+", re.ASCII)


async def fresh(token: Token) -> str:
    """A token to send now.

    Raises:
        NoToken: the callable failed; the next attempt calls it again.
        Misconfigured: what it gave, or what was given, is no token.
        Refused: the callable raised it, so that there is no use in another attempt.
    """
    made = token if isinstance(token, str) else await _made(token)
    if isinstance(made, str) and _TOKEN.fullmatch(made):
        return made
    what = "an empty text" if made == "" else type(made).__name__
    message = f"This is no token ({what}). Give the text of a JWT alone."
    raise Misconfigured("token-malformed", message)


async def _made(token: Callable[[], object]) -> object:
    try:
        made = token()
        if not inspect.isawaitable(made):
            return made
        async with asyncio.timeout(_TOKEN_SECONDS):
            return await made
    except Refused as refused:
        if not refused.is_retryable:
            raise
        raise NoToken(f"There is no token ({refused}).") from refused
    except Exception as error:
        why = str(error) or type(error).__name__
        raise NoToken(f"There is no token ({why}).") from error


def is_for_good(status: int) -> bool:
    """Whether the same request would be refused again with this status."""
    return status in range(400, 500) and status not in {408, 425, 429}


def backoff(attempt: int) -> float:
    """How long to wait before this attempt (from 0), in seconds, with full jitter."""
    # A thousand clients that lost the same server must not come back at the same moment.
    return random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempt, 16)))  # noqa: S311


def is_loopback(url: str) -> bool:
    try:
        return urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}
    except ValueError:  # no URL, which is said when it is used
        return False
