"""Signature Version 4 for posts to the connections of one endpoint, and for nothing else.

The key is derived once a day, all that says where and when once a second, and the hash of a body
once for each frame; what is left for each post are one SHA-256 and one HMAC over a few lines.
IAM user guide, "Create a signed AWS API request".
"""

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, urlsplit

SERVICE = "execute-api"
_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-._~"  # RFC 3986, 2.3, beside letters and digits
_DEFAULT_PORTS = {"http": 80, "https": 443}

#: Percent-encoding of every ASCII character, for `str.translate`: four times as fast as `quote`.
_ENCODED = {code: quote(chr(code), safe=_UNRESERVED) for code in range(128)}

#: A copy of it costs half of what a new one does.
_EMPTY = hashlib.sha256()


class Credentials(NamedTuple):
    access_key: str
    secret_key: str
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the management API of a stage is: its own address, or a mapping of a custom domain."""

    is_secure: bool
    host: str
    port: int
    #: What the header Host says: the port only if it is not the scheme's own.
    authority: str
    #: Without a slash at its end; empty for the root of a custom domain.
    path: str

    @classmethod
    def of(cls, url: str) -> "Endpoint":
        parts = urlsplit(url)
        usual = _DEFAULT_PORTS[parts.scheme]
        host, port = parts.hostname or "", parts.port or usual
        name = f"[{host}]" if ":" in host else host
        return cls(
            is_secure=parts.scheme == "https",
            host=host,
            port=port,
            authority=name if port == usual else f"{name}:{port}",
            path="".join(f"/{part}" for part in _segments(parts.path)),
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """A body, its hash, and what follows the signature in every post of it."""

    body: bytes
    digest: str
    end: bytes

    @classmethod
    def of(cls, text: str) -> "Frame":
        body = text.encode()
        end = b"\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        return cls(body, hashlib.sha256(body).hexdigest(), end)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What all posts of one second have in common."""

    key: bytes
    #: Of the canonical request, before and behind the path of a connection.
    before: str
    behind: str
    #: Of the string to sign, all but the hash of the canonical request.
    scope: str
    #: Of the request, before the path of a connection, and behind it up to the signature.
    start: str
    headers: str

    def request(self, path: str, frame: Frame) -> bytes:
        """The bytes of a post; *path* is a connection id, encoded (see `encoded`)."""
        canonical = self.before + path.replace("%", "%25") + self.behind + frame.digest
        digest = _EMPTY.copy()
        digest.update(canonical.encode())
        signed = (self.scope + digest.hexdigest()).encode()
        signature = hmac.digest(self.key, signed, "sha256").hex()
        return f"{self.start}{path}{self.headers}{signature}".encode() + frame.end


def encoded(connection_id: str) -> str:
    """The connection id as the last part of a path: `=`, `+` and `/` encoded, as botocore does."""
    if connection_id.isascii():
        return connection_id.translate(_ENCODED)
    return quote(connection_id, safe=_UNRESERVED)


def stamp(endpoint: Endpoint, region: str, credentials: Credentials, seconds: int) -> Stamp:
    """What posts have in common that are made at *seconds* of the epoch."""
    instant = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
    scope = f"{instant[:8]}/{region}/{SERVICE}/aws4_request"
    headers = {"host": endpoint.authority, "x-amz-date": instant}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(headers)  # their order is the alphabet's
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    sent = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    path = f"{endpoint.path}/@connections/"
    return Stamp(
        key=_key(credentials.secret_key, instant[:8], region),
        # API Gateway, as every service but S3, encodes the path a second time.
        before=f"POST\n{quote(path, safe='/~')}",
        behind=f"\n\n{lines}\n{names}\n",
        scope=f"{_ALGORITHM}\n{instant}\n{scope}\n",
        start=f"POST {path}",
        headers=f" HTTP/1.1\r\n{sent}authorization: {_ALGORITHM} "
        f"Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature=",
    )


@lru_cache(maxsize=4)
def _key(secret_key: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _segments(path: str) -> Sequence[str]:
    """RFC 3986, 5.2.4, and no empty ones: what is signed is what is sent."""
    kept = list[str]()
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    return kept
