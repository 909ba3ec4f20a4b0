"""Real keys, made once: RSA takes its time. And real clients, for an endpoint of this machine."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt
import pytest
from botocore.config import Config
from botocore.session import Session
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.endpoint import Endpoint, serving


@dataclass(frozen=True)
class Issuer:
    """A private key, and its public one in every form that an attacker can get."""

    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    algorithm: str

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        return jwt.encode(
            dict(claims), self.private, algorithm=self.algorithm, headers=header or None
        )

    def jwk(self, key_id: str | None = None, **members: Any) -> dict[str, Any]:
        public = self.private.public_key()
        key_id_member = {} if key_id is None else {"kid": key_id}
        return {**json.loads(_jwk(public)), **key_id_member, **members}

    def encoded(self, encoding: Encoding) -> bytes:
        return self.private.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def _jwk(public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> str:
    match public:
        case rsa.RSAPublicKey():
            return RSAAlgorithm.to_jwk(public)
        case ec.EllipticCurvePublicKey():
            return ECAlgorithm.to_jwk(public)
        case _:
            return OKPAlgorithm.to_jwk(public)


CURVES: Mapping[str, type[ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
    "ES256K": ec.SECP256K1,
}


@cache
def issuer_of(algorithm: str) -> Issuer:
    if algorithm == "EdDSA":
        return Issuer(ed25519.Ed25519PrivateKey.generate(), algorithm)
    if algorithm in CURVES:
        return Issuer(ec.generate_private_key(CURVES[algorithm]()), algorithm)
    return Issuer(_rsa_key(), algorithm)


@cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def rsa_issuer() -> Issuer:
    return Issuer(rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256")


@pytest.fixture(scope="session")
def other_rsa_issuer() -> Issuer:
    return Issuer(rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256")


@pytest.fixture(scope="session")
def ec_issuer() -> Issuer:
    return Issuer(ec.generate_private_key(ec.SECP256R1()), "ES256")


def jwks(*keys: Mapping[str, Any]) -> str:
    return json.dumps({"keys": keys})


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint()) as endpoint:
        yield endpoint


def client(service: str, endpoint_url: str, **config: Any) -> Any:
    """A client as the composition root makes them, with less patience."""
    patience = {"connect_timeout": 1, "read_timeout": 0.2, "retries": {"total_max_attempts": 1}}
    return session().create_client(
        service,
        region_name="eu-central-1",
        endpoint_url=endpoint_url,
        config=Config(**patience, **config),
    )


@cache
def session() -> Session:
    """botocore's models, read once for all tests."""
    session = Session()
    session.set_config_variable("region", "eu-central-1")
    session.set_credentials("testing", "testing")
    return session
