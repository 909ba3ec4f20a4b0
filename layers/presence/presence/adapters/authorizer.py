"""Authorizers: who may join a chat session, beyond what the token says."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from presence.limits import AUTHORIZERS_AT_ONCE

_LOGGER = logging.getLogger(__name__)


class AllowAll:
    """Without an authorizer, the claim `chat_sessions` of the token decides alone."""

    def may_join(self, user_id: str, session_ids: Sequence[str]) -> Sequence[bool | None]:
        del user_id
        return [True] * len(session_ids)


class LambdaAPI(Protocol):
    """What is used of botocore's Lambda client."""

    def invoke(self, *, FunctionName: str, Payload: bytes) -> Mapping[str, Any]: ...  # noqa: N803


class LambdaAuthorizer:
    """Asks a function of the stack's owner, each time.

    It gets `{"userId", "chatSessionId"}` and allows with `{"allowed": true}`; every other answer
    refuses. An error does neither: the client is told to try again. Of several chat sessions it is
    asked at the same time: one after the other, a client would not wait for the last answer.
    """

    def __init__(self, client: Callable[[], LambdaAPI], function_arn: str) -> None:
        self._client = client
        self._function_arn = function_arn

    def may_join(self, user_id: str, session_ids: Sequence[str]) -> Sequence[bool | None]:
        self._client()  # made here, once: making one is not safe in threads
        if len(session_ids) == 1:
            return [self._may_join(user_id, session_ids[0])]
        with ThreadPoolExecutor(AUTHORIZERS_AT_ONCE) as pool:
            return list(pool.map(lambda name: self._may_join(user_id, name), session_ids))

    def _may_join(self, user_id: str, session_id: str) -> bool | None:
        """An authorizer that cannot be asked keeps no user from coming online."""
        question = {"userId": user_id, "chatSessionId": session_id}
        try:
            answer = self._client().invoke(
                FunctionName=self._function_arn, Payload=json.dumps(question).encode()
            )
            content = answer["Payload"].read()
        except (BotoCoreError, ClientError):
            _LOGGER.warning("the authorizer could not be asked", exc_info=True)
            return None
        return None if "FunctionError" in answer else _is_yes(content)


def _is_yes(content: bytes) -> bool:
    try:
        verdict = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(verdict, dict) and verdict.get("allowed") is True
