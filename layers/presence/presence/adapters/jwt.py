"""Verification of JWTs: their form and signature, with PyJWT (RFC 7515, RFC 8725).

A stack has one kind of key, secrets or a key set, and a key has one algorithm: its own, never the
one that the token asks for.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jwt

from presence.adapters.claims import Claims, TokenRules, identity
from presence.domain.connection import Identity
from presence.domain.errors import InvalidMessage, TokenInvalid
from presence.limits import MAX_SECRETS, MAX_TOKEN_LENGTH, MIN_SECRET_BYTES
from presence.protocol.strict_json import parse_token_part

SYMMETRIC = frozenset({"HS256"})
ASYMMETRIC = frozenset(
    {*(f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)), "EdDSA"}
)
_KEY_ID = re.compile(r"[A-Za-z0-9._~=+/:-]{1,128}", re.ASCII)
_JWS = jwt.PyJWS(options={"enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True)
class Key:
    """A key as PyJWT takes it, and the one algorithm that it is for."""

    algorithm: str
    value: Any


#: The keys that a token with this `kid` may be signed with; raises TokenInvalid or Unavailable.
Keys: TypeAlias = Callable[[str | None], Sequence[Key]]


class JWTTokens:
    """Tokens as *rules* ask for, signed with one of *keys*, which are all for *algorithms*."""

    def __init__(self, keys: Keys, algorithms: frozenset[str], rules: TokenRules) -> None:
        self._keys = keys
        self._algorithms = algorithms
        self._rules = rules

    def verify(self, token: str, now: int) -> Identity:
        header, claims = _parts(token)
        # Before a key is looked for: no token that is forged like this costs a fetch.
        _require_algorithm(header, self._algorithms)
        keys = self._keys(_key_id(header))
        _require_algorithm(header, {key.algorithm for key in keys})
        if not any(_is_signed_with(key, token) for key in keys):
            raise TokenInvalid(
                "The signature fits no key of this stack "
                "(parameters TokenJwksUrl, TokenSecretParameter)."
            )
        return identity(header, claims, self._rules, now)


def _parts(token: str) -> tuple[Claims, Claims]:
    """Header and claims, read more strictly than PyJWT reads them."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN_LENGTH or len(parts) != 3:  # noqa: PLR2004  JWS compact, RFC 7515, 7.1
        raise TokenInvalid(f"A JWT has three parts, and {MAX_TOKEN_LENGTH} characters at most.")
    try:
        header, claims = (
            parse_token_part(jwt.utils.base64url_decode(part).decode()) for part in parts[:2]
        )
    except (ValueError, InvalidMessage) as error:
        raise TokenInvalid("Header and claims have to be JSON, every name once.") from error
    return header, claims


def _require_algorithm(header: Claims, allowed: "frozenset[str] | set[str]") -> None:
    if not isinstance(header.get("alg"), str) or header["alg"] not in allowed:
        raise TokenInvalid(f"alg has to be {' or '.join(sorted(allowed))}, as its key is for.")


def _key_id(header: Claims) -> str | None:
    key_id = header.get("kid")
    if key_id is not None and not (isinstance(key_id, str) and _KEY_ID.fullmatch(key_id)):
        raise TokenInvalid("kid has to be at most 128 characters of A-Z, a-z, 0-9 and ._~=+/:-.")
    return key_id


def _is_signed_with(key: Key, token: str) -> bool:
    try:
        _JWS.decode(token, key.value, algorithms=[key.algorithm])
    except jwt.InvalidSignatureError:
        return False
    except jwt.PyJWTError as error:
        raise TokenInvalid("The token is not one that this stack accepts.") from error
    return True


def shared_secrets(text: str) -> Keys:
    """The HMAC secrets of a stack: one, or two on two lines while one takes the other's place.

    Raises:
        ValueError: there is none or more than two, or one is shorter than MIN_SECRET_BYTES.
    """
    secrets = [line for line in re.split(r"\r?\n", text) if line]
    if not 1 <= len(secrets) <= MAX_SECRETS:
        raise ValueError(f"The token secret has to be 1 to {MAX_SECRETS} lines.")
    if any(len(secret.encode()) < MIN_SECRET_BYTES for secret in secrets):
        raise ValueError(f"Each token secret needs {MIN_SECRET_BYTES} bytes or more.")
    keys = [Key("HS256", secret) for secret in secrets]
    return lambda _key_id: keys
