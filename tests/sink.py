"""Stands for the management API at full speed: a process of its own, with faults if asked for.

    python -m tests.sink '{"delay": 0.01}'

It prints its port, answers posts until its standard input ends, and then prints what it saw. It
does not look at signatures. One thread without asyncio, whose TLS would be the slowest part of
what is measured.
"""

import json
import random
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[1]

#: As API Gateway answers (research A8).
OK = (
    b"HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 10:00:00 GMT\r\nContent-Length: 0\r\n"
    b"Connection: keep-alive\r\nx-amzn-RequestId: 6b3a6d1e-6a0c-4f1b-9d0e-0c9f3f6d4a11\r\n\r\n"
)
GONE = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\nx-amzn-ErrorType: GoneException\r\n\r\n"
BUSY = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 18\r\n"
    b'x-amzn-ErrorType: LimitExceededException\r\n\r\n{"message": "Why"}'
)
_WAITS = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: A socket that is closed with this set sends a reset.
_RESET = b"\1\0\0\0\0\0\0\0"


@dataclass(frozen=True)
class Behaviour:
    """Seconds and shares. Whose id begins with `gone` is gone; the rest is drawn for each post."""

    delay: float = 0
    busy: float = 0
    hanging: float = 0
    resetting: float = 0
    #: More posts in a second than that are answered 429.
    limit: float = float("inf")
    #: The files of a certificate and its key.
    certificate: str = ""
    key: str = ""


@dataclass
class Seen:
    """How often a post was taken, by connection id, and how often it was answered what."""

    taken: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    connections: int = 0


class _Client:
    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.heard = b""


class _Sink:
    def __init__(self, behaviour: Behaviour) -> None:
        self.seen = Seen()
        self._behaviour = behaviour
        self._selector = DefaultSelector()
        self._due = deque[tuple[float, _Client, bytes]]()
        self._draw = random.Random(1)  # noqa: S311  no secret
        self._allowed = 0.0
        self._allowed_at = time.monotonic()
        self._context: ssl.SSLContext | None = None
        if behaviour.certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(behaviour.certificate, behaviour.key)

    def serve(self) -> None:
        """Until the standard input ends."""
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
            server.settimeout(0)
            self._selector.register(server, EVENT_READ, None)
            self._selector.register(sys.stdin, EVENT_READ, sys.stdin)
            _tell(str(server.getsockname()[1]))
            while self._turn(server):
                pass

    def _turn(self, server: socket.socket) -> bool:
        for key, _ in self._selector.select(self._pause()):
            if key.data is None:
                self._accept(server)
            elif key.data is sys.stdin:
                return False
            else:
                self._hear(key.data)
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, client, answer = self._due.popleft()
            _say(client, answer)
        return True

    def _pause(self) -> float | None:
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def _accept(self, server: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _ = server.accept()
                connection.settimeout(0)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context is not None:
                    connection = self._context.wrap_socket(
                        connection, server_side=True, do_handshake_on_connect=False
                    )
                self.seen.connections += 1
                self._selector.register(connection, EVENT_READ, _Client(connection))

    def _hear(self, client: _Client) -> None:
        try:
            data = client.socket.recv(256 * 1024)  # finishes a handshake, too
        except _WAITS:
            return
        except OSError:
            data = b""
        if not data:
            self._close(client)
            return
        client.heard += data
        head, end, body = client.heard.partition(b"\r\n\r\n")
        if end and len(body) >= _length(head):
            client.heard = b""
            self._answer(client, head.split(b" ", 2)[1].rpartition(b"/")[2].decode())

    def _answer(self, client: _Client, name: str) -> None:
        status, answer = self._choose(name)
        if status == "200":
            self.seen.taken[name] += 1
        self.seen.answers[status] += 1
        if status == "reset":
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._close(client)
        elif status != "none":
            self._due.append((time.monotonic() + self._behaviour.delay, client, answer))

    def _choose(self, name: str) -> tuple[str, bytes]:
        if name.startswith("gone"):
            return "410", GONE
        it, drawn = self._behaviour, self._draw.random()
        fates = {"none": it.hanging, "reset": it.resetting, "429": it.busy}
        for fate, share in fates.items():
            if drawn < share:
                return fate, BUSY
            drawn -= share
        return ("200", OK) if self._is_allowed() else ("429", BUSY)

    def _is_allowed(self) -> bool:
        """A bucket of a tenth of a second."""
        limit = self._behaviour.limit
        if limit == float("inf"):
            return True
        now = time.monotonic()
        filled = self._allowed + (now - self._allowed_at) * limit
        self._allowed, self._allowed_at = min(filled, limit / 10), now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def _close(self, client: _Client) -> None:
        self._selector.unregister(client.socket)
        client.socket.close()


def _length(head: bytes) -> int:
    return int(head.lower().rpartition(b"content-length:")[2].partition(b"\r")[0])


def _say(client: _Client, answer: bytes) -> None:
    with suppress(OSError):  # the other side may have closed
        client.socket.send(answer)


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@dataclass
class Sink:
    url: str
    #: What `Seen` says; empty until it has stopped.
    seen: dict[str, Any] = field(default_factory=dict)


@contextmanager
def sink(behaviour: Behaviour) -> Iterator[Sink]:
    """It has stopped, and told what it saw, when this is left."""
    command = [sys.executable, "-m", "tests.sink", json.dumps(asdict(behaviour))]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        scheme = "https" if behaviour.certificate else "http"
        found = Sink(f"{scheme}://localhost:{int(process.stdout.readline())}/live")
        try:
            yield found
        finally:
            told, _ = process.communicate()
            found.seen = json.loads(told)


if __name__ == "__main__":
    _sink = _Sink(Behaviour(**json.loads(sys.argv[1])))
    _sink.serve()
    _tell(json.dumps(vars(_sink.seen)))


# ── certificates ─────────────────────────────────────────────────────────────────────────────────


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
