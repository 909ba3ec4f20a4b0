"""Counts what an invocation asks of DynamoDB and SQS, and what that costs.

Every botocore client that is made after `attach` is watched. Writes are priced from the items
before and after, which a second client reads, uncounted, at both ends of the request.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import botocore
from botocore.model import OperationModel
from botocore.session import Session

from bench.units import READS, Item, Key, Request, Units, read, targets, written
from presence.ports import Delivery, Post

Arguments: TypeAlias = dict[str, Any]
_NONE = Units()
_OF_OUR_OWN = {"Select", "ReturnConsumedCapacity"}


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used.

    Attributes:
        reported: the units that the answers spoke of.
        by_rule: the units that AWS would bill.
        calls: requests to DynamoDB; the functions send one after the other.
        timers: messages sent to SQS.
        posts: requests to the clients' connections.
    """

    reported: Units = _NONE
    by_rule: Units = _NONE
    calls: float = 0
    timers: float = 0
    posts: float = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.reported + other.reported,
            self.by_rule + other.by_rule,
            self.calls + other.calls,
            self.timers + other.timers,
            self.posts + other.posts,
        )

    def __truediv__(self, by: float) -> "Usage":
        return Usage(
            self.reported / by,
            self.by_rule / by,
            self.calls / by,
            self.timers / by,
            self.posts / by,
        )


@dataclass
class Meter:
    """The sum of everything since `reset`; `reader` sees the tables without being counted."""

    reader: Any
    usage: Usage = Usage()

    def reset(self) -> None:
        self.usage = Usage()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Watch every client of every botocore session that is made in the block."""
        botocore.register_initializer(self._watch)
        try:
            yield
        finally:
            botocore.unregister_initializer(self._watch)

    def _watch(self, session: Session) -> None:
        session.register("before-parameter-build.dynamodb", self._before)
        session.register("after-call.dynamodb", self._after)
        session.register("after-call.sqs.SendMessage", self._timer)
        session.register("after-call.sqs.SendMessageBatch", self._timer)

    def _before(
        self, params: Arguments, model: OperationModel, context: Arguments, **_: object
    ) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"
        found = list(targets(model.name, params))
        context["bench"] = params, found, self._items(found)

    def _after(
        self, parsed: Request, model: OperationModel, context: Arguments, **_: object
    ) -> None:
        params, found, before = context["bench"]
        if params.get("Select") == "COUNT":
            # It says how many there were, and is priced as if it had returned them.
            counted = {name: it for name, it in params.items() if name not in _OF_OUR_OWN}
            parsed = {**parsed, "Items": self.reader.query(**counted)["Items"]}
        by_rule = (
            read(model.name, params, parsed)
            if model.name in READS
            else written(model.name, found, before, self._items(found))
        )
        self.usage += Usage(_reported(model.name, parsed), by_rule, calls=1)

    def _timer(self, **_: object) -> None:
        self.usage += Usage(timers=1)

    def _items(self, targets: Sequence[tuple[str, Key]]) -> list[Item | None]:
        return [
            self.reader.get_item(TableName=name, Key=key, ConsistentRead=True).get("Item")
            for name, key in targets
        ]


@dataclass(frozen=True, slots=True)
class CountingGateway:
    """Takes every post and every close, and counts them as the requests that they are."""

    meter: Meter

    def post(self, posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        del until
        for post in posts:
            self.meter.usage += Usage(posts=len(post.connection_ids))
        return Delivery()

    def close(self, connection_id: str) -> None:
        del connection_id
        self.meter.usage += Usage(posts=1)


def _reported(operation: str, answer: Request) -> Units:
    told = answer.get("ConsumedCapacity") or []
    tables = [told] if isinstance(told, Mapping) else told
    units = sum(one["CapacityUnits"] for one in tables)
    return Units(reads=units) if operation in READS else Units(writes=units)
