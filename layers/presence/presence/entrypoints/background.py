"""In the background: due timers, posts and jobs that had to wait, and each minute the sweep."""

from collections.abc import Callable, Sequence

from aws_lambda_powertools.utilities.typing import LambdaContext

from presence import limits
from presence.adapters.sqs import job_from_json, posts_from_json
from presence.bootstrap import app
from presence.entrypoints.runtime import (
    SPARE_MILLISECONDS,
    LambdaEvent,
    Response,
    batch_failures,
    deadline,
    logged,
    logger,
    now,
)
from presence.protocol.requests import is_id
from presence.protocol.strict_json import Object, parse_object


@logged
def timers(event: LambdaEvent, _context: LambdaContext) -> Response:
    """Look again at what the timers name."""
    return _each(event, _on_timer)


@logged
def deliver(event: LambdaEvent, context: LambdaContext) -> Response:
    """Make posts that had to wait, and work on jobs."""
    until = deadline(context)
    return _each(event, lambda body: _deliver(body, until))


@logged
def sweep(_event: LambdaEvent, context: LambdaContext) -> Response:
    """Look at every connected user; stop in time."""
    count = app().sweep.run(
        now(), lambda: context.get_remaining_time_in_millis() > SPARE_MILLISECONDS
    )
    logger.append_keys(online=None if count is None else count.online)
    return {}


def _each(event: LambdaEvent, handle: Callable[[Object], None]) -> Response:
    """Handle every message; SQS delivers those that fail again, without the others."""
    failed = []
    for message in event["Records"]:
        try:
            handle(parse_object(message["body"], limit=limits.MESSAGE_BYTES))
        except Exception:  # noqa: BLE001  the other messages must not wait for this one
            logger.exception("message failed")
            failed.append(message["messageId"])
    logger.append_keys(messages=len(event["Records"]), failed_messages=len(failed))
    return batch_failures(failed)


def _on_timer(body: Object) -> None:
    on_timer, moment = app().on_timer, now()
    match body.get("check"):
        case "connection":
            on_timer.connection(_id(body, "connectionId"), moment)
        case "user":
            on_timer.user(_id(body, "userId"), moment)
        case "expired":
            sessions = frozenset(body.get("chatSessionIds", ()))
            on_timer.expired(_id(body, "connectionId"), _id(body, "userId"), sessions, moment)
        case "gone":
            on_timer.gone(_ids(body, "connectionIds"), _instant(body, "at"), moment)
        case "room":
            app().large_rooms.tick(_id(body, "chatSessionId"), _instant(body, "tick"), moment)
        case unknown:
            raise ValueError(f"there is no check {unknown!r}")


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
