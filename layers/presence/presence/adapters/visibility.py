"""Policies of which viewers see users that are in no chat session with them."""

import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from botocore.exceptions import BotoCoreError, ClientError

from presence.adapters.authorizer import LambdaAPI
from presence.chunks import chunked
from presence.deadline import in_time, within
from presence.limits import PAIRS_PER_QUESTION, QUESTIONS_AT_ONCE, VISIBILITY_SECONDS

logger = logging.getLogger(__name__)

#: The ids of a viewer and of a user.
Pair: TypeAlias = tuple[str, str]


class Everyone:
    """All may see all; only blocks hide."""

    is_open = True

    def may_see(self, pairs: Collection[Pair]) -> Mapping[Pair, bool]:
        return dict.fromkeys(pairs, True)


class SharedSessions:
    """Only users who are in a chat session together see each other."""

    is_open = False

    def may_see(self, pairs: Collection[Pair]) -> Mapping[Pair, bool]:
        return dict.fromkeys(pairs, False)


class LambdaVisibility:
    """Asks a function of the stack's owner, for up to PAIRS_PER_QUESTION pairs at once.

    It gets `{"pairs": [{"viewerId", "userId"}, …]}` and answers `{"visible": [true, false, …]}`, in
    this order; all but true is a no, and so is an answer of another length. Many questions are put
    at the same time, and none after VISIBILITY_SECONDS: announcements wait for the answers.
    """

    is_open = False

    def __init__(
        self,
        client: Callable[[], LambdaAPI],
        function_arn: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._function_arn = function_arn
        self._clock = clock

    def may_see(self, pairs: Collection[Pair]) -> Mapping[Pair, bool]:
        answers = dict[Pair, bool]()
        questions = chunked(sorted(pairs), PAIRS_PER_QUESTION)
        some_questions = chunked(questions, QUESTIONS_AT_ONCE)
        self._client()  # made here, once: making one is not safe in threads
        with ThreadPoolExecutor(QUESTIONS_AT_ONCE) as pool:
            for some in in_time(some_questions, within(VISIBILITY_SECONDS, self._clock)):
                for told in pool.map(self._ask, some):
                    answers |= told
        if unanswered := len(pairs) - len(answers):
            logger.warning(
                "the function of VISIBILITY_ARN did not answer in time",
                extra={"pairs": len(pairs), "unanswered_pairs": unanswered},
            )
        return answers

    def _ask(self, pairs: Sequence[Pair]) -> Mapping[Pair, bool]:
        """The answers; none if the function cannot be asked, or fails."""
        question = {"pairs": [{"viewerId": viewer, "userId": user} for viewer, user in pairs]}
        try:
            answer = self._client().invoke(
                FunctionName=self._function_arn, Payload=json.dumps(question).encode()
            )
            content: bytes = answer["Payload"].read()
        except (ClientError, BotoCoreError):
            return {}
        if "FunctionError" in answer:
            return {}
        verdicts = _verdicts(content)
        if len(verdicts) != len(pairs):
            return dict.fromkeys(pairs, False)
        return {pair: it is True for pair, it in zip(pairs, verdicts, strict=True)}


def _verdicts(content: bytes) -> list[Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return []
    verdicts = answer.get("visible") if isinstance(answer, Mapping) else None
    return verdicts if isinstance(verdicts, list) else []
