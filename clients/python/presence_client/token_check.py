"""What a stack says to a token, and which parameter or claim would let it in.

It answers as the server does, and names all reasons, not the first alone.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jwt

from presence_client.tokens import ALGORITHM, ID_CHARACTERS, ID_PATTERN, MAX_LIFE_SECONDS, Rules

Claims: TypeAlias = Mapping[str, Any]

_LEEWAY_SECONDS = 30
_MAX_LENGTH = 6_144
_MAX_INTEGER = 2**53 - 1
_ID = re.compile(ID_PATTERN, re.ASCII)
_SESSION = re.compile(rf"{ID_PATTERN}\*?|\*", re.ASCII)
_KEY_ID = re.compile(r"[A-Za-z0-9._~=+/:-]{1,128}", re.ASCII)
_MARKS = {
    **dict.fromkeys(("jwt", "application/jwt"), "any"),
    **dict.fromkeys(("at+jwt", "application/at+jwt", "access", "bearer", "dpop"), "access"),
    "id": "id",
}
_ASYMMETRIC = {"EdDSA", *(f"{it}{bits}" for it in ("RS", "PS", "ES") for bits in (256, 384, 512))}
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
#: The claims in which issuers name the user; ids that never change come first.
_USER_CLAIMS = (
    *("sub", "user_id", "uid", "oid", "cognito:username", "username", "preferred_username"),
    "email",
)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The HMAC secrets of a stack."""

    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class KeySet:
    """A JWKS document."""

    document: Claims


#: None: the signature is not checked.
Keys: TypeAlias = Secrets | KeySet | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server says to a token, and why.

    Attributes:
        code: the error code of the refusal; None when the token is let in.
        reasons: all that is wrong with it, each with the claim or the parameter to change.
        parameters: those that would have to be others, and what they would have to be.
        header: as the token has it, verified or not.
        claims: as the token has them, verified or not.
    """

    code: str | None
    reasons: Sequence[str] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    header: Claims = field(default_factory=dict)
    claims: Claims = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong; `parameter` would mend it on the side of the stack."""

    reason: str
    parameter: tuple[str, str] | None = None


def check(token: str, rules: Rules, keys: Keys, now: int) -> Verdict:
    """Say what a stack answers to a token, and all that is wrong with it.

    Args:
        token: a JWT, or anything else.
        rules: of the stack.
        keys: what the stack verifies with; None checks no signature.
        now: epoch milliseconds.
    """
    try:
        header, claims = _read(token)
    except ValueError as error:
        return Verdict("token-invalid", (str(error),))
    faults = [
        *_signature_faults(token, header, keys),
        *_use_faults(header, claims, rules),
        *_name_faults(claims, rules),
        *_own_faults(claims, rules),
        *_time_faults(claims, now / 1000),
    ]
    reasons = [it.reason for it in faults]
    parameters = dict(it.parameter for it in faults if it.parameter)
    overdue = now / 1000 - (_seconds(claims.get("exp")) or now)
    late = [f"It expired {overdue:.0f} seconds ago (exp)."] if overdue > 0 else []
    if faults:
        return Verdict("token-invalid", (*reasons, *late), parameters, header, claims)
    if overdue >= _LEEWAY_SECONDS:
        return Verdict("token-expired", late, {}, header, claims)
    return Verdict(None, (), {}, header, claims)


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
            json.loads(
                jwt.utils.base64url_decode(part).decode(),
                object_pairs_hook=_unique,
                parse_constant=_no_constant,
                parse_int=lambda digits: int(digits) if len(digits) <= 21 else float(digits),  # noqa: PLR2004
            )
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


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")


# ── signature ──────────────────────────────────────────────────────────────────────────────


def _signature_faults(token: str, header: Claims, keys: Keys) -> Iterator[_Fault]:
    algorithm, key_id = header.get("alg"), header.get("kid")
    if "kid" in header and not (isinstance(key_id, str) and _KEY_ID.fullmatch(key_id)):
        yield _Fault("kid has to be 1 to 128 characters of A-Z, a-z, 0-9 and ._~=+/:-.")
    elif not isinstance(algorithm, str) or algorithm not in {ALGORITHM, *_ASYMMETRIC}:
        yield _Fault(f"alg is {algorithm!r}; a stack takes {ALGORITHM}, or what its keys are for.")
    elif isinstance(keys, Secrets):
        yield from _secret_faults(token, algorithm, keys)
    elif isinstance(keys, KeySet):
        yield from _key_set_faults(token, header, keys)


