import pytest

from local.origins import cors, is_ours, is_shared, may_ask


@pytest.mark.parametrize("host", ["localhost", "localhost:4000", "127.0.0.1:4000", "LOCALHOST"])
def test_it_answers_to_the_names_of_this_machine(host: str) -> None:
    assert is_ours(host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            None,
            "",
            "evil.example",
            "localhost.evil.example:4000",
            "[::1",
            "127.0.0.1@evil.example",
        ),
        *(
            "evil.example@localhost",
            "localhost/x",
            "localhost:4000\n",
            "localhost:",
            "localhost:\u0661",
        ),
    ],
)
def test_it_answers_to_no_other_name(host: str | None) -> None:
    assert not is_ours(host)


@pytest.mark.parametrize(
    "origin",
    [
        *("http://localhost:5173", "http://127.0.0.1:3000", "http://[::1]:8080"),
        *("http://localhost", "https://localhost:5173"),
    ],
)
def test_pages_of_this_machine_may_ask(origin: str) -> None:
    assert may_ask(origin)
    assert cors(origin)["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "*", "file://", "https://evil.example", "http://localhost.evil.example"),
        *("http://evil.localhost", "http://localhost:5173.evil.example", "http://127.0.0.2"),
        *("http://localhost@evil.example", "http://localhost:5173/", "http://192.168.0.10:5173"),
        *("http://LOCALHOST", "http://localhost\n", "ftp://localhost", "http://[::2]"),
    ],
)
def test_pages_from_elsewhere_may_not(origin: str) -> None:
    assert not may_ask(origin)
    assert cors(origin) == {"Vary": "Origin"}


def test_the_api_and_tokens_are_shared_and_nothing_else_is() -> None:
    assert is_shared("/api/user-status/online")
    assert is_shared("/dev/token")
    for path in ("/", "/dev/stack", "/dev/tables", "/dev/token/x", "/api", "/apis", ""):
        assert not is_shared(path)
