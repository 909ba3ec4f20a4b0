"""Timers and deliveries: messages on SQS (at least once, unordered, delayed 15 minutes at most)."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from presence import limits
from presence.domain.errors import Unavailable
from presence.fanout.payloads import from_json, to_json
from presence.ports import ExpiredCheck, Job, Post, Topic, UserCheck
from presence.protocol.strict_json import Object


class SQS(Protocol):
    """What is used of botocore's SQS client."""

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int) -> object: ...  # noqa: N803

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[object]) -> Any: ...  # noqa: N803, ANN401


class _Queue:
    """`client` is called at the first message: most invocations send none."""

    def __init__(self, client: Callable[[], SQS], queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def _send(self, body: Mapping[str, Any], delay_seconds: int) -> None:
        self._client().send_message(
            QueueUrl=self._queue_url, MessageBody=json.dumps(body), DelaySeconds=delay_seconds
        )

    def _send_all(self, bodies: Iterable[Mapping[str, Any]], delay_seconds: int = 0) -> None:
        self._send_each((body, delay_seconds) for body in bodies)

    def _send_each(self, messages: Iterable[tuple[Mapping[str, Any], int]]) -> None:
        """Each message with its own delay, in seconds."""
        for batch in _batches((json.dumps(body), delay) for body, delay in messages):
            self._send_batch(batch)

    def _send_batch(self, batch: Sequence[tuple[str, int]]) -> None:
        """SQS may take some of a batch and refuse others, which are sent again."""
        entries = [
            {"Id": str(number), "MessageBody": body, "DelaySeconds": delay}
            for number, (body, delay) in enumerate(batch)
        ]
        for _ in range(limits.SEND_ATTEMPTS):
            answer = self._client().send_message_batch(QueueUrl=self._queue_url, Entries=entries)
            failed = {it["Id"] for it in answer.get("Failed", ())}
            entries = [it for it in entries if it["Id"] in failed]
            if not entries:
                return
        raise Unavailable("The queue did not take everything.", retry_after_seconds=1)


class SQSTimers(_Queue):
    def check_connection(self, connection_id: str, delay_seconds: int) -> None:
        self._send({"check": "connection", "connectionId": connection_id}, delay_seconds)

    def check_user(self, user_id: str, delay_seconds: int) -> None:
        self._send(*_check(UserCheck(user_id, delay_seconds)))

    def check_expired(
        self,
        connection_id: str,
        user_id: str,
        sessions: Collection[str],
        delay_seconds: int = 0,
        reason: str | None = None,
    ) -> None:
        check = ExpiredCheck(connection_id, user_id, sessions, delay_seconds, reason)
        self._send(*_check(check))

    def check_all(self, checks: Sequence[UserCheck | ExpiredCheck]) -> None:
        if len(checks) == 1:
            self._send(*_check(checks[0]))
        else:
            self._send_each(map(_check, checks))

    def check_gone(self, connection_ids: Sequence[str], at: int) -> None:
        most = limits.SOCKETS_PER_TIMER
        self._send_all(
            {"check": "gone", "connectionIds": connection_ids[start : start + most], "at": at}
            for start in range(0, len(connection_ids), most)
        )

    def check_told(self, user_id: str, version: int, delay_seconds: int) -> None:
        self._send({"check": "told", "userId": user_id, "version": version}, delay_seconds)

    def check_room(self, session_id: str, tick: int, delay_seconds: int) -> None:
        self._send({"check": "room", "chatSessionId": session_id, "tick": tick}, delay_seconds)


class SQSDeliveries(_Queue):
    """Posts, and jobs that read their recipients themselves."""

    def put_all(
        self, parcels: Iterable[Sequence[Post]], *, attempt: int = 0, delay_seconds: int = 0
    ) -> None:
        bodies = (
            {"posts": [_post_to_json(it) for it in parcel], "attempt": attempt}
            for parcel in parcels
        )
        self._send_all(bodies, delay_seconds)

    def put_jobs(self, jobs: Iterable[Job]) -> None:
        self._send_all(job_to_json(job) for job in jobs)


def _check(check: UserCheck | ExpiredCheck) -> tuple[Object, int]:
    """The message, and its delay in seconds."""
    match check:
        case UserCheck(user_id, delay_seconds):
            return {"check": "user", "userId": user_id}, delay_seconds
        case ExpiredCheck(connection_id, user_id, sessions, delay_seconds, reason):
            names = {"connectionId": connection_id, "userId": user_id}
            told = {} if reason is None else {"reason": reason}
            body = {"check": "expired", **names, "chatSessionIds": sorted(sessions), **told}
            return body, delay_seconds


def _batches(messages: Iterable[tuple[str, int]]) -> Iterator[Sequence[tuple[str, int]]]:
    """As many as SendMessageBatch takes: ten, and not more bytes together than in one."""
    batch, size = list[tuple[str, int]](), 0
    for body, delay in messages:
        is_full = len(batch) == limits.MESSAGES_PER_BATCH
        if is_full or (batch and size + len(body) > limits.MESSAGE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((body, delay))
        size += len(body)
    if batch:
        yield batch


def _post_to_json(post: Post) -> Object:
    return {"text": post.text, "connectionIds": list(post.connection_ids)}


def posts_from_json(body: Object) -> Sequence[Post]:
    return [Post(it["text"], it["connectionIds"]) for it in body["posts"]]


def job_to_json(job: Job) -> Object:
    return {
        "topic": [job.topic.kind, job.topic.name],
        "shard": job.shard,
        "shards": job.shards,
        "after": job.after,
        "rows": job.rows,
        "without": job.without,
        "payload": to_json(job.payload),
    }


def job_from_json(body: Object) -> Job:
    return Job(
        Topic(*body["topic"]),
        body["shard"],
        body["shards"],
        from_json(body["payload"]),
        body["after"],
        body["rows"],
        body["without"],
    )