def _secret_faults(token: str, algorithm: object, secrets: Secrets) -> Iterator[_Fault]:
    if algorithm != ALGORITHM:
        yield _Fault(
            f"alg is {algorithm!r}, and the stack has a secret: it takes {ALGORITHM}. "
            "Set TokenJwksUrl in the place of TokenSecretParameter."
        )
    elif not any(_fits(token, secret, ALGORITHM) for secret in secrets.texts):
        yield _Fault("Its signature does not fit the secret of the stack (TokenSecretParameter).")


def _key_set_faults(token: str, header: Claims, keys: KeySet) -> Iterator[_Fault]:
    algorithm, key_id = header.get("alg"), header.get("kid")
    members = [it for it in keys.document.get("keys", ()) if isinstance(it, dict)]
    known = {it.get("kid"): it for it in members if isinstance(it.get("kid"), str | None)}
    if algorithm == ALGORITHM:
        yield _Fault(
            f"alg is {ALGORITHM}, and the stack has a key set. "
            "Set TokenSecretParameter in the place of TokenJwksUrl."
        )
    elif key_id not in known:
        yield _Fault(f"kid is {key_id!r}; the key set (TokenJwksUrl) has {_names(known)}.")
    elif algorithm != (its := _algorithm_of(known[key_id])):
        yield _Fault(f"alg is {algorithm!r}; its key in the key set is for {its or 'other uses'}.")
    elif not _fits(token, jwt.PyJWK(known[key_id]).key, str(algorithm)):
        yield _Fault("Its signature does not fit the key of the key set (TokenJwksUrl).")


def _names(known: Mapping[Any, object]) -> str:
    return ", ".join(repr(it) for it in known) or "no key"


def _algorithm_of(key: Mapping[str, Any]) -> str | None:
    """What a key of a set is for; None if it does not sign for a stack."""
    try:
        algorithm = jwt.PyJWK(dict(key)).algorithm_name
    except jwt.PyJWTError:
        return None
    of_type: Mapping[str, set[str]] = {
        "RSA": {it for it in _ASYMMETRIC if it[:2] in ("RS", "PS")},
        "EC": {_CURVES.get(str(key.get("crv")), "")},
        "OKP": {"EdDSA"},
    }
    signs = key.get("use", "sig") == "sig" and "verify" in key.get("key_ops", ["verify"])
    return algorithm if signs and algorithm in of_type.get(str(key.get("kty")), ()) else None


def _fits(token: str, key: Any, algorithm: str) -> bool:  # noqa: ANN401 - PyJWT's
    try:
        jwt.PyJWS().decode(token, key, algorithms=[algorithm])
    except jwt.PyJWTError:
        return False
    return True


# ── claims ─────────────────────────────────────────────────────────────────────────────────


def _use_faults(header: Claims, claims: Claims, rules: Rules) -> Iterator[_Fault]:
    if "events" in claims:
        yield _Fault("events says that it is a security event, such as a logout, and not a token.")
    for name, part in (("typ", header), ("token_use", claims), ("typ", claims)):
        kind = _MARKS.get(str(part[name]).lower()) if name in part else "any"
        if kind is None:
            yield _Fault(f"{name} is {part[name]!r}: neither an access token nor an ID token.")
        elif "any" not in (kind, rules.use) and kind != rules.use:
            reason = f"{name} is {part[name]!r}; TokenUse is {rules.use}."
            yield _Fault(reason, ("TokenUse", "any"))


def _name_faults(claims: Claims, rules: Rules) -> Iterator[_Fault]:
    yield from (_Fault(f"It has no {name}.") for name in ("exp", "iat") if claims.get(name) is None)
    yield from _issuer_faults(claims.get("iss"), rules)
    yield from _audience_faults(claims, rules)
    yield from _user_faults(claims, rules)


def _issuer_faults(issuer: object, rules: Rules) -> Iterator[_Fault]:
    if not isinstance(issuer, str):
        yield _Fault("It has no iss." if issuer is None else "iss has to be text.")
    elif issuer not in rules.issuers:
        taken = " or ".join(map(repr, rules.issuers))
        yield _Fault(f"iss is {issuer!r}; TokenIssuer is {taken}.", ("TokenIssuer", issuer))


