"""The stream of the table Users: announce what has changed."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from aws_lambda_powertools.utilities.typing import LambdaContext

from presence.adapters.dynamodb.users import user_in_image
from presence.bootstrap import METER, app
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
from presence.fanout.diffs import Record
from presence.limits import PART_MILLISECONDS
from presence.metrics import ANNOUNCE_DELAY

Item: TypeAlias = Mapping[str, Any]
IMAGES = ("OldImage", "NewImage")


@logged
def announce(event: LambdaEvent, context: LambdaContext) -> Response:
    """Announce a batch of stream records.

    A record that cannot be read is reported, so that Lambda repeats the batch from it on, in ever
    smaller parts, until it stands alone and goes to the dead-letter queue. The others are
    announced now, also those that will come again: no change waits for a poison record of another
    user. What is left when time runs out is reported in the same way. An exception repeats the
    whole batch; sinks behind the sockets only log theirs.
    """
    records: dict[int, Record] = {}
    poison: list[int] = []
    for position, item in enumerate(event["Records"]):
        try:
            records[position] = _record(item["dynamodb"], comes_again=bool(poison))
        except Exception:  # noqa: BLE001  a poison record may be anything
            logger.exception("unreadable record")
            poison.append(position)
    has_time = time_left(context, PART_MILLISECONDS)
    announced = app().announcer.announce([*records.values()], has_time, until=deadline(context))
    _measure(event["Records"], [*records][: announced.records])
    again = [*poison[:1], *[*records][announced.records :][:1]]
    for sink, error in announced.failures.items():
        logger.error("sink failed", exc_info=error, sink=sink)
    left = len(records) - announced.records
    figures = {"records": len(records), "left": left, "failed_sinks": len(announced.failures)}
    logger.append_keys(**{**announced.figures, **figures})
    first = [event["Records"][min(again)]["dynamodb"]["SequenceNumber"]] if again else []
    return batch_failures(first)


def _measure(items: Sequence[Mapping[str, Any]], announced: Sequence[int]) -> None:
    moment = now()
    for position in announced:
        METER.measure(ANNOUNCE_DELAY, max(0, moment - _changed_at(items[position]["dynamodb"])))


def _changed_at(data: Item) -> int:
    """By the version if it is of that second, else by the stream, which knows no less than one."""
    second = int(data["ApproximateCreationDateTime"]) * 1000
    version = int(data.get("NewImage", {}).get("own_version", {}).get("N", 0))
    return min(max(version, second), second + 999)


def _record(data: Item, *, comes_again: bool) -> Record:
    user_id = data["Keys"]["user_id"]["S"]
    before, after = (user_in_image(data.get(name), user_id, app().rules) for name in IMAGES)
    return Record(before, after, comes_again, now())
