"""What may come back on a connection, in any pieces (RFC 9112)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.adapters.posting.answers import Answer, Malformed, read_answer

TAKEN = b"HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
CHUNKS = b"HTTP/1.1 410 Gone\r\nTransfer-Encoding: chunked\r\n\r\n"

WHOLE: dict[str, tuple[bytes, Answer]] = {
    "taken": (TAKEN, Answer(200, keeps=True)),
    "no-reason": (b"HTTP/1.1 200 \r\ncontent-length:0\r\n\r\n", Answer(200, keeps=True)),
    "body": (b"HTTP/1.1 429 Busy\r\nCONTENT-LENGTH: 5\r\n\r\nhello", Answer(429, keeps=True)),
    "chunks": (CHUNKS + b"5\r\nhello\r\n6;x=1\r\n world\r\n0\r\n\r\n", Answer(410, keeps=True)),
    "no-chunks": (CHUNKS + b"0\r\n\r\n", Answer(410, keeps=True)),
    "trailers": (CHUNKS + b"A\r\n0123456789\r\n0\r\nX: y\r\n\r\n", Answer(410, keeps=True)),
    "no-content": (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204, keeps=True)),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\n" + TAKEN, Answer(200, keeps=True)),
    "last": (
        b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n",
        Answer(200, keeps=False),
    ),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", Answer(200, keeps=False)),
}

MALFORMED = {
    "smtp": b"220 mail.example.com ESMTP\r\n\r\n",
    "http-2": b"HTTP/2.0 200 OK\r\n\r\n",
    "no-status": b"HTTP/1.1 OK\r\n\r\n",
    "no-length": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n.",
    "negative": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "empty-length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
    "no-chunk": CHUNKS + b"xyz\r\n",
}


@pytest.mark.parametrize(("data", "answer"), WHOLE.values(), ids=WHOLE)
def test_an_answer_is_read_when_all_of_it_is_there(data: bytes, answer: Answer) -> None:
    assert read_answer(data) == answer
    assert [read_answer(data[:end]) for end in range(len(data))] == [None] * len(data)


@pytest.mark.parametrize(("data", "answer"), WHOLE.values(), ids=WHOLE)
def test_a_connection_on_which_more_came_than_the_answer_serves_no_longer(
    data: bytes, answer: Answer
) -> None:
    assert read_answer(data + b"H") == Answer(answer.status, keeps=False)


def test_an_answer_that_ends_with_its_connection_is_read_by_its_head() -> None:
    assert read_answer(b"HTTP/1.1 200 OK\r\n\r\n") == Answer(200, keeps=False)


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_answer(data)


@given(st.binary(max_size=200), st.sampled_from([b"", TAKEN[:20], CHUNKS, TAKEN]))
def test_whatever_comes_is_an_answer_or_malformed_or_not_yet_complete(
    data: bytes, start: bytes
) -> None:
    try:
        answer = read_answer(start + data)
    except Malformed:
        return
    assert answer is None or 200 <= answer.status <= 999
