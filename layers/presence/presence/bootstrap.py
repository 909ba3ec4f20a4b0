"""The composition root: the only module that puts adapters and use cases together.

Parts are made when they are first used. Our own modules are imported at the start, so that no
frame waits for an import later; PyJWT, which imports cryptography, when a token has to be verified.
"""

import os
import secrets
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

from botocore.config import Config

from presence.adapters.authorizer import AllowAll, LambdaAuthorizer
from presence.adapters.dynamodb.connections import DynamoDBConnections
from presence.adapters.dynamodb.online_index import DynamoDBOnlineIndex
from presence.adapters.dynamodb.subscriptions import DynamoDBMembers, DynamoDBSubscriptions
from presence.adapters.dynamodb.tables import bind
from presence.adapters.dynamodb.topics import Shards
from presence.adapters.dynamodb.users import DynamoDBUsers
from presence.adapters.gateway import ManagementGateway, engine_of
from presence.adapters.sqs import SQSDeliveries, SQSTimers
from presence.application.blocking import Privacy
from presence.application.chat_sessions import Sessions
from presence.application.connections import Durations, Lifecycle
from presence.application.expiry import Settling, Sweep
from presence.application.statuses import Statuses
from presence.application.watching import Watching
from presence.fanout.announcements import Announcements
from presence.fanout.dispatch import Dispatcher
from presence.fanout.large_rooms import LargeRooms
from presence.fanout.recipients import Audiences
from presence.ports import Authorizer, Gateway, Tokens
from presence.settings import Settings, read_settings


class App:
    """One execution environment's parts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        client = bind(
            connections=settings.connections_table,
            users=settings.users_table,
            subscriptions=settings.subscriptions_table,
        )
        is_global = settings.global_presence
        self.connections = DynamoDBConnections(client)
        shards = Shards()
        self.users = DynamoDBUsers(client, is_global=is_global, shards=shards)
        self.online_index = DynamoDBOnlineIndex(client)
        self.members = DynamoDBMembers(client)
        self.subscriptions = DynamoDBSubscriptions(client, is_global=is_global, shards=shards)
        # PynamoDB's session for all: a second one would read botocore's data again, for 100 ms.
        self._session = client.session
        sqs = self._client("sqs")
        self.timers = SQSTimers(sqs, settings.timer_queue_url)
        self.deliveries = SQSDeliveries(sqs, settings.delivery_queue_url)

    @cached_property
    def lifecycle(self) -> Lifecycle:
        durations = Durations(
            heartbeat=self.settings.heartbeat_seconds * 1000,
            lease=self.settings.lease_seconds * 1000,
            grace=self.settings.grace_seconds * 1000,
            authentication=self.settings.authentication_seconds * 1000,
            connection=self.settings.max_connection_seconds * 1000,
        )
        return Lifecycle(
            self.connections,
            self.users,
            self.subscriptions,
            self.online_index,
            self.timers,
            durations,
            self.settings.callback_url,
        )

    @cached_property
    def statuses(self) -> Statuses:
        return Statuses(self.users, self.online_index, self.timers)

    @cached_property
    def sessions(self) -> Sessions:
        return Sessions(
            self.lifecycle,
            self.statuses,
            self.audiences,
            self.members,
            self.dispatcher,
            self.authorizer,
            new_id=lambda: secrets.token_hex(8),
        )

    @cached_property
    def watching(self) -> Watching:
        return Watching(self.lifecycle, self.statuses, self.subscriptions, self.dispatcher)

    @cached_property
    def privacy(self) -> Privacy:
        return Privacy(self.users, self.subscriptions, self.lifecycle, self.dispatcher)

    @cached_property
    def announcements(self) -> Announcements:
        return Announcements(
            self.audiences,
            self.users,
            self.members,
            self.online_index,
            self.dispatcher,
            self.rooms,
            is_global=self.settings.global_presence,
        )

    @cached_property
    def rooms(self) -> LargeRooms:
        return LargeRooms(
            self.members,
            self.users,
            self.subscriptions,
            self.audiences,
            self.timers,
            self.settings.large_audience,
            self.settings.tick_seconds,
        )

    @cached_property
    def settling(self) -> Settling:
        return Settling(self.connections, self.dispatcher, self.lifecycle)

    @cached_property
    def sweep(self) -> Sweep:
        return Sweep(self.users, self.online_index, self.lifecycle)

    @cached_property
    def audiences(self) -> Audiences:
        return Audiences(self.subscriptions, self.users, self.deliveries, self.dispatcher)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        return Dispatcher(self.gateway, self.deliveries, self.timers)

    @cached_property
    def gateway(self) -> Gateway:
        url = self.settings.callback_url
        client = self._client(
            "apigatewaymanagementapi",
            endpoint_url=url,
            read_timeout=2,
            retries={"total_max_attempts": 2, "mode": "standard"},
        )
        return ManagementGateway(engine_of(self._session, url), client)

    @cached_property
    def authorizer(self) -> Authorizer:
        if arn := self.settings.authorizer_arn:
            # A second try could only come when the client has stopped waiting.
            client = self._client("lambda", read_timeout=5, retries={"total_max_attempts": 1})
            return LambdaAuthorizer(client, arn)
        return AllowAll()

    @cached_property
    def tokens(self) -> Tokens:
        from presence.adapters.jwt import JWTTokens, shared_secret

        who = {"issuer": self.settings.token_issuer, "audience": self.settings.token_audience}
        if self.settings.token_jwks_url:
            from presence.adapters.jwks import JWKSKeys, https_get

            keys = JWKSKeys(https_get(self.settings.token_jwks_url))
            return JWTTokens(keys, ("RS256", "ES256"), **who)
        return JWTTokens(shared_secret(self._secret()), ("HS256",), **who)

    def _secret(self) -> str:
        """Read once for each execution environment: a new secret takes a new deployment."""
        name = self.settings.token_secret_parameter
        answer = self._client("ssm")().get_parameter(Name=name, WithDecryption=True)
        return str(answer["Parameter"]["Value"])

    def _client(
        self,
        service: str,
        *,
        endpoint_url: str | None = None,
        **config: Any,  # noqa: ANN401
    ) -> Callable[[], Any]:
        """A botocore client, made at its first use."""

        @cache
        def make() -> Any:  # noqa: ANN401  botocore makes its clients as it runs
            settings = {"connect_timeout": 1, "read_timeout": 3, **config}
            return self._session.create_client(
                service, endpoint_url=endpoint_url, config=Config(**settings)
            )

        return make


@cache
def app() -> App:
    """The parts of this execution environment.

    Raises:
        SettingsError: see `read_settings`.
    """
    return App(read_settings(os.environ))
