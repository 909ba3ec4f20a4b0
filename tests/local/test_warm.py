import pytest

from local.warm import _ACTIONS, _EVENTS, answers
from tests.template.test_template import FUNCTIONS, ROUTES


def test_every_function_is_called_and_every_route_of_the_socket() -> None:
    assert _EVENTS.keys() == FUNCTIONS.keys() - {"WebSocketFunction"}
    assert {*_ACTIONS} - {"unknown"} == {route for route in ROUTES if not route.startswith("$")}


@pytest.mark.parametrize(
    ("answer", "works"),
    [
        ('{"type": "error", "code": "not-authenticated"}', True),
        ('{"message": "Internal server error"}', False),
        ("No module named 'presence'", False),
        ("[]", False),
        (b"\xff", False),
    ],
)
def test_only_a_frame_of_the_protocol_counts_as_an_answer(
    answer: str | bytes,
    works: bool,
) -> None:
    assert answers(answer) is works
