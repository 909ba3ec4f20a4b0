"""Keys that come over the network: rotated, missing, poisoned, or asked for too often."""

import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from presence.adapters import jwks as module
from presence.adapters.jwks import MAX_BYTES, JWKSKeys, https_get
from presence.adapters.jwt import ASYMMETRIC, JWTTokens
from presence.domain.errors import TokenInvalid, Unavailable
from tests.adapters.conftest import Issuer, issuer_of, jwks
from tests.adapters.test_tokens import CLAIMS, NOW, RULES
from tests.sink import make_certificate


@dataclass
class Source:
    """What the issuer's URL answers, a clock, and when it was asked."""

    answer: str | Exception = ""
    now: float = 1_000.0
    asked_at: list[float] = field(default_factory=list)

    def fetch(self) -> str:
        self.asked_at.append(self.now)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def keys(self) -> JWKSKeys:
        return JWKSKeys(self.fetch, clock=lambda: self.now)


@pytest.fixture
def source(rsa_issuer: Issuer) -> Source:
    return Source(jwks(rsa_issuer.jwk("k1")))


def verify(keys: JWKSKeys, token: str) -> str:
    return JWTTokens(keys, ASYMMETRIC, RULES).verify(token, NOW * 1000).user_id


# ── keys ───────────────────────────────────────────────────────────────────────────────────


def test_rsa_and_ec_keys_verify_what_they_signed(rsa_issuer: Issuer, ec_issuer: Issuer) -> None:
    keys = Source(jwks(rsa_issuer.jwk("k1"), ec_issuer.jwk("k2"))).keys()

    users = [
        verify(keys, rsa_issuer.sign(CLAIMS, kid="k1")),
        verify(keys, ec_issuer.sign(CLAIMS, kid="k2")),
    ]

    assert users == ["ada", "ada"]


@pytest.mark.parametrize("algorithm", sorted(ASYMMETRIC))
def test_a_key_verifies_by_its_own_algorithm_and_by_no_other(algorithm: str) -> None:
    issuer = issuer_of(algorithm)
    keys = Source(jwks(issuer.jwk("k1", alg=algorithm))).keys()

    assert verify(keys, issuer.sign(CLAIMS, kid="k1")) == "ada"
    for other in ASYMMETRIC - {algorithm}:
        if other[:2] in ("RS", "PS") and algorithm[:2] in ("RS", "PS"):
            token = replace(issuer, algorithm=other).sign(CLAIMS, kid="k1")
            with pytest.raises(TokenInvalid, match=algorithm):
                verify(keys, token)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_key_without_an_algorithm_is_for_that_of_its_kind(algorithm: str) -> None:
    issuer = issuer_of(algorithm)
    keys = Source(jwks(issuer.jwk("k1"))).keys()

    assert verify(keys, issuer.sign(CLAIMS, kid="k1")) == "ada"


def test_an_rsa_key_without_an_algorithm_is_for_rs256_alone() -> None:
    keys = Source(jwks(issuer_of("PS256").jwk("k1"))).keys()

    with pytest.raises(TokenInvalid, match="RS256"):
        verify(keys, issuer_of("PS256").sign(CLAIMS, kid="k1"))


def test_a_set_of_one_key_without_an_id_serves_tokens_without_one(rsa_issuer: Issuer) -> None:
    keys = Source(jwks(rsa_issuer.jwk())).keys()

    assert verify(keys, rsa_issuer.sign(CLAIMS)) == "ada"


def test_a_key_verifies_only_under_its_own_id(rsa_issuer: Issuer, other_rsa_issuer: Issuer) -> None:
    keys = Source(jwks(rsa_issuer.jwk("k1"), other_rsa_issuer.jwk("k2"))).keys()

    with pytest.raises(TokenInvalid):
        verify(keys, rsa_issuer.sign(CLAIMS, kid="k2"))


@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256"])
def test_a_key_is_bound_to_its_algorithm(rsa_issuer: Issuer, alg: str) -> None:
    keys = Source(jwks(rsa_issuer.jwk("k1", alg=alg))).keys()

    with pytest.raises(TokenInvalid):
        verify(keys, rsa_issuer.sign(CLAIMS, kid="k1"))


