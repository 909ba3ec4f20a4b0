"""What DynamoDB bills for a request, by its published rules.

In the Amazon DynamoDB Developer Guide, by page:
    "DynamoDB item sizes and formats"      how large an item is;
    "DynamoDB read and write operations"   what an operation costs (also: "Capacity unit
                                           consumption" for reads and for writes);
    "Using global secondary indexes"       what an index adds ("Write capacity units");
    "DynamoDB transactions: how it works"  twice ("Capacity management for transactions").
Items are as on the wire: {"user_id": {"S": "ada"}}.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.tables import SCHEMAS

Value: TypeAlias = Mapping[str, Any]
Item: TypeAlias = Mapping[str, Value]

READ_BYTES = 4096
WRITE_BYTES = 1024
_CONTAINER_BYTES, _ELEMENT_BYTES = 3, 1


# ── sizes ──────────────────────────────────────────────────────────────────────────────────


def item_size(item: Item | None) -> int:
    """In bytes: the names and the values. No item has none."""
    return sum(_text_size(name) + _value_size(value) for name, value in (item or {}).items())


def _value_size(value: Value) -> int:
    [(kind, content)] = value.items()
    return _SIZES[kind](content)


def _text_size(text: str) -> int:
    return len(text.encode())


def _number_size(text: str) -> int:
    """A byte for every two significant digits and one more; the guide says "approximately"."""
    digits = text.lower().partition("e")[0].lstrip("-+").replace(".", "").strip("0")
    return -(-len(digits) // 2) + 1


def _list_size(values: Sequence[Value]) -> int:
    return _CONTAINER_BYTES + sum(_ELEMENT_BYTES + _value_size(value) for value in values)


def _map_size(values: Item) -> int:
    return _CONTAINER_BYTES + _ELEMENT_BYTES * len(values) + item_size(values)


def _set_size(values: Sequence[str]) -> int:
    return sum(map(_text_size, values))


def _flag_size(_flag: bool) -> int:
    return 1


_SIZES: Mapping[str, Callable[[Any], int]] = {
    "S": _text_size,
    "SS": _set_size,
    "N": _number_size,
    "B": len,
    "BOOL": _flag_size,
    "NULL": _flag_size,
    "L": _list_size,
    "M": _map_size,
}


# ── units ──────────────────────────────────────────────────────────────────────────────────


def read_units(size: int, *, consistent: bool = False) -> float:
    """Of one item, or of everything that one query has read. To find nothing costs a read too."""
    units = _started(size, READ_BYTES)
    return float(units) if consistent else units / 2


def write_units(before: Item | None, after: Item | None, *, in_transaction: bool = False) -> int:
    """Of one item in its table; the larger of the two counts.

    A write whose condition does not hold leaves the item as it was, and costs as much.
    """
    units = _started(max(item_size(before), item_size(after)), WRITE_BYTES)
    return 2 * units if in_transaction else units


def index_write_units(before: Item | None, after: Item | None, key: Sequence[str]) -> int:
    """Of one item's entry in an index, beside its write in the table; None is no entry.

    Not twice in a transaction: an index follows its table afterwards. An entry that moves is
    deleted and put.
    """
    if before == after:
        return 0
    if before and after and any(before[name] != after[name] for name in key):
        return write_units(before, None) + write_units(None, after)
    return write_units(before, after)


def _started(size: int, step: int) -> int:
    return max(1, -(-size // step))


# ── tables ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Index:
    """A global secondary index that projects keys only, its own and the table's."""

    key: Sequence[str]
    table_key: Sequence[str]

    def entry(self, item: Item | None) -> Item | None:
        """What the index holds of an item: nothing if it lacks a part of the index's key."""
        if item is None or not all(name in item for name in self.key):
            return None
        return {name: item[name] for name in {*self.key, *self.table_key}}


@dataclass(frozen=True, slots=True)
class Table:
    key: Sequence[str]
    indexes: Sequence[Index] = ()

    def write_units(
        self, before: Item | None, after: Item | None, *, in_transaction: bool = False
    ) -> int:
        """Of one item, in the table and in its indexes."""
        units = write_units(before, after, in_transaction=in_transaction)
        for index in self.indexes:
            units += index_write_units(index.entry(before), index.entry(after), index.key)
        return units


def table(schema: Mapping[str, Any]) -> Table:
    """A table from the arguments of `create_table`."""
    key = _names(schema)
    indexes = schema.get("GlobalSecondaryIndexes", ())
    if any(index["Projection"] != {"ProjectionType": "KEYS_ONLY"} for index in indexes):
        raise ValueError("only indexes of keys can be priced")
    return Table(key, [Index(_names(index), key) for index in indexes])


def _names(schema: Mapping[str, Any]) -> Sequence[str]:
    return [element["AttributeName"] for element in schema["KeySchema"]]


# ── requests ───────────────────────────────────────────────────────────────────────────────

Request: TypeAlias = Mapping[str, Any]
Key: TypeAlias = Mapping[str, Any]

TABLES: Mapping[str, Table] = {schema["TableName"]: table(schema) for schema in SCHEMAS}
READS = {"GetItem", "BatchGetItem", "Query"}


@dataclass(frozen=True, slots=True)
class Units:
    reads: float = 0
    writes: float = 0

    def __add__(self, other: "Units") -> "Units":
        return Units(self.reads + other.reads, self.writes + other.writes)

    def __truediv__(self, by: float) -> "Units":
        return Units(self.reads / by, self.writes / by)


def targets(operation: str, params: Request) -> Iterator[tuple[str, Key]]:
    """The tables and keys of the items that a request writes."""
    match operation:
        case "TransactWriteItems":
            for member in params["TransactItems"]:
                [write] = member.values()
                yield _target(write)
        case "BatchWriteItem":
            yield from _batch_targets(params["RequestItems"])
        case _ if operation not in READS:
            yield _target(params)


def _batch_targets(requests: Request) -> Iterator[tuple[str, Key]]:
    for name, wishes in requests.items():
        for request in wishes:
            [write] = request.values()
            yield _target(write | {"TableName": name})


def _target(write: Request) -> tuple[str, Key]:
    name = write["TableName"]
    whole = write.get("Key") or write["Item"]
    return name, {attribute: whole[attribute] for attribute in TABLES[name].key}


def written(
    operation: str,
    targets: Sequence[tuple[str, Key]],
    before: Sequence[Item | None],
    after: Sequence[Item | None],
) -> Units:
    in_transaction = operation == "TransactWriteItems"
    units = (
        TABLES[name].write_units(old, new, in_transaction=in_transaction)
        for (name, _), old, new in zip(targets, before, after, strict=True)
    )
    return Units(writes=sum(units))


def read(operation: str, params: Request, answer: Request) -> Units:
    consistent = params.get("ConsistentRead", False)
    if operation == "BatchGetItem":
        return Units(reads=_batch(params, answer))
    # No query here has a filter, so what it returns is what it has read.
    items = answer["Items"] if operation == "Query" else [answer.get("Item")]
    return Units(reads=read_units(sum(map(item_size, items)), consistent=consistent))


def _batch(params: Request, answer: Request) -> float:
    """Each key is read by itself, also one that is not there."""
    units = 0.0
    for name, request in params["RequestItems"].items():
        consistent = request.get("ConsistentRead", False)
        found = answer["Responses"][name]
        sizes = [*map(item_size, found), *[0] * (len(request["Keys"]) - len(found))]
        units += sum(read_units(size, consistent=consistent) for size in sizes)
    return units
