"""A function's policy allows exactly what the function calls; tables in memory allow all.

Every function lives through all that can happen to it. With one permission too few, a stack breaks
on AWS that passes all other tests; each one too many helps an intruder.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from unittest.mock import patch

import pytest
from botocore.client import BaseClient

from presence import bootstrap, limits
from presence.adapters.sqs import job_to_json
from presence.domain.events import Authenticated, Chosen
from presence.domain.reducer import reduce
from presence.domain.user import Choice, Lease, User
from presence.fanout.payloads import PresenceByViewer, PresencePayload
from presence.ports import Delivery, Job, LargeRoom, Post, Topic
from tests.endpoint import Answer, Endpoint
from tests.fakes import FakeGateway
from tests.functions.conftest import (
    ACCOUNT,
    DESK,
    PHONE,
    REGION,
    ROOM,
    TAB,
    WATCH,
    Event,
    Stack,
    message,
)
from tests.functions.test_user_status import ADMIN, MEMBERS, MESSAGES, PUBLISH
from tests.template.test_template import FUNCTIONS, as_list, statements

#: An IAM action and a resource of the template.
Permission: TypeAlias = tuple[str, str]

TRANSACTED = {"Update": "UpdateItem", "Put": "PutItem", "Delete": "DeleteItem"}
#: A chat session that was large once.
HALL = "hall"
STAGE = "arn:AWS::Partition:execute-api:AWS::Region:AWS::AccountId:WebSocketApi/StageName"
POSTS, CLOSES = (
    ("execute-api:ManageConnections", f"{STAGE}/{method}/@connections/*")
    for method in ("POST", "DELETE")
)
SECRET = "arn:AWS::Partition:ssm:AWS::Region:AWS::AccountId:parameterTokenSecretParameter"


def permissions(handler: str) -> Iterator[Permission]:
    """What the policies of the function with this handler allow."""
    (function,) = (name for name, it in FUNCTIONS.items() if it["Handler"] == f"{handler}.handler")
    for statement in statements(function):
        for action in as_list(statement["Action"]):
            yield from ((action, _name(it)) for it in as_list(statement["Resource"]))


def _name(resource: dict[str, str]) -> str:
    """`Users` for `!GetAtt Users.Arn`, `Users/index/online` for its index."""
    (text,) = resource.values()
    return text.replace("${", "").replace("}", "").replace(".Arn", "")


def needed(operation: str, arguments: Event) -> Iterator[Permission]:
    """What IAM asks for when an operation is called."""
    if operation in ELSEWHERE:
        yield ELSEWHERE[operation](arguments)
    elif operation == "TransactWriteItems":
        for item in arguments["TransactItems"]:
            ((kind, part),) = item.items()
            yield f"dynamodb:{TRANSACTED[kind]}", part["TableName"]
    elif operation in ("BatchGetItem", "BatchWriteItem"):
        yield from ((f"dynamodb:{operation}", table) for table in arguments["RequestItems"])
    else:
        index = f"/index/{arguments['IndexName']}" if "IndexName" in arguments else ""
        yield f"dynamodb:{operation}", f"{arguments['TableName']}{index}"


def _queue(arguments: Event) -> str:
    name: str = arguments["QueueUrl"].rpartition("/")[2]
    return name.title()


def _asked(arguments: Event) -> str:
    """The parameter with this function."""
    return f"{arguments['FunctionName'].rpartition(':')[2].title()}FunctionArn"


#: What is called of other services than DynamoDB.
ELSEWHERE: dict[str, Callable[[Event], Permission]] = {
    "SendMessage": lambda arguments: ("sqs:SendMessage", _queue(arguments)),
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
    "SendMessageBatch": lambda arguments: ("sqs:SendMessage", _queue(arguments)),
    "GetParameter": lambda _: ("ssm:GetParameter", SECRET),
    "Invoke": lambda arguments: ("lambda:InvokeFunction", _asked(arguments)),
}


@dataclass
class Spy:
    """Remembers what each function calls; `meanwhile` happens before its next transaction."""

    used: dict[str, set[Permission]] = field(default_factory=dict)
    running: str = ""
    meanwhile: Callable[[], object] | None = None

    def note(self, *seen: Permission) -> None:
        self.used.setdefault(self.running, set()).update(seen)

    def called(self, operation: str, arguments: Event) -> None:
        self.note(*needed(operation, arguments))
        if self.running and self.meanwhile and operation == "TransactWriteItems":
            happens, self.meanwhile = self.meanwhile, None
            with self.run(""):
                happens()

    @contextmanager
    def run(self, name: str) -> Iterator[None]:
        running, self.running = self.running, name
        try:
            yield
        finally:
            self.running = running


class SpiedGateway(FakeGateway):
    def __init__(self, spy: Spy) -> None:
        super().__init__()
        self._spy = spy

    def post(self, posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        made = list(posts)
        if any(it.connection_ids for it in made):
            self._spy.note(POSTS)
        return super().post(made, until=until)

    def close(self, connection_id: str) -> None:
        self._spy.note(CLOSES)
        super().close(connection_id)


VISIBILITY = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:visibility"


@pytest.fixture
def spy(stack: Stack, authorizer: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Spy:
    authorizer.otherwise = Answer(body=b'{"allowed":true}')
    monkeypatch.setattr(limits, "ROWS_UNASKED", 1)  # as where a large topic is written to
    monkeypatch.setattr(limits, "FIRST_BLOCKERS", 1)  # as for a viewer that many have blocked
    stack.configure(VISIBILITY="function", VISIBILITY_ARN=VISIBILITY)
    spy, call, invoke = Spy(), BaseClient._make_api_call, stack.invoke
    stack.called = spy.called
    stack.gateway = SpiedGateway(spy)

    def spied_call(client: BaseClient, operation: str, arguments: Event) -> Any:
        spy.called(operation, arguments)
        return call(client, operation, arguments)

    def spied_invoke(name: str, event: Event | None = None, **more: int) -> Event:
        with spy.run(name):
            return invoke(name, event, **more)

    monkeypatch.setattr(BaseClient, "_make_api_call", spied_call)
    monkeypatch.setattr(stack, "invoke", spied_invoke)
    return spy


# ── what can happen ────────────────────────────────────────────────────────────────────────


@dataclass
class Story:
    """ada is here with TAB, in a room with grace, and each watches the other."""

    stack: Stack
    spy: Spy
    others: Iterator[str] = field(
        default_factory=lambda: (f"{number:x>15}=" for number in itertools.count())
    )

    def begin(self) -> None:
        for user_id, connection_id, other in (("ada", TAB, "grace"), ("grace", PHONE, "ada")):
            self.stack.join(user_id, connection_id)
            self.stack.enter(connection_id)
            self.stack.ask(connection_id, "watch", userIds=[other])
        # A stranger and a guest: whether they may see ada has to be looked up.
        self.stack.join("zoe", DESK)
        self.stack.join("guest", WATCH, chat_sessions=[ROOM])
        for connection_id in (DESK, WATCH):
            self.stack.ask(connection_id, "watch", userIds=["ada"])
        for user_id, viewer_id in (("kim", "ada"), ("lou", "ada"), ("grace", "stranger")):
            self.stack.http(f"PUT /blocked/{viewer_id}", token=self.stack.token(user_id))
        bootstrap.app().ports.members.keep(LargeRoom(HALL), LargeRoom(HALL))
        self.stack.calm()
        self.stack.configure()  # a new execution environment, which has read no secret yet

    def another(self, session_id: str = "room.2") -> str:
        """One more connection of ada's, in another room."""
        connection_id = next(self.others)
        self.stack.join("ada", connection_id)
        self.stack.enter(connection_id, session_id)
        return connection_id

    def frame(self, action: str, **fields: Any) -> None:
        self.stack.send(TAB, {**self.stack.fields(action), **fields})

    def forget(self) -> None:
        """An erasure, as a function sees it that knew the user a moment ago."""
        self.stack.tables.items["Users"].pop(("ada",), None)

    def sweep_all(self) -> None:
        self.stack.wait(90_000)
        self.stack.invoke("sweep")

    def hides_for_a_while(self) -> None:
        """The next look at ada finds that others see her in her rooms again."""
        until = self.stack.clock.now + 20_000
        self.stack.ask(self.another(), "status", status="invisible", until=until)
        self.stack.wait(10_000)
        self.stack.http("GET /ada", token=self.stack.token("eve"))  # they see ada leave
        self.stack.wait(10_000)

    # ── behind the WebSocket ───────────────────────────────────────────────────────────

    def late(self, send: Callable[[], object]) -> None:
        """A frame whose lease was swept away: once while another lease of ada's expires."""
        other = self.another()
        self.stack.wait(60_000)
        self.stack.ask(other, "ping")
        self.stack.wait(30_000)
        self.stack.invoke("sweep")
        self.stack.wait(50_000)
        send()
        self.sweep_all()
        self.spy.meanwhile = self.forget
        send()
        self.spy.meanwhile = None

    def authenticates(self) -> None:
        # This token makes ada leave the room.
        self.frame("authenticate", token=self.stack.token("ada", chat_sessions=[]))
        self.late(lambda: self.frame("authenticate"))

    def relays(self, action: str) -> None:
        for condition in self._conditions(PHONE):
            with condition:
                self.frame(action)
            self.stack.wait(2_000)
        self.late(lambda: self.frame(action))

    def watches(self) -> None:
        """So many that not all fit into the answer."""
        names = [self._user_with_a_long_text(number) for number in range(45)]
        for condition in self._conditions(TAB):
            with condition:
                self.frame("watch", userIds=names)
        self.late(lambda: self.frame("watch"))

    def _conditions(self, connection_id: str) -> Iterator[AbstractContextManager[None]]:
        """Of the connection that is posted to: as usual, gone, busy."""
        gateway = self.stack.gateway
        return (_among(connection_id, them) for them in (set[str](), gateway.gone, gateway.busy))

    def _unheard(self, connection_id: str) -> Iterator[AbstractContextManager[None]]:
        """The same, each when the connection was not heard for so long that it is probed."""
        for condition in self._conditions(connection_id):
            for name in (TAB, connection_id):
                self.stack.ask(name, "ping")
            self.stack.wait(40_000)
            yield condition

    def _user_with_a_long_text(self, number: int) -> str:
        now = self.stack.clock.now
        before = after = User(f"{number:0>128}")
        lease = Lease(now + 10_000_000, seen_at=now)
        for event in (Authenticated(next(self.others), lease), Chosen(Choice.BUSY, "😀" * 140)):
            after, _ = reduce(after, event, now)
        bootstrap.app().ports.users.save(before, after, now, announce=False)
        return after.user_id

    def frames(self) -> None:
        self.frame("join", chatSessionId=HALL)
        for action in ("authenticate", "status", "online", "join", "typing", "unwatch", "leave"):
            self.frame(action)
            self.stack.wait(2_000)
        self.frame("watch", userIds=["stranger"])
        for condition in self._unheard(PHONE):
            with condition:
                self.frame("verify")
        self.stack.configure(VISIBILITY="everyone", VISIBILITY_ARN="")
        self.frame("online")
        self.frame("ping", active=False)
        self.frame("join")
        self.relays("message")
        self.frame("join")
        self.watches()
        self.authenticates()
        self.disconnects()

    def disconnects(self) -> None:
        other, late = self.another(), self.another("room.3")
        self.stack.wait(60_000)
        self.stack.ask(TAB, "ping")
        self.stack.ask(late, "ping")
        self.stack.wait(30_000)  # the lease of the other has run out
        self.stack.disconnect(TAB)
        self.hides_for_a_while()
        self.stack.disconnect(late)
        self.sweep_all()
        self.forget()
        self.stack.disconnect(other)

    # ── behind the HTTP API ────────────────────────────────────────────────────────────

    def requests(self) -> None:
        ada, root = self.stack.token("ada"), self.stack.token("root", scope=f"{ADMIN} {PUBLISH}")
        until = self.stack.clock.now + 60_000
        lines = ("/health", "/config", "/online", "/online/count", "/ada", "/eve", MEMBERS)
        for line in (*lines, MEMBERS.replace(ROOM, HALL)):
            self.stack.http(f"GET {line}", token=ada)
        self.stack.http("GET /online", token=root)
        for condition in self._unheard(PHONE):
            with condition:
                self.stack.http("GET /grace", token=ada, query={"verify": "true"})
        self.stack.http("POST /batch", token=ada, body={"userIds": ["ada", "eve"]})
        self.stack.http("PUT /last-seen", token=ada)
        self.stack.http("PUT /", token=ada, body={"status": "away", "until": until})
        for line in ("PUT /blocked/eve", "GET /blocked", "GET /blocked/eve", "DELETE /blocked/eve"):
            self.stack.http(line, token=ada)
        for condition in self._conditions(PHONE):
            with condition:
                self.stack.http(f"POST {MESSAGES}", token=root, body={"content": 1})
        self.stack.http("GET /users/ada/explain", token=root, query={"viewerId": "eve"})
        self.stack.http(f"DELETE {MEMBERS}/grace", token=root)
        self.stack.http(f"PUT {MEMBERS}/grace", token=root)
        self.stack.http("DELETE /users/grace/connections", token=root)
        self.stack.http("DELETE /users/ada", token=ada)
        self.stack.http("POST /users/eve/revocations", token=root, body={})

    # ── behind the stream, the queues and the clock ────────────────────────────────────

    def announces(self) -> None:
        for condition in self._conditions(PHONE):
            self.another()
            self.stack.ask(TAB, "status", status="busy")
            with condition:
                self.stack.stream()
            self.sweep_all()
        with patch.multiple(limits, POSTS_AT_ONCE=0, ROWS_PER_SHARD=0, MOST_SHARDS=16):
            self.another()
            self.stack.stream()
        self.stack.configure(LARGE_AUDIENCE="0")
        self.stack.join("eve", other := next(self.others))
        self.stack.enter(other)
        self.stack.stream()

    def delivers(self) -> None:
        body = {"posts": [{"text": "{}", "connectionIds": [PHONE]}], "attempt": 1}
        view = PresenceByViewer("ada", User("ada", version=1).presence)
        job = job_to_json(Job(Topic("session", ROOM), 0, 1, PresencePayload([view])))
        with patch.multiple(limits, ROWS_PER_SHARD=0, MOST_SHARDS=16, SUBSCRIBERS_PER_PAGE=1):
            self.stack.invoke("deliver", {"Records": [message("1", job)]})
            told = job_to_json(Job(Topic("user", "ada"), 0, 1, PresencePayload([view])))
            self.stack.invoke("deliver", {"Records": [message("1", told)]})
        for condition in self._conditions(PHONE):
            with condition:
                self.stack.invoke("deliver", {"Records": [message("1", body)]})

    def looks_at_timers(self) -> None:
        self.stack.connect(early := next(self.others))
        self._timer({"check": "connection", "connectionId": early})
        self.hides_for_a_while()
        self._timer({"check": "user", "userId": "ada"})
        self._timer({"check": "connection", "connectionId": early})
        self._timer({"check": "gone", "connectionIds": [PHONE, "forgotten"], "at": 1 << 52})
        self.stack.wait(90_000)
        self._timer({"check": "user", "userId": "ada"})
        self.forget()
        expired = {"check": "expired", "connectionId": TAB, "userId": "ada"}
        self._timer(expired | {"chatSessionIds": [ROOM]})

        app = bootstrap.app().ports
        app.subscriptions.mark(ROOM, is_large=True)
        app.members.keep(LargeRoom(ROOM), LargeRoom(ROOM, is_large=True, tick=5, recent=("grace",)))
        self._timer({"check": "room", "chatSessionId": ROOM, "tick": 5})

    def _timer(self, body: Event) -> None:
        answer = self.stack.invoke("timers", {"Records": [message("1", body)]})
        assert answer == {"batchItemFailures": []}

    def sweeps(self) -> None:
        self.stack.invoke("sweep", {"restore": "blocks"})
        self.hides_for_a_while()
        self.stack.invoke("sweep")
        self.sweep_all()


@contextmanager
def _among(name: str, names: set[str]) -> Iterator[None]:
    names.add(name)
    yield
    names.discard(name)


STORIES: dict[str, Callable[[Story], object]] = {
    "websocket": Story.frames,
    "http_api": Story.requests,
    "announce": Story.announces,
    "deliver": Story.delivers,
    "timers": Story.looks_at_timers,
    "sweep": Story.sweeps,
}


def test_every_function_has_a_story() -> None:
    handlers = {properties["Handler"] for properties in FUNCTIONS.values()}

    assert {f"{name}.handler" for name in STORIES} == handlers


@pytest.mark.fault("Logs or metrics are slow or down.")
@pytest.mark.parametrize("name", STORIES)
def test_a_function_may_do_what_it_does_and_nothing_else(stack: Stack, spy: Spy, name: str) -> None:
    story = Story(stack, spy)
    story.begin()
    spy.used.clear()

    STORIES[name](story)

    allowed = set(permissions(name))
    assert spy.used[name] - allowed == set(), "it needs more"
    assert allowed - spy.used[name] == set(), "it needs less"
