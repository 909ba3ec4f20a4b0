"""What the handlers do is what template.yaml lets them do: on moto everything is allowed."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from botocore.client import BaseClient

from tests.functions.conftest import PHONE, ROUTES, TAB, Event, Stack, change, recorded
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
        case "BatchGetItem":
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
        "on_default": lambda: _everything(stack),
        "on_disconnect": lambda: stack.disconnect(TAB),
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
    frame = {"action": action, "token": stack.token("ada"), "status": "busy", **fields}
    stack.send(TAB, frame, route=route)


def _acts(stack: Stack, action: str) -> None:
    _send(stack, action)
    _lapse(stack)
    _send(stack, action)


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
    stack.connect(early := "b" * 15 + "=")
    stack.wait(90_000)
    bodies = [
        {"check": "connection", "connectionId": early},
        {"check": "connection", "connectionId": TAB},
        {"check": "connection", "connectionId": TAB},
        {"check": "user", "userId": "ada"},
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
        *("on_disconnect", "user_status", "announce", "settle", "sweep"),
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
