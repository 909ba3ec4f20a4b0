"""Cursors: positions in a list, as text that only means something to whoever gave it."""

import base64
import binascii

from presence.domain.errors import InvalidMessage


def encode_cursor(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The position in *cursor*.

    Raises:
        InvalidMessage: no `encode_cursor` has made it.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise not_ours() from error
    if encode_cursor(position) != cursor:
        raise not_ours()
    return position


def not_ours() -> InvalidMessage:
    return InvalidMessage("cursor has to be as it came with the page before.")
