"""A certificate for one host, and the authority that has signed it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """Paths of PEM files; `bundle` is what a client has to trust."""

    bundle: str
    certificate: str
    key: str


@dataclass(frozen=True)
class _Party:
    name: str
    key: ec.EllipticCurvePrivateKey

    @property
    def subject(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])


def make_certificate(folder: Path, host: str = "localhost") -> Certificate:
    """Valid for a day, and for OpenSSL's VERIFY_X509_STRICT, which Python 3.13 sets (RFC 5280)."""
    authority = _Party("An authority of tests", ec.generate_private_key(ec.SECP256R1()))
    server = _Party(host, ec.generate_private_key(ec.SECP256R1()))
    made = Certificate(*(str(folder / name) for name in ("ca.pem", "certificate.pem", "key.pem")))
    Path(made.bundle).write_bytes(_signed(authority, by=authority))
    Path(made.certificate).write_bytes(_signed(server, by=authority))
    Path(made.key).write_bytes(
        server.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return made


def _signed(party: _Party, *, by: _Party) -> bytes:
    is_authority = party is by
    now = datetime.now(UTC)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=is_authority, path_length=None), True),
        (_usage(is_authority=is_authority), True),
        (x509.SubjectKeyIdentifier.from_public_key(party.key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), False),
    ]
    if not is_authority:
        extensions.append((x509.SubjectAlternativeName([x509.DNSName(party.name)]), False))
    builder = (
        x509.CertificateBuilder()
        .subject_name(party.subject)
        .issuer_name(by.subject)
        .public_key(party.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
