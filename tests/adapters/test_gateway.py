"""What API Gateway says to a post, and what becomes of it (research A8)."""

import logging
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext

import pytest

from presence.adapters.gateway import ManagementGateway, engine_of
from presence.adapters.posting.engine import Patience
from presence.domain.errors import Unavailable
from presence.ports import Delivery, Post
from tests.adapters.conftest import client, session
from tests.endpoint import Answer, Endpoint

TAB, PHONE, WATCH = "L0SM9cOFvHcCIhw=", "VNRXVFJOywMF3-Q=", "MZ-0ccOFvHc_Ihw="
STAGE = "/live"

SILENCE, CLOSES = Answer(is_silent=True), Answer(closes=True)
GONE = Answer(410, headers=(("x-amzn-ErrorType", "GoneException"),))


def error(status: int, code: str) -> Answer:
    return Answer(status, b'{"message":"Why."}', (("x-amzn-ErrorType", code),))


OUTCOMES: dict[str, tuple[Answer, Delivery]] = {
    "taken": (Answer(200), Delivery()),
    "gone": (GONE, Delivery(gone=(TAB,))),
    "gone-without-a-name": (Answer(410), Delivery(gone=(TAB,))),
    "gone-in-html": (Answer(410, b"<html>"), Delivery(gone=(TAB,))),
    "limit": (error(429, "LimitExceededException"), Delivery(again=(TAB,))),
    "limit-without-a-name": (Answer(429), Delivery(again=(TAB,))),
    "internal": (error(500, "InternalServerErrorException"), Delivery(again=(TAB,))),
    "bad-gateway": (Answer(502, b"<html>"), Delivery(again=(TAB,))),
    "unavailable": (Answer(503), Delivery(again=(TAB,))),
    "gateway-timeout": (Answer(504), Delivery(again=(TAB,))),
    "silence": (SILENCE, Delivery(again=(TAB,))),
    "closes": (CLOSES, Delivery(again=(TAB,))),
    "malformed-id": (error(400, "BadRequestException"), Delivery(refused=(TAB,))),
    "no-permission": (error(403, "ForbiddenException"), Delivery(refused=(TAB,))),
    "no-such-path": (Answer(404), Delivery(refused=(TAB,))),
    "too-large": (error(413, "PayloadTooLargeException"), Delivery(refused=(TAB,))),
}


@contextmanager
def gateway_at(url: str) -> Iterator[ManagementGateway]:
    """As the composition root makes it, with less patience."""
    api = client("apigatewaymanagementapi", url)
    with closing(engine_of(session(), url, Patience(timeout=2, tries=1))) as engine:
        yield ManagementGateway(engine, lambda: api)


@pytest.fixture
def gateway(endpoint: Endpoint) -> Iterator[ManagementGateway]:
    with gateway_at(endpoint.url + STAGE) as gateway:
        yield gateway


