"""DynamoDB in dictionaries: the calls that the adapters make, some fifty times as fast as moto.

PynamoDB is real, and so is all above it. The contract tests hold this beside moto.
"""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from math import nan
from types import CodeType, SimpleNamespace
from typing import Any, TypeAlias

from botocore.exceptions import ClientError

# As template.yaml makes them, for moto too; a test of the template compares the two.
TABLES = {"connections": "Connections", "users": "Users", "subscriptions": "Subscriptions"}

SCHEMAS: list[dict[str, Any]] = [
    {
        "TableName": "Connections",
        "KeySchema": [{"AttributeName": "connection_id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "connection_id", "AttributeType": "S"}],
    },
    {
        "TableName": "Users",
        "KeySchema": [{"AttributeName": "user_id", "KeyType": "HASH"}],
        "AttributeDefinitions": [
            {"AttributeName": "user_id", "AttributeType": "S"},
            {"AttributeName": "online_shard", "AttributeType": "N"},
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "online",
                "KeySchema": [
                    {"AttributeName": "online_shard", "KeyType": "HASH"},
                    {"AttributeName": "user_id", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    },
    {
        "TableName": "Subscriptions",
        "KeySchema": [
            {"AttributeName": "topic", "KeyType": "HASH"},
            {"AttributeName": "subscriber", "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": "topic", "AttributeType": "S"},
            {"AttributeName": "subscriber", "AttributeType": "S"},
        ],
    },
]

KEYS = {
    schema["TableName"]: [part["AttributeName"] for part in schema["KeySchema"]]
    for schema in SCHEMAS
}


def create_tables(client: Any) -> None:
    for schema in SCHEMAS:
        client.create_table(BillingMode="PAY_PER_REQUEST", **schema)


Item: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, ...]

_ROSTER = ("online_shard", "user_id")
_PATH = r"#\d+(?:\.#\d+)*"
#: An expression of DynamoDB as one of Python.
_WORDS = (
    (rf"({_PATH}) BETWEEN (:\d+) AND (:\d+)", r"\2 <= \1 and \1 <= \3"),
    (rf"({_PATH})", r'get("\1")'),
    (r"(:\d+)", r'given("\1")'),
    (r"(?<![<>])=", "=="),
    (r"\bAND\b", "and"),
    (r"\bOR\b", "or"),
    (r"\bNOT\b", "not"),
    (r"\battribute_exists\b", "exists"),
    (r"\battribute_not_exists\b", "not exists"),
    (r"\bsize\b", "len"),
)


class _Refused(Exception):
    """A condition does not hold for this item."""

    def __init__(self, item: Item | None) -> None:
        super().__init__()
        self.item = item


@dataclass
class Tables:
    """Takes the place of botocore's client. Items are never changed, only put anew.

    `before` is called with every operation and its request, before it is done; `written` with each
    item of Users that was written, as it was and as it is.
    """

    items: dict[str, dict[Key, Item]] = field(default_factory=lambda: {name: {} for name in KEYS})
    before: Callable[[str, Item], None] = lambda *_: None
    written: Callable[[Item, Item], None] = lambda *_: None

    #: PynamoDB looks whether its client has credentials.
    _request_signer = SimpleNamespace(_credentials="testing")

    def _make_api_call(self, operation: str, request: Item) -> Item:
        self.before(operation, request)
        answer: Item = _OPERATIONS[operation](self, request)
        return answer

    # ── reading ────────────────────────────────────────────────────────────────────────

    def get(self, request: Item) -> Item:
        found = self._found(request["TableName"], request["Key"])
        return {} if found is None else {"Item": deepcopy(found)}

    def get_many(self, request: Item) -> Item:
        found = {
            table: [it for key in part["Keys"] if (it := self._found(table, key)) is not None]
            for table, part in request["RequestItems"].items()
        }
        return {"Responses": deepcopy(found), "UnprocessedKeys": {}}

    def query(self, request: Item) -> Item:
        table, start = request["TableName"], request.get("ExclusiveStartKey")
        keys = _ROSTER if "IndexName" in request else tuple(KEYS[table])
        fits = [
            item
            for item in self.items[table].values()
            if keys[0] in item and _holds(request, item, "KeyConditionExpression")
        ]
        fits.sort(key=lambda item: _plain(item[keys[1]]))
        if start is not None:
            fits = [it for it in fits if _plain(it[keys[1]]) > _plain(start[keys[1]])]
        page = fits[: request.get("Limit", len(fits))]
        is_filtered = "FilterExpression" in request
        kept = [it for it in page if not is_filtered or _holds(request, it, "FilterExpression")]
        answer: Item = {"Items": deepcopy(kept), "Count": len(kept), "ScannedCount": len(page)}
        if len(page) < len(fits):
            names = {*keys, *KEYS[table]}
            answer["LastEvaluatedKey"] = {name: page[-1][name] for name in names}
        return answer

    def scan(self, request: Item) -> Item:
        """All on one page."""
        items = self.items[request["TableName"]].values()
        found = [deepcopy(it) for it in items if _holds(request, it, "FilterExpression")]
        return {"Items": found, "Count": len(found), "ScannedCount": len(items)}

    def _found(self, table: str, key: Item) -> Item | None:
        return self.items[table].get(_key(table, key))

    # ── writing ────────────────────────────────────────────────────────────────────────

    def write(self, request: Item) -> Item:
        """One put, update or delete."""
        try:
            before = self._check(request)
        except _Refused as refusal:
            error = {"Code": "ConditionalCheckFailedException", "Message": ""}
            raise ClientError({"Error": error, **_as_item(refusal.item)}, "Write") from None
        after = self._apply(request)
        image = {"ALL_OLD": before, "ALL_NEW": after}.get(request.get("ReturnValues", ""))
        return {} if image is None else {"Attributes": deepcopy(image)}

    def write_many(self, request: Item) -> Item:
        for table, changes in request["RequestItems"].items():
            for change in changes:
                (one,) = change.values()
                self._apply({"TableName": table, **one})
        return {}

    def transact(self, request: Item) -> Item:
        operations = [next(iter(it.values())) for it in request["TransactItems"]]
        reasons = [self._reason(it) for it in operations]
        if any(it["Code"] != "None" for it in reasons):
            error = {"Code": "TransactionCanceledException", "Message": ""}
            refusal: Any = {"Error": error, "CancellationReasons": reasons}
            raise ClientError(refusal, "TransactWriteItems")
        for it in operations:
            self._apply(it)
        return {}

    def _reason(self, request: Item) -> Item:
        try:
            self._check(request)
        except _Refused as refusal:
            return {"Code": "ConditionalCheckFailed", "Message": "", **_as_item(refusal.item)}
        return {"Code": "None"}

    def _check(self, request: Item) -> Item | None:
        before = self._found(request["TableName"], request.get("Key") or request["Item"])
        if "ConditionExpression" in request and not _holds(request, before or {}):
            raise _Refused(before)
        return before

    def _apply(self, request: Item) -> Item | None:
        table = request["TableName"]
        key = _key(table, request.get("Key") or request["Item"])
        before = self.items[table].get(key)
        if "UpdateExpression" in request:
            after = _updated(before or request["Key"], request)
        elif "Item" in request:
            after = request["Item"]
        else:
            self.items[table].pop(key, None)
            return None
        self.items[table][key] = deepcopy(after)
        if table == "Users":
            self.written(before or {}, self.items[table][key])
        return after


_OPERATIONS: dict[str, Callable[[Tables, Item], Item]] = {
    "GetItem": Tables.get,
    "BatchGetItem": Tables.get_many,
    "Query": Tables.query,
    "Scan": Tables.scan,
    "PutItem": Tables.write,
    "UpdateItem": Tables.write,
    "DeleteItem": Tables.write,
    "BatchWriteItem": Tables.write_many,
    "TransactWriteItems": Tables.transact,
}


def _key(table: str, item: Item) -> Key:
    return tuple(_plain(item[name]) for name in KEYS[table])


def _as_item(item: Item | None) -> Item:
    return {} if item is None else {"Item": deepcopy(item)}


def _plain(value: Item | None) -> Any:
    """Nothing compares with what is not there."""
    if value is None:
        return nan
    kind, found = next(iter(value.items()))
    return int(found) if kind == "N" else found


def _at(item: Item, path: list[str]) -> Item | None:
    found: Any = {"M": item}
    for name in path:
        found = found.get("M", {}).get(name) if found else None
    return found if found is None else dict(found)


def _names(request: Item, path: str) -> list[str]:
    return [request["ExpressionAttributeNames"][it] for it in path.split(".")]


# ── expressions ────────────────────────────────────────────────────────────────────────────


@cache
def _compiled(expression: str) -> CodeType:
    for pattern, word in _WORDS:
        expression = re.sub(pattern, word, expression)
    return compile(expression, "condition", "eval")


def _holds(request: Item, item: Item, name: str = "ConditionExpression") -> bool:
    words = {
        "get": lambda path: _plain(_at(item, _names(request, path))),
        "given": lambda value: _plain(request["ExpressionAttributeValues"][value]),
        "exists": lambda value: value == value,  # noqa: PLR0124  nan is what is not there
        "len": len,
        "contains": _contains,
        "begins_with": str.startswith,
    }
    return bool(eval(_compiled(request[name]), words))  # noqa: S307  our own expressions


def _contains(found: Any, value: Any) -> bool:
    """Nothing is in what is not there."""
    return isinstance(found, list) and value in found


@cache
def _steps(expression: str) -> list[tuple[str, str, str | None]]:
    """What to do where with which value."""
    parts = re.split(r"\b(SET|REMOVE|ADD|DELETE)\b", expression)[1:]
    steps = []
    for verb, text in zip(parts[::2], parts[1::2], strict=True):
        one = rf"({_PATH})(?:\s*=\s*{_PATH} (\+) (:\d+)|\s*=?\s*(:\d+))?"
        found: Iterator[re.Match[str]] = re.finditer(one, text)
        steps += [("ADD" if it[2] else verb, it[1], it[3] or it[4]) for it in found]
    return steps


def _updated(item: Item, request: Item) -> Item:
    after = deepcopy(item)
    for verb, path, value in _steps(request["UpdateExpression"]):
        *way, name = _names(request, path)
        place = after
        for it in way:
            place = place[it]["M"]
        given = None if value is None else request["ExpressionAttributeValues"][value]
        _change(place, name, verb, given)
    return after


def _change(place: Item, name: str, verb: str, given: Item | None) -> None:
    if verb == "SET":
        place[name] = given
        return
    if verb == "REMOVE" or given is None:
        place.pop(name, None)
        return
    kind, new = next(iter(given.items()))
    if kind == "N":
        place[name] = {"N": str(int(place.get(name, {"N": 0})["N"]) + int(new))}
        return
    old = set(place.get(name, {}).get(kind, ()))
    left = old | set(new) if verb == "ADD" else old - set(new)
    place.pop(name, None)
    if left:  # there is no empty set
        place[name] = {kind: sorted(left)}
