"""Each section of docs/identity-providers.md: its token is let in by its parameters."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest

from presence import bootstrap
from presence.adapters.jwks import JWKSKeys
from presence.adapters.jwt import ASYMMETRIC, SYMMETRIC, JWTTokens, shared_secrets
from presence.domain.errors import TokenExpired, TokenInvalid
from presence.settings import read_settings
from presence_client import token_check
from presence_client.tokens import Rules
from tests.adapters.conftest import issuer_of, jwks
from tests.functions.conftest import ENVIRONMENT
from tests.template.test_template import TEMPLATE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "identity-providers.md"
SECRET = "of-tests-and-samples-only-no-stack-has-it"
#: Instants in the page are of about this one.
NOW = 1_795_000_010_000


@dataclass(frozen=True)
class Provider:
    name: str
    parameters: Mapping[str, str]
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    def tokens(self, **changes: str) -> JWTTokens:
        """As a function of a stack with these parameters makes them."""
        rules = bootstrap._token_rules(read_settings(environment({**self.parameters, **changes})))
        if "TokenSecretParameter" in self.parameters:
            return JWTTokens(shared_secrets(SECRET), SYMMETRIC, rules)
        return JWTTokens(JWKSKeys(lambda: json.dumps(self.key_set())), ASYMMETRIC, rules)

    def key_set(self) -> dict[str, Any]:
        key = issuer_of(self.header["alg"]).jwk(self.header["kid"])
        with_alg = {} if self.name == "Entra" else {"alg": self.header["alg"]}
        found: dict[str, Any] = json.loads(jwks({**key, "use": "sig", **with_alg}))
        return found

    def sign(self, **claims: Any) -> str:
        content = {**self.claims, **claims}
        if self.header["alg"] == "HS256":
            return jwt.encode(content, SECRET, headers=dict(self.header))
        issuer = issuer_of(self.header["alg"])
        return jwt.encode(content, issuer.private, self.header["alg"], headers=dict(self.header))

    @property
    def user_id(self) -> str:
        return str(self.claims[self.parameters.get("TokenUserClaim", "sub")])


def environment(parameters: Mapping[str, str]) -> dict[str, str]:
    """What the template makes of parameters that differ from its defaults."""
    known = TEMPLATE["Parameters"]
    assert parameters.keys() <= known.keys()
    values = {
        name: str(parameters.get(name, known[name].get("Default", "")))
        for name in known
        if name.startswith("Token")
    }
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    made = {key: values[it["Ref"]] for key, it in variables.items() if key.startswith("TOKEN_")}
    return {**ENVIRONMENT, "TIMER_QUEUE_URL": "", "DELIVERY_QUEUE_URL": "", **made}


def providers() -> list[Provider]:
    found = re.findall(
        r"^## ([^\n]+)\n(?:(?!^## ).)*?^```ini\n(.*?)^```\n\n^```jsonl\n(.*?)\n(.*?)\n^```$",
        PAGE.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return [
        Provider(
            name,
            dict(line.split("=", 1) for line in parameters.splitlines()),
            json.loads(header),
            json.loads(claims),
        )
        for name, parameters, header, claims in found
    ]


ALL = pytest.mark.parametrize("provider", providers(), ids=lambda it: it.name)


def test_every_provider_has_a_section() -> None:
    assert [it.name.partition(",")[0] for it in providers()] == [
        *("Auth0", "Cognito", "Cognito", "Firebase", "Clerk", "Supabase", "Keycloak", "Entra"),
        *("Okta", "Better Auth", "Logto", "WorkOS", "Ory", "Your own back end"),
    ]


@ALL
def test_a_token_like_theirs_is_let_in(provider: Provider) -> None:
    identity = provider.tokens().verify(provider.sign(), NOW)

    assert identity.user_id == provider.user_id
    assert identity.expires_at == provider.claims["exp"] * 1000


@ALL
def test_it_is_refused_by_a_stack_of_another_issuer_or_audience(provider: Provider) -> None:
    for name in ("TokenIssuer", "TokenAudience"):
        with pytest.raises(TokenInvalid, match=name):
            provider.tokens(**{name: "https://other.example.com"}).verify(provider.sign(), NOW)


@ALL
def test_it_is_refused_when_it_is_over_or_forged(provider: Provider) -> None:
    header, claims, signature = provider.sign().split(".")
    other = provider.sign(sub="eve").split(".")[1]

    with pytest.raises(TokenExpired):
        provider.tokens().verify(provider.sign(), int(provider.claims["exp"] + 31) * 1000)
    assert other != claims
    with pytest.raises(TokenInvalid):
        provider.tokens().verify(f"{header}.{other}.{signature}", NOW)


@ALL
def test_the_command_says_the_same_and_finds_the_parameters(provider: Provider) -> None:
    token, rules = provider.sign(), Rules.of(provider.parameters)
    is_shared = "TokenSecretParameter" in provider.parameters
    keys = token_check.Secrets([SECRET]) if is_shared else token_check.KeySet(provider.key_set())

    assert token_check.check(token, rules, keys, NOW).code is None
    assert token_check.check(token, rules, None, NOW).code is None
    wanted = token_check.letting_in(token, Rules(), keys, NOW)
    assert wanted
    found = provider.tokens(**{"TokenUserClaim": "sub", "TokenUse": "any", **wanted})
    assert found.verify(token, NOW).user_id


def test_auth0_limits_the_chat_sessions_by_a_claim_with_a_url() -> None:
    auth0 = providers()[0]

    identity = auth0.tokens().verify(auth0.sign(), NOW)

    assert identity.allowed_sessions == frozenset({"team:42:*"})
    assert identity.scope == {"openid", "profile", "presence:publish"}
