"""The edge for what AWS itself triggers: the stream, the timer queue, the schedule."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from aws_lambda_powertools.utilities.typing import LambdaContext

from presence.adapters.dynamodb.users import user_in_image
from presence.adapters.queue import job_from_json, posts_from_json
from presence.bootstrap import app
from presence.domain.requests import is_id
from presence.domain.strict_json import Object, parse_object
from presence.entrypoint import Event, Response, logged, logger, now
from presence.use_cases.announcements import Record

Item: TypeAlias = Mapping[str, Any]

#: SQS takes no more for one message.
MAX_QUEUED_BYTES = 256 * 1024

#: What a function leaves of its time, so that it ends by itself, and can say what is left to do.
SPARE_MILLISECONDS = 5_000


@logged
def announce(event: Event, context: LambdaContext) -> Response:
    """Announce a batch of stream records.

    A record that cannot be read is named, so that Lambda repeats the batch from it on, in ever
    smaller parts, until it stands alone and goes to the dead-letter queue. The others are
    announced now, also those that will come again: nobody waits for what is not about them (I16).
    An exception repeats the whole batch.
    """
    records: list[Record] = []
    poison: list[str] = []
    for item in event["Records"]:
        try:
            records.append(_record(item["dynamodb"], comes_again=bool(poison)))
        except Exception:  # noqa: BLE001  a poison record may be anything
            logger.exception("unreadable record")
            poison.append(item["dynamodb"]["SequenceNumber"])
    delivery = app().announcements.announce(records, until=_until(context))
    logger.append_keys(
        records=len(records), gone=len(delivery.gone), refused_posts=len(delivery.refused)
    )
    return _failures(poison[:1])


def _record(data: Item, *, comes_again: bool) -> Record:
    user_id = data["Keys"]["user_id"]["S"]
    before, after = (user_in_image(data.get(name), user_id) for name in ("OldImage", "NewImage"))
    return Record(before, after, comes_again, now())


@logged
def settle(event: Event, _context: LambdaContext) -> Response:
    """Look where the timers point."""
    return _each(event, _settle)


@logged
def deliver(event: Event, context: LambdaContext) -> Response:
    """Make posts that had to wait, and tell large audiences."""
    until = _until(context)
    return _each(event, lambda body: _deliver(body, until))


def _each(event: Event, handle: Callable[[Object], None]) -> Response:
    """Handle every message; those that fail come again, by themselves (F31)."""
    failed = []
    for message in event["Records"]:
        try:
            handle(parse_object(message["body"], limit=MAX_QUEUED_BYTES))
        except Exception:  # noqa: BLE001  the others must not wait for it
            logger.exception("message failed")
            failed.append(message["messageId"])
    logger.append_keys(messages=len(event["Records"]), failed_messages=len(failed))
    return _failures(failed)


def _settle(body: Object) -> None:
    settling, moment = app().settling, now()
    match body.get("check"):
        case "connection":
            settling.connection(_id(body, "connectionId"), moment)
        case "user":
            settling.user(_id(body, "userId"), moment)
        case "lapsed":
            sessions = frozenset(body.get("chatSessionIds", ()))
            settling.lapsed(_id(body, "connectionId"), _id(body, "userId"), sessions, moment)
        case "gone":
            _look_after(_gone(body), body["at"], moment)
        case "room":
            app().rooms.tick(_id(body, "chatSessionId"), body["tick"], moment)
        case unknown:
            raise ValueError(f"there is no check {unknown!r}")


def _deliver(body: Object, until: int) -> None:
    if "topic" in body:
        if app().audiences.work(job_from_json(body), now(), until=until) is None:
            logger.append_keys(jobs_too_late=1)  # a batch is one message
        return
    app().courier.deliver(posts_from_json(body), body["attempt"], until=until)


def _look_after(gone: Iterable[str], at: int, moment: int) -> None:
    for connection_id in gone:
        app().settling.gone(connection_id, at, moment)


def _gone(body: Object) -> Sequence[str]:
    return [_id({"connectionIds": it}, "connectionIds") for it in body["connectionIds"]]


def _id(body: Object, name: str) -> str:
    if not is_id(body.get(name)):
        raise ValueError(f"{name} is no id")
    return str(body[name])


@logged
def sweep(_event: Event, context: LambdaContext) -> Response:
    count = app().sweep.run(
        now(), lambda: context.get_remaining_time_in_millis() > SPARE_MILLISECONDS
    )
    logger.append_keys(online=None if count is None else count.online)
    return {}


def _until(context: LambdaContext) -> int:
    """When the work has to be done."""
    return now() + context.get_remaining_time_in_millis() - SPARE_MILLISECONDS


def _failures(identifiers: Iterable[str]) -> Response:
    """ReportBatchItemFailures: an empty list is full success, an empty name full failure."""
    return {"batchItemFailures": [{"itemIdentifier": name} for name in identifiers]}
