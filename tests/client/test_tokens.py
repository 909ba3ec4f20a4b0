import base64
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest

from presence.adapters.jwt import JWTTokens, shared_secret
from presence.domain.errors import PresenceError
from presence_client import tokens
from presence_client.tokens import AUDIENCE, ISSUER, Verdict

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


def checked(token: str) -> Verdict:
    """What `check` says, which has to be what the server says."""
    now = int(time.time() * 1000)
    verdict = tokens.check(token, SECRET, now)
    assert verdict.code == server_says(token, now)
    return verdict


def server_says(token: str, now: int) -> str | None:
    keys = shared_secret(SECRET)
    try:
        JWTTokens(keys, ("HS256",), issuer=ISSUER, audience=AUDIENCE).verify(token, now)
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
        (signed(aud="other"), "aud is 'other'; the local stack takes 'presence'."),
        (signed(iss="other"), "iss is 'other'; the local stack takes 'presence-local'."),
        (signed(exp=None), "It has no exp."),
        (signed("x" * 64), "Its signature does not fit the secret of this checkout."),
        (signed(algorithm="HS512"), "alg is 'HS512'; the local stack takes HS256."),
        (jwt.encode(claims(), "", algorithm="none"), "alg is 'none'"),
        (signed(exp=claims()["iat"] + 90_000), "It lives for 90000 seconds from iat to exp."),
        (signed(exp=claims()["iat"]), "Its exp is not after its iat."),
        (signed(exp=1.5), "exp and iat have to be whole seconds"),
        (signed(iat=claims()["iat"] + 600), "not yet valid"),
        (signed(nbf=claims()["iat"] + 600), "not yet valid"),
        (signed(sub="a b"), "sub has to"),
        (signed(sub=7), "sub has to"),
        (signed(scope=["presence:admin"]), "scope has to be"),
        (signed(chat_sessions="lobby"), "chat_sessions has to be"),
        (signed(chat_sessions=["a b"]), "chat_sessions has to be"),
        (signed(aud=["presence"]), "aud is ['presence']"),
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


def test_every_reason_is_named_at_once() -> None:
    verdict = checked(signed("x" * 64, aud="other", iss="another"))
    assert {reason.split()[0] for reason in verdict.reasons} == {"Its", "aud", "iss"}
