"""Posts to clients through the management API, several at a time."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Protocol

from botocore.exceptions import BotoCoreError, ClientError

from presence.ports import Delivery, Post

WORKERS = 16


class ManagementAPI(Protocol):
    """What is used of botocore's apigatewaymanagementapi client."""

    def post_to_connection(self, *, ConnectionId: str, Data: bytes) -> object: ...  # noqa: N803

    def delete_connection(self, *, ConnectionId: str) -> object: ...  # noqa: N803


class ManagementGateway:
    """One slow client costs its timeout, and one worker meanwhile; everything is done on return."""

    def __init__(self, client: Callable[[], ManagementAPI]) -> None:
        self._client = client

    def post(self, posts: Iterable[Post]) -> Delivery:
        client = self._client()

        def send(connection_id: str, data: bytes) -> tuple[str, str]:
            return connection_id, _outcome(
                lambda: client.post_to_connection(ConnectionId=connection_id, Data=data)
            )

        # Joined before returning: Lambda freezes whatever runs on behind the handler.
        with ThreadPoolExecutor(WORKERS) as pool:
            futures = [
                pool.submit(send, connection_id, data)
                for post in posts
                for data in [post.text.encode()]
                for connection_id in post.connection_ids
            ]
        return _delivery(future.result() for future in futures)

    def close(self, connection_id: str) -> None:
        client = self._client()
        _outcome(lambda: client.delete_connection(ConnectionId=connection_id))


def _outcome(call: Callable[[], object]) -> str:
    try:
        call()
    except ClientError as error:
        # By status: not every answer of API Gateway carries a code (410 comes without a body).
        status: int = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0
        if status == HTTPStatus.GONE:
            return "gone"
        is_ours = (
            status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )
        return "again" if is_ours else "refused"
    except BotoCoreError:  # a timeout or a connection that broke
        return "again"
    return "taken"


def _delivery(outcomes: Iterable[tuple[str, str]]) -> Delivery:
    by_outcome: dict[str, dict[str, None]] = {"gone": {}, "again": {}, "refused": {}, "taken": {}}
    for connection_id, outcome in outcomes:
        by_outcome[outcome][connection_id] = None
    return Delivery(*(tuple(by_outcome[name]) for name in ("gone", "again", "refused")))
