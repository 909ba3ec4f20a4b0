import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import boto3
import pytest
from boto3.dynamodb.types import Binary
from botocore.config import Config
from moto import mock_aws

from local.stack import REGION, StackError
from local.tables import LIMIT, plain, stored
from tests.tables import SCHEMAS

#: By their names in the template; this stack's own names differ.
TABLES = {name: name for name in ("Connections", "Users", "Subscriptions")}
ITEMS: dict[str, list[dict[str, Any]]] = {
    "Connections": [
        {"connection_id": {"S": "c1"}, "user_id": {"S": "ada"}, "is_watching": {"BOOL": True}},
        {"connection_id": {"S": "c2"}, "user_id": {"S": "grace"}},
        {"connection_id": {"S": "c3"}},
    ],
    "Users": [
        {"user_id": {"S": "ada"}, "version": {"N": "17"}},
        {"user_id": {"S": "grace"}, "blocked": {"M": {"linus": {"N": "1"}}}},
        {"user_id": {"S": "#online"}, "online": {"N": "2"}},
    ],
    "Subscriptions": [
        {"topic": {"S": "user:ada"}, "subscriber": {"S": "c2"}, "user_id": {"S": "grace"}},
        {"topic": {"S": "user:linus"}, "subscriber": {"S": "c1"}, "user_id": {"S": "ada"}},
        {"topic": {"S": "members:lobby"}, "subscriber": {"S": "ada"}},
        {"topic": {"S": "members:lobby"}, "subscriber": {"S": "grace"}},
        {"topic": {"S": "blocked:linus"}, "subscriber": {"S": "grace"}},
        {
            "topic": {"S": "watching:c1"},
            "subscriber": {"S": "0000"},
            "entries": {"SS": ["linus", "grace"]},
        },
    ],
}


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        made = boto3.client("dynamodb", region_name=REGION)
        for schema in SCHEMAS:
            made.create_table(**schema, BillingMode="PAY_PER_REQUEST")
        for table, items in ITEMS.items():
            for item in items:
                made.put_item(TableName=table, Item=item)
        yield made


def keys(found: Mapping[str, Any]) -> dict[str, list[str]]:
    names = {"Connections": "connection_id", "Users": "user_id"}
    return {
        table: [
            it[names[table]] if table in names else f"{it['topic']} {it['subscriber']}"
            for it in items
        ]
        for table, items in found["tables"].items()
    }


def test_everything_is_shown_in_the_order_of_its_keys(dynamodb: Any) -> None:
    found = stored(dynamodb, TABLES)

    assert keys(found) == {
        "Connections": ["c1", "c2", "c3"],
        "Users": ["#online", "ada", "grace"],
        "Subscriptions": [
            *("blocked:linus grace", "members:lobby ada", "members:lobby grace"),
            *("user:ada c2", "user:linus c1", "watching:c1 0000"),
        ],
    }
    assert found["truncated"] is False
    assert found["now"] > 1_700_000_000_000


def test_it_is_json_without_the_types_of_the_table(dynamodb: Any) -> None:
    found = json.loads(json.dumps(stored(dynamodb, TABLES)))

    assert found["tables"]["Users"][1] == {"user_id": "ada", "version": 17}
    assert found["tables"]["Subscriptions"][-1]["entries"] == ["grace", "linus"]
    assert found["tables"]["Users"][2]["blocked"] == {"linus": 1}


def test_of_one_user_that_is_shown_what_concerns_that_user(dynamodb: Any) -> None:
    assert keys(stored(dynamodb, TABLES, ["ada"])) == {
        "Connections": ["c1"],
        "Users": ["ada"],
        "Subscriptions": ["members:lobby ada", "user:ada c2", "user:linus c1", "watching:c1 0000"],
    }
    assert keys(stored(dynamodb, TABLES, ["linus"])) == {
        "Connections": [],
        "Users": [],
        "Subscriptions": ["blocked:linus grace", "user:linus c1"],
    }


def test_of_two_users_is_shown_what_concerns_either(dynamodb: Any) -> None:
    found = keys(stored(dynamodb, TABLES, ["ada", "grace"]))

    assert found["Users"] == ["ada", "grace"]
    assert found["Connections"] == ["c1", "c2"]
    assert len(found["Subscriptions"]) == 6


def test_a_long_table_is_cut_and_that_is_said(dynamodb: Any) -> None:
    for number in range(LIMIT):
        dynamodb.put_item(TableName="Users", Item={"user_id": {"S": f"u{number}"}})
    found = stored(dynamodb, TABLES)
    assert len(found["tables"]["Users"]) == LIMIT
    assert found["truncated"] is True

    # What counts is what is shown: the one user asked for is among the others.
    assert stored(dynamodb, TABLES, ["u99"])["tables"]["Users"] == [{"user_id": "u99"}]
    assert stored(dynamodb, TABLES, ["u99"])["truncated"] is False


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Decimal(3), 3),
        (Decimal("3E+2"), 300),
        (Decimal("0.5"), 0.5),
        (Binary(b"\0\xff"), "AP8="),
        ({"b", "a"}, ["a", "b"]),
        ({Decimal(2), Decimal(1)}, [1, 2]),
        ([{"a": {Decimal(1)}}, None, True], [{"a": [1]}, None, True]),
    ],
)
def test_a_value_is_shown_as_json_has_it(value: object, shown: object) -> None:
    assert plain(value) == shown
    assert json.dumps(plain(value)) == json.dumps(shown)


def test_a_local_aws_that_has_gone_is_said_to_have() -> None:
    unreachable = boto3.client(
        "dynamodb",
        endpoint_url="http://127.0.0.1:9",
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(StackError, match="does not answer"):
        stored(unreachable, TABLES)


def test_every_shard_of_a_much_watched_user_is_shown(dynamodb: Any) -> None:
    for topic in ("user:ada#1", "user:adam#1"):
        row = {"topic": {"S": topic}, "subscriber": {"S": "c4"}, "user_id": {"S": "eve"}}
        dynamodb.put_item(TableName="Subscriptions", Item=row)

    found = keys(stored(dynamodb, TABLES, ["ada"]))["Subscriptions"]

    assert "user:ada#1 c4" in found
    assert "user:adam#1 c4" not in found
