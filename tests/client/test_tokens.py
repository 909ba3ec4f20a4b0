import base64
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence import limits
from presence.adapters.claims import TokenRules
from presence.adapters.jwt import SYMMETRIC, JWTTokens, shared_secrets
from presence.domain.errors import PresenceError
from presence_client import token_check, tokens
from presence_client.token_check import Verdict
from presence_client.tokens import AUDIENCE, ISSUER, Rules
from tests.adapters.test_tokens import RIGHT, WRONG, claim_names, json_values
from tests.adapters.test_tokens import signed as as_it_is

SECRET = "s" * 64


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    exp = now + 3600  # some are made before the first test runs and checked after the slowest
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": exp, **changes}
    return {name: value for name, value in made.items() if value is not None}


def signed(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), secret, algorithm=algorithm)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


TWICE = '{"alg": "HS256", "alg": "HS256"}'
DOUBLE = f"{encoded(TWICE)}.{encoded('{}')}.x"


def checked(token: str, **parameters: str) -> Verdict:
    """What `check` says, which has to be what the server says."""
    now, rules = int(time.time() * 1000), Rules.of(parameters)
    verdict = token_check.check(token, rules, token_check.Secrets([SECRET]), now)
    assert verdict.code == server_says(token, rules, now)
    return verdict


def server_says(token: str, rules: Rules, now: int) -> str | None:
    asked = TokenRules(
        frozenset(rules.issuers),
        frozenset(rules.audiences),
        rules.user_claim,
        rules.audience_claims,
        rules.use,
        rules.claim_prefix,
    )
    try:
        JWTTokens(shared_secrets(SECRET), SYMMETRIC, asked).verify(token, now)
    except PresenceError as error:
        return error.code
    return None


def test_the_secret_is_made_once_is_long_and_is_private(tmp_path: Path) -> None:
    home = tmp_path / "new"
    secret = tokens.secret(home)
    assert len(bytes.fromhex(secret)) == 32
    assert tokens.secret(home) == secret
    assert stat.S_IMODE((home / "secret").stat().st_mode) == 0o600
    assert [file.name for file in home.iterdir()] == ["secret"]


def test_many_first_calls_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: tokens.secret(tmp_path), range(64)))
    assert found == {(tmp_path / "secret").read_text()}


def test_a_secret_that_came_first_stays(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("first")
    tokens._create(tmp_path / "secret", "second")
    assert tokens.secret(tmp_path) == "first"


def test_the_server_accepts_what_is_minted() -> None:
    verdict = checked(tokens.mint(SECRET, "ada", "presence:admin", 90, ["team-*"]))
    assert verdict.code is None
    assert verdict.claims["sub"] == "ada"
    assert verdict.claims["scope"] == "presence:admin"
    assert verdict.claims["chat_sessions"] == ["team-*"]
    assert verdict.claims["exp"] - verdict.claims["iat"] == 90


def test_optional_claims_are_left_out() -> None:
    found = checked(tokens.mint(SECRET, "ada")).claims
    assert set(found) == {"iss", "aud", "sub", "iat", "exp"}
    assert found["exp"] - found["iat"] == 12 * 3600


@pytest.mark.parametrize("user_id", ["", "a b", "ada\n", "é", "x" * 129])
def test_a_user_id_of_other_characters_gets_no_token(user_id: str) -> None:
    with pytest.raises(ValueError, match="1 to 128"):
        tokens.mint(SECRET, user_id)


def test_no_token_is_made_that_the_server_would_refuse_for_its_life() -> None:
    assert checked(tokens.mint(SECRET, "ada", ttl=24 * 3600)).code is None
    with pytest.raises(ValueError, match="24 hours"):
        tokens.mint(SECRET, "ada", ttl=24 * 3600 + 1)


@pytest.mark.parametrize("ttl", [-31, -3600])
def test_a_negative_life_makes_a_token_that_is_refused_as_expired(ttl: int) -> None:
    verdict = checked(tokens.mint(SECRET, "ada", ttl=ttl))
    assert verdict.code == "token-expired"
    assert any("expired" in reason and "seconds ago" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (signed(aud="other"), "aud is 'other'; TokenAudience is 'presence'."),
        (signed(iss="other"), "iss is 'other'; TokenIssuer is 'presence-local'."),
        (signed(exp=None), "It has no exp."),
        (signed(aud=None), "It has no aud or client_id or azp (TokenAudienceClaims)."),
        (signed("x" * 64), "Its signature does not fit the secret of the stack"),
        (signed(algorithm="HS512"), "alg is 'HS512'"),
        (jwt.encode(claims(), "", algorithm="none"), "alg is 'none'"),
        (signed(exp=claims()["iat"] + 90_000), "It lives for 90000 seconds from iat to exp"),
        (signed(exp=claims()["iat"]), "Its exp is not after its iat."),
        (signed(exp="soon"), "exp has to be a number of seconds"),
        (signed(iat=claims()["iat"] + 36_000), "iat is still to come"),
        (signed(nbf=claims()["iat"] + 36_000), "nbf is still to come"),
        (signed(sub="a b"), "sub has to be 1 to 128 printable ASCII characters"),
        (signed(sub=7.5), "sub has to"),
        (signed(scope=7), "scope has to be"),
        (signed(scp=[7]), "scp has to be"),
        (signed(chat_sessions="lobby"), "chat_sessions has to be"),
        (signed(chat_sessions=["a b"]), "chat_sessions has to be"),
        (signed(token_use="refresh"), "token_use is 'refresh'"),
        (signed(events={}), "security event"),
        (DOUBLE, "every name once"),
        ("abc", "three parts"),
        ("a.b.c", "have to be JSON"),
        ("", "three parts"),
    ],
)
def test_a_refusal_says_exactly_why(token: str, why: str) -> None:
    verdict = checked(token)
    assert verdict.code == "token-invalid"
    assert [reason for reason in verdict.reasons if why in reason]


