"""The owner's function that says which viewers see which users: only a yes is a yes."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from presence.adapters.visibility import Everyone, LambdaVisibility, SharedSessions
from presence.limits import PAIRS_PER_QUESTION, QUESTIONS_AT_ONCE, VISIBILITY_SECONDS
from tests.adapters.conftest import client
from tests.endpoint import Answer, Endpoint

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:visibility"
PAIRS = [("eve", "ada"), ("eve", "bob"), ("fay", "ada")]


@pytest.fixture
def visibility(endpoint: Endpoint) -> LambdaVisibility:
    api = client("lambda", endpoint.url)
    return LambdaVisibility(lambda: api, ARN)


def test_without_a_function_all_or_none_may_see() -> None:
    assert Everyone().may_see(PAIRS) == dict.fromkeys(PAIRS, True)
    assert SharedSessions().may_see(PAIRS) == dict.fromkeys(PAIRS, False)
    assert Everyone().is_open
    assert not SharedSessions().is_open


def test_all_pairs_are_asked_for_at_once(endpoint: Endpoint, visibility: LambdaVisibility) -> None:
    endpoint.otherwise = Answer(body=b'{"visible":[true,false,true]}')

    told = visibility.may_see(PAIRS)

    (asked,) = endpoint.asked
    pairs = [{"viewerId": viewer, "userId": user} for viewer, user in sorted(PAIRS)]
    assert json.loads(asked.body) == {"pairs": pairs}
    assert told == {("eve", "ada"): True, ("eve", "bob"): False, ("fay", "ada"): True}


def test_many_pairs_are_several_questions(endpoint: Endpoint, visibility: LambdaVisibility) -> None:
    endpoint.otherwise = Answer(body=b'{"visible":[]}')

    visibility.may_see([("eve", f"user-{number}") for number in range(PAIRS_PER_QUESTION + 1)])

    sizes = [len(json.loads(asked.body)["pairs"]) for asked in endpoint.asked]
    assert sorted(sizes) == [1, PAIRS_PER_QUESTION]


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

    assert visibility.may_see(PAIRS) == dict.fromkeys(PAIRS, False)


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

    assert visibility.may_see(PAIRS) == {}


@dataclass
class SlowFunction:
    """It says yes, after so many seconds of a clock of its own; asked at once, it answers at once.

    `pairs` are the sizes of the questions.
    """

    seconds: float
    now: float = 0
    pairs: list[int] = field(default_factory=list)

    def invoke(self, *, FunctionName: str, Payload: bytes) -> Mapping[str, Any]:  # noqa: N803
        del FunctionName
        asked = len(json.loads(Payload)["pairs"])
        if len(self.pairs) % QUESTIONS_AT_ONCE == 0:
            self.now += self.seconds
        self.pairs.append(asked)
        return {"Payload": io.BytesIO(json.dumps({"visible": [True] * asked}).encode())}


@pytest.mark.fault("The function of the stack's owner is slow, and very many pairs are asked for.")
@pytest.mark.parametrize(("seconds", "rounds"), [(0.1, 4), (VISIBILITY_SECONDS, 1), (1.5, 2)])
def test_no_question_is_put_when_time_is_over(
    seconds: float, rounds: int, caplog: pytest.LogCaptureFixture
) -> None:
    function = SlowFunction(seconds)
    visibility = LambdaVisibility(lambda: function, ARN, lambda: function.now)
    pairs = [("eve", f"{n}") for n in range(4 * QUESTIONS_AT_ONCE * PAIRS_PER_QUESTION)]

    told = visibility.may_see(pairs)

    known = rounds * QUESTIONS_AT_ONCE * PAIRS_PER_QUESTION
    assert (len(told), sum(function.pairs)) == (known, known)
    assert set(told.values()) == {True}
    said = [getattr(it, "unanswered_pairs", 0) for it in caplog.records]
    assert said == ([len(pairs) - known] if known < len(pairs) else [])


@pytest.mark.fault("The function of the stack's owner does not answer.")
def test_a_function_that_hangs_is_no_answer(
    endpoint: Endpoint, visibility: LambdaVisibility, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.otherwise = Answer(is_silent=True)

    assert visibility.may_see(PAIRS) == {}
    assert "did not answer" in caplog.text
