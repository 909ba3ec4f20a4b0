"""The parts of the posting engine: answers, pace, signatures."""

from datetime import UTC, datetime
from email.parser import BytesParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore import auth as botocore_auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import ReadOnlyCredentials
from botocore.utils import percent_encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presence.adapters.posting.answers import Answer, Malformed, read_answer
from presence.adapters.posting.engine import LATEST, LEAST, MOST, SOONEST, STEP, Pace
from presence.adapters.posting.signature import Credentials, Endpoint, Frame, encoded, stamp
from tests.adapters.conftest import client

# ── answers ───────────────────────────────────────────────────────────────────────────────────────


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


# ── pace ──────────────────────────────────────────────────────────────────────────────────────────


def behind(pace: Pace, share: float, rounds: int) -> Pace:
    """The pace after so many rounds in which that share was refused."""
    for _ in range(rounds):
        pace = pace.after(1000, round(1000 * share), 10)
    return pace


def test_the_window_doubles_while_hardly_anything_is_refused() -> None:
    windows = [behind(Pace(), 0, rounds).window for rounds in range(6)]

    assert windows == [16, 32, 64, 128, 256, 256]
    assert [behind(Pace(), 0.05, rounds).window for rounds in range(3)] == [16, 32, 63]


def test_when_many_are_refused_it_grows_by_steps_from_then_on() -> None:
    cut = behind(Pace(100), 0.2, 1)

    assert cut.window == 90 + STEP
    assert [behind(cut, 0, rounds).window for rounds in (1, 2)] == [94 + STEP, 94 + 2 * STEP]


@pytest.mark.fault("The account's quota of requests is used up: 429.")
def test_it_is_cut_by_half_of_the_share_that_was_refused() -> None:
    pace = Pace(100, is_probing=False)

    cuts = [100 + STEP - pace.after(100, refused, 1).window for refused in (0, 10, 50, 100)]

    assert cuts == [0, 5, 25, 50]


def test_single_clients_with_full_buffers_do_not_close_it() -> None:
    assert behind(Pace(), 0.05, 1000).window >= MOST // 2


def test_an_endpoint_that_refuses_everything_is_asked_little() -> None:
    assert behind(Pace(), 1, 20).window <= 2 * STEP


@pytest.mark.parametrize("quota", [20, 50, 200])
def test_a_quota_is_exceeded_by_no_more_than_two_steps(quota: int) -> None:
    """A quota of so many posts a round, and whatever is more is refused."""
    pace = Pace()
    for _ in range(200):
        pace = pace.after(pace.window, max(0, pace.window - quota), 1)

    assert quota <= pace.window <= quota + 2 * STEP + 1


@pytest.mark.parametrize(
    ("took", "late"), [(0.001, SOONEST), (0.010, 0.05), (0.030, 0.15), (0.1, 0.5), (1, LATEST)]
)
def test_a_post_is_late_after_several_times_what_others_take(took: float, late: float) -> None:
    assert Pace().after(100, 0, 100 * took).late == pytest.approx(late)


@pytest.mark.parametrize("start", [Pace(), Pace(MOST), Pace(LEAST, is_probing=False)])
@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1000))))
def test_it_stays_within_its_bounds(start: Pace, rounds: list[tuple[int, float]]) -> None:
    for refused, seconds in rounds:
        start = start.after(100, refused, seconds)
        assert LEAST <= start.window <= MOST
        assert SOONEST <= start.late <= LATEST


# ── signature ─────────────────────────────────────────────────────────────────────────────────────


KEY = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOON = 1_764_072_000

BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
TOKEN = st.text(BASE64 + "+/=", min_size=1, max_size=1000)
#: As API Gateway makes them, and anything else that a table may hold; `.` and `..` are no last part
#: of a path.
IDS = st.one_of(
    st.text(BASE64 + "-_+/", min_size=1, max_size=20).map(lambda text: f"{text}="),
    st.text(min_size=1, max_size=40).filter(lambda text: text not in (".", "..")),
)
LABEL = st.text(BASE64.lower() + "-", min_size=1, max_size=20).filter(
    lambda text: text.strip("-") == text
)
PART = st.text(BASE64 + "-_.~", min_size=1, max_size=12).filter(
    lambda text: text not in (".", "..")
)
URLS = st.builds(
    lambda scheme, labels, port, path: f"{scheme}://{'.'.join(labels)}{port}{path}",
    st.sampled_from(["http", "https"]),
    st.lists(LABEL, min_size=1, max_size=4),
    st.sampled_from(["", ":80", ":443", ":4566", ":8443"]),
    st.one_of(
        st.sampled_from(["", "/", "/live", "/live/", "/_aws/execute-api/presence-ws/live"]),
        st.lists(PART, max_size=4).map(lambda parts: "".join(f"/{part}" for part in parts)),
    ),
)