@pytest.fixture
def refusing() -> Iterator[str]:
    """The URL of a port that is taken and answers no connection."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{deaf.getsockname()[1]}"


@pytest.mark.fault("A post is refused for good: 400, 403, 404, 413.")
@pytest.mark.parametrize(("answer", "delivery"), OUTCOMES.values(), ids=OUTCOMES)
def test_what_becomes_of_a_post_is_decided_by_the_answer(
    endpoint: Endpoint, gateway: ManagementGateway, answer: Answer, delivery: Delivery
) -> None:
    endpoint.otherwise = answer

    assert gateway.post([Post("{}", [TAB])]) == delivery


def test_a_refused_connection_to_the_endpoint_is_retryable(refusing: str) -> None:
    with gateway_at(refusing) as gateway:
        assert gateway.post([Post("{}", [TAB])]) == Delivery(again=(TAB,))


def test_every_connection_gets_every_text_as_it_is(
    endpoint: Endpoint, gateway: ManagementGateway
) -> None:
    posts = [Post('{"text":"hi 🌞"}', [TAB, PHONE]), Post("{}", [PHONE])]

    delivery = gateway.post(posts)

    assert delivery == Delivery()
    assert {it.method for it in endpoint.asked} == {"POST"}
    assert sorted((it.path, it.body.decode()) for it in endpoint.asked) == [
        ("/live/@connections/L0SM9cOFvHcCIhw%3D", '{"text":"hi 🌞"}'),
        ("/live/@connections/VNRXVFJOywMF3-Q%3D", '{"text":"hi 🌞"}'),
        ("/live/@connections/VNRXVFJOywMF3-Q%3D", "{}"),
    ]
    assert all("/execute-api/aws4_request" in it.authorization for it in endpoint.asked)


def test_a_post_without_an_answer_does_not_block_the_other_posts(
    endpoint: Endpoint, gateway: ManagementGateway
) -> None:
    endpoint.answers = {"L0SM9cOFvHcCIhw%3D": SILENCE, "VNRXVFJOywMF3-Q%3D": GONE}

    delivery = gateway.post([Post("{}", [TAB, PHONE, WATCH]), Post("[]", [PHONE, TAB])])

    assert delivery == Delivery(gone=(PHONE,), again=(TAB,))
    assert len(endpoint.asked) == 5


def test_no_posts_make_no_requests(endpoint: Endpoint, gateway: ManagementGateway) -> None:
    assert gateway.post([]) == gateway.post([Post("{}", [])]) == Delivery()
    assert endpoint.asked == []


def test_more_posts_than_workers_are_all_made(
    endpoint: Endpoint, gateway: ManagementGateway
) -> None:
    names = [f"{number:0>15}=" for number in range(50)]

    assert gateway.post([Post("{}", names)]) == Delivery()
    assert len({it.path for it in endpoint.asked}) == 50


@pytest.mark.parametrize(
    ("answer", "delivery"),
    [(Answer(204), Delivery()), *OUTCOMES.values()],
    ids=["closed", *OUTCOMES],
)
def test_a_socket_is_closed_or_cannot_be_or_only_later(
    endpoint: Endpoint, gateway: ManagementGateway, answer: Answer, delivery: Delivery
) -> None:
    endpoint.otherwise = answer

    with pytest.raises(Unavailable) if delivery.again else nullcontext():
        gateway.close(TAB)

    assert [(it.method, it.path) for it in endpoint.asked] == [
        ("DELETE", "/live/@connections/L0SM9cOFvHcCIhw%3D")
    ]


def test_closing_a_socket_is_retryable_if_the_endpoint_refuses_connections(refusing: str) -> None:
    with gateway_at(refusing) as gateway, pytest.raises(Unavailable):
        gateway.close(TAB)


def test_a_name_without_an_address_is_a_reason_to_try_again() -> None:
    with gateway_at("http://unknown.invalid/live") as gateway:
        assert gateway.post([Post("{}", [TAB])]) == Delivery(again=(TAB,))


def test_what_was_dropped_or_put_off_is_counted_in_one_line_without_names_and_texts(
    endpoint: Endpoint, gateway: ManagementGateway, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.answers = {
        "L0SM9cOFvHcCIhw%3D": error(413, "PayloadTooLargeException"),
        "VNRXVFJOywMF3-Q%3D": error(403, "ForbiddenException"),
        "MZ-0ccOFvHc_Ihw%3D": error(429, "LimitExceededException"),
    }

    gateway.post([Post('{"secret":1}', [TAB, PHONE, WATCH, "other"]), Post("{}", [TAB])])

    ((name, level, line),) = caplog.record_tuples
    assert (name, level) == ("presence.adapters.gateway", logging.WARNING)
    told = vars(caplog.records[0])
    assert told["answers"] == {"413": 2, "403": 1, "429": 1}
    assert (told["posts"], told["posts_refused"], told["posts_put_off"]) == (5, 3, 1)
    assert not any(secret in line for secret in (TAB, PHONE, WATCH, "secret"))


@pytest.mark.parametrize("answer", [Answer(200), GONE])
def test_what_was_taken_or_is_gone_is_not_worth_a_line(
    endpoint: Endpoint,
    gateway: ManagementGateway,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
) -> None:
    endpoint.otherwise = answer

    gateway.post([Post("{}", [TAB, PHONE])])

    assert caplog.record_tuples == []


def test_a_post_that_would_come_too_late_is_not_made(
    endpoint: Endpoint, gateway: ManagementGateway
) -> None:
    assert gateway.post([Post("{}", [TAB])], until=1_000) == Delivery(again=(TAB,))
    assert endpoint.asked == []
