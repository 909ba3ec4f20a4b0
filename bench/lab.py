"""The functions in this process, on a local AWS that holds their tables and nothing else.

Nothing is deployed: no stream, timer or schedule works in the background, so that what is counted
belongs to the one invocation that was asked for. The clock is the lab's own.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias
from unittest.mock import patch

import jwt
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.session import Session

from bench.meter import CountingGateway, Meter
from bench.units import Item
from local.aws import KEY, local_aws
from local.stack import REGION, ROOT, Settings
from presence import bootstrap
from presence.adapters.dynamodb.online_index import shard_of
from presence.adapters.dynamodb.tables import CountItem
from presence.entrypoints import runtime
from tests.stack import free_ports
from tests.tables import TABLES, create_tables

Event: TypeAlias = dict[str, Any]

SECOND, DAY = 1_000, 24 * 60 * 60 * 1_000
SECRET = "of-the-bench-only-and-as-long-as-it-has-to-be"  # noqa: S105
PARAMETER = "/presence/bench/token-secret"
DEVICE = "laptop"
_PAGES = 150  # as many members as a page may look at
_BATCH = 25  # BatchWriteItem takes no more
_PLENTY = 3_600_000  # milliseconds that an invocation has left

ENVIRONMENT = {
    "CONNECTIONS_TABLE": TABLES["connections"],
    "USERS_TABLE": TABLES["users"],
    "SUBSCRIPTIONS_TABLE": TABLES["subscriptions"],
    # As long as a real one: every connection record holds it.
    "CALLBACK_URL": "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/live",
    "WEBSOCKET_URL": "wss://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/live",
    "HEARTBEAT_SECONDS": "30",
    "BACKGROUND_HEARTBEAT_SECONDS": "540",
    "BROWSER_CLIENTS": "true",
    "GRACE_SECONDS": "10",
    "AUTHENTICATION_SECONDS": "10",
    "MAX_CONNECTION_SECONDS": "7200",
    "FRESH_SECONDS": "30",
    "PROBE_SECONDS": "10",
    "LARGE_AUDIENCE": "1000",
    "TICK_SECONDS": "2",
    "GLOBAL_PRESENCE": "false",
    "PUBLIC_READS": "false",
    "LAST_SEEN_PRECISION": "exact",
    "ALLOWED_ORIGINS": "*",
    "TOKEN_ISSUER": "bench",
    "TOKEN_AUDIENCE": "presence",
    "TOKEN_USER_CLAIM": "sub",
    "TOKEN_AUDIENCE_CLAIMS": "aud,client_id,azp",
    "TOKEN_USE": "any",
    "TOKEN_CLAIM_PREFIX": "",
    "TOKEN_SECRET_PARAMETER": PARAMETER,
    "TOKEN_JWKS_URL": "",
    "AUTHORIZER_ARN": "",
    "VISIBILITY": "everyone",
    "VISIBILITY_ARN": "",
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": KEY,
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
}


class UnexpectedAnswer(Exception):
    """An invocation that should have succeeded did not; what it cost means nothing."""


class Context(LambdaContext):
    """What the Lambda runtime tells of an invocation."""

    def __init__(self, name: str) -> None:
        self._function_name = name
        self._memory_limit_in_mb = 512
        self._invoked_function_arn = f"arn:aws:lambda:{REGION}:000000000000:function:{name}"
        self._aws_request_id = "bench"

    def get_remaining_time_in_millis(self) -> int:  # type: ignore[override]  # static in the stub
        return _PLENTY


@dataclass
class Clock:
    """Stands for the module `time` where the edge reads it."""

    now: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def time_ns(self) -> int:
        return self.now * 1_000_000

    def perf_counter(self) -> float:
        return time.perf_counter()


@dataclass(frozen=True, slots=True)
class Visitor:
    """A user, by an id as long as most issuers', on a connection with an id as API Gateway's."""

    user_id: str
    connection_id: str


@dataclass
class Lab:
    reader: Any
    meter: Meter
    gateway: CountingGateway
    clock: Clock = field(default_factory=Clock)
    #: Of this process, during the last invocation.
    cpu_seconds: float = 0
    _numbers: Iterator[int] = field(default_factory=count)
    _opened: dict[str, int] = field(default_factory=dict)

    def configure(self, *, is_global: bool) -> None:
        """A new execution environment, with `GlobalPresence` on or off."""
        os.environ["GLOBAL_PRESENCE"] = "true" if is_global else "false"
        bootstrap.app.cache_clear()
        vars(bootstrap.app().ports)["gateway"] = self.gateway  # before it is made
        self._warm()

    def _warm(self) -> None:
        """The secret is read once for each execution environment, not for each invocation."""
        bootstrap.app().ports.tokens.verify(self.token("warm"), self.clock.now)

    # ── what AWS does ──────────────────────────────────────────────────────────────────────

    def connect(self, who: Visitor) -> None:
        self._opened[who.connection_id] = self.clock.now
        _expect(self._invoke("websocket", self._event("connect", who)), 200)

    def send(self, who: Visitor, action: str, **fields: object) -> Event:
        """One frame; its answer, empty if there is none."""
        event = self._event("frame", who)
        event["requestContext"]["routeKey"] = action
        event["body"] = json.dumps({"action": action, **fields})
        answer = self._invoke("websocket", event)
        frame: Event = json.loads(answer.get("body", "{}"))
        if "error" in frame.get("type", ""):
            raise UnexpectedAnswer(f"{action}: {frame}")
        return frame

    def disconnect(self, who: Visitor) -> None:
        _expect(self._invoke("websocket", self._event("disconnect", who)), 200)

    def http(
        self,
        request: str,
        who: Visitor,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Event:
        """One request to the HTTP API, as in `GET /online`; what it answers."""
        method, _, path = request.partition(" ")
        event = recorded("http_api")
        event["rawPath"] = event["requestContext"]["http"]["path"] = f"/api/user-status{path}"
        event["requestContext"]["http"]["method"] = method
        event["routeKey"] = f"{method} {event['rawPath']}"
        event["headers"]["authorization"] = f"Bearer {self.token(who.user_id)}"
        event |= {"queryStringParameters": dict(query or {}), "body": json.dumps(body)}
        answer = self._invoke("http_api", event)
        _expect(answer, 200 if answer["body"] else 204)
        told: Event = json.loads(answer["body"] or "{}")
        return told

    def announce(self, user_id: str, before: Item | None) -> None:
        """The stream brings the change from *before* to what is stored now."""
        record = recorded("announce")["Records"][0]
        data = record["dynamodb"]
        data["Keys"] = {"user_id": {"S": user_id}}
        data["NewImage"] = self.item(user_id)
        if before is not None:
            data["OldImage"] = before
        answer = self._invoke("announce", {"Records": [record]})
        _expect_no_failures(answer)

    def run_timer(self, **timer: object) -> None:
        message = recorded("timers")["Records"][0] | {"body": json.dumps(timer)}
        answer = self._invoke("timers", {"Records": [message]})
        _expect_no_failures(answer)

    def sweep(self) -> int:
        """How many it has counted online."""
        self._invoke("sweep", recorded("sweep"))
        item = self.item(CountItem.KEY) or {}
        return int(item["online"]["N"])

    def _event(self, name: str, who: Visitor) -> Event:
        event = recorded(name)
        event["requestContext"]["connectionId"] = who.connection_id
        event["requestContext"]["connectedAt"] = self._opened[who.connection_id]
        return event

    def _invoke(self, name: str, event: Event) -> Event:
        handler = import_module(f"functions.{name}").handler
        started = time.process_time()
        answer: Event = handler(event, Context(name))
        self.cpu_seconds = time.process_time() - started
        return answer

    # ── what people do ─────────────────────────────────────────────────────────────────────

    def newcomer(self) -> Visitor:
        """A user never seen, on a connection not yet open."""
        number = next(self._numbers)
        return Visitor(f"00000000-0000-4000-8000-{number:012}", self._connection())

    def other_device(self, who: Visitor) -> Visitor:
        return Visitor(who.user_id, self._connection())

    def _connection(self) -> str:
        return f"L{next(self._numbers):014}="

    def join(self, who: Visitor) -> Visitor:
        self.connect(who)
        self.authenticate(who)
        return who

    def authenticate(self, who: Visitor, **fields: object) -> None:
        token = self.token(who.user_id)
        self.send(who, "authenticate", token=token, device=DEVICE, **fields)

    def chat_session(self, size: int) -> tuple[str, list[Visitor]]:
        """A new chat session with so many members, each on one connection."""
        session_id = f"room-{next(self._numbers)}"
        members = [self.join(self.newcomer()) for _ in range(size)]
        for who in members:
            self.send(who, "join", chatSessionId=session_id)
        return session_id, members

    def token(self, user_id: str) -> str:
        # Issued by the world's clock, which runs behind the lab's: PyJWT looks at that one.
        issued, expires = int(time.time()), self.clock.now // 1000 + 7200
        claims = {"iss": "bench", "aud": "presence", "sub": user_id, "iat": issued, "exp": expires}
        claims["scope"] = "presence:publish"
        return jwt.encode(claims, SECRET, algorithm="HS256")

    def wait(self, milliseconds: int) -> None:
        self.clock.now += milliseconds

    # ── what is stored ─────────────────────────────────────────────────────────────────────

    def item(self, user_id: str) -> Item | None:
        """The item as DynamoDB's stream carries it."""
        key = {"user_id": {"S": user_id}}
        answer = self.reader.get_item(TableName=TABLES["users"], Key=key)
        item: Item | None = answer.get("Item")
        return item

    def store_users(self, amount: int) -> list[str]:
        """Users who are online: copies of one who came through the front door and has gone."""
        who = self.join(self.newcomer())
        sample = dict(self.item(who.user_id) or {})
        sample.pop("changed")
        self.reader.delete_item(TableName=TABLES["users"], Key={"user_id": sample["user_id"]})
        users = [self._copy(sample) for _ in range(amount)]
        for start in range(0, amount, _BATCH):
            batch = users[start : start + _BATCH]
            puts = [{"PutRequest": {"Item": user}} for user in batch]
            self.reader.batch_write_item(RequestItems={TABLES["users"]: puts})
        return [user["user_id"]["S"] for user in users]

    def store_members(self, session_id: str, amount: int) -> None:
        """Members of a chat session, as they lie there; those of the first pages are online."""
        table = TABLES["subscriptions"]
        first = self.store_users(_PAGES)
        user_ids = first + [self.newcomer().user_id for _ in range(amount - len(first))]
        for start in range(0, amount, _BATCH):
            rows = [
                {"topic": {"S": f"members:{session_id}"}, "subscriber": {"S": user_id}}
                for user_id in user_ids[start : start + _BATCH]
            ]
            self.reader.batch_write_item(
                RequestItems={table: [{"PutRequest": {"Item": row}} for row in rows]}
            )

    def _copy(self, sample: Item) -> Item:
        who = self.newcomer()
        [lease] = sample["leases"]["M"].values()
        # No sweep may find it over: that would be counted among what was asked for.
        lasting = {"M": lease["M"] | {"expires_at": {"N": str(self.clock.now + DAY)}}}
        return {
            **sample,
            "user_id": {"S": who.user_id},
            "online_shard": {"N": str(shard_of(who.user_id))},
            "leases": {"M": {who.connection_id: lasting}},
        }

    def forget_subscribers(self) -> None:
        """No connection subscribes to everyone any more."""
        for item in self.reader.scan(TableName=TABLES["subscriptions"])["Items"]:
            key = {name: item[name] for name in ("topic", "subscriber")}
            self.reader.delete_item(TableName=TABLES["subscriptions"], Key=key)


