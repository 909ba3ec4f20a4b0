"""The issuer's public keys, fetched from the one URL in the configuration (RFC 7517)."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import jwt

from presence.adapters.jwt import ASYMMETRIC, Key
from presence.domain.errors import TokenInvalid, Unavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

#: For all of a fetch, from the connection to the last byte.
DEADLINE_SECONDS = 2
MAX_BYTES = 150 * 1024
#: What an issuer can do wrong: not answer, answer no JSON (or too deep), or no key set.
_NO_USE = (
    *(OSError, HTTPException, ValueError, RecursionError, LookupError),
    *(TypeError, AttributeError, jwt.PyJWTError),
)


class JWKSKeys:
    """The public keys behind one URL, from configuration and never from a token.

    One fetch every `cooldown_seconds` at most, failures included: a flood of tokens with made-up
    key ids must not become a flood of requests to the issuer. Keys once fetched go on working for
    `stale_seconds` while the issuer is down.
    """

    def __init__(
        self,
        fetch: Callable[[], str],
        *,
        lifespan_seconds: float = 300,
        stale_seconds: float = 3600,
        cooldown_seconds: float = 30,
        # Not `time.monotonic`: that may stand still while Lambda freezes the process, and a key
        # that was taken back would live on.
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fetch = fetch
        self._lifespan = lifespan_seconds
        self._stale = stale_seconds
        self._cooldown = cooldown_seconds
        self._clock = clock
        self._keys: Mapping[str | None, Key] = {}
        self._fetched_at = self._tried_at = float("-inf")

    def __call__(self, key_id: str | None) -> Sequence[Key]:
        age = self._clock() - self._fetched_at
        if not 0 <= age <= self._lifespan or key_id not in self._keys:
            self._refresh()
        if self._clock() - self._fetched_at > self._stale:
            raise Unavailable("The issuer's keys cannot be had.", retry_after_seconds=30)
        if key_id not in self._keys:
            # The issuer may have added the key a moment ago, so the client may try again.
            wait = self._cooldown - (self._clock() - self._tried_at)
            raise TokenInvalid(
                "kid is no key of this stack's issuer (parameter TokenJwksUrl).",
                retry_after_seconds=max(1, int(wait)),
            )
        return [self._keys[key_id]]

    def _refresh(self) -> None:
        if 0 <= self._clock() - self._tried_at < self._cooldown:
            return
        self._tried_at = self._clock()
        try:
            keys = _public_keys(json.loads(self._fetch()))
        except _NO_USE:
            return  # the keys that we have, for as long as they are not stale
        if keys:
            self._keys, self._fetched_at = keys, self._clock()


def _public_keys(document: Mapping[str, Any]) -> Mapping[str | None, Key]:
    """The keys that sign; those of other kinds are left out, as RFC 7517, section 5 asks for."""
    return dict(_signing_keys(document["keys"]))


def _signing_keys(keys: Sequence[Any]) -> Iterator[tuple[str | None, Key]]:
    """What cannot be read of one key concerns none of the others."""
    for member in keys:
        try:
            found = _signing_key(member)
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
            continue
        if found is not None:
            yield found


def _signing_key(member: dict[str, Any]) -> tuple[str | None, Key] | None:
    jwk = jwt.PyJWK(member)
    is_signing = jwk.algorithm_name in _algorithms_of(member) and _is_for_signatures(member)
    if not is_signing or not isinstance(jwk.key_id, str | None):
        return None
    return jwk.key_id, Key(jwk.algorithm_name, jwk.key)


def _algorithms_of(member: Mapping[str, Any]) -> frozenset[str]:
    """What a key of this type is for (RFC 7518, section 3.1); which of it, the key's `alg` says.

    A key without `alg` is for RS256, or for what its curve is for.
    """
    match member["kty"], member.get("crv"):
        case "RSA", _:
            return frozenset(it for it in ASYMMETRIC if it.startswith(("RS", "PS")))
        case "EC", str(curve):
            return frozenset({_CURVES.get(curve, "")})
        case "OKP", "Ed25519" | "Ed448":
            return frozenset({"EdDSA"})
    return frozenset()


_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


def _is_for_signatures(member: Mapping[str, Any]) -> bool:
    return member.get("use", "sig") == "sig" and "verify" in member.get("key_ops", ("verify",))


# ── over HTTP ──────────────────────────────────────────────────────────────────────────────


def https_get(url: str) -> Callable[[], str]:
    """A fetch of *url* that raises OSError or ValueError when there is nothing to use there.

    It follows no redirect: that could lead anywhere, also to a service that holds credentials.
    """
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"

    def fetch() -> str:
        ends_at = time.monotonic() + DEADLINE_SECONDS
        with _connected(parts, ends_at) as stream:
            stream.sendall(request.encode())
            with HTTPResponse(_Timed(stream, ends_at)) as answer:  # type: ignore[arg-type]
                return _document(answer)

    return fetch


def _document(answer: HTTPResponse) -> str:
    answer.begin()
    if answer.status != HTTPStatus.OK:
        raise OSError(f"the issuer answered {answer.status}")
    body = answer.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise ValueError("the JWKS document is too large")
    return body.decode()


@contextmanager
def _connected(parts: SplitResult, ends_at: float) -> Iterator[socket.socket]:
    host, is_secure = parts.hostname or "", parts.scheme != "http"
    with _opened(host, parts.port or (443 if is_secure else 80), ends_at) as stream:
        stream.settimeout(_left(ends_at))
        if not is_secure:
            yield stream
            return
        with ssl.create_default_context().wrap_socket(stream, server_hostname=host) as secure:
            yield secure


def _opened(host: str, port: int, ends_at: float) -> socket.socket:
    """A socket to the first address that answers; how long the look-up takes, RES_OPTIONS says."""
    failure = OSError("the issuer's name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        stream = socket.socket(family, kind, protocol)
        try:
            stream.settimeout(_left(ends_at))
            stream.connect(address)
        except OSError as error:
            stream.close()
            failure = error
        else:
            return stream
    raise failure


class _Timed(RawIOBase):
    """What comes from a socket, as long as there is time: its own timeout is for each read."""

    def __init__(self, stream: socket.socket, ends_at: float) -> None:
        self._stream = stream
        self._ends_at = ends_at

    def makefile(self, _mode: str) -> BufferedReader:
        """As a socket has it, for HTTPResponse."""
        return BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        self._stream.settimeout(_left(self._ends_at))
        return self._stream.recv_into(buffer)


def _left(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError("the issuer did not answer in time")
    return left
