"""Tokens for development: signed with a secret that is random for each checkout."""

from __future__ import annotations

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

from presence.adapters.jwt import REQUIRED, JWTTokens, shared_secret
from presence.domain.errors import PresenceError
from presence.limits import ID_PATTERN, MAX_TOKEN_SECONDS

ISSUER = "presence-local"
AUDIENCE = "presence"
ALGORITHM = "HS256"
LIFE_SECONDS = 12 * 3600
_SECRET_BYTES = 32
_ID = re.compile(ID_PATTERN, re.ASCII)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server says to a token, and why.

    Attributes:
        code: the error code of the refusal; None when the token is accepted.
        reasons: the server's sentence first, then what exactly is wrong.
        header: as the token has it, verified or not.
        claims: as the token has them, verified or not.
    """

    code: str | None
    reasons: Sequence[str] = ()
    header: Mapping[str, Any] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)


def secret(home: Path) -> str:
    """Return the secret of the stack in this home; the first call makes it (mode 0600)."""
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
    """Return a token of this user.

    Args:
        secret: what `secret` returned.
        user_id: the token's subject.
        scope: what it allows beyond the ordinary, separated by blanks.
        ttl: its life in seconds (12 hours); negative makes one that has expired.
        chat_sessions: the only sessions it may join, or prefixes ending in `*`; None for all.

    Raises:
        ValueError: the user id is none, or no server would accept so long a life.
    """
    life = LIFE_SECONDS if ttl is None else ttl
    if not _ID.fullmatch(user_id):
        message = "A user id has 1 to 128 letters, digits and . _ ~ @ + = -"
        raise ValueError(message)
    if life > MAX_TOKEN_SECONDS:
        message = f"A token lives for {MAX_TOKEN_SECONDS} seconds (24 hours) at most."
        raise ValueError(message)
    return jwt.encode(_claims(user_id, life, scope, chat_sessions), secret, algorithm=ALGORITHM)


def _claims(
    user_id: str, life: int, scope: str | None, chat_sessions: Sequence[str] | None
) -> dict[str, Any]:
    now = int(time.time())
    # One that has expired was issued before it did; otherwise it would be refused for that.
    issued_at = now if life > 0 else now + life - 1
    claims: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": user_id, "iat": issued_at}
    claims["exp"] = now + life
    if scope is not None:
        claims["scope"] = scope
    if chat_sessions is not None:
        claims["chat_sessions"] = list(chat_sessions)
    return claims


def check(token: str, secret: str, now: int) -> Verdict:
    """Ask the server's own verifier about a token, and add what it does not tell strangers.

    Args:
        token: a JWT, or anything else.
        secret: what the local stack verifies with.
        now: epoch milliseconds.
    """
    header, claims = _read(token)
    verifier = JWTTokens(shared_secret(secret), (ALGORITHM,), issuer=ISSUER, audience=AUDIENCE)
    try:
        verifier.verify(token, now)
    except PresenceError as error:
        details = _details(token, secret, header, claims) if header else ()
        return Verdict(error.code, (error.message, *details), header, claims)
    return Verdict(None, (), header, claims)


def _read(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return header and claims, unverified; empty where there are none."""
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return {}, {}
    return parts["header"], parts["payload"]


def _details(
    token: str, secret: str, header: Mapping[str, Any], claims: Mapping[str, Any]
) -> Iterator[str]:
    if header.get("alg") != ALGORITHM:
        yield f"alg is {header.get('alg')!r}; the local stack takes {ALGORITHM}."
    elif not _is_signed(token, secret):
        yield "Its signature does not fit the secret of this checkout."
    yield from _differences(claims)


def _is_signed(token: str, secret: str) -> bool:
    unchecked = {f"verify_{name}": False for name in (*REQUIRED, "nbf")}
    try:
        jwt.decode(token, secret, algorithms=[ALGORITHM], options=unchecked)  # type: ignore[arg-type]
    except jwt.InvalidSignatureError:
        return False
    except jwt.PyJWTError:
        return True
    return True


def _differences(claims: Mapping[str, Any]) -> Iterator[str]:
    for name in REQUIRED:
        if name not in claims:
            yield f"It has no {name}."
    for name, wanted in (("iss", ISSUER), ("aud", AUDIENCE)):
        if claims.get(name, wanted) != wanted:
            yield f"{name} is {claims[name]!r}; the local stack takes {wanted!r}."
    expires_at, issued_at = claims.get("exp"), claims.get("iat")
    if type(expires_at) is int and type(issued_at) is int:
        yield from _wrong_times(expires_at - issued_at, time.time() - expires_at)


def _wrong_times(life: int, overdue: float) -> Iterator[str]:
    if life > MAX_TOKEN_SECONDS:
        yield f"It lives for {life} seconds from iat to exp."
    if life <= 0:
        yield "Its exp is not after its iat."
    if overdue > 0:
        yield f"It expired {overdue:.0f} seconds ago."
