"""The composition root: the only module that puts adapters and use cases together.

Parts are made when they are first used. Our own modules are imported at the start, so that no
frame waits for an import later; PyJWT, which imports cryptography, when a token has to be verified.
"""

import os
import secrets
from collections.abc import Callable
from functools import cache, cached_property, partial
from typing import Any

from botocore.config import Config

from presence.adapters.authorizer import AllowAll, LambdaAuthorizer
from presence.adapters.claims import TokenRules
from presence.adapters.dynamodb.connections import DynamoDBConnections
from presence.adapters.dynamodb.members import DynamoDBMembers
from presence.adapters.dynamodb.online_index import DynamoDBOnlineIndex
from presence.adapters.dynamodb.sent_messages import DynamoDBSentMessages
from presence.adapters.dynamodb.subscriptions import DynamoDBSubscriptions
from presence.adapters.dynamodb.tables import bind
from presence.adapters.dynamodb.topics import Shards
from presence.adapters.dynamodb.users import DynamoDBUsers
from presence.adapters.gateway import ManagementGateway, engine_of
from presence.adapters.sqs import SQSDeliveries, SQSTimers
from presence.adapters.visibility import Everyone, LambdaVisibility, SharedSessions
from presence.application.access import Access
from presence.application.blocking import Blocking
from presence.application.chat_sessions import ChatSessions
from presence.application.checks import OnTimer, Sweep
from presence.application.connections import Connections
from presence.application.expiry import Expiry
from presence.application.explaining import Explaining
from presence.application.lists import MemberList, OnlineList
from presence.application.messages import Messages
from presence.application.pacing import Pacing
from presence.application.removal import Removal
from presence.application.standings import Reads, Standings
from presence.application.statuses import Statuses
from presence.application.strikes import Strikes
from presence.application.user_changes import UserChanges
from presence.application.verification import Verification
from presence.application.watching import Watching
from presence.domain.connection import Durations
from presence.domain.disclosure import Rules
from presence.fanout import sinks
from presence.fanout.announcer import Announcer
from presence.fanout.broadcast import Broadcast
from presence.fanout.dispatch import Dispatcher
from presence.fanout.large_rooms import LargeRooms
from presence.fanout.sight import Sight
from presence.metrics import TABLE_THROTTLES, Meter
from presence.pauses import pause
from presence.ports import Authorizer, Gateway, Ports, Tokens, Visibility
from presence.settings import Settings, read_settings


class App:
    """The use cases of one execution environment."""

    def __init__(
        self,
        ports: Ports,
        settings: Settings,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
        pause: Callable[[int], None] = pause,
        meter: Meter | None = None,
    ) -> None:
        self.meter = meter or Meter()
        self.ports = ports
        self.settings = settings
        self.is_global = settings.global_presence
        self.durations = _durations(settings)
        self.rules = _rules(settings)
        self.changes = UserChanges(ports.users, ports.timers, pause, self.meter)
        self.access = Access(ports.records, ports.users, self.changes, self.durations)
        self.chat_sessions = ChatSessions(self.changes, self.access, ports.authorizer)
        self.connections = self._new_connections()
        self.statuses = Statuses(ports.users, self.changes, self.sight)
        self.online_list = OnlineList(self.statuses, ports.online_index, ports.members)
        self.member_list = MemberList(self.statuses, ports.members)
        self.watching = Watching(self.access, self.statuses, ports.subscriptions)
        self.standings = Standings(ports.users)
        self.reads = Reads(ports.users)
        self.blocking = Blocking(ports.users, ports.subscriptions, self.changes)
        self._new_id = new_id

    def _new_connections(self) -> Connections:
        ports = self.ports
        return Connections(
            ports.records,
            ports.subscriptions,
            ports.online_index,
            self.sight,
            ports.timers,
            self.changes,
            self.access,
            self.chat_sessions,
            self.durations,
            Pacing(self.durations.heartbeats, lambda post: self.dispatcher.send_or_drop([post])),
            self.settings.callback_url,
        )

    @cached_property
    def messages(self) -> Messages:
        ports = self.ports
        return Messages(
            ports.records,
            ports.sent,
            self.access,
            self.broadcast,
            self.dispatcher,
            self._new_id,
        )

    @cached_property
    def verification(self) -> Verification:
        wait = self.settings.probe_seconds * 1000
        return Verification(
            self.access, self.statuses, self.changes, self.dispatcher, wait, self.meter
        )

    @cached_property
    def explaining(self) -> Explaining:
        ports = self.ports
        return Explaining(
            ports.users, ports.records, ports.members, ports.subscriptions, self.sight
        )

    @cached_property
    def removal(self) -> Removal:
        ports = self.ports
        return Removal(
            ports.records,
            ports.users,
            ports.subscriptions,
            ports.timers,
            self.changes,
            self.expiry,
            self.dispatcher,
        )

    @cached_property
    def expiry(self) -> Expiry:
        ports = self.ports
        return Expiry(
            ports.records,
            ports.users,
            ports.subscriptions,
            ports.timers,
            self.changes,
            self.connections,
            self.settings.callback_url,
        )

    @cached_property
    def on_timer(self) -> OnTimer:
        ports = self.ports
        return OnTimer(
            ports.records,
            ports.timers,
            self.changes,
            self.expiry,
            self.durations,
            self.meter,
        )

    @cached_property
    def strikes(self) -> Strikes:
        ports = self.ports
        return Strikes(ports.records, self.connections, self.dispatcher, ports.timers)

    @cached_property
    def sweep(self) -> Sweep:
        return Sweep(self.ports.users, self.ports.online_index, self.changes)

    @cached_property
    def announcer(self) -> Announcer:
        ports = self.ports
        return Announcer(ports.users, ports.online_index, [sink(self) for sink in sinks.SINKS])

    @cached_property
    def large_rooms(self) -> LargeRooms:
        ports, settings = self.ports, self.settings
        return LargeRooms(
            ports.members,
            ports.users,
            ports.subscriptions,
            self.broadcast,
            ports.timers,
            settings.large_audience,
            settings.tick_seconds,
        )

    @cached_property
    def broadcast(self) -> Broadcast:
        ports = self.ports
        return Broadcast(
            ports.subscriptions, ports.users, ports.deliveries, self.dispatcher, self.sight
        )

    @cached_property
    def sight(self) -> Sight:
        return Sight(self.ports.users, self.ports.records, self.ports.visibility)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        ports = self.ports
        return Dispatcher(ports.gateway, ports.deliveries, ports.timers, self.meter)


