"""Tokens for development and tests: HS256, with a secret that is random for each checkout.

In production your back end or your identity provider makes them (docs/protocol.md §3).
"""

import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

ISSUER = "presence-local"
AUDIENCE = "presence"
ALGORITHM = "HS256"
LIFE_SECONDS = 12 * 3600
MAX_LIFE_SECONDS = 24 * 3600
_LEEWAY_SECONDS = 30
_MAX_LENGTH = 6_144
_REQUIRED = ("exp", "iat", "sub", "aud", "iss")
_SECRET_BYTES = 32
_ID = re.compile(r"[A-Za-z0-9._~@+=-]{1,128}", re.ASCII)
_SESSION = re.compile(r"[A-Za-z0-9._~@+=-]{1,128}\*?|\*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server says to a token, and why.

    Attributes:
        code: the error code of the refusal; None when the token is accepted.
        reasons: all that is wrong with it.
        header: as the token has it, verified or not.
        claims: as the token has them, verified or not.
    """

    code: str | None
    reasons: Sequence[str] = ()
    header: Mapping[str, Any] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)


def secret(home: Path) -> str:
    """The secret of the stack in this home; the first call makes it (mode 0600)."""
    file = home / "secret"
    if not file.exists():
        home.mkdir(parents=True, exist_ok=True)
        _create(file, secrets.token_hex(_SECRET_BYTES))
    return file.read_text()


def _create(file: Path, content: str) -> None:
    """Create a file with all its content at once, or leave the one that came first."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as fresh:
            fresh.write(content)
        with suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()


def mint(
    secret: str,
    user_id: str,
    scope: str | None = None,
    ttl: int | None = None,
    chat_sessions: Sequence[str] | None = None,
) -> str:
    """A token of this user.

    Args:
        secret: that of the stack; at least 32 bytes.
        user_id: the token's subject.
        scope: what it allows beyond the ordinary, separated by blanks.
        ttl: its life in seconds (12 hours); negative makes one that has expired.
        chat_sessions: the only sessions it may join, or prefixes ending in `*`; None for all.

    Raises:
        ValueError: the user id is none, or no server would accept so long a life.
    """
    if not _ID.fullmatch(user_id):
        raise ValueError("A user id has 1 to 128 letters, digits and . _ ~ @ + = -")
    claims: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": user_id, **_times(ttl)}
    if scope is not None:
        claims["scope"] = scope
    if chat_sessions is not None:
        claims["chat_sessions"] = list(chat_sessions)
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def _times(ttl: int | None) -> dict[str, int]:
    life = LIFE_SECONDS if ttl is None else ttl
    if life > MAX_LIFE_SECONDS:
        raise ValueError(f"A token lives for {MAX_LIFE_SECONDS} seconds (24 hours) at most.")
    now = int(time.time())
    # One that has expired was issued before it did; otherwise it would be refused for that.
    return {"iat": now if life > 0 else now + life - 1, "exp": now + life}


def check(token: str, secret: str, now: int) -> Verdict:
    """Say what a stack with this secret answers to a token, and all that is wrong with it.

    Args:
        token: a JWT, or anything else.
        secret: what the stack verifies with.
        now: epoch milliseconds.
    """
    try:
        header, claims = _read(token)
    except ValueError as error:
        return Verdict("token-invalid", (str(error),))
    faults = [
        *_signature_faults(token, secret, header),
        *_name_faults(claims),
        *_claim_faults(claims),
        *_time_faults(claims.get("exp"), claims.get("iat")),
    ] or _other_faults(token, secret)
    overdue = now / 1000 - claims["exp"] if type(claims.get("exp")) is int else 0
    late = [f"It expired {overdue:.0f} seconds ago."] if overdue > 0 else []
    if faults:
        return Verdict("token-invalid", (*faults, *late), header, claims)
    if overdue >= _LEEWAY_SECONDS:
        return Verdict("token-expired", late, header, claims)
    return Verdict(None, (), header, claims)


def _read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unverified.

    Raises:
        ValueError: the token has none that a server would read.
    """
    parts = token.split(".")
    if len(token) > _MAX_LENGTH or len(parts) != 3:  # noqa: PLR2004 - RFC 7515 §7.1
        raise ValueError(f"A JWT has three parts, and at most {_MAX_LENGTH} characters.")
    try:
        header, claims = (
            json.loads(jwt.utils.base64url_decode(part).decode(), object_pairs_hook=_unique)
            for part in parts[:2]
        )
        return dict(header), dict(claims)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError("Header and claims have to be JSON, every name once.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A name is there twice.")
    return found


def _signature_faults(token: str, secret: str, header: Mapping[str, Any]) -> Iterator[str]:
    if header.get("alg") != ALGORITHM:
        yield f"alg is {header.get('alg')!r}; the local stack takes {ALGORITHM}."
        return
    try:
        jwt.PyJWS().decode(token, secret, algorithms=[ALGORITHM])
    except jwt.InvalidSignatureError:
        yield "Its signature does not fit the secret of this checkout."
    except jwt.PyJWTError as error:
        yield f"{error}."


def _name_faults(claims: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"It has no {name}." for name in _REQUIRED if claims.get(name) is None)
    for name, wanted in (("iss", ISSUER), ("aud", AUDIENCE)):
        if claims.get(name, wanted) != wanted:
            yield f"{name} is {claims[name]!r}; the local stack takes {wanted!r}."


def _claim_faults(claims: Mapping[str, Any]) -> Iterator[str]:
    sessions = claims.get("chat_sessions", [])
    if not _fits(_ID, claims.get("sub")):
        yield "sub has to be 1 to 128 characters of A-Z, a-z, 0-9 and ._~@+=-."
    if not isinstance(claims.get("scope", ""), str):
        yield "scope has to be names separated by spaces."
    if not (isinstance(sessions, list) and all(_fits(_SESSION, it) for it in sessions)):
        yield "chat_sessions has to be a list of ids, or of prefixes ending in *."


def _fits(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def _time_faults(expires_at: object, issued_at: object) -> Iterator[str]:
    if type(expires_at) is not int or type(issued_at) is not int:
        yield "exp and iat have to be whole seconds since 1970."
    elif expires_at - issued_at > MAX_LIFE_SECONDS:
        yield f"It lives for {expires_at - issued_at} seconds from iat to exp."
    elif expires_at <= issued_at:
        yield "Its exp is not after its iat."


def _other_faults(token: str, secret: str) -> list[str]:
    """What the library refuses besides, such as an `iat` in the future."""
    options: Any = {"verify_exp": False, "verify_aud": False}
    try:
        jwt.decode(token, secret, [ALGORITHM], options, leeway=_LEEWAY_SECONDS)
    except jwt.PyJWTError as error:
        return [f"{error}."]
    return []
