"""What is stored: shown as JSON, and carried over from one run to the next (`--keep`)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import Binary, TypeDeserializer
from botocore.exceptions import BotoCoreError, ClientError

from local.aws import client
from local.stack import StackError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from local.deploy import Deployed
    from local.stack import Settings

LIMIT = 100
_KEYS = {
    "Connections": ("connection_id",),
    "Users": ("user_id",),
    "Subscriptions": ("topic", "subscriber"),
}


def stored(dynamodb: Any, tables: Mapping[str, str], users: Collection[str] = ()) -> dict[str, Any]:  # noqa: ANN401 - boto3 makes its clients at run time
    """Read the tables, each in the order of its keys.

    Args:
        dynamodb: a client of the local AWS.
        tables: the tables' names, by their names in the template.
        users: if there are any, only what concerns them is returned.

    Returns:
        `{now, tables: {name: items}, truncated}`; a table has `LIMIT` items at most, and
        `truncated` tells whether one has more.

    Raises:
        StackError: the local AWS does not answer.
    """
    try:
        items = {name: list(_items(dynamodb, table)) for name, table in tables.items()}
    except (BotoCoreError, ClientError) as error:
        message = "The local AWS does not answer."
        raise StackError(message) from error
    chosen = {name: _chosen(name, found, frozenset(users)) for name, found in items.items()}
    return {
        "now": time.time_ns() // 1_000_000,
        "tables": {name: found[:LIMIT] for name, found in chosen.items()},
        "truncated": any(len(found) > LIMIT for found in chosen.values()),
    }


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever DynamoDB can hold
    """Return a value of an item as JSON has it: bytes in Base64, a set as a sorted list."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case Binary() | bytes():
            return base64.b64encode(bytes(value)).decode()
        case Mapping():
            return {name: plain(part) for name, part in value.items()}
        case set() | frozenset():
            return sorted(map(plain, value))
        case list():
            return [plain(part) for part in value]
    return value


def _items(dynamodb: Any, table: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    read = TypeDeserializer().deserialize
    for item in _raw_items(dynamodb, table):
        yield {name: plain(read(value)) for name, value in item.items()}


def _raw_items(dynamodb: Any, table: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        yield from page["Items"]


def _chosen(table: str, items: list[dict[str, Any]], users: frozenset[str]) -> list[dict[str, Any]]:
    concerns = {"Connections": _theirs, "Users": _theirs, "Subscriptions": _about}[table]
    found = concerns(items, users) if users else items
    return sorted(found, key=lambda item: [item[key] for key in _KEYS[table]])


def _theirs(items: Iterable[dict[str, Any]], users: frozenset[str]) -> list[dict[str, Any]]:
    return [item for item in items if item.get("user_id") in users]


def _about(items: Iterable[dict[str, Any]], users: frozenset[str]) -> list[dict[str, Any]]:
    """Rows of the users and their connections, and of the users that watch or block them."""
    items = list(items)
    connections = {item["subscriber"] for item in items if item.get("user_id") in users}
    topics = {f"{kind}:{user}" for kind in ("user", "blocked") for user in users}
    topics |= {f"watching:{connection_id}" for connection_id in connections}
    return [
        item
        for item in items
        if item["topic"].partition("#")[0] in topics  # behind it is a shard
        or users & {item["subscriber"], item.get("user_id")}
    ]


# ── one run to the next ──────────────────────────────────────────────────────────────────────────


# The most that one BatchWriteItem takes.
_BATCH = 25


def save(settings: Settings, deployed: Deployed) -> None:
    """Write every stored item to the home of the stack.

    Raises:
        StackError: the local AWS does not answer any more.
    """
    dynamodb = client("dynamodb", settings.endpoint_url)
    try:
        items = {name: list(_raw_items(dynamodb, table)) for name, table in deployed.tables.items()}
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
