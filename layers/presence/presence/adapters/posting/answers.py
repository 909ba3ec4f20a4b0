"""Reading an answer of HTTP/1.1 (RFC 9112): what it says, and whether its connection serves on."""

from typing import NamedTuple

_LINE, _END = b"\r\n", b"\r\n\r\n"
#: In small letters, as heads are looked through.
_LENGTH, _CODING = b"\r\ncontent-length:", b"\r\ntransfer-encoding:"
_VERSION, _CLOSE = b"http/1.1", b"close"
_FINAL = 200
#: They have no body, whatever their headers say (RFC 9112, 6.3): no content, not modified.
_BODILESS = (204, 304)


class Malformed(OSError):
    """What came is no answer of HTTP/1.1; its connection is as good as broken."""


class Answer(NamedTuple):
    """A tuple, because one is made for every post: a data class takes three times as long."""

    status: int
    #: Another request may follow on the same connection.
    keeps: bool


def read_answer(data: bytes) -> Answer | None:
    """The answer that *data* begins with; None while something of it is missing.

    A connection serves on only if the answer says where it ends, and ends there.

    Raises:
        Malformed: nothing that may still come makes it an answer.
    """
    head, end, rest = data.partition(_END)
    if not end:
        return None
    if head[:7] != b"HTTP/1." or head[8:9] != b" " or not head[9:12].isdigit():
        raise Malformed("the answer is not one of HTTP/1.1")
    status = int(head[9:12])
    if status < _FINAL:  # interim, the answer follows (RFC 9110, 15.2)
        return read_answer(rest)
    head = head.lower() + _LINE
    has_body = status not in _BODILESS
    if has_body and _CODING not in head and _LENGTH not in head:
        return Answer(status, keeps=False)  # its connection's end is its own
    left = _behind_body(head, rest) if has_body else rest
    if left is None:
        return None
    # Also if some other field says "close": no harm is done by one connection more.
    return Answer(status, keeps=not left and _CLOSE not in head and head[:8] == _VERSION)


def _behind_body(head: bytes, data: bytes) -> bytes | None:
    if _CODING in head:
        return _behind_chunks(data)
    start = head.index(_LENGTH) + len(_LENGTH)
    return _behind(data, _number(head[start : head.index(_LINE, start)].strip(), 10))


def _behind(data: bytes, size: int) -> bytes | None:
    """What follows *size* bytes; None if they are not all there."""
    return data[size:] if len(data) >= size else None


def _behind_chunks(data: bytes) -> bytes | None:
    """What follows a chunked body (RFC 9112, 7.1); trailers are read over."""
    while True:
        line, end, data = data.partition(_LINE)
        if not end:
            return None
        size = _number(line.partition(b";")[0].strip(), 16)
        if size == 0:
            return _behind_trailers(data)
        rest = _behind(data, size + len(_LINE))
        if rest is None:
            return None
        data = rest


def _behind_trailers(data: bytes) -> bytes | None:
    while data:
        line, end, data = data.partition(_LINE)
        if not end:
            return None
        if not line:
            return data
    return None


def _number(digits: bytes, base: int) -> int:
    try:
        return int(digits, base) if digits.isalnum() else int("no number")
    except ValueError:
        raise Malformed("the answer does not say how long it is") from None