def sent(request: bytes) -> tuple[str, dict[str, str], bytes]:
    """The request line, the headers and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    headers = {name.lower(): value for name, value in BytesParser().parsebytes(fields).items()}
    return line.decode(), headers, body


def signed_by_botocore(
    url: str, key: Credentials, region: str, seconds: int, body: bytes
) -> dict[str, str]:
    """The headers that botocore sets."""
    with pytest.MonkeyPatch.context() as patch:
        moment = datetime.fromtimestamp(seconds, UTC)
        patch.setattr(botocore_auth, "get_current_datetime", lambda: moment)
        request = AWSRequest("POST", url, data=body)
        SigV4Auth(ReadOnlyCredentials(*key), "execute-api", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


KEYS = st.builds(Credentials, TOKEN, TOKEN, st.one_of(st.none(), TOKEN))
REGIONS = st.sampled_from(["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"])
SECONDS = st.integers(0, 4_000_000_000)


@settings(max_examples=300)
@given(URLS, st.tuples(KEYS, REGIONS, SECONDS), IDS, st.text(max_size=200))
def test_every_post_is_signed_as_botocore_would_sign_it(
    url: str, signing: tuple[Credentials, str, int], connection_id: str, text: str
) -> None:
    key, region, seconds = signing
    made = stamp(Endpoint.of(url), region, key, seconds)

    line, headers, body = sent(made.request(encoded(connection_id), Frame.of(text)))

    whole = f"{url.rstrip('/')}/@connections/{percent_encode(connection_id, safe='-._~')}"
    theirs = signed_by_botocore(whole, key, region, seconds, text.encode())
    assert headers["authorization"] == theirs["authorization"]
    assert headers["x-amz-date"] == theirs["x-amz-date"]
    assert headers.get("x-amz-security-token") == theirs.get("x-amz-security-token")
    assert line == f"POST {urlsplit(whole).path} HTTP/1.1"
    assert (body, headers["content-length"]) == (text.encode(), str(len(body)))


class Caught(Exception):
    pass


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    connection_id=IDS,
    text=st.text(max_size=50),
    url=st.sampled_from(
        [
            "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/live",
            "https://presence.example.com",
            "https://presence.example.com/v1/ws/",
            "http://127.0.0.1:4566/_aws/execute-api/presence-ws/live",
            "https://[::1]:8443/live",
        ]
    ),
)
def test_a_post_is_what_botocores_client_sends(connection_id: str, text: str, url: str) -> None:
    api, caught = client("apigatewaymanagementapi", url), list[Any]()

    def catch(request: Any, **_: object) -> AWSResponse:
        caught.append(request)
        raise Caught

    api.meta.events.register("before-send.apigatewaymanagementapi", catch)
    with pytest.raises(Caught):
        api.post_to_connection(ConnectionId=connection_id, Data=text.encode())

    theirs = {name.lower(): value for name, value in caught[0].headers.items()}
    instant = theirs["x-amz-date"].decode()
    seconds = int(datetime.strptime(instant, "%Y%m%dT%H%M%S%z").timestamp())
    made = stamp(Endpoint.of(url), "eu-central-1", Credentials("testing", "testing"), seconds)
    line, ours, _ = sent(made.request(encoded(connection_id), Frame.of(text)))
    assert ours["authorization"] == theirs["authorization"].decode()
    assert ours["host"] == urlsplit(caught[0].url).netloc
    assert line == f"POST {urlsplit(caught[0].url).path} HTTP/1.1"


def test_the_key_changes_with_the_day() -> None:
    endpoint = Endpoint.of("https://presence.example.com/live")

    today, tonight, tomorrow = (
        stamp(endpoint, "eu-central-1", KEY, NOON + hours * 3600).key for hours in (0, 11, 13)
    )

    assert today == tonight != tomorrow


@pytest.mark.parametrize(
    ("path", "is_sent_as"),
    [
        ("", ""),
        ("/", ""),
        ("/live", "/live"),
        ("/live/", "/live"),
        ("//live//x", "/live/x"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../b", "/b"),
    ],
)
def test_a_path_is_sent_as_it_is_signed(path: str, is_sent_as: str) -> None:
    assert Endpoint.of(f"https://presence.example.com{path}").path == is_sent_as
