"""The handlers as Lambda calls them, on tables and queues in memory.

Contract tests hold the tables to moto's. What AWS would bring by itself, tests bring: `stream`,
`run_timers` and `deliver` hand on what lies there since they were called last.
"""

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias
from unittest.mock import patch

import jwt
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from presence import bootstrap
from presence.domain.connection import Connection
from presence.domain.user import User
from presence.entrypoints import runtime
from presence.entrypoints.sampling import Sampling
from presence.entrypoints.websocket import ONE_WAY
from presence.ports import EVERYONE, Topic
from tests.docs.schema import answer_faults, message_faults
from tests.endpoint import Answer, Endpoint, serving
from tests.fakes import FakeGateway
from tests.tables import TABLES, Item, Tables

EVENTS = Path(__file__).resolve().parents[2] / "events"
START = 1_748_856_600_000  # when the events were recorded: long ago for every clock
TAB, PHONE = "L0SM9cOFvHcCIhw=", "VNRXVFJOywMF3-Q="  # TAB is the connection of the events
WATCH, DESK = "MZ-0ccOFvHc_Ihw=", "MZ_1dcOFvHcCJhw="
ROOM = "room.1"  # the chat session of the events
ORIGIN = "https://app.example.com"
REGION, ACCOUNT = "eu-central-1", "123456789012"
ISSUER, AUDIENCE = "https://issuer.example.com", "presence"
SECRET = "of-tests-and-samples-only-no-stack-has-it"
PARAMETER = "/presence/test/token-secret"

ENVIRONMENT = {
    "CONNECTIONS_TABLE": TABLES["connections"],
    "USERS_TABLE": TABLES["users"],
    "SUBSCRIPTIONS_TABLE": TABLES["subscriptions"],
    "CALLBACK_URL": f"https://a1b2c3d4e5.execute-api.{REGION}.amazonaws.com/live",
    "WEBSOCKET_URL": f"wss://a1b2c3d4e5.execute-api.{REGION}.amazonaws.com/live",
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
    "GLOBAL_PRESENCE": "true",
    "PUBLIC_READS": "false",
    "LAST_SEEN_PRECISION": "exact",
    "POWERTOOLS_METRICS_NAMESPACE": "presence-test",
    "POWERTOOLS_SERVICE_NAME": "presence",
    "ALLOWED_ORIGINS": f"{ORIGIN}, http://localhost:4000",
    "TOKEN_ISSUER": ISSUER,
    "TOKEN_AUDIENCE": AUDIENCE,
    "TOKEN_USER_CLAIM": "sub",
    "TOKEN_AUDIENCE_CLAIMS": "aud,client_id,azp",
    "TOKEN_USE": "any",
    "TOKEN_CLAIM_PREFIX": "",
    "TOKEN_SECRET_PARAMETER": PARAMETER,
    "TOKEN_JWKS_URL": "",
    "AUTHORIZER_ARN": "",
    "VISIBILITY": "everyone",
    "VISIBILITY_ARN": "",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
}

QUEUES = ("timers", "deliveries")

#: For each action what it cannot do without, but for the token.
FIELDS: dict[str, dict[str, Any]] = {
    "authenticate": {},
    "ping": {},
    "check": {},
    "status": {"status": "away"},
    "data": {"patch": {"page": "/inbox"}},
    "online": {},
    "join": {"chatSessionId": ROOM},
    "leave": {"chatSessionId": ROOM},
    "typing": {"chatSessionId": ROOM, "typing": True},
    "message": {"chatSessionId": ROOM, "content": "hi"},
    "watch": {"userIds": ["grace"]},
    "unwatch": {"userIds": ["grace"]},
    "verify": {"userIds": ["grace"]},
}

Event: TypeAlias = dict[str, Any]


#: A frame of each action, and of one alias, as clients send them.
FRAMES: dict[str, Event] = json.loads((EVENTS / "frames.json").read_text())
ACTIONS = FIELDS.keys()


def recorded(name: str) -> Event:
    """The event of this name in events/, or the message with the frame of this action."""
    if name in FRAMES:
        return message_event(json.dumps(FRAMES[name]))
    event: Event = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def http_event(method: str, path: str) -> Event:
    """A request without token, query and body."""
    event = recorded("http_api")
    event["rawPath"] = event["requestContext"]["http"]["path"] = f"/api/user-status{path}"
    event["requestContext"]["http"]["method"] = method
    # As many segments as the path, which is not encoded here.
    event["routeKey"] = f"{method} {event['rawPath']}"
    del event["headers"]["authorization"]
    for name in ("queryStringParameters", "pathParameters", "body"):
        event.pop(name, None)
    return event


