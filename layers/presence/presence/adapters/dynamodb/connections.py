"""The gates, in the Connections table."""

from collections.abc import Sequence

from pynamodb.connection import Connection as Client
from pynamodb.expressions.update import Action

from presence.adapters.dynamodb.tables import (
    ConditionFailed,
    ConnectionItem,
    Operation,
    instant,
    update_of,
    write,
)
from presence.domain.connection import Connection, State

#: API Gateway ends a connection after two hours; no event of it comes much later than that.
OPEN_TTL_SECONDS = 2 * 60 * 60 + 15 * 60
#: As long as anything that was under way when the gate closed could still arrive.
CLOSED_TTL_SECONDS = 15 * 60


class DynamoDBConnections:
    def __init__(self, client: Client) -> None:
        self._client = client

    def open(self, connection: Connection) -> None:
        item = _item(connection)
        unknown = ConnectionItem.connection_id.does_not_exist()
        write(self._client, "PutItem", item.get_save_kwargs_from_instance(unknown))

    def read(self, connection_id: str, *, consistent: bool = False) -> Connection | None:
        try:
            return _connection(ConnectionItem.get(connection_id, consistent_read=consistent))
        except ConnectionItem.DoesNotExist:
            return None

    def close(self, connection_id: str, now: int) -> Connection | None:
        known = ConnectionItem.connection_id.exists()
        update = update_of(ConnectionItem(connection_id), _closing(now), known)
        try:
            before = write(self._client, "UpdateItem", update | {"ReturnValues": "ALL_OLD"})
        except ConditionFailed:
            return None
        return _connection(ConnectionItem.from_raw_data(before))

    def close_unclaimed(self, connection_id: str, now: int) -> bool:
        unclaimed = ConnectionItem.state == State.OPEN.value
        update = update_of(ConnectionItem(connection_id), _closing(now), unclaimed)
        try:
            write(self._client, "UpdateItem", update)
        except ConditionFailed:
            return False
        return True

    def spend(self, connection: Connection, spent_until: int) -> bool:
        item = ConnectionItem(connection.connection_id)
        unspent = ConnectionItem.spent_until == connection.spent_until
        update = update_of(item, [ConnectionItem.spent_until.set(spent_until)], unspent)
        try:
            write(self._client, "UpdateItem", update)
        except ConditionFailed:
            return False
        return True


def claim(connection_id: str, user_id: str, token_expires_at: int) -> Operation:
    """The gate's part of `Users.admit`: open, or this user's already."""
    actions = [
        ConnectionItem.state.set(State.AUTHENTICATED.value),
        ConnectionItem.user_id.set(user_id),
        ConnectionItem.token_expires_at.set(token_expires_at),
    ]
    is_open = ConnectionItem.state == State.OPEN.value
    is_theirs = (ConnectionItem.state == State.AUTHENTICATED.value) & (
        ConnectionItem.user_id == user_id
    )
    return update_of(ConnectionItem(connection_id), actions, is_open | is_theirs)


def _closing(now: int) -> Sequence[Action]:
    return [
        ConnectionItem.state.set(State.CLOSED.value),
        ConnectionItem.ttl.set(now // 1000 + CLOSED_TTL_SECONDS),
    ]


def _item(connection: Connection) -> ConnectionItem:
    return ConnectionItem(
        connection.connection_id,
        endpoint=connection.endpoint,
        state=connection.state.value,
        opened_at=connection.opened_at,
        ttl=connection.opened_at // 1000 + OPEN_TTL_SECONDS,
    )


def _connection(item: ConnectionItem) -> Connection:
    return Connection(
        connection_id=item.connection_id,
        endpoint=item.endpoint,
        opened_at=int(item.opened_at),
        state=State(item.state),
        user_id=item.user_id,
        token_expires_at=instant(item.token_expires_at),
        spent_until=int(item.spent_until),
    )
