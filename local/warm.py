"""Calls every function once, so that the first user does not wait for a cold start.

It is the first check of a deployment too: each route of the socket has to answer a frame. Like any
client it tries again when a connection is refused or ends: beside all the cold starts of a slow
machine, a function may wait for the local AWS longer than it waits for AWS.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from local.aws import client
from local.stack import StackError

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.deploy import Deployed

# For each function that is not behind the socket, an event that changes nothing.
_EVENTS = {
    "AnnounceFunction": {"Records": []},
    "DeliverFunction": {"Records": []},
    "TimerFunction": {"Records": []},
    "SweepFunction": {"source": "aws.events", "detail-type": "Scheduled Event"},
    "HttpFunction": {
        "version": "2.0",
        "routeKey": "GET /api/user-status/health",
        "rawPath": "/api/user-status/health",
        "rawQueryString": "",
        "headers": {},
        "requestContext": {
            "http": {"method": "GET", "path": "/api/user-status/health"},
            "stage": "$default",
            "requestId": "first-call",
        },
        "isBase64Encoded": False,
    },
}
# A connection that has not authenticated changes nothing, whatever it sends.
_ACTIONS = (
    *("authenticate", "ping", "check", "status", "data", "online", "join"),
    *("leave", "typing", "message", "watch", "unwatch", "verify", "unknown"),
)
#: All cold starts at once, on a slow machine that has other things to do.
_SECONDS = 60
_PAUSE_SECONDS = 0.5


def warm(deployed: Deployed, endpoint_url: str) -> None:
    """Call all functions, side by side.

    Raises:
        StackError: one of them did not answer.
    """
    calls: list[Callable[[], None]] = [lambda: _converse(deployed.web_socket_url)]
    calls += [_invocation(deployed, endpoint_url, name) for name in _EVENTS]
    with ThreadPoolExecutor(len(calls)) as pool:
        for call in [pool.submit(call) for call in calls]:
            call.result()


def _invocation(deployed: Deployed, endpoint_url: str, name: str) -> Callable[[], None]:
    def invoke() -> None:
        answer = client("lambda", endpoint_url).invoke(
            FunctionName=deployed.functions[name], Payload=json.dumps(_EVENTS[name])
        )
        if "FunctionError" in answer:
            raise StackError(_complaint(name, answer["Payload"].read().decode()))

    return invoke


def _converse(url: str) -> None:
    """Send each action on a connection of its own, so that some workers of the socket are warm."""
    with ThreadPoolExecutor(len(_ACTIONS)) as pool:
        list(pool.map(lambda action: call_route(url, action), _ACTIONS))


def call_route(url: str, action: str, seconds: float = _SECONDS) -> None:
    """Send the action on connections of its own until a frame of the protocol comes back.

    Raises:
        StackError: none came within so many seconds; it says what came last.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer: object = _exchange(url, action, deadline - time.monotonic())
        except (OSError, WebSocketException) as error:
            answer = error
        if answers(answer):
            return
        if time.monotonic() + _PAUSE_SECONDS >= deadline:
            raise StackError(_complaint(f"the route {action}", repr(answer)))
        time.sleep(_PAUSE_SECONDS)


def _exchange(url: str, action: str, seconds: float) -> str | bytes:
    with connect(url, open_timeout=seconds) as socket:
        socket.send(json.dumps({"action": action, "id": "first-call"}))
        return socket.recv(timeout=seconds)


def answers(answer: object) -> bool:
    """Tell whether this is a frame of the protocol, whatever it says."""
    try:
        return isinstance(answer, str) and isinstance(json.loads(answer)["type"], str)
    except (ValueError, TypeError, KeyError):
        return False


def _complaint(who: str, answer: str) -> str:
    return f"The deployed stack does not work: {who} answered {answer}"
