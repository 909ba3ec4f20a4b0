"""Cursors: positions in a list, as text that is opaque to clients."""

import base64
import binascii

from presence.domain.errors import InvalidMessage


def encode_cursor(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The position in *cursor*.

    Raises:
        InvalidMessage: it does not come from `encode_cursor`.
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
    """The refusal of a cursor that no page has given."""
    return InvalidMessage("cursor has to be as it came with the page before.")