def _audience_faults(claims: Claims, rules: Rules) -> Iterator[_Fault]:
    name = next((it for it in rules.audience_claims if claims.get(it) not in (None, [])), None)
    if name is None:
        others = [it for it in ("aud", "client_id", "azp", "cid", "iss") if claims.get(it)]
        wanted = " or ".join(rules.audience_claims)
        yield _Fault(
            f"It has no {wanted} (TokenAudienceClaims).",
            ("TokenAudienceClaims", others[0]) if others else None,
        )
        return
    value = claims[name]
    told = value if isinstance(value, list) else [value]
    if not all(isinstance(it, str) for it in told):
        yield _Fault(f"{name} has to be text, or a list of texts.")
    elif not set(told) & set(rules.audiences):
        taken = " or ".join(map(repr, rules.audiences))
        parameter = ("TokenAudience", told[0]) if told else None
        yield _Fault(f"{name} is {value!r}; TokenAudience is {taken}.", parameter)


def _user_faults(claims: Claims, rules: Rules) -> Iterator[_Fault]:
    value = claims.get(rules.user_claim)
    if _is_user(value):
        return
    others = [it for it in _USER_CLAIMS if _is_user(claims.get(it))]
    parameter = ("TokenUserClaim", others[0]) if others else None
    if value is None:
        yield _Fault(f"It has no {rules.user_claim} (TokenUserClaim).", parameter)
    else:
        yield _Fault(f"{rules.user_claim} has to be {ID_CHARACTERS} (TokenUserClaim).", parameter)


def _is_user(value: object) -> bool:
    if type(value) is int:
        return 0 <= value <= _MAX_INTEGER
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _own_faults(claims: Claims, rules: Rules) -> Iterator[_Fault]:
    for name in sorted({"scope", "scp", f"{rules.claim_prefix}scope"} & claims.keys()):
        value = claims[name]
        if not (isinstance(value, str) or _is_list_of(str, value)):
            yield _Fault(f"{name} has to be names separated by spaces, or a list of names.")
    names = {"chat_sessions", f"{rules.claim_prefix}chat_sessions"} & claims.keys()
    if len(names) > 1:
        yield _Fault("chat_sessions is there twice, with TokenClaimPrefix and without.")
    for name in sorted(names):
        value = claims[name]
        if not (_is_list_of(str, value) and all(_SESSION.fullmatch(it) for it in value)):
            yield _Fault(f"{name} has to be a list of ids, or of prefixes ending in *.")


def _is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, list) and all(isinstance(it, kind) for it in value)


def _time_faults(claims: Claims, now: float) -> Iterator[_Fault]:
    yield from _instant_faults(claims, now)
    expires_at, issued_at = (_seconds(claims.get(name)) for name in ("exp", "iat"))
    if expires_at is None or issued_at is None:
        return
    life = expires_at - issued_at
    if life > MAX_LIFE_SECONDS:
        most = f"{MAX_LIFE_SECONDS} are allowed"
        yield _Fault(f"It lives for {life:.0f} seconds from iat to exp; {most}.")
    elif life <= 0:
        yield _Fault("Its exp is not after its iat.")


def _instant_faults(claims: Claims, now: float) -> Iterator[_Fault]:
    for name in ("exp", "iat", "nbf"):
        at = _seconds(claims.get(name))
        if at is None and claims.get(name) is not None:
            yield _Fault(f"{name} has to be a number of seconds since 1970.")
        elif at is not None and name != "exp" and at > now + _LEEWAY_SECONDS:
            yield _Fault(f"{name} is still to come, in {at - now:.0f} seconds.")


def _seconds(value: Any) -> float | None:  # noqa: ANN401 - JSON
    is_one = type(value) in (int, float) and abs(value) <= _MAX_INTEGER
    return value if is_one else None


def notes(claims: Claims, rules: Rules) -> Iterator[str]:
    """What a token says that the stack does not read, although it was meant for it."""
    for name in claims:
        prefix = name.removesuffix("chat_sessions")
        if prefix not in (name, "", rules.claim_prefix):
            yield f"{name} is not read; TokenClaimPrefix={prefix} would do that."


def letting_in(token: str, rules: Rules, keys: Keys, now: int) -> Mapping[str, str] | None:
    """The parameters that would have to be others for this token; None if more has to change."""
    wanted: dict[str, str] = {}
    for _ in range(3):  # what is the audience shows when the claim is known that names it
        verdict = check(token, _changed(rules, wanted), keys, now)
        if verdict.code is None:
            return wanted
        wanted |= verdict.parameters
    return None


def _changed(rules: Rules, wanted: Mapping[str, str]) -> Rules:
    parameters = {
        "TokenIssuer": ",".join(rules.issuers),
        "TokenAudience": ",".join(rules.audiences),
        "TokenUserClaim": rules.user_claim,
        "TokenAudienceClaims": ",".join(rules.audience_claims),
        "TokenUse": rules.use,
        "TokenClaimPrefix": rules.claim_prefix,
    }
    return Rules.of({**parameters, **wanted})
