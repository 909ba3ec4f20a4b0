"""Authorizers: who may join a chat session, beyond what the token says."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from presence.domain.errors import Unavailable


class AllowAll:
    """Without an authorizer, the claim `chat_sessions` of the token decides alone."""

    def may_join(self, user_id: str, session_id: str) -> bool:
        del user_id, session_id
        return True


class LambdaAPI(Protocol):
    """What is used of botocore's Lambda client."""

    def invoke(self, *, FunctionName: str, Payload: bytes) -> Mapping[str, Any]: ...  # noqa: N803


class LambdaAuthorizer:
    """Asks a function of the stack's owner, each time.

    It gets `{"userId", "chatSessionId"}` and allows with `{"allowed": true}`; every other answer
    refuses. An error does neither: the client is told to try again.
    """

    def __init__(self, client: Callable[[], LambdaAPI], function_arn: str) -> None:
        self._client = client
        self._function_arn = function_arn

    def may_join(self, user_id: str, session_id: str) -> bool:
        question = {"userId": user_id, "chatSessionId": session_id}
        answer = self._client().invoke(
            FunctionName=self._function_arn, Payload=json.dumps(question).encode()
        )
        content = answer["Payload"].read()
        if "FunctionError" in answer:
            raise Unavailable(
                "Whether you may join cannot be said now; try again.", retry_after_seconds=2
            )
        return _is_yes(content)


def _is_yes(content: bytes) -> bool:
    try:
        verdict = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(verdict, dict) and verdict.get("allowed") is True
