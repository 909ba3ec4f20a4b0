"""Timers: delayed messages on SQS (at least once, unordered, 15 minutes at most)."""

import json
from collections.abc import Callable
from typing import Protocol


class SQS(Protocol):
    """What is used of botocore's SQS client."""

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int) -> object: ...  # noqa: N803


class SQSTimers:
    """`client` is called at the first timer: most invocations set none."""

    def __init__(self, client: Callable[[], SQS], queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def check_connection(self, connection_id: str, delay_seconds: int) -> None:
        self._send({"check": "connection", "connectionId": connection_id}, delay_seconds)

    def check_user(self, user_id: str, delay_seconds: int) -> None:
        self._send({"check": "user", "userId": user_id}, delay_seconds)

    def _send(self, body: dict[str, str], delay_seconds: int) -> None:
        self._client().send_message(
            QueueUrl=self._queue_url, MessageBody=json.dumps(body), DelaySeconds=delay_seconds
        )
