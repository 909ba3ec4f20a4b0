"""In the background: due timers, posts and jobs that had to wait, and each minute the sweep."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from aws_lambda_powertools.utilities.typing import LambdaContext

from presence import limits
from presence.adapters.sqs import job_from_json, posts_from_json
from presence.application.checks import Swept
from presence.bootstrap import METER, app
from presence.deadline import HasTime, in_time
from presence.domain.errors import PresenceError
from presence.entrypoints.runtime import (
    LambdaEvent,
    Response,
    batch_failures,
    deadline,
    logged,
    logger,
    now,
    time_left,
)
from presence.fanout.dispatch import OpenSocket
from presence.metrics import ONLINE_USERS, OPEN_CONNECTIONS, SWEEP_COVERAGE
from presence.ports import Block
from presence.protocol.requests import is_id
from presence.protocol.strict_json import Object, parse_object

#: Users in one line of the log.
MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a queue; its body may be none of ours."""

    message_id: str
    text: str

    def body(self) -> Object:
        return parse_object(self.text, limit=limits.MESSAGE_BYTES)

    @property
    def is_of_user(self) -> bool:
        try:
            return self.body().get("check") in ("user", "expired")
        except PresenceError:
            return False


@logged
def timers(event: LambdaEvent, context: LambdaContext) -> Response:
    """Look again at what the timers name: users first; then close sockets, if there is time.

    API Gateway may not answer, and users do not wait for sockets.
    """
    has_time = time_left(context)
    sockets = dict[Message, OpenSocket]()

    def look_at(message: Message) -> None:
        if (socket := _on_timer(message.body())) is not None:
            sockets[message] = socket

    messages = _messages(event)
    again = _each(sorted(messages, key=lambda it: not it.is_of_user), look_at, has_time)
    still_open = app().dispatcher.close_all(sockets.values(), has_time)
    again += [it for it, socket in sockets.items() if socket.connection_id in still_open]
    return _answer(messages, again)


@logged
def deliver(event: LambdaEvent, context: LambdaContext) -> Response:
    """Make posts that had to wait, and work on jobs."""
    until, messages = deadline(context), _messages(event)
    again = _each(messages, lambda it: _deliver(it.body(), until), time_left(context))
    return _answer(messages, again)


@partial(logged, at_once=True)
def sweep(event: LambdaEvent, context: LambdaContext) -> Response:
    """Look at every connected user; stop in time. By hand it restores blocks.

    Raises the error of a user who could not be looked at, when all others were: for the alarm.
    """
    if event.get("restore") == "blocks":
        return _restore(event.get("after"), time_left(context))
    swept = app().sweep.run(now(), time_left(context))
    _measure(swept)
    logger.append_keys(
        online=None if swept.count is None else swept.count.online,
        users=swept.looked_at,
        changed_users=swept.changed,
        is_complete=swept.count is not None,
        failed_users=[*swept.failures][:MOST_NAMED],
    )
    for error in swept.failures.values():
        raise error
    return {}


def _measure(swept: Swept) -> None:
    if swept.count is not None:
        METER.measure(OPEN_CONNECTIONS, swept.connections)
        METER.measure(ONLINE_USERS, swept.count.online)
        METER.measure(SWEEP_COVERAGE, 100)
    else:
        # Of how many, the last whole count says about.
        users = max(1, swept.looked_at, app().ports.online_index.count().online)
        METER.measure(SWEEP_COVERAGE, min(99, 100 * swept.looked_at // users))


def _restore(after: Object | None, has_time: HasTime) -> Response:
    """What an operator asks for after the table Users was lost (docs/operations.md)."""
    begin = None if after is None else Block(_id(after, "userId"), _id(after, "viewerId"))
    is_complete, last = app().blocking.restore(begin, now(), has_time)
    behind = None if last is None else {"userId": last.user_id, "viewerId": last.viewer_id}
    return {"isComplete": is_complete, "after": behind}


def _messages(event: LambdaEvent) -> Sequence[Message]:
    return [Message(it["messageId"], it["body"]) for it in event["Records"]]


def _each(
    messages: Iterable[Message], handle: Callable[[Message], None], has_time: HasTime
) -> list[Message]:
    """Handle the messages while there is time; those that have to come again."""
    again, rest = list[Message](), iter(messages)
    for message in in_time(rest, has_time):
        try:
            handle(message)
        except Exception:  # noqa: BLE001  the other messages must not wait for this one
            logger.exception("message failed")
            again.append(message)
    return [*again, *rest]


def _answer(messages: Sequence[Message], again: Sequence[Message]) -> Response:
    """SQS delivers those that failed, or had no time, again, without the others."""
    logger.append_keys(messages=len(messages), failed_messages=len(again))
    return batch_failures([it.message_id for it in messages if it in again])


def _on_timer(body: Object) -> OpenSocket | None:  # noqa: C901  one case per check
    on_timer, moment = app().on_timer, now()
    match body.get("check"):
        case "connection":
            return on_timer.connection(_id(body, "connectionId"), moment)
        case "user":
            on_timer.user(_id(body, "userId"), moment)
        case "expired":
            sessions = frozenset(body.get("chatSessionIds", ()))
            ids = _id(body, "connectionId"), _id(body, "userId")
            return on_timer.expired(*ids, sessions, moment, body.get("reason"))
        case "gone":
            on_timer.gone(_ids(body, "connectionIds"), _instant(body, "at"), moment)
        case "told":
            app().announcer.tell(_id(body, "userId"), _instant(body, "version"), moment)
        case "room":
            app().large_rooms.tick(_id(body, "chatSessionId"), _instant(body, "tick"), moment)
        case unknown:
            raise ValueError(f"there is no check {unknown!r}")
    return None


def _deliver(body: Object, until: int) -> None:
    if "topic" in body:
        if app().broadcast.work(job_from_json(body), now(), until=until) is None:
            logger.append_keys(jobs_too_late=1)  # a batch is one message
        return
    app().dispatcher.deliver(posts_from_json(body), body["attempt"], until=until)


def _id(body: Object, name: str) -> str:
    if not is_id(body.get(name)):
        raise ValueError(f"{name} is no id")
    return str(body[name])


def _ids(body: Object, name: str) -> Sequence[str]:
    return [_id({name: value}, name) for value in body[name]]


def _instant(body: Object, name: str) -> int:
    if not isinstance(body.get(name), int):
        raise TypeError(f"{name} is no instant")
    return int(body[name])
