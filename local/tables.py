"""What is stored at this moment, as JSON to look at."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import Binary, TypeDeserializer
from botocore.exceptions import BotoCoreError, ClientError

from local.stack import StackError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

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
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            yield {name: plain(read(value)) for name, value in item.items()}


def _chosen(table: str, items: list[dict[str, Any]], users: frozenset[str]) -> list[dict[str, Any]]:
    concerns = {"Connections": _theirs_or_beside, "Users": _theirs, "Subscriptions": _about}[table]
    found = concerns(items, users) if users else items
    return sorted(found, key=lambda item: [item[key] for key in _KEYS[table]])


def _theirs(items: Iterable[dict[str, Any]], users: frozenset[str]) -> list[dict[str, Any]]:
    return [item for item in items if item.get("user_id") in users]


def _theirs_or_beside(items: list[dict[str, Any]], users: frozenset[str]) -> list[dict[str, Any]]:
    """Connection records of the users, and the items whose key is a connection id, `#` and more."""
    gates = {gate["connection_id"] for gate in _theirs(items, users)}
    return [item for item in items if item["connection_id"].partition("#")[0] in gates]


def _about(items: Iterable[dict[str, Any]], users: frozenset[str]) -> list[dict[str, Any]]:
    """Rows of the users and their connections, and of the users that watch or block them."""
    topics = {f"{kind}:{user}" for kind in ("user", "blocked") for user in users}
    return [
        item
        for item in items
        if item["topic"].partition("#")[0] in topics  # behind it is a shard
        or users & {item["subscriber"], item.get("user_id")}
    ]
