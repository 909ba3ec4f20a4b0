"""Both sides of every port: the fakes, and the adapters on moto's DynamoDB and SQS."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto import mock_aws

from presence.adapters.dynamodb.connections import DynamoDBConnections
from presence.adapters.dynamodb.roster import DynamoDBRoster
from presence.adapters.dynamodb.subscriptions import DynamoDBMembers, DynamoDBSubscriptions
from presence.adapters.dynamodb.tables import bind
from presence.adapters.dynamodb.users import DynamoDBUsers
from presence.ports import Connections, Members, Roster, Subscriptions, Users
from tests.dynamodb import KEYS, TABLES, create_tables
from tests.fakes import (
    FakeConnections,
    FakeMembers,
    FakeRoster,
    FakeSubscriptions,
    FakeTables,
    FakeUsers,
)


@dataclass(frozen=True)
class Store:
    connections: Connections
    users: Users
    roster: Roster
    subscriptions: Subscriptions
    members: Members
    #: All that is stored, in a form that can be compared with what is stored later.
    everything: Callable[[], Any]


def fakes() -> Store:
    tables = FakeTables()
    return Store(
        FakeConnections(tables),
        FakeUsers(tables),
        FakeRoster(tables),
        FakeSubscriptions(tables),
        FakeMembers(tables),
        lambda: deepcopy(tables),
    )


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-central-1")
    with mock_aws():
        yield


@pytest.fixture
def dynamodb(aws: None) -> Store:
    del aws
    create_tables(boto3.client("dynamodb"))
    client = bind(**TABLES)
    return Store(
        DynamoDBConnections(client),
        DynamoDBUsers(client, is_global=True),
        DynamoDBRoster(client),
        DynamoDBSubscriptions(client, is_global=True),
        DynamoDBMembers(),
        lambda: {name: items(name) for name in TABLES.values()},
    )


def items(table: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """Every item of a table as it is, by its key."""
    names = KEYS[table]
    found = boto3.resource("dynamodb").Table(table).scan()["Items"]
    return {tuple(item[name] for name in names): item for item in found}


@pytest.fixture(params=["fake", "dynamodb"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "fake":
        return fakes()
    real: Store = request.getfixturevalue("dynamodb")
    return real
