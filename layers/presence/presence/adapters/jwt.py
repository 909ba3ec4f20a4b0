"""Verification of JWTs with PyJWT (RFC 8725; every check below was found to be needed).

One family of algorithms per stack: a secret (HS256) or a JWKS URL (RS256, ES256), never both, and
never the algorithm that the token itself asks for.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jwt

from presence.domain.connection import AllowedSessions, Identity
from presence.domain.errors import InvalidMessage, TokenExpired, TokenInvalid
from presence.limits import (
    ID_PATTERN,
    MAX_TOKEN_LENGTH,
    MAX_TOKEN_SECONDS,
    MIN_SECRET_BYTES,
    TOKEN_LEEWAY_MILLISECONDS,
)
from presence.protocol.requests import is_id
from presence.protocol.strict_json import parse_object

REQUIRED = ["exp", "iat", "sub", "aud", "iss"]
_KEY_ID = re.compile(r"[A-Za-z0-9._~=+/-]{1,128}", re.ASCII)
_SESSION = re.compile(rf"{ID_PATTERN}\*?|\*", re.ASCII)

Claims: TypeAlias = Mapping[str, Any]
Key: TypeAlias = Any
#: Finds the key for a token's `kid`; raises TokenInvalid or Unavailable.
Keys: TypeAlias = Callable[[str | None], Key]


class JWTTokens:
    """Tokens of one issuer for one audience, signed by one of `algorithms` with one of `keys`."""

    def __init__(
        self, keys: Keys, algorithms: tuple[str, ...], *, issuer: str, audience: str
    ) -> None:
        self._keys = keys
        self._algorithms = list(algorithms)
        self._issuer = issuer
        self._audience = audience

    def verify(self, token: str, now: int) -> Identity:
        header = _header(token)
        if header.get("alg") not in self._algorithms:
            raise TokenInvalid(f"Sign the token with {' or '.join(self._algorithms)}.")
        claims = self._decode(token, self._keys(_key_id(header)))
        return _identity(claims, now)

    def _decode(self, token: str, key: Key) -> Claims:
        try:
            claims: Claims = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=TOKEN_LEEWAY_MILLISECONDS / 1000,
                options={
                    "require": REQUIRED,
                    "enforce_minimum_key_length": True,
                    "strict_aud": True,
                    "verify_exp": False,  # by `now`, below
                },
            )
        except jwt.MissingRequiredClaimError as error:
            raise TokenInvalid(f"The token needs the claims {', '.join(REQUIRED)}.") from error
        except jwt.InvalidAudienceError as error:
            raise TokenInvalid("The token is for another audience.") from error
        except jwt.InvalidIssuerError as error:
            raise TokenInvalid("The token is from another issuer.") from error
        except jwt.PyJWTError as error:
            raise TokenInvalid("The token is not one that this stack accepts.") from error
        return claims


def _header(token: str) -> Claims:
    """The header, after header and claims were read more strictly than PyJWT reads them."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN_LENGTH or len(parts) != 3:  # noqa: PLR2004  JWS compact, RFC 7515, 7.1
        raise TokenInvalid("A JWT has three parts.")
    try:
        header, _ = (
            parse_object(jwt.utils.base64url_decode(part).decode(), limit=MAX_TOKEN_LENGTH)
            for part in parts[:2]
        )
    except (ValueError, InvalidMessage) as error:
        raise TokenInvalid("Header and claims have to be JSON, every name once.") from error
    return header


def _key_id(header: Claims) -> str | None:
    key_id = header.get("kid")
    if key_id is not None and not (isinstance(key_id, str) and _KEY_ID.fullmatch(key_id)):
        raise TokenInvalid("kid has to be at most 128 characters of A-Z, a-z, 0-9 and ._~=+/-.")
    return key_id


def _identity(claims: Claims, now: int) -> Identity:
    """PyJWT accepts an `exp` that is text, or centuries away, and an empty `sub`; this does not."""
    expires_at, issued_at = claims["exp"], claims["iat"]
    if type(expires_at) is not int or type(issued_at) is not int:
        raise TokenInvalid("exp and iat have to be whole seconds since 1970.")
    if not 0 < expires_at - issued_at <= MAX_TOKEN_SECONDS:
        raise TokenInvalid("A token lives for 24 hours at most.")
    if expires_at * 1000 + TOKEN_LEEWAY_MILLISECONDS <= now:
        raise TokenExpired("The token has expired; ask for a fresh one.")
    if not is_id(claims["sub"]):
        raise TokenInvalid("sub has to be 1 to 128 characters of A-Z, a-z, 0-9 and ._~@+=-.")
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise TokenInvalid("scope has to be names separated by spaces.")
    allowed = _allowed_sessions(claims)
    return Identity(claims["sub"], expires_at * 1000, frozenset(scope.split()), allowed)


def _allowed_sessions(claims: Claims) -> AllowedSessions:
    """A list of ids, or of prefixes ending in `*`; without the claim all are allowed.

    A claim that is null is refused, as a null scope is: what its issuer meant is not known.
    """
    if "chat_sessions" not in claims:
        return None
    claim = claims["chat_sessions"]
    names = claim if isinstance(claim, list) else [None]
    if not all(isinstance(name, str) and _SESSION.fullmatch(name) for name in names):
        raise TokenInvalid("chat_sessions has to be a list of ids, or of prefixes ending in *.")
    return frozenset(names)


def shared_secret(secret: str) -> Keys:
    """The one HMAC secret of the stack.

    Raises:
        ValueError: it is shorter than MIN_SECRET_BYTES.
    """
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"The token secret needs {MIN_SECRET_BYTES} bytes or more.")
    return lambda _key_id: secret
