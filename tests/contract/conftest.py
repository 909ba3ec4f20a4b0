"""Both sides of every port: the fakes, and the adapters on moto's DynamoDB and SQS."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

import boto3
import pytest
from moto import mock_aws

from presence.adapters.dynamodb.connections import DynamoDBConnections
from presence.adapters.dynamodb.members import DynamoDBMembers
from presence.adapters.dynamodb.online_index import DynamoDBOnlineIndex
from presence.adapters.dynamodb.sent_messages import DynamoDBSentMessages
from presence.adapters.dynamodb.subscriptions import DynamoDBSubscriptions
from presence.adapters.dynamodb.tables import bind
from presence.adapters.dynamodb.users import DynamoDBUsers
from presence.ports import (
    ConnectionRecords,
    Members,
    OnlineIndex,
    SentMessages,
    Subscriber,
    Subscriptions,
    Topic,
    Users,
)
from proof.simulation.faults import Faults, Faulty, Injector
from proof.simulation.memory import Memory
from proof.simulation.scheduler import Scheduler
from tests.fakes import (
    FakeConnections,
    FakeMembers,
    FakeOnlineIndex,
    FakeSentMessages,
    FakeSubscriptions,
    FakeTables,
    FakeUsers,
)
from tests.tables import KEYS, TABLES, Tables, create_tables


@dataclass(frozen=True)
class Store:
    connections: ConnectionRecords
    users: Users
    online_index: OnlineIndex
    subscriptions: Subscriptions
    members: Members
    sent: SentMessages
    #: All that is stored, in a form that can be compared with what is stored later.
    everything: Callable[[], Any]

    def heard(self, topic: Topic) -> list[Subscriber]:
        """Who hears of a topic, read as many functions would: shard by shard, page by page."""
        found: list[Subscriber] = []
        for shard in range(self.subscriptions.part(topic).shards):
            part = self.subscriptions.part(topic, shard)
            found += part.subscribers
            while part.after is not None:
                part = self.subscriptions.part(topic, shard, part.after)
                found += part.subscribers
        return found


def fakes() -> Store:
    tables = FakeTables()
    return Store(
        FakeConnections(tables),
        FakeUsers(tables),
        FakeOnlineIndex(tables),
        FakeSubscriptions(tables),
        FakeMembers(tables),
        FakeSentMessages(tables),
        lambda: deepcopy(tables),
    )


@pytest.fixture
def simulated() -> Store:
    """The fakes as the simulation has them, where nothing fails and nothing runs beside."""
    scheduler = Scheduler(Random(0))  # noqa: S311
    injector = Injector(scheduler.rng, Faults(), lambda *_: None)
    memory = Memory(scheduler.rng, scheduler, lambda: 0, lambda *_: None)

    def port(name: str, make: Callable[[FakeTables], Any], *, single: bool = False) -> Any:
        return Faulty(name, make, memory, injector, single=single)

    return Store(
        port("connections", FakeConnections),
        port("users", FakeUsers, single=True),
        port("online_index", FakeOnlineIndex),
        port("subscriptions", FakeSubscriptions),
        port("members", FakeMembers),
        port("sent", FakeSentMessages),
        lambda: deepcopy(memory.tables),
    )


@cache
def moto() -> Any:
    """DynamoDB as tests look at it: to make a client takes longer than most tests."""
    known = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.resource("dynamodb", region_name="eu-central-1", **known)


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
    create_tables(moto().meta.client)
    client = bind(**TABLES)
    return Store(
        DynamoDBConnections(client),
        DynamoDBUsers(client, is_global=True),
        DynamoDBOnlineIndex(client),
        DynamoDBSubscriptions(client, is_global=True),
        DynamoDBMembers(client),
        DynamoDBSentMessages(client),
        lambda: {name: items(name) for name in TABLES.values()},
    )


@pytest.fixture
def dictionaries(monkeypatch: pytest.MonkeyPatch, aws: None) -> Store:
    """The adapters on what the stateful tests put in place of DynamoDB."""
    del aws
    tables = Tables()
    client = bind(**TABLES)
    monkeypatch.setattr(client, "_client", tables)
    return Store(
        DynamoDBConnections(client),
        DynamoDBUsers(client, is_global=True),
        DynamoDBOnlineIndex(client),
        DynamoDBSubscriptions(client, is_global=True),
        DynamoDBMembers(client),
        DynamoDBSentMessages(client),
        lambda: deepcopy(tables.items),
    )


def items(table: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """Every item of a table as it is, by its key."""
    names = KEYS[table]
    found = moto().Table(table).scan()["Items"]
    return {tuple(item[name] for name in names): item for item in found}


@pytest.fixture(params=["fake", "simulated", "dynamodb", "dictionaries"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "fake":
        return fakes()
    real: Store = request.getfixturevalue(request.param)
    return real
