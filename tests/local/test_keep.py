from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from local import keep
from local.deploy import Deployed
from local.stack import REGION, Settings

KEYS = {"Connections": "connection_id", "Users": "user_id", "Subscriptions": "topic"}


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    with mock_aws():
        dynamodb = boto3.client("dynamodb", region_name=REGION)
        for name, key in KEYS.items():
            dynamodb.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        monkeypatch.setattr(keep, "client", lambda *_: dynamodb)
        yield Deployed("ws://w", "http://h", {f"{name}Table": name for name in KEYS}, {})


def test_items_come_back_as_they_were(tmp_path: Path, deployed: Deployed) -> None:
    here = Settings(home=tmp_path)
    dynamodb = boto3.client("dynamodb", region_name=REGION)
    stored = [{"user_id": {"S": f"u{n}"}, "raw": {"B": b"\0\xff"}} for n in range(60)]
    for item in stored:
        dynamodb.put_item(TableName="Users", Item=item)
    keep.save(here, deployed)
    for item in stored:
        dynamodb.delete_item(TableName="Users", Key={"user_id": item["user_id"]})

    assert keep.load(here, deployed) == 60
    back = dynamodb.scan(TableName="Users")["Items"]
    assert sorted(map(str, back)) == sorted(map(str, stored))


def test_nothing_kept_is_nothing_loaded(tmp_path: Path, deployed: Deployed) -> None:
    assert keep.load(Settings(home=tmp_path), deployed) == 0
