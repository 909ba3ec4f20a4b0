"""Tokens for development and tests: HS256, with a secret that is random for each checkout.

In production your back end or your identity provider makes them (docs/protocol.md §3).
"""

import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jwt

ISSUER = "presence-local"
AUDIENCE = "presence"
ALGORITHM = "HS256"
LIFE_SECONDS = 12 * 3600
MAX_LIFE_SECONDS = 24 * 3600
_SECRET_BYTES = 32
#: As the server's (docs/protocol.md): printable ASCII without space, quotes and / ? # % \ < > *.
ID_PATTERN = r"(?!\.{1,2}\Z)[!$&()+,\-.0-9:;=@A-Z\[\]^_a-z{|}~]{1,128}"
ID_CHARACTERS = "1 to 128 printable ASCII characters without spaces, quotes and / ? # % \\ < > *"
_ID = re.compile(ID_PATTERN, re.ASCII)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a stack asks of a token: its parameters, as docs/identity-providers.md names them.

    Attributes:
        issuers: TokenIssuer.
        audiences: TokenAudience.
        user_claim: TokenUserClaim.
        audience_claims: TokenAudienceClaims.
        use: TokenUse.
        claim_prefix: TokenClaimPrefix.
    """

    issuers: tuple[str, ...] = (ISSUER,)
    audiences: tuple[str, ...] = (AUDIENCE,)
    user_claim: str = "sub"
    audience_claims: tuple[str, ...] = ("aud", "client_id", "azp")
    use: str = "any"
    claim_prefix: str = ""

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """The rules of a stack with these parameters; those that are missing are the defaults."""
        usual = cls()
        return cls(
            issuers=_list(parameters, "TokenIssuer") or usual.issuers,
            audiences=_list(parameters, "TokenAudience") or usual.audiences,
            user_claim=parameters.get("TokenUserClaim", usual.user_claim),
            audience_claims=_list(parameters, "TokenAudienceClaims") or usual.audience_claims,
            use=parameters.get("TokenUse", usual.use),
            claim_prefix=parameters.get("TokenClaimPrefix", usual.claim_prefix),
        )


def _list(parameters: Mapping[str, str], name: str) -> tuple[str, ...]:
    names = (it.strip() for it in parameters.get(name, "").split(","))
    return tuple(it for it in names if it)


LOCAL = Rules()


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
    *,
    rules: Rules = LOCAL,
) -> str:
    """A token of this user.

    Args:
        secret: that of the stack; at least 32 bytes.
        user_id: the token's subject.
        scope: what it allows beyond the ordinary, separated by blanks.
        ttl: its life in seconds (12 hours); negative makes one that has expired.
        chat_sessions: the only sessions it may join, or prefixes ending in `*`; None for all.
        rules: of the stack that it is for.

    Raises:
        ValueError: the user id is none, or no server would accept so long a life.
    """
    if not _ID.fullmatch(user_id):
        raise ValueError(f"A user id has {ID_CHARACTERS}")
    claims = {**_names(user_id, rules), **_times(ttl)}
    if scope is not None:
        claims[f"{rules.claim_prefix}scope"] = scope
    if chat_sessions is not None:
        claims[f"{rules.claim_prefix}chat_sessions"] = list(chat_sessions)
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def _names(user_id: str, rules: Rules) -> dict[str, Any]:
    """Who made the token, what it is for, and whose it is, in the claims that the stack reads."""
    audience = {rules.audience_claims[0]: rules.audiences[0]}
    return {"iss": rules.issuers[0], **audience, rules.user_claim: user_id}


def _times(ttl: int | None) -> dict[str, int]:
    life = LIFE_SECONDS if ttl is None else ttl
    if life > MAX_LIFE_SECONDS:
        raise ValueError(f"A token lives for {MAX_LIFE_SECONDS} seconds (24 hours) at most.")
    now = int(time.time())
    # One that has expired was issued before it did; otherwise it would be refused for that.
    return {"iat": now if life > 0 else now + life - 1, "exp": now + life}
