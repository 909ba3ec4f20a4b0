"""Policies of which viewers see users that are in no chat session with them."""

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from presence.adapters.authorizer import LambdaAPI
from presence.chunks import chunked
from presence.domain.errors import Unavailable
from presence.limits import PAIRS_PER_QUESTION

logger = logging.getLogger(__name__)


class Everyone:
    """All may see all; only blocks hide."""

    is_open = True

    def may_see(self, pairs: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        return pairs


class SharedSessions:
    """Only users who are in a chat session together see each other."""

    is_open = False

    def may_see(self, pairs: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        del pairs
        return ()


class LambdaVisibility:
    """Asks a function of the stack's owner, for up to PAIRS_PER_QUESTION pairs at once.

    It gets `{"pairs": [{"viewerId", "userId"}, …]}` and answers `{"visible": [true, false, …]}`, in
    this order; all but true is a no, and so is an answer of another length.
    """

    is_open = False

    def __init__(self, client: Callable[[], LambdaAPI], function_arn: str) -> None:
        self._client = client
        self._function_arn = function_arn

    def may_see(self, pairs: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        parts = chunked(sorted(pairs), PAIRS_PER_QUESTION)
        return {pair for some in parts for pair in self._ask(some)}

    def _ask(self, pairs: Collection[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        question = {"pairs": [{"viewerId": viewer, "userId": user} for viewer, user in pairs]}
        verdicts = _verdicts(self._answer(json.dumps(question).encode()))
        if len(verdicts) == len(pairs):
            yield from (pair for pair, it in zip(pairs, verdicts, strict=True) if it is True)

    def _answer(self, question: bytes) -> bytes:
        try:
            answer = self._client().invoke(FunctionName=self._function_arn, Payload=question)
            content: bytes = answer["Payload"].read()
        except (ClientError, BotoCoreError) as error:
            raise _unknown() from error
        if "FunctionError" in answer:
            raise _unknown()
        return content


def _unknown() -> Unavailable:
    logger.warning("the function of VISIBILITY_ARN failed")
    return Unavailable(
        "Which users may be seen cannot be said now; try again.", retry_after_seconds=2
    )


def _verdicts(content: bytes) -> list[Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return []
    verdicts = answer.get("visible") if isinstance(answer, Mapping) else None
    return verdicts if isinstance(verdicts, list) else []
