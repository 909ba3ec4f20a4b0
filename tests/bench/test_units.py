"""The rules, against the examples in the Developer Guide where it has one."""

from typing import Any

import pytest

from bench.units import (
    Item,
    index_write_units,
    item_size,
    read_units,
    table,
    write_units,
)
from tests.tables import SCHEMAS

USERS = table(next(schema for schema in SCHEMAS if schema["TableName"] == "Users"))
KEY = ("online_shard", "user_id")


def of_size(size: int) -> Item:
    return {"a": {"S": "x" * (size - 1)}}


def user(**attributes: Any) -> Item:
    return {"user_id": {"S": "ada"}, **attributes}


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": ""}, 0),
        ({"S": "ada"}, 3),
        ({"S": "é€😀"}, 2 + 3 + 4),
        ({"B": b"\x00\x01"}, 2),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["ab", "é"]}, 2 + 2),
        ({"L": []}, 3),
        ({"M": {}}, 3),
        ({"L": [{"S": "ab"}, {"BOOL": True}]}, 3 + (1 + 2) + (1 + 1)),
        ({"M": {"key": {"S": "ab"}}}, 3 + 1 + 3 + 2),
        ({"M": {"a": {"M": {"b": {"N": "1"}}}}}, 3 + (1 + 1) + 3 + (1 + 1) + 2),
    ],
)
def test_a_value_has_the_size_that_the_guide_gives(value: Any, size: int) -> None:
    assert item_size({"name": value}) == len("name") + size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 1),
        ("7", 2),
        ("42", 2),
        ("123", 3),
        ("1748856600123", 8),
        ("1748856600000", 5),  # trailing zeros are trimmed
        ("0.0015", 2),  # and leading ones
        ("-42", 2),
        ("1.5E+10", 2),
    ],
)
def test_a_number_has_a_byte_for_two_digits_and_one_more(text: str, size: int) -> None:
    assert item_size({"n": {"N": text}}) == 1 + size


def test_an_items_size_counts_names_in_utf_8() -> None:
    assert item_size({"é": {"S": "a"}, "b": {"S": "c"}}) == 3 + 2
    assert item_size(None) == 0


@pytest.mark.parametrize(
    ("size", "consistent", "units"),
    [
        (0, False, 0.5),  # a read that finds nothing
        (0, True, 1),
        (3584, False, 0.5),
        (3584, True, 1),
        (4096, True, 1),
        (4097, True, 2),
        (8192, False, 1),
        (80 * 1024, False, 10),  # the guide's query
        (int(40.8 * 1024), True, 11),  # and its other one: 44 KB
    ],
)
def test_a_read_costs_half_a_unit_for_4_kb_and_a_whole_one_if_consistent(
    size: int, consistent: bool, units: float
) -> None:
    assert read_units(size, consistent=consistent) == units


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        (None, of_size(500), 1),
        (None, of_size(1024), 1),
        (None, of_size(1025), 2),
        (of_size(1640), None, 2),  # the guide's delete
        (of_size(2000), of_size(100), 2),
        (of_size(100), of_size(2000), 2),
        (None, None, 1),  # a delete that finds nothing, a condition on an item that is not there
    ],
)
def test_a_write_costs_a_unit_for_each_kb_of_the_larger_item(
    before: Item | None, after: Item | None, units: int
) -> None:
    assert write_units(before, after) == units
    assert write_units(before, after, in_transaction=True) == 2 * units


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        (None, None, 0),
        (None, user(online_shard={"N": "3"}), 1),
        (user(online_shard={"N": "3"}), None, 1),
        (user(online_shard={"N": "3"}), user(online_shard={"N": "4"}), 2),
        (user(online_shard={"N": "3"}), user(online_shard={"N": "3"}), 0),
        (user(online_shard={"N": "3"}, a={"S": "1"}), user(online_shard={"N": "3"}), 1),
    ],
)
def test_an_index_is_written_when_its_entry_changes_and_twice_when_it_moves(
    before: Item | None, after: Item | None, units: int
) -> None:
    assert index_write_units(before, after, KEY) == units


def test_a_keys_only_index_holds_keys_and_only_of_items_that_have_them() -> None:
    index = USERS.indexes[0]
    assert index.entry(user(text={"S": "hi"})) is None
    assert index.entry(None) is None
    assert index.entry(user(text={"S": "hi"}, online_shard={"N": "3"})) == user(
        online_shard={"N": "3"}
    )


def test_who_arrives_costs_the_index_and_who_pings_does_not() -> None:
    away, here = user(), user(online_shard={"N": "3"})
    assert USERS.write_units(away, here) == 1 + 1
    assert USERS.write_units(away, here, in_transaction=True) == 2 + 1
    assert USERS.write_units(here, {**here, "ttl": {"N": "5"}}) == 1
    assert USERS.write_units(here, away) == 1 + 1


def test_an_index_of_more_than_keys_is_not_priced_wrongly() -> None:
    index = {"KeySchema": [{"AttributeName": "a"}], "Projection": {"ProjectionType": "ALL"}}
    with pytest.raises(ValueError, match="keys"):
        table({"KeySchema": [{"AttributeName": "b"}], "GlobalSecondaryIndexes": [index]})
