"""Tokens that were made to be let in, and must not be (RFC 8725)."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from presence.adapters.claims import TokenRules
from presence.adapters.jwks import JWKSKeys
from presence.adapters.jwt import ASYMMETRIC, SYMMETRIC, JWTTokens, Key, shared_secrets
from presence.domain.connection import Identity
from presence.domain.errors import PresenceError, TokenExpired, TokenInvalid
from presence.domain.standing import is_allowed
from tests.adapters.conftest import Issuer, jwks

SECRET = "of-tests-and-samples-only-no-stack-has-it"
NEXT = "the-secret-that-comes-after-the-other-one"
ISSUER, AUDIENCE = "https://issuer.example.com", "presence"
RULES = TokenRules(frozenset({ISSUER}), frozenset({AUDIENCE}))
NOW = int(time.time())
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": NOW, "exp": NOW + 3600}
HEADER = {"alg": "HS256", "typ": "JWT"}

TOKENS = JWTTokens(shared_secrets(SECRET), SYMMETRIC, RULES)


def part(value: Any) -> str:
    """One part of a token, of bytes, of text or of anything that JSON can say."""
    if not isinstance(value, str | bytes):
        value = json.dumps(value)
    data = value if isinstance(value, bytes) else value.encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signed(header: Any, claims: Any, secret: bytes = SECRET.encode()) -> str:
    """A token with a right HMAC signature, whatever it says."""
    message = f"{part(header)}.{part(claims)}"
    return f"{message}.{part(hmac.digest(secret, message.encode(), hashlib.sha256))}"


def verify(token: str, now: int = NOW * 1000, **rules: Any) -> Identity:
    if not rules:
        return TOKENS.verify(token, now)
    return JWTTokens(shared_secrets(SECRET), SYMMETRIC, replace(RULES, **rules)).verify(token, now)


def said(claims: Mapping[str, Any], **rules: Any) -> Identity:
    """What a good token proves that also has these claims."""
    return verify(signed(HEADER, {**CLAIMS, **claims}), **rules)


def without(claim: str) -> dict[str, Any]:
    return {name: value for name, value in CLAIMS.items() if name != claim}


# ── good ones ──────────────────────────────────────────────────────────────────────────────


def test_a_good_token_says_who_and_until_when() -> None:
    token = jwt.encode({**CLAIMS, "scope": "presence:admin  presence:publish"}, SECRET)

    identity = verify(token)

    scope = frozenset({"presence:admin", "presence:publish"})
    assert identity == Identity("ada", (NOW + 3600) * 1000, scope, issued_at=NOW * 1000)


#: As identity providers name users.
ELSEWHERE = (
    *("auth0|5f7c8ec7c33c6c004bbafe82", "google-oauth2|110248495921238986420"),
    *("us-east-1:0f0e0d0c-1111-2222-3333-444455556666", "f:0a1b2c3d:ada", "team:42:ada"),
)


@pytest.mark.parametrize(
    "sub", ["a", "x" * 128, "ada.l@example.com", "~a_b+c=d-1", "0", *ELSEWHERE]
)
def test_every_id_may_be_a_subject(sub: str) -> None:
    assert verify(signed(HEADER, {**CLAIMS, "sub": sub})).user_id == sub


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256"},
        {**HEADER, "typ": "at+jwt"},
        {**HEADER, "typ": "application/at+JWT"},
        {**HEADER, "kid": "2025-06"},
    ],
    ids=["bare", "at+jwt", "media-type", "kid"],
)
def test_the_header_of_a_good_token_may_say_more(header: dict[str, Any]) -> None:
    assert verify(signed(header, CLAIMS)).user_id == "ada"


# ── algorithms ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "none ", ""])
@pytest.mark.parametrize("signature", ["", "c2lnbmF0dXJl", "VALID"])
def test_an_unsigned_token_is_refused(alg: str, signature: str) -> None:
    header, claims, valid = signed({"alg": alg, "typ": "JWT"}, CLAIMS).split(".")

    with pytest.raises(TokenInvalid):
        verify(f"{header}.{claims}.{valid if signature == 'VALID' else signature}")


@pytest.mark.parametrize(
    "alg", ["HS384", "HS512", "hs256", "RS256", "ES256", "EdDSA", None, 256, ["HS256"], {}], ids=str
)
def test_the_token_does_not_choose_the_algorithm(alg: Any) -> None:
    with pytest.raises(TokenInvalid):
        verify(signed({**HEADER, "alg": alg}, CLAIMS))


def test_a_token_without_an_algorithm_is_refused() -> None:
    with pytest.raises(TokenInvalid):
        verify(signed({"typ": "JWT"}, CLAIMS))


SECRETS: dict[str, Callable[[Issuer], bytes]] = {
    "pem": lambda issuer: issuer.encoded(Encoding.PEM),
    "pem-stripped": lambda issuer: issuer.encoded(Encoding.PEM).strip(),
    "pem-with-bom": lambda issuer: b"\xef\xbb\xbf" + issuer.encoded(Encoding.PEM),
    "der": lambda issuer: issuer.encoded(Encoding.DER),
    "jwk": lambda issuer: json.dumps(issuer.jwk("k1")).encode(),
    "modulus": lambda issuer: str(issuer.jwk("k1")["n"]).encode(),
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_public_key_is_no_hmac_secret(
    rsa_issuer: Issuer, secret: Callable[[Issuer], bytes]
) -> None:
    keys = JWKSKeys(lambda: jwks(rsa_issuer.jwk("k1")))
    tokens = JWTTokens(keys, ASYMMETRIC, RULES)
    forged = signed({"alg": "HS256", "kid": "k1"}, CLAIMS, secret(rsa_issuer))
    disguised = signed({"alg": "RS256", "kid": "k1"}, CLAIMS, secret(rsa_issuer))

    for token in (forged, disguised):
        with pytest.raises(TokenInvalid):
            tokens.verify(token, NOW * 1000)


def test_an_rsa_token_is_refused_where_a_secret_is_configured(rsa_issuer: Issuer) -> None:
    token = rsa_issuer.sign(CLAIMS)

    with pytest.raises(TokenInvalid):
        verify(token)


def test_another_secret_is_refused() -> None:
    with pytest.raises(TokenInvalid):
        verify(signed(HEADER, CLAIMS, SECRET.upper().encode()))


@pytest.mark.parametrize("secret", ["", "secret", "x" * 31, "é" * 15, SECRET + "\nshort"])
def test_a_short_secret_is_refused_at_the_start(secret: str) -> None:
    with pytest.raises(ValueError, match=r"32 bytes|1 to 2 lines"):
        shared_secrets(secret)


# ── two secrets ────────────────────────────────────────────────────────────────────────────


@pytest.mark.fault("The secret of tokens has to be another one from now on.")
@pytest.mark.parametrize("text", [f"{SECRET}\n{NEXT}", f"{NEXT}\r\n{SECRET}\r\n\n"])
def test_two_secrets_are_good_while_one_takes_the_others_place(text: str) -> None:
    tokens = JWTTokens(shared_secrets(text), SYMMETRIC, RULES)

    users = [
        tokens.verify(signed(HEADER, CLAIMS, secret.encode()), NOW * 1000).user_id
        for secret in (SECRET, NEXT)
    ]

    assert users == ["ada", "ada"]
    with pytest.raises(TokenInvalid):
        tokens.verify(signed(HEADER, CLAIMS, text.encode()), NOW * 1000)


def test_a_third_secret_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="1 to 2 lines"):
        shared_secrets(f"{SECRET}\n{NEXT}\n{SECRET}")


# ── headers that name a key ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_a_key_that_comes_with_the_token_is_ignored(
    rsa_issuer: Issuer, other_rsa_issuer: Issuer, name: str
) -> None:
    fetched: list[str] = []

    def fetch() -> str:
        fetched.append("the URL of the configuration")
        return jwks(rsa_issuer.jwk("k1"))

    tokens = JWTTokens(JWKSKeys(fetch), ASYMMETRIC, RULES)
    value: Any = {
        "jku": "https://evil.test/keys",
        "x5u": "https://evil.test/certificate",
        "jwk": other_rsa_issuer.jwk("k1"),
        "x5c": [base64.b64encode(other_rsa_issuer.encoded(Encoding.DER)).decode()],
    }[name]

    genuine = tokens.verify(rsa_issuer.sign(CLAIMS, kid="k1", **{name: value}), NOW * 1000)
    with pytest.raises(TokenInvalid):
        tokens.verify(other_rsa_issuer.sign(CLAIMS, kid="k1", **{name: value}), NOW * 1000)

    assert genuine.user_id == "ada"
    assert len(fetched) == 1


@pytest.mark.parametrize(
    "key_id",
    [
        "../../dev/null\n",
        "' OR 1=1 --",
        "k1\n",
        "k1\x00",
        "",
        "ключ",
        "x" * 129,
        "$(id)",
        7,
        True,
        ["k1"],
        {"k1": 1},
    ],
    ids=ascii,
)
def test_a_key_id_that_is_none_never_reaches_the_keys(key_id: Any) -> None:
    asked: list[str | None] = []

    def keys(asked_for: str | None) -> Sequence[Key]:
        asked.append(asked_for)
        return []

    tokens = JWTTokens(keys, SYMMETRIC, RULES)

    with pytest.raises(TokenInvalid):
        tokens.verify(signed({**HEADER, "kid": key_id}, CLAIMS), NOW * 1000)

    assert asked == []


@pytest.mark.parametrize(
    "header",
    [{"crit": ["x"], "x": 1}, {"crit": ["b64"], "b64": False}, {"crit": []}, {"kid": None}],
    ids=["critical-extension", "detached-claims", "nothing-critical", "null-kid"],
)
def test_an_unsupported_token_header_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(TokenInvalid):
        verify(signed({**HEADER, **header}, CLAIMS))


# ── claims ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_one_of_the_five_claims_is_required(claim: str) -> None:
    for claims in (without(claim), {**CLAIMS, claim: None}):
        with pytest.raises(TokenInvalid, match=f"needs the claim {claim}"):
            verify(signed(HEADER, claims))


def at(seconds: int) -> str:
    return f"{NOW + seconds}"


WRONG: dict[str, dict[str, Any]] = {
    "aud-other": {"aud": "billing"},
    "aud-longer": {"aud": f"{AUDIENCE}-admin"},
    "aud-other-case": {"aud": AUDIENCE.upper()},
    "aud-number": {"aud": 1},
    "aud-list-of-others": {"aud": ["billing", "presence-admin"]},
    "aud-empty-list": {"aud": []},
    "aud-list-with-a-number": {"aud": [AUDIENCE, 1]},
    "aud-object": {"aud": {AUDIENCE: True}},
    "aud-other-beside-client": {"aud": "billing", "client_id": AUDIENCE, "azp": AUDIENCE},
    "iss-other": {"iss": "https://issuer.example.net"},
    "iss-slash": {"iss": f"{ISSUER}/"},
    "iss-list": {"iss": [ISSUER]},
    "iss-object": {"iss": {ISSUER: 1}},
    "exp-text": {"exp": at(3600)},
    "exp-true": {"exp": True},
    "exp-list": {"exp": [NOW + 3600]},
    "exp-centuries": {"exp": 10**30},
    "exp-past-exact-integers": {"exp": 2**53},
    "exp-greatest": {"exp": 2**53 - 1},
    "exp-milliseconds": {"exp": (NOW + 3600) * 1000},
    "exp-negative": {"exp": -1},
    "exp-zero": {"exp": 0},
    "iat-text": {"iat": at(0)},
    "iat-true": {"iat": True},
    "iat-list": {"iat": [NOW]},
    "iat-object": {"iat": {}},
    "nbf-list": {"nbf": [NOW]},
    "nbf-text": {"nbf": "now"},
    "nbf-true": {"nbf": True},
    "exp-text-of-centuries": {"exp": "9" * 400},
    "lives-for-a-day-and-a-second": {"exp": NOW + 86_401},
    "lives-for-no-time": {"iat": NOW, "exp": NOW},
    "ends-before-it-begins": {"iat": NOW, "exp": NOW - 1},
    "sub-empty": {"sub": ""},
    "sub-newline": {"sub": "ada\n"},
    "sub-space": {"sub": "ada l"},
    "sub-cyrillic": {"sub": "\u0430da"},
    "sub-full-width": {"sub": "\uff41da"},
    "sub-too-long": {"sub": "x" * 129},
    "sub-delimiter": {"sub": "ada#1"},
    "sub-path": {"sub": "../eve"},
    "sub-true": {"sub": True},
    "sub-fraction": {"sub": 7.5},
    "sub-negative": {"sub": -7},
    "sub-number-that-others-round": {"sub": 2**53},
    "sub-star": {"sub": "ada*"},
    "sub-dots": {"sub": ".."},
    "sub-list": {"sub": ["ada"]},
    "sub-nul": {"sub": "ada\x00"},
    "scope-object": {"scope": {"presence:admin": True}},
    "scope-number": {"scope": 1},
    "scope-list-of-numbers": {"scope": [1]},
    "scp-object": {"scp": {}},
    "scp-null": {"scp": None},
    "token-use-refresh": {"token_use": "refresh"},
    "token-use-list": {"token_use": ["access"]},
    "typ-refresh": {"typ": "Refresh"},
    "typ-logout": {"typ": "Logout"},
    "a-logout-token": {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
    "scope-null": {"scope": None},
    "sessions-null": {"chat_sessions": None},
    "sessions-text": {"chat_sessions": "room"},
    "sessions-star-as-text": {"chat_sessions": "*"},
    "sessions-object": {"chat_sessions": {"room": True}},
    "sessions-number": {"chat_sessions": 1},
    "sessions-true": {"chat_sessions": True},
    "session-null": {"chat_sessions": ["room", None]},
    "session-number": {"chat_sessions": ["room", 1]},
    "session-list": {"chat_sessions": [["room"]]},
    "session-empty": {"chat_sessions": [""]},
    "session-newline": {"chat_sessions": ["room\n"]},
    "session-space": {"chat_sessions": ["a room"]},
    "session-delimiter": {"chat_sessions": ["room#1"]},
    "session-cyrillic": {"chat_sessions": ["\u0430da"]},
    "session-too-long": {"chat_sessions": ["x" * 129]},
    "prefix-too-long": {"chat_sessions": ["x" * 129 + "*"]},
    "star-within": {"chat_sessions": ["ro*m"]},
    "star-at-the-beginning": {"chat_sessions": ["*room"]},
    "two-stars": {"chat_sessions": ["room**"]},
}


@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG)
def test_a_claim_that_is_wrong_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(TokenInvalid):
        verify(signed(HEADER, {**CLAIMS, **claims}))


#: By what issuers write: `{}` beside CLAIMS.
RIGHT: dict[str, dict[str, Any]] = {
    "aud-list": {"aud": [AUDIENCE]},
    "aud-list-of-two": {"aud": ["https://issuer.example.com/userinfo", AUDIENCE]},
    "client-id": {"aud": None, "client_id": AUDIENCE},
    "azp": {"aud": None, "azp": AUDIENCE},
    "aud-empty-beside-client-id": {"aud": [], "client_id": AUDIENCE},
    "exp-float": {"exp": NOW + 3600.5},
    "exp-whole-float": {"exp": float(NOW + 3600)},
    "iat-float": {"iat": NOW + 0.5},
    "nbf": {"nbf": NOW - 10.25},
    "cognito-access": {"token_use": "access"},
    "cognito-id": {"token_use": "id"},
    "keycloak-access": {"typ": "Bearer"},
    "keycloak-id": {"typ": "ID"},
    "number-of-others": {"discord_id": 2**60},
    "long-number-of-others": {"digits": 10**300},
    "jti-number": {"jti": 1},
    "text-of-others": {"name": "a\x00\ud800"},
    "nested-of-others": {"realm": [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]},
}


@pytest.mark.parametrize("claims", RIGHT.values(), ids=RIGHT)
def test_what_issuers_write_is_accepted(claims: dict[str, Any]) -> None:
    assert said(claims).user_id == "ada"


def test_a_number_is_the_user_that_it_names() -> None:
    assert said({"sub": 42}).user_id == "42"


def test_a_fraction_of_a_second_counts() -> None:
    assert said({"exp": NOW + 3600.25}).expires_at == NOW * 1000 + 3_600_250


@pytest.mark.parametrize(
    ("claims", "scope"),
    [
        ({"scope": "a b"}, "a b"),
        ({"scope": ["a", "b"]}, "a b"),
        ({"scp": "a"}, "a"),
        ({"scp": ["a"], "scope": "b"}, "a b"),
        ({"scope": "", "scp": []}, ""),
        ({"https://x.test/scope": "a"}, ""),
    ],
    ids=str,
)
def test_scopes_are_text_or_lists_in_scope_or_scp(claims: Any, scope: str) -> None:
    assert said(claims).scope == {*scope.split()}


# ── parameters ─────────────────────────────────────────────────────────────────────────────


def test_several_issuers_and_audiences_may_be_named() -> None:
    rules: Any = {
        "issuers": frozenset({ISSUER, "https://b.test"}),
        "audiences": frozenset({AUDIENCE, "web"}),
    }

    users = [said({"iss": iss, "aud": ["web"]}, **rules).user_id for iss in rules["issuers"]]

    assert users == ["ada", "ada"]
    with pytest.raises(TokenInvalid, match="TokenIssuer"):
        said({"iss": "https://c.test"}, **rules)


@pytest.mark.parametrize("claim", ["email", "https://x.test/user_id"])
def test_another_claim_may_be_the_user(claim: str) -> None:
    assert said({claim: "grace@x.test"}, user_claim=claim).user_id == "grace@x.test"
    with pytest.raises(TokenInvalid, match=f"needs the claim {claim}"):
        said({}, user_claim=claim)
    with pytest.raises(TokenInvalid, match="TokenUserClaim"):
        said({claim: "a user"}, user_claim=claim)


def test_the_first_claim_that_is_there_is_the_audience() -> None:
    only = {"audience_claims": ("aud",)}

    assert said({"azp": AUDIENCE, "aud": "x"}, audience_claims=("azp", "aud")).user_id == "ada"
    for claims in ({"aud": None, "client_id": AUDIENCE}, {"aud": None, "azp": AUDIENCE}):
        with pytest.raises(TokenInvalid, match="TokenAudienceClaims"):
            said(claims, **only)
    with pytest.raises(TokenInvalid, match="TokenAudience"):
        said({"aud": "x", "client_id": AUDIENCE})


MARKED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"typ": "at+jwt"}, {}, "access"),
    ({}, {"token_use": "access"}, "access"),
    ({}, {"typ": "Bearer"}, "access"),
    ({}, {"token_use": "id"}, "id"),
    ({}, {"typ": "ID"}, "id"),
]


@pytest.mark.parametrize(("header", "claims", "kind"), MARKED, ids=str)
def test_a_marked_token_of_the_other_kind_is_refused_where_asked(
    header: dict[str, Any], claims: dict[str, Any], kind: str
) -> None:
    token = signed({**HEADER, **header}, {**CLAIMS, **claims})
    other = "id" if kind == "access" else "access"

    assert {verify(token, use=use).user_id for use in ("any", kind)} == {"ada"}
    with pytest.raises(TokenInvalid, match="TokenUse"):
        verify(token, use=other)
    assert verify(signed(HEADER, CLAIMS), use=other).user_id == "ada"


@pytest.mark.parametrize(
    "typ", ["logout+jwt", "secevent+jwt", "dpop+jwt", "oauth-authz-req+jwt", "", None, 1, ["JWT"]]
)
def test_another_kind_of_jwt_is_no_token(typ: Any) -> None:
    with pytest.raises(TokenInvalid, match="typ"):
        verify(signed({**HEADER, "typ": typ}, CLAIMS))


PREFIX = "https://app.example.com/"


def test_our_own_claims_may_have_a_prefix() -> None:
    claims = {f"{PREFIX}chat_sessions": ["a", "team:*"], f"{PREFIX}scope": "presence:admin"}

    identity = said(claims, claim_prefix=PREFIX)

    assert identity.allowed_sessions == frozenset({"a", "team:*"})
    assert identity.scope == frozenset({"presence:admin"})
    assert said({"chat_sessions": ["a"]}, claim_prefix=PREFIX).allowed_sessions == frozenset({"a"})
    with pytest.raises(TokenInvalid, match="twice"):
        said({**claims, "chat_sessions": ["*"]}, claim_prefix=PREFIX)
    with pytest.raises(TokenInvalid, match=PREFIX):
        said({f"{PREFIX}chat_sessions": "a"}, claim_prefix=PREFIX)


REFUSALS = {
    "TokenIssuer": {"iss": "https://other.test"},
    "TokenAudience": {"aud": "billing"},
    "TokenAudienceClaims": {"aud": None},
    "TokenUserClaim": {"sub": "o'brien@example.com"},
    "exp": {"exp": NOW + 90_000},
    "iat": {"iat": "now"},
    "nbf": {"nbf": NOW + 600},
    "scp": {"scp": 7},
    "chat_sessions": {"chat_sessions": "room"},
}


@pytest.mark.parametrize(("name", "claims"), REFUSALS.items(), ids=REFUSALS)
def test_a_refusal_says_which_parameter_or_claim_to_change(name: str, claims: Any) -> None:
    with pytest.raises(TokenInvalid, match=rf"\b{name}\b"):
        said(claims)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_token_of_ten_minutes_from_now_is_refused(claim: str) -> None:
    later = int(time.time()) + 600  # not NOW: how long ago that is depends on the other tests

    with pytest.raises(TokenInvalid):
        verify(signed(HEADER, {**CLAIMS, "exp": later + 60, claim: later}))


@pytest.mark.fault("The issuer's clock is ahead.")
@pytest.mark.parametrize("claims", [{"exp": NOW + 86_400}, {"iat": NOW + 1}, {"nbf": NOW + 1}])
def test_a_day_and_a_clock_that_is_a_second_ahead_are_fine(claims: dict[str, Any]) -> None:
    assert verify(signed(HEADER, {**CLAIMS, **claims})).user_id == "ada"


@pytest.mark.parametrize("seconds", [-3600, 0, 29, 29.999])
def test_a_token_is_good_until_its_leeway_is_over(seconds: float) -> None:
    token = signed(HEADER, CLAIMS)

    identity = verify(token, now=int((NOW + 3600 + seconds) * 1000))

    assert identity.expires_at == (NOW + 3600) * 1000


@pytest.mark.parametrize("seconds", [30, 31, 86_400])
def test_a_token_has_expired_when_its_leeway_is_over(seconds: int) -> None:
    token = signed(HEADER, CLAIMS)

    with pytest.raises(TokenExpired):
        verify(token, now=(NOW + 3600 + seconds) * 1000)


def test_a_forged_token_that_has_expired_is_invalid_first() -> None:
    token = signed(HEADER, CLAIMS, b"x" * 32)

    with pytest.raises(TokenInvalid):
        verify(token, now=(NOW + 86_400) * 1000)


# ── chat sessions ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("claim", "allowed", "refused"),
    [
        pytest.param({}, ["room", "x" * 128], [], id="absent-is-all"),
        pytest.param({"chat_sessions": ["*"]}, ["room", "x" * 128], [], id="star-is-all"),
        pytest.param({"chat_sessions": []}, [], ["room", "none", "#none"], id="empty-is-none"),
        pytest.param({"chat_sessions": ["a"]}, ["a"], ["A", "ab", "b"], id="one"),
        pytest.param({"chat_sessions": ["a", "b", "a"]}, ["a", "b"], ["c"], id="a-few"),
        pytest.param(
            {"chat_sessions": ["team.*"]}, ["team.", "team.1"], ["team", "teams", "x"], id="prefix"
        ),
        pytest.param(
            {"chat_sessions": ["team:42:*"]}, ["team:42:a"], ["team:42", "team:4"], id="colons"
        ),
        pytest.param({"chat_sessions": ["..*"]}, ["...", "..a"], ["a", ".a"], id="dots"),
        pytest.param(
            {"chat_sessions": ["team.*", "a"]}, ["team.1", "a"], ["ab", "b"], id="prefix-and-id"
        ),
        pytest.param({"chat_sessions": ["a.b"]}, ["a.b"], ["axb", "a"], id="no-pattern"),
        pytest.param(
            {"chat_sessions": ["x" * 128, "y" * 127 + "*"]},
            ["x" * 128, "y" * 128],
            ["x" * 127, "y" * 126],
            id="the-longest",
        ),
    ],
)
def test_a_token_says_which_chat_sessions_its_user_may_join(
    claim: dict[str, Any], allowed: list[str], refused: list[str]
) -> None:
    sessions = verify(signed(HEADER, {**CLAIMS, **claim})).allowed_sessions

    assert [name for name in [*allowed, *refused] if is_allowed(name, sessions)] == allowed
    assert sessions == (frozenset(claim["chat_sessions"]) if claim else None)


# ── two readings of one text ───────────────────────────────────────────────────────────────


TWICE = {
    "sub": (json.dumps(HEADER), f'{{"sub":"eve",{json.dumps(CLAIMS)[1:]}'),
    "exp": (json.dumps(HEADER), f'{json.dumps(CLAIMS)[:-1]},"exp":{NOW + 60}}}'),
    "escaped": (json.dumps(HEADER), f'{json.dumps(CLAIMS)[:-1]},"\\u0073ub":"eve"}}'),
    "alg": ('{"alg":"none","alg":"HS256"}', json.dumps(CLAIMS)),
    "alg-last": ('{"alg":"HS256","alg":"none"}', json.dumps(CLAIMS)),
    "kid": ('{"alg":"HS256","kid":"a","kid":"b"}', json.dumps(CLAIMS)),
}


@pytest.mark.parametrize(("header", "claims"), TWICE.values(), ids=TWICE)
def test_a_name_that_comes_twice_is_refused(header: str, claims: str) -> None:
    with pytest.raises(TokenInvalid):
        verify(signed(header, claims))


MALFORMED = {
    "empty": "",
    "dots": "..",
    "one-part": part(HEADER),
    "two-parts": f"{part(HEADER)}.{part(CLAIMS)}",
    "four-parts": f"{signed(HEADER, CLAIMS)}.{part('x')}",
    "five-parts": "a.b.c.d.e",
    "no-base64": "!.!.!",
    "not-ascii": f"{part(HEADER)}.{part(CLAIMS)}.ä",
    "surrogate": "\ud800.\ud800.\ud800",
    "nul": "\x00.\x00.\x00",
    "header-no-json": signed("hello", CLAIMS),
    "header-list": signed([], CLAIMS),
    "header-null": signed(None, CLAIMS),
    "header-not-utf-8": signed(b"\xff\xfe", CLAIMS),
    "header-with-bom": signed(b"\xef\xbb\xbf" + json.dumps(HEADER).encode(), CLAIMS),
    "claims-no-json": signed(HEADER, "hello"),
    "claims-list": signed(HEADER, [CLAIMS]),
    "claims-text": signed(HEADER, '"ada"'),
    "claims-not-utf-8": signed(HEADER, b'{"sub":"\xff"}'),
    "claims-nan": signed(HEADER, f'{json.dumps(CLAIMS)[:-1]},"exp":NaN}}'),
    "too-long": signed(HEADER, {**CLAIMS, "pad": "x" * 6144}),
}


@pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(TokenInvalid):
        verify(token)


@given(st.text(max_size=60) | st.from_regex(r"[\w-]{0,20}(\.[\w-]{0,20}){0,3}", fullmatch=True))
def test_whatever_is_sent_as_a_token_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(TokenInvalid):
        verify(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


claim_names = st.sampled_from(
    [
        *CLAIMS,
        "nbf",
        "jti",
        "scope",
        "scp",
        "chat_sessions",
        "client_id",
        "typ",
        "token_use",
        "events",
    ]
)


@given(st.dictionaries(claim_names, json_values))
def test_whatever_an_issuer_signs_is_an_identity_or_a_refusal(claims: dict[str, Any]) -> None:
    try:
        identity = verify(signed(HEADER, {**CLAIMS, **claims}))
    except PresenceError:
        return

    assert identity.user_id == str({**CLAIMS, **claims}["sub"])


@given(
    st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jku", "jwk", "x5c"]), json_values
    )
)
def test_whatever_a_header_says_it_raises_nothing_unexpected(header: dict[str, Any]) -> None:
    try:
        identity = verify(signed({**HEADER, **header}, CLAIMS))
    except PresenceError:
        return

    assert identity.user_id == "ada"


def test_a_refusal_never_repeats_the_token() -> None:
    token = signed(HEADER, {**CLAIMS, "aud": "billing"})

    with pytest.raises(TokenInvalid) as refused:
        verify(token)

    assert not any(text in refused.value.message for text in (*token.split("."), "billing", SECRET))
