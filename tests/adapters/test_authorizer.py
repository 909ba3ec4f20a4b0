"""A function of the stack's owner at the door: its yes, its no, and everything in between."""

import json

import pytest

from presence.adapters.authorizer import AllowAll, LambdaAuthorizer
from tests.adapters.conftest import client
from tests.endpoint import Answer, Endpoint

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:authorizer"


@pytest.fixture
def authorizer(endpoint: Endpoint) -> LambdaAuthorizer:
    api = client("lambda", endpoint.url)
    return LambdaAuthorizer(lambda: api, ARN)


def test_without_an_authorizer_every_join_is_allowed() -> None:
    assert AllowAll().may_join("ada", ["room", "hall"]) == [True, True]


def test_it_is_asked_who_and_where_to(endpoint: Endpoint, authorizer: LambdaAuthorizer) -> None:
    authorizer.may_join("ada", ["room.1"])

    (asked,) = endpoint.asked
    assert json.loads(asked.body) == {"userId": "ada", "chatSessionId": "room.1"}
    assert asked.path.startswith("/2015-03-31/functions/arn%3Aaws%3Alambda")
    assert asked.path.endswith("%3Aauthorizer/invocations")


def test_it_is_asked_each_time(endpoint: Endpoint, authorizer: LambdaAuthorizer) -> None:
    endpoint.otherwise = Answer(body=b'{"allowed":true}')
    before = authorizer.may_join("ada", ["room"])
    endpoint.otherwise = Answer(body=b'{"allowed":false}')

    assert (before, authorizer.may_join("ada", ["room"])) == ([True], [False])


def test_of_several_chat_sessions_it_is_asked_one_by_one_at_the_same_time(
    endpoint: Endpoint, authorizer: LambdaAuthorizer
) -> None:
    endpoint.otherwise = Answer(body=b'{"allowed":true}')
    names = [f"room.{number}" for number in range(50)]

    assert authorizer.may_join("ada", names) == [True] * 50

    asked = [json.loads(it.body)["chatSessionId"] for it in endpoint.asked]
    assert sorted(asked) == sorted(names)


def test_only_a_yes_is_a_yes(endpoint: Endpoint, authorizer: LambdaAuthorizer) -> None:
    endpoint.otherwise = Answer(body=b' {"allowed": true, "why": "a member"}\n')

    assert authorizer.may_join("ada", ["room"]) == [True]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b'{"allowed":false}', id="no"),
        pytest.param(b'{"allowed":1}', id="one"),
        pytest.param(b'{"allowed":"true"}', id="text"),
        pytest.param(b'{"allowed":null}', id="null"),
        pytest.param(b'{"allowed":[true]}', id="list-of-true"),
        pytest.param(b'{"Allowed":true}', id="other-case"),
        pytest.param(b'{"body":"{\\"allowed\\":true}"}', id="as-an-api-would"),
        pytest.param(b"{}", id="nothing"),
        pytest.param(b"true", id="true"),
        pytest.param(b"null", id="returned-nothing"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'"allowed"', id="word"),
        pytest.param(b"", id="empty"),
        pytest.param(b"yes", id="no-json"),
        pytest.param(b"\xff\xfe", id="no-text"),
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_whatever_else_is_said_is_a_no(
    endpoint: Endpoint, authorizer: LambdaAuthorizer, answer: bytes
) -> None:
    endpoint.otherwise = Answer(body=answer)

    assert authorizer.may_join("ada", ["room"]) == [False]


@pytest.mark.parametrize("kind", ["Unhandled", "Handled"])
@pytest.mark.parametrize("body", [b'{"errorMessage":"secret"}', b'{"allowed":true}', b""])
def test_a_function_that_fails_has_not_answered(
    endpoint: Endpoint, authorizer: LambdaAuthorizer, kind: str, body: bytes
) -> None:
    endpoint.otherwise = Answer(body=body, headers=(("X-Amz-Function-Error", kind),))

    assert authorizer.may_join("ada", ["room"]) == [None]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(403, b'{"Message":"not authorized"}'), id="not-allowed-to-ask"),
        pytest.param(Answer(404, b'{"Message":"not found"}'), id="no-such-function"),
        pytest.param(Answer(429, b'{"Reason":"ReservedFunction"}'), id="throttled"),
        pytest.param(Answer(502), id="broken"),
        pytest.param(Answer(is_silent=True), id="silence"),
        pytest.param(Answer(closes=True), id="closes"),
    ],
)
def test_what_aws_does_not_do_for_us_is_no_answer_and_is_logged(
    endpoint: Endpoint,
    authorizer: LambdaAuthorizer,
    answer: Answer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    endpoint.otherwise = answer

    assert authorizer.may_join("ada", ["room"]) == [None]

    assert len(endpoint.asked) == 1
    logged = [it for it in caplog.records if "authorizer" in it.message]
    assert [it.exc_info is not None for it in logged] == [True]
