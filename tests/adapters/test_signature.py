"""Held against botocore: the same bytes signed by the same secret have the same signature."""

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

from presence.adapters.posting.signature import Credentials, Endpoint, Frame, encoded, stamp
from tests.adapters.conftest import client

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


@settings(max_examples=3000, deadline=None)
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
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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
