import pytest

from local.warm import answers


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
