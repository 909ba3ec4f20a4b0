"""The management API of API Gateway: posts by an engine of our own, all else by botocore."""

import logging
import ssl
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Protocol

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
from botocore.httpsession import get_cert_path
from botocore.session import Session

from presence.adapters.posting.engine import Engine, Outcome, Patience, Report
from presence.adapters.posting.links import Security
from presence.adapters.posting.signature import Credentials, Endpoint, Frame
from presence.domain.errors import Unavailable
from presence.ports import Delivery, Post

#: How long a caller waits that gives no deadline: twice the time that a post may take.
SECONDS = 4.0

# A child of the logger `presence` of the entrypoints: its lines have the same form.
_log = logging.getLogger(__name__)


class ManagementAPI(Protocol):
    """What is used of botocore's apigatewaymanagementapi client."""

    def delete_connection(self, *, ConnectionId: str) -> object: ...  # noqa: N803


class ManagementGateway:
    """One slow client delays no other; everything is done when a call returns."""

    def __init__(self, engine: Engine, client: Callable[[], ManagementAPI]) -> None:
        self._engine = engine
        self._client = client

    def post(self, posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        frames = [
            (connection_id, frame)
            for post in posts
            for frame in [Frame.of(post.text)]
            for connection_id in post.connection_ids
        ]
        at = int(time.time() * 1000)
        report = self._engine.post(frames, _seconds(until))
        _tell(report)
        gone, again, refused = (_names(report, of) for of in _DELIVERY)
        return Delivery(gone, again, refused, at)

    def close(self, connection_id: str) -> None:
        try:
            self._client().delete_connection(ConnectionId=connection_id)
        except ClientError as error:
            if _is_passing(error):
                raise Unavailable("API Gateway is too busy to close a socket.") from error
        except BotoCoreError as error:
            raise Unavailable("API Gateway does not answer.") from error


def _is_passing(error: ClientError) -> bool:
    """As for a post: anything else would be answered in the same way again."""
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def engine_of(session: Session, url: str, patience: Patience | None = None) -> Engine:
    """An engine with the credentials, the region and the trust of a session of botocore.

    botocore is asked for credentials again for each second in which there are posts, and gets new
    ones when they expire. The authorities are those of `AWS_CA_BUNDLE`, or else botocore's own.
    """
    endpoint = Endpoint.of(url)

    def credentials() -> Credentials:
        found = session.get_credentials()
        if found is None:
            raise NoCredentialsError
        it = found.get_frozen_credentials()
        return Credentials(it.access_key, it.secret_key, it.token)

    def security() -> Security | None:
        if not endpoint.is_secure:
            return None
        bundle = session.get_config_variable("ca_bundle") or get_cert_path(verify=True)
        context = ssl.create_default_context(cafile=bundle)
        context.set_alpn_protocols(["http/1.1"])
        return Security(context, endpoint.host)

    region = session.get_config_variable("region")
    if region is None:
        raise NoRegionError
    return Engine(endpoint, region, credentials, security, patience or Patience())


_DELIVERY = (Outcome.GONE, Outcome.AGAIN, Outcome.REFUSED)


def _names(report: Report, outcome: Outcome) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name, it in report.outcomes if it is outcome))


def _seconds(until: int | None) -> float:
    return SECONDS if until is None else until / 1000 - time.time()


def _tell(report: Report) -> None:
    """Log how often each answer came, if posts were dropped or put off; no connection ids."""
    outcomes = [outcome for _, outcome in report.outcomes]
    if Outcome.REFUSED in outcomes or Outcome.AGAIN in outcomes:
        _log.warning(
            "posts were not taken",
            extra={
                "posts": len(outcomes),
                "posts_refused": outcomes.count(Outcome.REFUSED),
                "posts_put_off": outcomes.count(Outcome.AGAIN),
                "answers": dict(report.answers),
            },
        )