@contextmanager
def lab(*, is_metered: bool = True) -> Iterator[Lab]:
    """A lab with empty tables. The meter costs time: without it, there is nothing in `usage`."""
    with ExitStack() as everything:
        home = everything.enter_context(TemporaryDirectory())
        port, aws_port = free_ports(2)
        settings = Settings(Path(home), port, aws_port)
        everything.enter_context(local_aws(settings))
        environment = ENVIRONMENT | {"AWS_ENDPOINT_URL": settings.endpoint_url}
        everything.enter_context(patch.dict(os.environ, environment))
        meter = Meter(_client("dynamodb"))
        if is_metered:
            everything.enter_context(meter.attached())
        room = Lab(meter.reader, meter, CountingGateway(meter))
        everything.enter_context(patch.object(runtime, "time", room.clock))
        everything.callback(bootstrap.app.cache_clear)
        runtime.logger.setLevel("ERROR")
        _furnish(room)
        yield room


def _furnish(room: Lab) -> None:
    create_tables(room.reader)
    _client("ssm").put_parameter(Name=PARAMETER, Value=SECRET, Type="SecureString")
    for setting, name in {"TIMER": "timers", "DELIVERY": "deliveries"}.items():
        queue = _client("sqs").create_queue(QueueName=name)
        os.environ[f"{setting}_QUEUE_URL"] = queue["QueueUrl"]
    room.configure(is_global=False)


def _client(service: str) -> Any:  # noqa: ANN401 - botocore makes its clients as it runs
    return Session().create_client(service)


def recorded(name: str) -> Event:
    event: Event = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return event


def _expect(answer: Event, status: int) -> None:
    if answer["statusCode"] != status:
        raise UnexpectedAnswer(str(answer))


def _expect_no_failures(answer: Event) -> None:
    if answer["batchItemFailures"]:
        raise UnexpectedAnswer(str(answer))
