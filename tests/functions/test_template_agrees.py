"""What the handlers do is what template.yaml lets them do: on moto everything is allowed."""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from botocore.client import BaseClient

from tests.functions.conftest import (
    FIELDS,
    PHONE,
    ROOM,
    ROUTES,
    TAB,
    Event,
    Stack,
    change,
    recorded,
)
from tests.template.test_template import statements

#: An IAM action and a resource of the template.
Permission: TypeAlias = tuple[str, str]

TRANSACTED = {"Update": "UpdateItem", "Put": "PutItem", "Delete": "DeleteItem"}


def permissions(function: str) -> Iterator[Permission]:
    for statement in statements(function):
        actions, resources = (_list(statement[name]) for name in ("Action", "Resource"))
        yield from ((action, _name(resource)) for action in actions for resource in resources)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _name(resource: dict[str, str]) -> str:
    """`Users` for `!GetAtt Users.Arn`, `Users/index/online` for its index."""
    (text,) = resource.values()
    return text.replace("${", "").replace("}", "").replace(".Arn", "")


def needed(operation: str, arguments: Event) -> Iterator[Permission]:
    """What IAM asks for when an operation is called."""
    match operation:
        case "TransactWriteItems":
            for item in arguments["TransactItems"]:
                ((kind, part),) = item.items()
                yield f"dynamodb:{TRANSACTED[kind]}", part["TableName"]
        case "BatchGetItem" | "BatchWriteItem":
            yield from ((f"dynamodb:{operation}", table) for table in arguments["RequestItems"])
        case "SendMessage":
            yield "sqs:SendMessage", "Timers"
        case "GetParameter":
            arn = "arn:AWS::Partition:ssm:AWS::Region:AWS::AccountId:parameterTokenSecretParameter"
            yield "ssm:GetParameter", arn
        case _:
            index = f"/index/{arguments['IndexName']}" if "IndexName" in arguments else ""
            yield f"dynamodb:{operation}", f"{arguments['TableName']}{index}"


