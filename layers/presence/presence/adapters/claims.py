"""What the claims of a verified token say: whose it is, for how long, and what it allows.

By RFC 7519 (JWT) and RFC 9068 (access tokens), with what issuers really write. A refusal names the
claim or the stack parameter to change, and never what the token says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from presence.domain.connection import Identity
from presence.domain.errors import TokenExpired, TokenInvalid
from presence.domain.standing import AllowedSessions, fingerprint
from presence.limits import (
    ID_CHARACTERS,
    MAX_INTEGER,
    MAX_TOKEN_SECONDS,
    TOKEN_LEEWAY_MILLISECONDS,
)
from presence.protocol.requests import is_id, is_id_or_prefix

Claims: TypeAlias = Mapping[str, Any]

ACCESS, ID, ANY = "access", "id", "any"
#: What marks say of a token: `typ` of the header (RFC 9068, RFC 8725), `token_use` (Cognito), and
#: the claim `typ` (Keycloak). Refresh, logout and other tokens have other marks.
_MARKS: Mapping[str, str] = {
    **dict.fromkeys(("jwt", "application/jwt"), ANY),
    **dict.fromkeys(("at+jwt", "application/at+jwt", "access", "bearer", "dpop"), ACCESS),
    "id": ID,
}


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The template's parameters for tokens.

    Args:
        issuers: what `iss` may be.
        audiences: the audiences that are this stack.
        user_claim: the claim whose value is the user id.
        audience_claims: the first of these that a token has is its audience.
        use: `access` or `id`, to refuse tokens that are marked as the other kind; or `any`.
        claim_prefix: what may stand before our own claims, `scope` and `chat_sessions`.
    """

    issuers: frozenset[str]
    audiences: frozenset[str]
    user_claim: str = "sub"
    audience_claims: tuple[str, ...] = ("aud", "client_id", "azp")
    use: str = ANY
    claim_prefix: str = ""


def identity(header: Claims, claims: Claims, rules: TokenRules, now: int) -> Identity:
    """The identity that a token proves.

    Raises:
        TokenInvalid: a claim is missing, malformed, or another than *rules* ask for.
        TokenExpired: it was valid before.
    """
    _require_use(header, claims, rules.use)
    if _needed(claims, "iss") not in rules.issuers:
        raise TokenInvalid("iss is no issuer of this stack (parameter TokenIssuer).")
    _require_audience(claims, rules)
    user_id = _user_id(claims, rules.user_claim)
    scope, sessions = _scope(claims, rules.claim_prefix), _sessions(claims, rules.claim_prefix)
    ends, issued_at = _expiry(claims, now), _instant(claims, "iat")
    return Identity(user_id, ends, scope, sessions, issued_at, _token_id(claims))


def _needed(claims: Claims, name: str) -> Any:  # noqa: ANN401  JSON
    value = claims.get(name)
    if value is None:
        raise TokenInvalid(f"The token needs the claim {name}.")
    return value if isinstance(value, str | int | float) else ""


def _require_use(header: Claims, claims: Claims, use: str) -> None:
    if "events" in claims:
        raise TokenInvalid("events is of a security event, such as a logout, and not of a token.")
    for name, part in (("typ", header), ("token_use", claims), ("typ", claims)):
        kind = _MARKS.get(str(part[name]).lower()) if name in part else ANY
        if kind is None:
            raise TokenInvalid(f"{name} is neither that of an access token nor of an ID token.")
        if ANY not in (kind, use) and kind != use:
            raise TokenInvalid(f"{name} is that of another kind of token (parameter TokenUse).")


def _require_audience(claims: Claims, rules: TokenRules) -> None:
    # An empty list names no audience, as none at all; Ory writes one beside `client_id`.
    name = next((it for it in rules.audience_claims if claims.get(it) not in (None, [])), None)
    if name is None:
        names = " or ".join(rules.audience_claims)
        raise TokenInvalid(f"The token needs the claim {names} (parameter TokenAudienceClaims).")
    value = claims[name]
    told = value if isinstance(value, list) else [value]
    if not all(isinstance(it, str) for it in told):
        raise TokenInvalid(f"{name} has to be text, or a list of texts.")
    if rules.audiences.isdisjoint(told):
        raise TokenInvalid(f"{name} is no audience of this stack (parameter TokenAudience).")


def _user_id(claims: Claims, name: str) -> str:
    value = _needed(claims, name)
    if type(value) is int and 0 <= value <= MAX_INTEGER:  # beyond that, not all parsers agree
        value = str(value)
    if not is_id(value):
        raise TokenInvalid(
            f"{name} has to be {ID_CHARACTERS}; parameter TokenUserClaim can name another claim."
        )
    return str(value)


# ── times ──────────────────────────────────────────────────────────────────────────────────


def _expiry(claims: Claims, now: int) -> int:
    """The end of the token, in epoch milliseconds; a claim's NumericDate may have a fraction."""
    expires_at, issued_at = _instant(claims, "exp"), _instant(claims, "iat")
    if not 0 < expires_at - issued_at <= MAX_TOKEN_SECONDS * 1000:
        hours = MAX_TOKEN_SECONDS // 3600
        raise TokenInvalid(f"exp has to be after iat, by {hours} hours at most.")
    begins = {"iat": issued_at}
    if claims.get("nbf") is not None:
        begins["nbf"] = _instant(claims, "nbf")
    for name, begins_at in begins.items():
        if begins_at > now + TOKEN_LEEWAY_MILLISECONDS:
            raise TokenInvalid(f"{name} is still to come: wait, or set the issuer's clock.")
    if expires_at + TOKEN_LEEWAY_MILLISECONDS <= now:
        raise TokenExpired("The token has expired; ask for a fresh one.")
    return expires_at


def _instant(claims: Claims, name: str) -> int:
    value = _needed(claims, name)
    if type(value) not in (int, float) or abs(value) > MAX_INTEGER:
        raise TokenInvalid(f"{name} has to be a number of seconds since 1970.")
    return int(value * 1000)


# ── our own ────────────────────────────────────────────────────────────────────────────────


def _scope(claims: Claims, prefix: str) -> frozenset[str]:
    """All names of all claims that hold scopes: text separated by spaces, or lists."""
    found = frozenset[str]()
    for name in {"scope", "scp", f"{prefix}scope"} & claims.keys():
        value = claims[name]
        names = value.split() if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(it, str) for it in names):
            raise TokenInvalid(f"{name} has to be names separated by spaces, or a list of names.")
        found |= frozenset(names)
    return found


def _token_id(claims: Claims) -> str | None:
    """The fingerprint of `jti`; one that is neither text nor a number cannot be revoked by it."""
    token_id = claims.get("jti")
    is_known = isinstance(token_id, str) or type(token_id) is int
    return fingerprint(str(token_id)) if is_known else None


def _sessions(claims: Claims, prefix: str) -> AllowedSessions:
    """A list of ids, or of prefixes ending in `*`; without the claim all are allowed.

    A claim that is null is refused, as a null scope is: what its issuer meant is not known. So is
    one that is there with the prefix and without it.
    """
    names = {"chat_sessions", f"{prefix}chat_sessions"} & claims.keys()
    if not names:
        return None
    if len(names) > 1:
        raise TokenInvalid("chat_sessions is there twice, with TokenClaimPrefix and without.")
    name = names.pop()
    entries = claims[name]
    if not isinstance(entries, list) or not all(is_id_or_prefix(it) for it in entries):
        raise TokenInvalid(f"{name} has to be a list of ids, or of prefixes ending in *.")
    return frozenset(entries)
