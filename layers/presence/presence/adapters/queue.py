"""Timers and deliveries: messages on SQS (at least once, unordered, delayed 15 minutes at most)."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from presence.ports import Post


class SQS(Protocol):
    """What is used of botocore's SQS client."""

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int) -> object: ...  # noqa: N803


class _Queue:
    """`client` is called at the first message: most invocations send none."""

    def __init__(self, client: Callable[[], SQS], queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def _send(self, body: Mapping[str, Any], delay_seconds: int) -> None:
        self._client().send_message(
            QueueUrl=self._queue_url, MessageBody=json.dumps(body), DelaySeconds=delay_seconds
        )


class SQSTimers(_Queue):
    def check_connection(self, connection_id: str, delay_seconds: int) -> None:
        self._send({"check": "connection", "connectionId": connection_id}, delay_seconds)

    def check_user(self, user_id: str, delay_seconds: int) -> None:
        self._send({"check": "user", "userId": user_id}, delay_seconds)

    def check_lapsed(self, connection_id: str, user_id: str, sessions: Collection[str]) -> None:
        body = {
            "check": "lapsed",
            "connectionId": connection_id,
            "userId": user_id,
            "chatSessionIds": sorted(sessions),
        }
        self._send(body, 0)

    def check_gone(self, connection_id: str) -> None:
        self._send({"check": "gone", "connectionId": connection_id}, 0)


class SQSDeliveries(_Queue):
    def put(self, post: Post, *, attempt: int = 0, delay_seconds: int = 0) -> None:
        body = {
            "text": post.text,
            "connectionIds": list(post.connection_ids),
            "attempt": attempt,
        }
        self._send(body, delay_seconds)