def test_a_token_cannot_name_the_algorithm_of_another_family(
    rsa_issuer: Issuer, ec_issuer: Issuer
) -> None:
    keys = Source(jwks(rsa_issuer.jwk("k1"))).keys()

    with pytest.raises(TokenInvalid):
        verify(keys, ec_issuer.sign(CLAIMS, kid="k1"))


UNUSABLE: dict[str, Callable[[Issuer], dict[str, Any]]] = {
    "for-encryption": lambda issuer: issuer.jwk("k1", use="enc"),
    "symmetric": lambda _: {"kty": "oct", "kid": "k1", "k": "c2VjcmV0" * 8, "alg": "HS256"},
    "unknown-type": lambda _: {"kty": "XYZ", "kid": "k1"},
    "no-type": lambda _: {"kid": "k1"},
    "without-a-modulus": lambda _: {"kty": "RSA", "kid": "k1", "e": "AQAB"},
    "for-hmac": lambda issuer: issuer.jwk("k1", alg="HS256"),
    "for-keys": lambda issuer: issuer.jwk("k1", alg="RSA-OAEP"),
    "for-other-operations": lambda issuer: issuer.jwk("k1", key_ops=["encrypt"]),
    "another-type-than-its-algorithm": lambda issuer: issuer.jwk("k1", alg="ES256"),
    "another-curve-than-its-algorithm": lambda _: issuer_of("ES384").jwk("k1", alg="ES256"),
    "a-curve-of-other-trades": lambda _: issuer_of("ES256K").jwk("k1"),
    "operations-that-are-none": lambda issuer: issuer.jwk("k1", key_ops=1),
    "an-id-that-is-none": lambda issuer: issuer.jwk("k1", kid=["k1"]),
    "an-algorithm-that-is-none": lambda issuer: issuer.jwk("k1", alg=["RS256"]),
    "no-object": lambda _: "k1",  # type: ignore[dict-item, return-value]
}


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE)
def test_a_key_that_cannot_sign_for_us_is_left_out(
    rsa_issuer: Issuer, ec_issuer: Issuer, unusable: Callable[[Issuer], dict[str, Any]]
) -> None:
    keys = Source(jwks(unusable(rsa_issuer), ec_issuer.jwk("k2"))).keys()

    with pytest.raises(TokenInvalid):
        verify(keys, rsa_issuer.sign(CLAIMS, kid="k1"))
    assert verify(keys, ec_issuer.sign(CLAIMS, kid="k2")) == "ada"


# ── when it is asked ───────────────────────────────────────────────────────────────────────


def test_nothing_is_fetched_before_a_token_comes(source: Source) -> None:
    source.keys()

    assert source.asked_at == []


def test_known_keys_are_fetched_once_in_their_lifespan(source: Source, rsa_issuer: Issuer) -> None:
    keys, token = source.keys(), rsa_issuer.sign(CLAIMS, kid="k1")

    for seconds in (0, 100, 200, 1):  # 301 in all
        source.now += seconds
        verify(keys, token)

    assert source.asked_at == [1_000, 1_301]


@pytest.mark.fault("The issuer has rotated its keys a moment ago.")
def test_a_rotated_key_is_found_as_soon_as_the_cooldown_allows(
    source: Source, rsa_issuer: Issuer, other_rsa_issuer: Issuer
) -> None:
    keys = source.keys()
    verify(keys, rsa_issuer.sign(CLAIMS, kid="k1"))
    source.answer = jwks(other_rsa_issuer.jwk("k2"))
    token = other_rsa_issuer.sign(CLAIMS, kid="k2")
    source.now += 10

    with pytest.raises(TokenInvalid) as refused:
        verify(keys, token)
    source.now += refused.value.retry_after_seconds or 0

    assert refused.value.retry_after_seconds == 20
    assert verify(keys, token) == "ada"


