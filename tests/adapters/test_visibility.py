"""The owner's function that says which viewers see which users: only a yes is a yes."""

import json

import pytest

from presence.adapters.visibility import Everyone, LambdaVisibility, SharedSessions
from presence.domain.errors import Unavailable
from presence.limits import PAIRS_PER_QUESTION
from tests.adapters.conftest import client
from tests.endpoint import Answer, Endpoint

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:visibility"
PAIRS = [("eve", "ada"), ("eve", "bob"), ("fay", "ada")]


@pytest.fixture
def visibility(endpoint: Endpoint) -> LambdaVisibility:
    api = client("lambda", endpoint.url)
    return LambdaVisibility(lambda: api, ARN)


def test_without_a_function_all_or_none_may_see() -> None:
    assert set(Everyone().may_see(PAIRS)) == set(PAIRS)
    assert not SharedSessions().may_see(PAIRS)
    assert Everyone().is_open
    assert not SharedSessions().is_open


def test_all_pairs_are_asked_for_at_once(endpoint: Endpoint, visibility: LambdaVisibility) -> None:
    endpoint.otherwise = Answer(body=b'{"visible":[true,false,true]}')

    granted = visibility.may_see(PAIRS)

    (asked,) = endpoint.asked
    pairs = [{"viewerId": viewer, "userId": user} for viewer, user in sorted(PAIRS)]
    assert json.loads(asked.body) == {"pairs": pairs}
    assert granted == {("eve", "ada"), ("fay", "ada")}


def test_many_pairs_are_several_questions(endpoint: Endpoint, visibility: LambdaVisibility) -> None:
    endpoint.otherwise = Answer(body=b'{"visible":[]}')

    visibility.may_see([("eve", f"user-{number}") for number in range(PAIRS_PER_QUESTION + 1)])

    sizes = [len(json.loads(asked.body)["pairs"]) for asked in endpoint.asked]
    assert sizes == [PAIRS_PER_QUESTION, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b'{"visible":[true]}',
        b'{"visible":[true,true,true,true]}',
        b'{"visible":[1,"true",[true]]}',
        b'{"visible":true}',
        b'{"visible":null}',
        b'{"allowed":[true,true,true]}',
        b"[true,true,true]",
        b"{}",
        b"",
        b"\xff",
    ],
)
def test_only_a_yes_for_each_is_a_yes(
    endpoint: Endpoint, visibility: LambdaVisibility, answer: bytes
) -> None:
    endpoint.otherwise = Answer(body=answer)

    assert not visibility.may_see(PAIRS)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"{}", headers=(("X-Amz-Function-Error", "Unhandled"),)),
        Answer(status=500, body=b"{}"),
        Answer(status=404, body=b"{}"),
    ],
)
def test_an_error_is_neither_yes_nor_no(
    endpoint: Endpoint, visibility: LambdaVisibility, answer: Answer
) -> None:
    endpoint.otherwise = answer

    with pytest.raises(Unavailable):
        visibility.may_see(PAIRS)