def _durations(settings: Settings) -> Durations:
    return Durations(
        heartbeats=settings.heartbeats,
        grace=settings.grace_seconds * 1000,
        authentication=settings.authentication_seconds * 1000,
        connection=settings.max_connection_seconds * 1000,
    )


def _token_rules(settings: Settings) -> TokenRules:
    return TokenRules(
        issuers=settings.token_issuer,
        audiences=settings.token_audience,
        user_claim=settings.token_user_claim,
        audience_claims=settings.token_audience_claims,
        use=settings.token_use,
        claim_prefix=settings.token_claim_prefix,
    )


def _rules(settings: Settings) -> Rules:
    grace, fresh = settings.grace_seconds * 1000, settings.fresh_seconds * 1000
    return Rules(grace, settings.last_seen_precision, fresh)


class AWS:
    """The ports, on AWS; a client is made at its first call."""

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self._settings = settings
        client = bind(
            connections=settings.connections_table,
            users=settings.users_table,
            subscriptions=settings.subscriptions_table,
        )
        is_global, shards = settings.global_presence, Shards()
        self.records = DynamoDBConnections(client)
        self.users = DynamoDBUsers(
            client, is_global=is_global, shards=shards, rules=_rules(settings)
        )
        self.online_index = DynamoDBOnlineIndex(client)
        self.members = DynamoDBMembers(client)
        self.sent = DynamoDBSentMessages(client)
        self.subscriptions = DynamoDBSubscriptions(client, is_global=is_global, shards=shards)
        # PynamoDB's session for all: a second one would read botocore's data again, for 100 ms.
        self._session = client.session
        # Before the client is made: it takes a copy of what the session knows.
        self._session.register("needs-retry.dynamodb", partial(_note, meter))
        sqs = self._client("sqs")
        self.timers = SQSTimers(sqs, settings.timer_queue_url)
        self.deliveries = SQSDeliveries(sqs, settings.delivery_queue_url)

    @cached_property
    def gateway(self) -> Gateway:
        url = self._settings.callback_url
        client = self._client(
            "apigatewaymanagementapi",
            endpoint_url=url,
            read_timeout=2,
            # No second try: the queue brings again what was not closed.
            retries={"total_max_attempts": 1},
        )
        return ManagementGateway(engine_of(self._session, url), client)

    @cached_property
    def authorizer(self) -> Authorizer:
        if arn := self._settings.authorizer_arn:
            return LambdaAuthorizer(self._lambda(read_timeout=5), arn)
        return AllowAll()

    @cached_property
    def visibility(self) -> Visibility:
        match self._settings.visibility:
            case "everyone":
                return Everyone()
            case "shared-sessions":
                return SharedSessions()
            case _:
                # Shorter: announcements wait for it, too.
                client = self._lambda(read_timeout=3)
                return LambdaVisibility(client, self._settings.visibility_arn)

    def _lambda(self, read_timeout: int) -> Callable[[], Any]:
        # No second try: it could only come when the client has stopped waiting.
        return self._client("lambda", read_timeout=read_timeout, retries={"total_max_attempts": 1})

    @cached_property
    def tokens(self) -> Tokens:
        from presence.adapters.jwt import ASYMMETRIC, SYMMETRIC, JWTTokens, shared_secrets

        rules = _token_rules(self._settings)
        if self._settings.token_jwks_url:
            from presence.adapters.jwks import JWKSKeys, https_get

            return JWTTokens(JWKSKeys(https_get(self._settings.token_jwks_url)), ASYMMETRIC, rules)
        return JWTTokens(shared_secrets(self._secret()), SYMMETRIC, rules)

    def _secret(self) -> str:
        """Read once for each execution environment: a new secret takes a new deployment."""
        name = self._settings.token_secret_parameter
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


#: What DynamoDB answers to more than a table, an index or a partition takes.
_THROTTLES = frozenset(
    {"ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"}
)


def _note(meter: Meter, response: Any = None, **_: Any) -> None:  # noqa: ANN401  botocore's event
    """Count an answer that botocore may try again after; None leaves that to botocore."""
    if response is not None and response[1].get("Error", {}).get("Code") in _THROTTLES:
        meter.count(TABLE_THROTTLES)


#: What this execution environment has counted and measured.
METER = Meter()


@cache
def app() -> App:
    """The use cases of this execution environment, on AWS.

    Raises:
        SettingsError: see `read_settings`.
    """
    settings = read_settings(os.environ)
    return App(AWS(settings, METER), settings, meter=METER)
