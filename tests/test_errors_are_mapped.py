"""One refusal, one code, one status: for every one of them, and for nothing else."""

from http import HTTPStatus

import pytest

from presence.domain.errors import PresenceError
from presence.entrypoints.http import STATUS_CODES
from presence.entrypoints.websocket import error_frame

#: protocol.md §1, the codes of WebSocket and HTTP alike, and the status that fits.
PROTOCOL = {
    "invalid-message": 400,
    "unknown-action": 404,
    "payload-too-large": 413,
    "not-authenticated": 401,
    "token-invalid": 401,
    "token-expired": 401,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "rate-limited": 429,
    "unavailable": 503,
    "internal": 500,
}


def tree(error: type[PresenceError] = PresenceError) -> set[type[PresenceError]]:
    """An error and everything below it."""
    return {error}.union(*(tree(child) for child in error.__subclasses__()))


ERRORS = sorted(tree(), key=lambda error: error.code)


def test_every_error_has_a_status_and_every_status_an_error() -> None:
    assert STATUS_CODES.keys() == tree()


def test_every_error_has_a_code_of_the_protocol_and_every_code_an_error() -> None:
    codes = [error.code for error in ERRORS]

    assert sorted(codes) == sorted(PROTOCOL)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_the_status_fits_the_code(error: type[PresenceError]) -> None:
    assert STATUS_CODES[error] == PROTOCOL[error.code]


@pytest.mark.parametrize("status", sorted({*STATUS_CODES.values()}), ids=str)
def test_a_status_says_whose_fault_it_is(status: HTTPStatus) -> None:
    ours = {error.code for error, its in STATUS_CODES.items() if its is status and its >= 500}

    assert ours <= {"internal", "unavailable"}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_every_error_becomes_a_frame(error: type[PresenceError]) -> None:
    frame = error_frame({"action": "ping", "id": "1"}, error("Why.", retry_after_seconds=3))

    assert frame == {
        "type": "error",
        "action": "ping",
        "id": "1",
        "code": error.code,
        "message": "Why.",
        "retryAfterSeconds": 3,
    }


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_an_error_during_authentication_is_an_authentication_error(
    error: type[PresenceError],
) -> None:
    frame = error_frame({"action": "authenticate"}, error("Why."))

    assert frame == {"type": "authentication-error", "code": error.code, "message": "Why."}
