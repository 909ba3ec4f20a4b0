"""Messages that were sent under a `clientId`, in the Subscriptions table, for some minutes.

A row is some 150 bytes, so each write of it costs one unit.
"""

import hashlib

from pynamodb.connection import Connection as Client

from presence.adapters.dynamodb.tables import ConditionFailed, SentItem, put_of, write
from presence.domain.message import Message
from presence.limits import CLIENT_ID_MILLISECONDS
from presence.ports import Sent
from presence.protocol.strict_json import encode


class DynamoDBSentMessages:
    def __init__(self, client: Client) -> None:
        self._client = client

    def claim(self, message: Message) -> Sent | None:
        too_old = message.sent_at - CLIENT_ID_MILLISECONDS
        free = SentItem.topic.does_not_exist() | (SentItem.sent_at <= too_old)
        put = put_of(_item(message), free)
        try:
            write(self._client, "PutItem", put)
        except ConditionFailed as error:
            # A message id is never made twice: an equal row is ours, and its answer was lost.
            if error.item == put["Item"]:
                return None
            return _sent(SentItem.from_raw_data(error.item or {}), message)
        return None

    def relayed(self, message: Message) -> None:
        item = _item(message)
        item.relayed = True
        write(self._client, "PutItem", put_of(item, None))


def _item(message: Message) -> SentItem:
    # Hashed: the row says nothing of the user, and erasing the user leaves nothing that names them.
    name = _digest([message.sender_id, message.session_id, message.client_id])
    return SentItem(
        f"sent:{name}",
        SentItem.KEY,
        message_id=message.message_id,
        sent_at=message.sent_at,
        content=_digest(message.content),
        ttl=(message.sent_at + CLIENT_ID_MILLISECONDS) // 1000,
    )


def _sent(item: SentItem, message: Message) -> Sent:
    return Sent(
        item.message_id,
        int(item.sent_at),
        is_same=item.content == _digest(message.content),
        is_relayed=bool(item.relayed),
    )


def _digest(value: object) -> str:
    return hashlib.sha256(encode(value).encode()).hexdigest()[:32]
