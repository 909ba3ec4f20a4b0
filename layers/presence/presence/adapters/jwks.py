"""The issuer's public keys, fetched from the one URL in the configuration (RFC 7517)."""

import json
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any, NoReturn
from urllib.request import HTTPRedirectHandler, OpenerDirector, build_opener

import jwt

from presence.adapters.jwt import Key
from presence.domain.errors import TokenInvalid, Unavailable

TIMEOUT_SECONDS = 2
MAX_BYTES = 150 * 1024
#: What an issuer can do wrong: not answer, answer no JSON (or too deep), or no key set.
_NO_USE = (
    *(OSError, HTTPException, ValueError, RecursionError),
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._lifespan = lifespan_seconds
        self._stale = stale_seconds
        self._cooldown = cooldown_seconds
        self._clock = clock
        self._keys: Mapping[str | None, Key] = {}
        self._fetched_at = self._tried_at = float("-inf")

    def __call__(self, key_id: str | None) -> Key:
        age = self._clock() - self._fetched_at
        if age > self._lifespan or key_id not in self._keys:
            self._refresh()
        if self._clock() - self._fetched_at > self._stale:
            raise Unavailable("The issuer's keys cannot be had.", retry_after_seconds=30)
        if key_id not in self._keys:
            # The issuer may have added the key a moment ago, so the client may try again.
            wait = self._cooldown - (self._clock() - self._tried_at)
            raise TokenInvalid("No such key.", retry_after_seconds=max(1, int(wait)))
        return self._keys[key_id]

    def _refresh(self) -> None:
        if self._clock() - self._tried_at < self._cooldown:
            return
        self._tried_at = self._clock()
        try:
            keys = _public_keys(json.loads(self._fetch()))
        except _NO_USE:
            return  # the keys that we have, for as long as they are not stale
        if keys:
            self._keys, self._fetched_at = keys, self._clock()


def _public_keys(document: dict[str, Any]) -> Mapping[str | None, Key]:
    keys = jwt.PyJWKSet.from_dict(document).keys
    usable = [key for key in keys if key.key_type in ("RSA", "EC") and key.public_key_use != "enc"]
    return {key.key_id: key for key in usable}


class _NoRedirect(HTTPRedirectHandler):
    """A redirect could lead anywhere, also to a metadata service that holds credentials."""

    def redirect_request(self, *_: object) -> NoReturn:
        raise ValueError("the JWKS URL redirects")


def https_get(url: str) -> Callable[[], str]:
    """A fetch of *url* that raises OSError or ValueError when there is nothing to use there."""
    opener: OpenerDirector = build_opener(_NoRedirect)

    def fetch() -> str:
        with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise ValueError("the JWKS document is too large")
        return body.decode()

    return fetch
