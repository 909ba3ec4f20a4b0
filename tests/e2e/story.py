"""Black-box conversations: URLs in, frames out."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import wraps
from typing import Any, ParamSpec

from tests.conversation import Conversation
from tests.stack import RunningStack

Wish = ParamSpec("Wish")

#: Longer than an answer takes on AWS, where API Gateway waits 29 s for a function.
PATIENCE_SECONDS = 30

_numbers = itertools.count(1)


def story(test: Callable[Wish, Coroutine[Any, Any, None]]) -> Callable[Wish, None]:
    """Let a test be a coroutine."""

    @wraps(test)
    def run(*arguments: Wish.args, **names: Wish.kwargs) -> None:
        asyncio.run(test(*arguments, **names))

    return run


def people(*names: str) -> list[str]:
    """User ids that no other test has: all of them share one stack."""
    number = next(_numbers)
    return [f"{name}-{number}" for name in names]


def join(
    stack: RunningStack, user_id: str, **request: Any
) -> AbstractAsyncContextManager[Conversation]:
    """A connection of this user, authenticated; it waits for what a slow machine is late with."""
    patient = {"within": PATIENCE_SECONDS} | request
    return Conversation.connect(stack.url, token=stack.token(user_id), **patient)