def message_event(text: str) -> Event:
    """A frame as API Gateway hands it to the function."""
    event = recorded("frame") | {"body": text}
    event["requestContext"] = event["requestContext"] | {"routeKey": route_of(text)}
    return event


def route_of(text: str) -> str:
    """The route that the expression `$request.body.action` selects."""
    try:
        action = json.loads(text)["action"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "$default"
    return action if isinstance(action, str) and action in FIELDS else "$default"


class Context(LambdaContext):
    """What the Lambda runtime tells of an invocation."""

    def __init__(self, name: str, remaining: int) -> None:
        self._function_name = name
        self._memory_limit_in_mb = 256
        self._invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        self._aws_request_id = "5b441b59-a550-11f0-8ca2-0242ac120002"
        self._remaining = remaining

    def get_remaining_time_in_millis(self) -> int:  # type: ignore[override]  # static in the stub
        return self._remaining


@dataclass
class Clock:
    """Stands for the module `time` where the edge reads it."""

    now: int = START

    def time_ns(self) -> int:
        return self.now * 1_000_000

    def perf_counter(self) -> float:
        return time.perf_counter()


@dataclass
class Stack:
    """The functions of template.yaml, and what they leave behind."""

    monkeypatch: pytest.MonkeyPatch
    tables: Tables = field(default_factory=Tables)
    clock: Clock = field(default_factory=Clock)
    gateway: FakeGateway = field(default_factory=lambda: FakeGateway(at=START))
    log: io.StringIO = field(default_factory=io.StringIO)
    secret: str = SECRET
    #: By queue, each message and its delay in seconds; of Users, what the stream tells.
    queues: dict[str, list[tuple[Event, int]]] = field(
        default_factory=lambda: {name: [] for name in QUEUES}
    )
    records: list[tuple[Item, Item]] = field(default_factory=list)
    #: How much of the stream and of each queue was handed on.
    handed_on: Counter[str] = field(default_factory=Counter)
    #: Hears of every call to a service, with its arguments.
    called: Callable[[str, Event], None] = lambda *_: None

    def __post_init__(self) -> None:
        self.monkeypatch.setattr(runtime, "time", self.clock)
        of_aws = bootstrap.AWS._client
        self.monkeypatch.setattr(
            bootstrap.AWS,
            "_client",
            lambda app, name, **config: (
                (lambda: self._services[name])
                if name in self._services
                else of_aws(app, name, **config)
            ),
        )
        for name, value in ENVIRONMENT.items():
            self.monkeypatch.setenv(name, value)
        self.tables.before = lambda *call: self.called(*call)  # noqa: PLW0108  it changes
        self.tables.written = self.written

    def configure(self, **environment: str) -> None:
        """A new execution environment with other settings."""
        for name, value in environment.items():
            self.monkeypatch.setenv(name, value)
        bootstrap.app.cache_clear()
        ports: Any = bootstrap.app().ports
        self.monkeypatch.setattr(ports, "gateway", self.gateway)
        self.monkeypatch.setattr(ports.users._client, "_client", self.tables)

    @property
    def _services(self) -> dict[str, Any]:
        return {
            "ssm": SimpleNamespace(get_parameter=self._get_parameter),
            "sqs": SimpleNamespace(
                send_message=self._send_message, send_message_batch=self._send_message_batch
            ),
        }

    def _get_parameter(self, **request: Any) -> Event:
        self.called("GetParameter", request)
        return {"Parameter": {"Value": self.secret}}

    def _send_message(self, **request: Any) -> None:
        self.called("SendMessage", request)
        self.put(request["QueueUrl"], json.loads(request["MessageBody"]), request["DelaySeconds"])

    def _send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Event]) -> Event:  # noqa: N803
        for entry in Entries:
            self._send_message(QueueUrl=QueueUrl, **entry)
        return {}

    def put(self, queue: str, body: Event, delay: int) -> None:
        self.queues[queue].append((body, delay))

    def written(self, before: Item, after: Item) -> None:
        if after.get("changed") == {"BOOL": True}:  # the filter of template.yaml
            self.records.append((before, after))

    # ── what AWS does ──────────────────────────────────────────────────────────────────

    def invoke(self, name: str, event: Event | None = None, *, remaining: int = 60_000) -> Event:
        handler = import_module(f"functions.{name}").handler
        answer: Event = handler(
            recorded(name) if event is None else event, Context(name, remaining)
        )
        wire: Event = json.loads(json.dumps(answer))  # as the runtime sends it to its caller
        return wire

    def replay(self, name: str) -> Event:
        """The answer to an event of events/, or to the frame of an action."""
        return self.invoke("websocket", recorded(name))

    def connect(
        self, connection_id: str, *, headers: Mapping[str, str] | None = None, query: str = ""
    ) -> Event:
        event = recorded("connect")
        event["requestContext"] |= self._at(connection_id)
        if headers is not None:
            event["headers"] = dict(headers)
            event["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
        if query:
            name, _, value = query.partition("=")
            event["queryStringParameters"] = {name: value}
            event["multiValueQueryStringParameters"] = {name: [value]}
        return self.invoke("websocket", event)

    def send(self, connection_id: str, frame: Any) -> Event:
        """The answer to one frame."""
        event = message_event(frame if isinstance(frame, str) else json.dumps(frame))
        event["requestContext"] |= self._at(connection_id)
        return self.invoke("websocket", event)

    def reply(self, connection_id: str, frame: Any) -> Event:
        """The frame that answers one, by the route or, of a one-way route, by a post."""
        answer = self.send(connection_id, frame)
        if route_of(frame if isinstance(frame, str) else json.dumps(frame)) not in ONE_WAY:
            return frame_of(answer)
        assert answer == {"statusCode": 200}
        return self.posted(connection_id)

    def posted(self, connection_id: str) -> Event:
        """The frame that was posted to a connection last, which is heard now."""
        frame: Event = json.loads(self.gateway.heard[connection_id].pop())
        assert message_faults(frame["type"], frame) == []
        return frame

    def disconnect(self, connection_id: str) -> Event:
        event = recorded("disconnect")
        event["requestContext"] |= self._at(connection_id)
        return self.invoke("websocket", event)

    def http(
        self,
        request: str,
        *,
        token: str | None = None,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Event:
        """One request to the HTTP API, as in `GET /online`."""
        method, _, path = request.partition(" ")
        event = http_event(method, path)
        event["headers"] |= headers or {}
        if token is not None:
            event["headers"]["authorization"] = f"Bearer {token}"
        if query is not None:
            event["queryStringParameters"] = dict(query)
            event["rawQueryString"] = "&".join(f"{name}={value}" for name, value in query.items())
        if body is not None:
            event["body"] = body if isinstance(body, str) else json.dumps(body)
        answer = self.invoke("http_api", event | fields)
        told = json.loads(answer["body"]) if answer["body"] else None
        assert answer_faults(method, path, answer["statusCode"], told) == []
        return answer

    def _at(self, connection_id: str) -> Event:
        return {
            "connectionId": connection_id,
            "connectedAt": START,
            "requestTimeEpoch": self.clock.now,
        }

    def stream(self) -> Event:
        """Announce what was written since the last time, as far as the filter lets it through."""
        fresh = self.records[self.handed_on["stream"] :]
        self.handed_on["stream"] = len(self.records)
        batch = [
            change(after["user_id"]["S"], before or None, after, number)
            for number, (before, after) in enumerate(fresh)
        ]
        return self.invoke("announce", {"Records": batch})

    def run_timers(self) -> Event:
        """Hand on every timer that was set since the last time, due or not."""
        return self.invoke("timers", self._waiting("timers"))

    def deliver(self) -> Event:
        """Make the posts that were put off since the last time."""
        return self.invoke("deliver", self._waiting("deliveries"))

    def _waiting(self, name: str) -> Event:
        messages = self.queued(name)
        fresh = messages[self.handed_on[name] :]
        self.handed_on[name] = len(messages)
        return {"Records": [message(str(n), body) for n, (body, _) in enumerate(fresh)]}

    @contextmanager
    def throttled(self) -> Iterator[None]:
        """DynamoDB refuses everything, after all the client's retries."""
        error = {"Code": "ProvisionedThroughputExceededException", "Message": "table Users"}

        def refuse(operation: str, _request: Item) -> None:
            raise ClientError({"Error": error}, operation)

        with patch.object(self.tables, "before", refuse):
            yield

    # ── what people do ─────────────────────────────────────────────────────────────────

    def token(self, user_id: str, **claims: Any) -> str:
        now = self.clock.now // 1000
        standard = {"iss": ISSUER, "aud": AUDIENCE, "sub": user_id, "iat": now, "exp": now + 3600}
        return jwt.encode({**standard, **claims}, SECRET, algorithm="HS256")

    def join(self, user_id: str, connection_id: str, **claims: Any) -> Event:
        self.connect(connection_id)
        frame = {"action": "authenticate", "token": self.token(user_id, **claims)}
        return self.reply(connection_id, frame)

    def ask(self, connection_id: str, action: str, **fields: Any) -> Event:
        """The answer to a frame that has an id."""
        body = {"action": action, "id": "1", **FIELDS.get(action, {}), **fields}
        return self.reply(connection_id, body)

    def enter(self, connection_id: str, session_id: str = ROOM) -> Event:
        """Join a chat session, successfully."""
        answer = self.ask(connection_id, "join", chatSessionId=session_id)
        assert answer["type"] == "chat-session-joined", answer
        return answer

    def fields(self, action: str, user_id: str = "ada") -> Event:
        """The frame of an action, with everything that it needs."""
        token = {"token": self.token(user_id)} if action == "authenticate" else {}
        return {"action": action, "id": "1", **FIELDS[action], **token}

    def wait(self, milliseconds: int) -> None:
        self.clock.now += milliseconds
        self.gateway.at = self.clock.now

    # ── what can be seen of it ─────────────────────────────────────────────────────────

    def connection(self, connection_id: str) -> Connection | None:
        return bootstrap.app().ports.records.read(connection_id, consistent=True)

    def user(self, user_id: str) -> User:
        return bootstrap.app().ports.users.read(user_id, consistent=True)

    def heard(self, connection_id: str) -> list[Event]:
        """Every frame that was posted to a connection, in order; the next time only what is new."""
        frames = [json.loads(text) for text in self.gateway.heard.pop(connection_id, [])]
        assert [it for frame in frames for it in message_faults(frame["type"], frame)] == []
        return frames

    def all_heard(self) -> dict[str, list[Event]]:
        """The same of every connection that heard anything."""
        return {
            connection_id: self.heard(connection_id) for connection_id in list(self.gateway.heard)
        }

    def calm(self) -> None:
        """All is announced, and what was heard so far is dropped."""
        self.stream()
        self.gateway.heard.clear()

    def everything(self) -> list[Event]:
        """Every item of the three tables as it is."""
        return [deepcopy(item) for it in self.tables.items.values() for item in it.values()]

    def subscribers(self) -> set[str]:
        pages = bootstrap.app().ports.subscriptions.pages(EVERYONE)
        return {subscriber.connection_id for page in pages for subscriber in page}

    def watchers(self, user_id: str) -> set[str]:
        pages = bootstrap.app().ports.subscriptions.pages(Topic("user", user_id))
        return {subscriber.connection_id for page in pages for subscriber in page}

    def image(self, user_id: str) -> Event | None:
        """The item as DynamoDB's stream carries it."""
        return deepcopy(self.tables.items["Users"].get((user_id,)))

    def timers(self) -> list[tuple[Event, int]]:
        return self.queued("timers")

    def queued(self, name: str) -> list[tuple[Event, int]]:
        """Every message on a queue and its delay in seconds, waiting or not."""
        return list(self.queues[name])

    def log_everything(self) -> None:
        """As with `LogLevel=DEBUG`: also what is usual."""
        runtime.logger.setLevel("DEBUG")

    def log_lines(self) -> list[Event]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def frame_of(answer: Event) -> Event:
    """The frame that API Gateway sends on: the answer has to be exactly of this shape."""
    assert answer.keys() == {"statusCode", "body"}
    assert answer["statusCode"] == 200
    frame: Event = json.loads(answer["body"])
    assert message_faults(frame["type"], frame) == []
    return frame


def change(user_id: str, before: Event | None, after: Event | None, number: int = 1) -> Event:
    """A stream record with these images."""
    record: Event = deepcopy(recorded("announce")["Records"][0])
    data = record["dynamodb"]
    data["Keys"] = {"user_id": {"S": user_id}}
    data["SequenceNumber"] = str(number)
    for name, image in {"OldImage": before, "NewImage": after}.items():
        data.pop(name, None)
        if image is not None:
            data[name] = image
    return record


def message(message_id: str, body: Any) -> Event:
    """A message of SQS with this body, as Lambda gets it."""
    record: Event = deepcopy(recorded("timers")["Records"][0])
    text = body if isinstance(body, str) else json.dumps(body)
    return record | {"messageId": message_id, "body": text}


@pytest.fixture
def private(stack: Stack) -> Stack:
    """As a stack is by default: users hear only of members and users that they watch."""
    stack.configure(GLOBAL_PRESENCE="false")
    return stack


@pytest.fixture
def authorizer(stack: Stack) -> Iterator[Endpoint]:
    """A stack with a authorizer, who says no until a test says otherwise."""
    with serving(Endpoint(otherwise=Answer(body=b'{"allowed":false}'))) as endpoint:
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:authorizer"
        stack.configure(AUTHORIZER_ARN=arn, AWS_ENDPOINT_URL_LAMBDA=endpoint.url)
        yield endpoint


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    stack = Stack(monkeypatch)
    handler = runtime.logger.registered_handler
    handler.setStream(stack.log)  # type: ignore[attr-defined]  # a StreamHandler
    monkeypatch.setattr(runtime, "sampling", Sampling())
    bootstrap.METER.clear()
    bootstrap.METER.taken_at = 0
    stack.configure(TIMER_QUEUE_URL="timers", DELIVERY_QUEUE_URL="deliveries")
    yield stack
    runtime.logger.setLevel("INFO")
    bootstrap.app.cache_clear()