@pytest.mark.fault("A key is taken back.")
def test_a_key_that_was_taken_back_stops_working_with_the_next_set(
    source: Source, rsa_issuer: Issuer, other_rsa_issuer: Issuer
) -> None:
    keys, token = source.keys(), rsa_issuer.sign(CLAIMS, kid="k1")
    verify(keys, token)
    source.answer = jwks(other_rsa_issuer.jwk("k2"))
    source.now += 301

    with pytest.raises(TokenInvalid):
        verify(keys, token)


@pytest.mark.parametrize("is_down", [False, True], ids=["issuer-is-up", "issuer-is-down"])
def test_a_flood_of_unknown_keys_is_one_fetch_in_a_cooldown(
    source: Source, rsa_issuer: Issuer, *, is_down: bool
) -> None:
    keys = source.keys()
    verify(keys, rsa_issuer.sign(CLAIMS, kid="k1"))
    if is_down:
        source.answer = TimeoutError()
    source.now += 30

    for number in range(600):  # two of them a second
        source.now += 0.5 if number else 0
        with pytest.raises(TokenInvalid):
            keys(f"made-up-{number}")

    pauses = [b - a for a, b in zip(source.asked_at, source.asked_at[1:], strict=False)]
    assert min(pauses) >= 30
    assert len(source.asked_at) <= 1 + 300 // 30 + 1


def test_a_flood_before_the_first_key_is_one_fetch_in_a_cooldown() -> None:
    source = Source(OSError("no route"))
    keys = source.keys()

    for _ in range(100):
        with pytest.raises(Unavailable) as refused:
            keys("k1")

    assert refused.value.retry_after_seconds == 30
    assert source.asked_at == [1_000]


# ── when it fails ──────────────────────────────────────────────────────────────────────────


