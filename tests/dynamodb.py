"""The tables as template.yaml makes them, for moto; a test of the template compares the two."""

from typing import Any

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