class Spy:
    """Remembers which operations were called since it was asked last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: set[Permission] = set()
        call = BaseClient._make_api_call

        def spy(client: BaseClient, operation: str, arguments: Event) -> Any:
            self.seen |= set(needed(operation, arguments))
            return call(client, operation, arguments)

        monkeypatch.setattr(BaseClient, "_make_api_call", spy)


def story_of(stack: Stack, name: str) -> None:
    """Everything that can happen to a function, after what the others have done before."""
    story: dict[str, Callable[[], Any]] = {
        "on_connect": lambda: stack.connect("a" * 15 + "="),
        "on_authenticate": lambda: _send(stack, "authenticate"),
        "on_ping": lambda: _pings(stack, "ping"),
        "on_status": lambda: _acts(stack, "status"),
        "on_online": lambda: _acts(stack, "online"),
        "on_join": lambda: _acts(stack, "join"),
        "on_leave": lambda: _acts(stack, "leave"),
        "on_typing": lambda: _says(stack, "typing"),
        "on_message": lambda: _says(stack, "message"),
        "on_watch": lambda: _acts(stack, "watch"),
        "on_unwatch": lambda: _unwatches(stack),
        "on_default": lambda: _everything(stack),
        "on_disconnect": lambda: _disconnects(stack),
        "deliver": lambda: _deliveries(stack),
        "user_status": lambda: _requests(stack),
        "announce": lambda: _announcements(stack),
        "settle": lambda: _timers(stack),
        "sweep": lambda: _sweep(stack),
    }
    story[name]()


def _sweep(stack: Stack) -> None:
    stack.wait(70_000)
    stack.invoke("sweep")


def _send(stack: Stack, action: str, route: str | None = None, **fields: Any) -> None:
    frame = {
        "action": action,
        "token": stack.token("ada"),
        **FIELDS[action],
        **fields,
    }
    stack.send(TAB, frame, route=route)


def _acts(stack: Stack, action: str) -> None:
    _send(stack, action)
    _lapse(stack)
    _send(stack, action)


def _gather(stack: Stack) -> None:
    """Both in one chat session, and each watching the other."""
    for connection_id, other in ((TAB, "grace"), (PHONE, "ada")):
        stack.send(connection_id, {"action": "join", "chatSessionId": ROOM})
        stack.send(connection_id, {"action": "watch", "userIds": [other]})


def _says(stack: Stack, action: str) -> None:
    _gather(stack)
    _send(stack, action)
    stack.gateway.gone.add(PHONE)
    stack.wait(2_000)
    _send(stack, action)
    stack.gateway.gone.clear()
    stack.gateway.busy.add(PHONE)
    stack.wait(2_000)
    _send(stack, action)
    _lapse(stack)
    _send(stack, action)


def _unwatches(stack: Stack) -> None:
    _gather(stack)
    _acts(stack, "unwatch")


def _disconnects(stack: Stack) -> None:
    """Once with a grace period, and once from a chat session that ends at once."""
    _gather(stack)
    stack.disconnect(TAB)
    stack.configure(GRACE_SECONDS="0")
    stack.disconnect(PHONE)


def _deliveries(stack: Stack) -> None:
    stack.gateway.gone.add(TAB)
    stack.gateway.busy.add(PHONE)
    stack.invoke("deliver", recorded("deliver"))
    body = json.dumps({"text": "{}", "connectionIds": [TAB, PHONE], "attempt": 1})
    record = recorded("deliver")["Records"][0] | {"body": body}
    stack.invoke("deliver", {"Records": [record]})


def _lapse(stack: Stack) -> None:
    """The lease ends and is swept away, so that the next frame takes a new one."""
    stack.wait(90_000)
    stack.invoke("sweep")


def _pings(stack: Stack, route: str) -> None:
    stack.wait(20_000)
    _send(stack, "ping", route)
    _send(stack, "ping", route, active=False)
    _lapse(stack)
    _send(stack, "ping", route)


def _everything(stack: Stack) -> None:
    for action in sorted(set(ROUTES) - {"$default"}):
        _send(stack, action, "$default")
    _pings(stack, "$default")


def _requests(stack: Stack) -> None:
    token = stack.token("ada")
    stack.wait(90_000)
    for request in ("/health", "/config", "/online", "/online/count", "/ada", "/eve"):
        stack.http(f"GET {request}", token=token)
    stack.http("POST /batch", token=token, body={"userIds": ["ada", "eve"]})
    stack.http("PUT /last-seen", token=token)
    until = stack.clock.now + 60_000
    stack.http("PUT /", token=token, body={"status": "away", "until": until})
    back_end = stack.token("root", scope="presence:publish presence:admin")
    _gather(stack)
    for request in ("PUT /blocked/eve", "GET /blocked", "GET /blocked/eve", "DELETE /blocked/eve"):
        stack.http(request, token=token)
    stack.http(f"GET /chat-sessions/{ROOM}/members", token=token)
    stack.gateway.busy.add(PHONE)
    path = f"/chat-sessions/{ROOM}/messages"
    stack.http(f"POST {path}", token=back_end, body={"content": 1})
    stack.gateway.gone.add(TAB)
    stack.http(f"POST {path}", token=back_end, body={"content": 1})
    stack.http("PUT /blocked/ada", token=stack.token("eve"))
    stack.http("DELETE /grace/connections", token=back_end)
    stack.http("DELETE /ada", token=token)


def _announcements(stack: Stack) -> None:
    stack.gateway.gone |= {TAB, "a-connection-forgotten"}
    stack.wait(20_000)
    stack.invoke("announce", {"Records": [change("ada", None, recorded_image())]})


def recorded_image() -> Event:
    """The recorded user, with one more connection that nobody knows of."""
    image: Event = recorded("announce")["Records"][0]["dynamodb"]["NewImage"]
    leases = image["leases"]["M"]
    leases["a-connection-forgotten"] = leases[TAB]
    return image


def _timers(stack: Stack) -> None:
    _gather(stack)
    stack.connect(early := "b" * 15 + "=")
    stack.wait(90_000)
    bodies = [
        {"check": "connection", "connectionId": early},
        {"check": "connection", "connectionId": TAB},
        {"check": "connection", "connectionId": TAB},
        {"check": "user", "userId": "ada"},
        {"check": "gone", "connectionId": "forgotten"},
        {"check": "gone", "connectionId": PHONE},
        {"check": "lapsed", "connectionId": TAB, "userId": "ada", "chatSessionIds": [ROOM]},
    ]
    timer = recorded("settle")["Records"][0]
    records = [
        timer | {"messageId": str(n), "body": str(b).replace("'", '"')}
        for n, b in enumerate(bodies)
    ]
    stack.invoke("settle", {"Records": records})


@pytest.mark.parametrize(
    "name",
    [
        *("on_connect", "on_authenticate", "on_ping", "on_status", "on_online", "on_default"),
        *("on_join", "on_leave", "on_typing", "on_message", "on_watch", "on_unwatch"),
        *("on_disconnect", "user_status", "announce", "deliver", "settle", "sweep"),
    ],
)
def test_a_function_may_do_what_it_does(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stack.join("ada", TAB)
    stack.join("grace", PHONE)
    stack.configure()  # a new execution environment, which has read no secret yet
    used = by_function(stack, monkeypatch)

    story_of(stack, name)

    allowed = set(permissions("".join(part.title() for part in name.split("_"))))
    assert used[name] - allowed == set()


def by_function(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> dict[str, set[Permission]]:
    """What each function uses from now on."""
    spy, used = Spy(monkeypatch), dict[str, set[Permission]]()
    invoke = stack.invoke

    def watched(name: str, event: Event | None = None, *, remaining: int = 60_000) -> Event:
        spy.seen = set()
        answer = invoke(name, event, remaining=remaining)
        used.setdefault(name, set()).update(spy.seen)
        return answer

    monkeypatch.setattr(stack, "invoke", watched)
    return used