@pytest.mark.parametrize("changes", [*WRONG.values(), *RIGHT.values()], ids=[*WRONG, *RIGHT])
def test_the_check_agrees_with_the_server(changes: dict[str, Any]) -> None:
    checked(as_it_is({"alg": "HS256"}, {**claims(), **changes}, SECRET.encode()))


@given(
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit"]), json_values),
    st.dictionaries(claim_names, json_values),
)
def test_the_check_agrees_with_the_server_on_whatever_is_signed(
    header: dict[str, Any], told: dict[str, Any]
) -> None:
    checked(as_it_is({"alg": "HS256", **header}, {**claims(), **told}, SECRET.encode()))


@pytest.mark.parametrize(
    ("parameters", "told", "is_let_in"),
    [
        ({"TokenUserClaim": "oid"}, {"oid": "ada"}, True),
        ({"TokenUserClaim": "oid"}, {}, False),
        ({"TokenAudienceClaims": "azp"}, {"aud": "x", "azp": AUDIENCE}, True),
        ({"TokenAudience": "a, b"}, {"aud": ["b"]}, True),
        ({"TokenIssuer": "a,b"}, {"iss": "b"}, True),
        ({"TokenUse": "access"}, {"token_use": "id"}, False),
        ({"TokenUse": "id"}, {"typ": "ID"}, True),
        ({"TokenClaimPrefix": "x/"}, {"x/chat_sessions": "a"}, False),
        ({"TokenClaimPrefix": "x/"}, {"x/chat_sessions": [], "chat_sessions": []}, False),
    ],
)
def test_the_parameters_of_a_stack_are_asked_for(
    parameters: dict[str, str], told: dict[str, Any], *, is_let_in: bool
) -> None:
    assert (checked(signed(**told), **parameters).code is None) is is_let_in


def test_a_token_is_made_as_the_parameters_ask_for() -> None:
    parameters = {
        "TokenIssuer": "https://a.test",
        "TokenAudience": "web",
        "TokenAudienceClaims": "client_id",
        "TokenUserClaim": "oid",
        "TokenClaimPrefix": "https://a.test/",
    }
    rules = Rules.of(parameters)

    token = tokens.mint(SECRET, "auth0|ada", "presence:admin", None, ["a*"], rules=rules)

    assert checked(token, **parameters).code is None
    assert checked(token).code == "token-invalid"


def test_ids_are_those_of_the_server() -> None:
    assert tokens.ID_PATTERN == limits.ID_PATTERN
    assert tokens.ID_CHARACTERS == limits.ID_CHARACTERS


def test_every_reason_is_named_at_once() -> None:
    verdict = checked(signed("x" * 64, aud="other", iss="another"))
    assert {reason.split()[0] for reason in verdict.reasons} == {"Its", "aud", "iss"}
    assert verdict.parameters == {"TokenIssuer": "another", "TokenAudience": "other"}
