"""Carries the stored items of one run over to the next (`--keep`)."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError

from local.aws import client
from local.stack import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.deploy import Deployed
    from local.stack import Settings

# The most that one BatchWriteItem takes.
_BATCH = 25


def save(settings: Settings, deployed: Deployed) -> None:
    """Write every stored item to the home of the stack.

    Raises:
        StackError: the local AWS does not answer any more.
    """
    dynamodb = client("dynamodb", settings.endpoint_url)
    try:
        items = {name: list(_items(dynamodb, table)) for name, table in deployed.tables.items()}
    except BotoCoreError as error:
        message = "The local AWS does not answer; what was stored since the start is lost."
        raise StackError(message) from error
    fresh = settings.kept_file.with_suffix(".new")
    fresh.write_text(json.dumps(items, default=_binary))
    fresh.replace(settings.kept_file)


def load(settings: Settings, deployed: Deployed) -> int:
    """Store again what the last run saved; return the number of items."""
    if not settings.kept_file.exists():
        return 0
    kept = json.loads(settings.kept_file.read_text(), object_hook=_from_binary)
    dynamodb = client("dynamodb", settings.endpoint_url)
    for name, table in deployed.tables.items():
        for batch in _batches(kept.get(name, [])):
            puts = [{"PutRequest": {"Item": item}} for item in batch]
            dynamodb.batch_write_item(RequestItems={table: puts})
    return sum(len(items) for items in kept.values())


def _items(dynamodb: Any, table: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        yield from page["Items"]


def _batches(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _binary(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        message = f"{type(value).__name__} is no attribute value"
        raise TypeError(message)
    return {"base64": base64.b64encode(value).decode()}


def _from_binary(value: dict[str, Any]) -> Any:  # noqa: ANN401
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value