FAILURES: dict[str, str | Exception] = {
    "timeout": TimeoutError(),
    "refused": ConnectionRefusedError(),
    "too-large": ValueError("the JWKS document is too large"),
    "redirect": ValueError("the JWKS URL redirects"),
    "nothing": "",
    "html": "<!DOCTYPE html><title>Sign in</title>",
    "list": "[]",
    "text": '"keys"',
    "number": "1",
    "null": "null",
    "no-keys": "{}",
    "keys-null": '{"keys":null}',
    "empty-set": '{"keys":[]}',
    "keys-text": '{"keys":"k1"}',
    "keys-of-text": '{"keys":["k1"]}',
    "key-id-list": '{"keys":[{"kty":"RSA","kid":["k1"],"e":"AQAB","n":"AQAB"}]}',
    "only-symmetric": '{"keys":[{"kty":"oct","kid":"k1","k":"c2VjcmV0"}]}',
    "deep": '{"keys":' + "[" * 70_000 + "]" * 70_000 + "}",
    "huge-number": '{"keys":' + "9" * 5_000 + "}",
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_failure_keeps_the_keys_that_we_have(
    source: Source, rsa_issuer: Issuer, failure: str | Exception
) -> None:
    keys, token = source.keys(), rsa_issuer.sign(CLAIMS, kid="k1")
    verify(keys, token)
    source.answer = failure
    source.now += 301

    user_id = verify(keys, token)

    assert user_id == "ada"
    assert len(source.asked_at) == 2


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_failure_at_the_start_is_not_the_callers_fault(failure: str | Exception) -> None:
    keys = Source(failure).keys()

    with pytest.raises(Unavailable):
        keys("k1")


@pytest.mark.fault("The issuer is down, slow, or answers something else.")
def test_stale_keys_work_for_an_hour_and_no_longer(source: Source, rsa_issuer: Issuer) -> None:
    keys, token = source.keys(), rsa_issuer.sign(CLAIMS, kid="k1")
    verify(keys, token)
    source.answer = TimeoutError()

    source.now += 3_600
    user_id = verify(keys, token)
    source.now += 1
    with pytest.raises(Unavailable):
        verify(keys, token)

    assert user_id == "ada"


def test_an_issuer_that_is_back_is_trusted_again(source: Source, rsa_issuer: Issuer) -> None:
    keys, token = source.keys(), rsa_issuer.sign(CLAIMS, kid="k1")
    good, source.answer = source.answer, TimeoutError()
    with pytest.raises(Unavailable):
        verify(keys, token)

    source.answer = good
    source.now += 30

    assert verify(keys, token) == "ada"


# ── over HTTP ──────────────────────────────────────────────────────────────────────────────


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path, and remembers what it was asked for."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.asked.append(self.path)
        status, headers, body = server.answers[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Server(http.server.HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    """The fetch does not mind the scheme; that the configuration does is tested elsewhere."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_document_is_fetched_whole(server: Server, rsa_issuer: Issuer) -> None:
    text = jwks(rsa_issuer.jwk("k1"))
    server.answers["/keys"] = (200, {}, text.encode())

    fetched = https_get(server.url("/keys"))()

    assert json.loads(fetched) == json.loads(text)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_issuer_has_to_prove_that_the_name_is_its_own(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """The certificate is of `localhost`."""
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.answers["/keys"] = (200, {}, b'{"keys":[]}')
    url = f"https://{host}:{server.server_port}/keys"

    with pytest.raises(OSError, match="certificate"):
        https_get(url)()
    monkeypatch.setenv("SSL_CERT_FILE", certificate.bundle)
    if host == "localhost":
        assert https_get(url)() == '{"keys":[]}'
    else:
        with pytest.raises(OSError, match="certificate"):
            https_get(url)()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: Server, status: int) -> None:
    server.answers["/keys"] = (status, {"Location": server.url("/metadata")}, b"")
    server.answers["/metadata"] = (200, {}, b'{"keys":[]}')

    with pytest.raises((OSError, ValueError)):
        https_get(server.url("/keys"))()

    assert server.asked == ["/keys"]


def test_a_document_may_be_as_large_as_the_limit(server: Server) -> None:
    server.answers["/keys"] = (200, {}, b" " * MAX_BYTES)

    assert len(https_get(server.url("/keys"))()) == MAX_BYTES


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 10 * MAX_BYTES], ids=["by-one", "by-far"])
def test_a_document_beyond_the_limit_is_a_failure(server: Server, size: int) -> None:
    server.answers["/keys"] = (200, {}, b" " * size)

    with pytest.raises(ValueError, match="too large"):
        https_get(server.url("/keys"))()


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_an_error_page_is_a_failure_and_no_document(server: Server, status: int) -> None:
    server.answers["/keys"] = (status, {}, b'{"keys":[]}')

    with pytest.raises(OSError, match=str(status)):
        https_get(server.url("/keys"))()


def test_bytes_that_are_no_text_are_a_failure(server: Server) -> None:
    server.answers["/keys"] = (200, {}, b"\xff\xfe")

    with pytest.raises(ValueError, match="utf-8"):
        https_get(server.url("/keys"))()


@pytest.mark.fault("The issuer sends a byte now and then.")
@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"])
def test_an_issuer_that_drips_costs_no_more_than_one_that_is_silent(
    start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read is in time, and all of them are not."""
    monkeypatch.setattr(module, "DEADLINE_SECONDS", 0.3)
    with dripping(start) as url:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            https_get(url)()

        assert 0.3 <= time.monotonic() - began < 2


@contextmanager
def dripping(start: bytes) -> Iterator[str]:
    """A server that sends *start*, and then a space each 10 ms until it is not wanted any more."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.sendall(start)
                while not over.wait(0.01):
                    connection.sendall(b" ")

        over = threading.Event()
        thread = threading.Thread(target=drip)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/keys"
        over.set()
        thread.join()


def test_the_clock_is_that_of_the_wall() -> None:
    """Lambda freezes the process: another clock may stand still, and keys would never grow old."""
    assert signature(JWKSKeys).parameters["clock"].default is time.time


def test_an_issuer_that_does_not_answer_is_given_up_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE_SECONDS", 0.05)
    server.shutdown()  # the socket still accepts, and no answer comes

    with pytest.raises(OSError, match=r"timed out|in time"):
        https_get(server.url("/keys"))()
