"""Posts to an endpoint that is slow, full of faults, or not who it should be."""

import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from botocore.credentials import RefreshableCredentials
from botocore.session import Session

from presence.adapters.gateway import engine_of
from presence.adapters.posting.engine import Engine, Outcome, Patience, Report
from presence.adapters.posting.links import Links, Security
from presence.adapters.posting.signature import Endpoint as Target
from presence.adapters.posting.signature import Frame
from tests.adapters.conftest import session
from tests.endpoint import PATIENCE_SECONDS, Answer, Endpoint
from tests.sink import Behaviour, Certificate, make_certificate, sink

FRAME = Frame.of('{"type":"user-status-change"}')
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def engine_at(url: str, patience: Patience | None = None) -> Iterator[Engine]:
    with closing(engine_of(session(), url, patience)) as engine:
        yield engine


def post(engine: Engine, names: list[str], *, seconds: float = 30, frame: Frame = FRAME) -> Report:
    return engine.post([(name, frame) for name in names], seconds)


def names_of(report: Report, outcome: Outcome) -> list[str]:
    return [name for name, it in report.outcomes if it is outcome]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def of_another_host(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"), "other.example.com")


# ── faults ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_every_live_connection_gets_its_frame_whatever_fails_on_the_way() -> None:
    gone = {f"gone{number:0>4}" for number in range(100)}
    live = {f"live{number:0>4}" for number in range(1900)}
    behaviour = Behaviour(delay=0.002, busy=0.05, hanging=0.01, resetting=0.01)

    with sink(behaviour) as server, engine_at(server.url) as engine:
        report = post(engine, sorted(gone | live))
        later, found = names_of(report, Outcome.AGAIN), names_of(report, Outcome.GONE)
        last = post(engine, later)

    assert {name for name, _ in report.outcomes} == gone | live
    assert set(found) <= gone <= {*found, *later}
    assert server.seen["taken"].keys() >= live - set(names_of(last, Outcome.AGAIN))
    assert len(later) < 20
    assert server.seen["answers"].keys() == {"200", "410", "429", "none", "reset"}


@pytest.mark.slow
def test_the_rate_limit_is_found_and_every_recipient_gets_its_post() -> None:
    names = [f"{number:0>15}=" for number in range(1500)]

    with sink(Behaviour(delay=0.005, limit=1500)) as server, engine_at(server.url) as engine:
        report = post(engine, names)

    told = len(names_of(report, Outcome.TAKEN))
    assert told > 1400
    assert len(server.seen["taken"]) == told


@pytest.mark.fault("A post hangs.")
def test_a_post_without_an_answer_is_repeated_and_does_not_delay_the_others(
    endpoint: Endpoint,
) -> None:
    names = [f"c{number}" for number in range(60)]
    endpoint.answers = {"c7": Answer(is_silent=True)}

    with engine_at(endpoint.url, Patience(timeout=2)) as engine:
        started = time.monotonic()
        report = post(engine, names)
        took = time.monotonic() - started

    asked = Counter(it.path.rpartition("/")[2] for it in endpoint.asked)
    assert names_of(report, Outcome.AGAIN) == ["c7"]
    assert report.answers["TimeoutError"] >= 1
    assert asked["c7"] >= 2
    # Two copies at once and one for 50 answers: on a machine that stalls, others are late as well.
    assert asked.total() <= len(names) + 3
    assert took < PATIENCE_SECONDS - 2


@pytest.mark.parametrize("answer", [Answer(429), Answer(503), Answer(closes=True)])
def test_a_throttled_post_is_repeated_only_so_often(endpoint: Endpoint, answer: Answer) -> None:
    endpoint.otherwise = answer

    with engine_at(endpoint.url, Patience(tries=3, first_pause=0.001)) as engine:
        report = post(engine, ["c1"])

    assert report.outcomes == [("c1", Outcome.AGAIN)]
    assert len(endpoint.asked) == 3
    assert report.answers.total() == 3


def test_at_the_deadline_what_has_no_answer_is_to_be_made_again(endpoint: Endpoint) -> None:
    endpoint.answers = {"c2": Answer(is_silent=True)}

    with engine_at(endpoint.url, Patience(timeout=PATIENCE_SECONDS)) as engine:
        started = time.monotonic()
        report = post(engine, ["c1", "c2", "c3"], seconds=1)
        took = time.monotonic() - started

    assert names_of(report, Outcome.TAKEN) == ["c1", "c3"]
    assert names_of(report, Outcome.AGAIN) == ["c2"]
    assert 1 <= took < PATIENCE_SECONDS - 2


# ── connections ────────────────────────────────────────────────────────────────────────────


def test_connections_are_kept_and_no_more_are_opened_than_pay() -> None:
    with sink(Behaviour()) as server, engine_at(server.url) as engine:
        for _ in range(3):
            post(engine, [f"{number:0>15}=" for number in range(100)])

    assert server.seen["answers"] == {"200": 300}
    assert 1 <= server.seen["connections"] <= 20


@contextmanager
def server_of(*conversations: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serves so many connections, one after the other, and then none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve() -> None:
            for talk in conversations:
                connection, _ = server.accept()
                connection.settimeout(5)
                with connection:
                    talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def one_post(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(OK)


def one_post_and_half_of_another(connection: socket.socket) -> None:
    one_post(connection)
    connection.recv(4096)


def one_post_in_pieces(connection: socket.socket) -> None:
    connection.recv(4096)
    for byte in OK:
        connection.sendall(bytes([byte]))
        time.sleep(0.001)


def test_a_connection_that_was_closed_while_idle_is_opened_again() -> None:
    with server_of(one_post, one_post) as url, engine_at(url) as engine:
        reports = []
        for _ in range(2):
            reports.append(post(engine, ["c1"]))
            time.sleep(0.05)

    assert [it.outcomes for it in reports] == [[("c1", Outcome.TAKEN)]] * 2
    assert not any(it.answers for it in reports)


def test_a_connection_that_is_closed_instead_of_an_answer_is_opened_again() -> None:
    with server_of(one_post_and_half_of_another, one_post) as url, engine_at(url) as engine:
        reports = [post(engine, ["c1"]) for _ in range(2)]

    assert [it.outcomes for it in reports] == [[("c1", Outcome.TAKEN)]] * 2
    assert reports[1].answers == {"ConnectionResetError": 1}


def test_a_connection_that_was_idle_for_long_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with server_of(one_post_and_half_of_another, one_post) as url, engine_at(url) as engine:
        post(engine, ["c1"])
        later = time.time() + 60
        monkeypatch.setattr(time, "time", lambda: later)
        report = post(engine, ["c1"])

    assert report == Report([("c1", Outcome.TAKEN)], Counter())


def test_a_connection_on_which_a_request_was_cut_short_gets_no_other() -> None:
    is_read = threading.Event()

    def refused_early(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        is_read.wait(10)  # to close with so much unread is a reset, which takes the answer along

    with server_of(refused_early, one_post) as url, engine_at(url) as engine:
        first = post(engine, ["c1"], frame=Frame.of("x" * 20_000_000))
        is_read.set()
        second = post(engine, ["c1"])

    assert first.outcomes == [("c1", Outcome.REFUSED)]
    assert second.outcomes == [("c1", Outcome.TAKEN)]


def test_an_answer_in_pieces_is_one() -> None:
    with server_of(one_post_in_pieces) as url, engine_at(url) as engine:
        report = post(engine, ["c1"])

    assert report == Report([("c1", Outcome.TAKEN)], Counter())


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_frame_larger_than_every_buffer_arrives(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, *, is_secure: bool
) -> None:
    files = (certificate.certificate, certificate.key) if is_secure else ("", "")
    monkeypatch.setenv("AWS_CA_BUNDLE", certificate.bundle)
    large = Frame.of("x" * 4_000_000)
    behaviour = Behaviour(certificate=files[0], key=files[1])

    with (
        sink(behaviour) as server,
        closing(engine_of(of_tests(), server.url, Patience(timeout=25))) as engine,
    ):
        report = post(engine, ["c1", "c2"], frame=large)

    assert names_of(report, Outcome.TAKEN) == ["c1", "c2"]


# ── trust ──────────────────────────────────────────────────────────────────────────────────


def of_tests() -> Session:
    """A session of its own, that reads the environment again."""
    found = Session()
    found.set_config_variable("region", "eu-central-1")
    found.set_credentials("testing", "testing")
    return found


@pytest.mark.parametrize("problem", ["authority", "host"])
def test_a_server_with_a_wrong_certificate_gets_no_post(
    certificate: Certificate,
    of_another_host: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    problem: str,
) -> None:
    server_has = certificate if problem == "authority" else of_another_host
    monkeypatch.setenv("AWS_CA_BUNDLE", of_another_host.bundle)
    behaviour = Behaviour(certificate=server_has.certificate, key=server_has.key)

    with sink(behaviour) as server, closing(engine_of(of_tests(), server.url)) as engine:
        report = post(engine, ["c1"])

    assert names_of(report, Outcome.AGAIN) == ["c1"]
    assert report.answers.keys() == {ssl.SSLCertVerificationError.__name__}
    assert server.seen["answers"] == {}


#: Where TLS cannot even begin, its socket is closed when the error is forgotten.
CLOSED_BEHIND = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")


class Resetting:
    """A server that accepts, and resets every connection before the handshake of TLS."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.05)
        self.address = self._server.getsockname()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while not self._is_over.is_set():
            with suppress(TimeoutError):
                connection, _ = self._server.accept()
                reset(connection)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._server.close()


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN: nothing lingers."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@CLOSED_BEHIND
def test_a_link_that_is_reset_between_tcp_and_tls_is_dropped_without_a_trace() -> None:
    security = Security(ssl.create_default_context(), "localhost")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        links = Links(Target.of(f"https://127.0.0.1:{port}"), lambda: security)
        links.refresh()
        link = links.open()
        connection, _ = server.accept()
        reset(connection)
        time.sleep(0.05)

        with pytest.raises(OSError, match=r".*"):
            link._shake(security)
        links.drop(link)

    assert links.all == set()
    assert links._watch._links == {}
    assert list(links.ready(0)) == []
    links.close()


@pytest.mark.fault("A part of many posts fails.")
@CLOSED_BEHIND
def test_a_reset_before_tls_is_retried_then_left_to_the_queue(
    monkeypatch: pytest.MonkeyPatch, certificate: Certificate
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", certificate.bundle)
    wrap = ssl.SSLContext.wrap_socket

    def late(*arguments: Any, **options: Any) -> ssl.SSLSocket:
        time.sleep(0.002)  # by then the connection, which was good, is reset
        return wrap(*arguments, **options)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", late)
    names = [f"c{number}" for number in range(50)]
    url = "https://127.0.0.1:{}"
    patience = Patience(tries=3, first_pause=0.001)

    with (
        Resetting() as server,
        closing(engine_of(of_tests(), url.format(server.address[1]), patience)) as engine,
    ):
        reports = [post(engine, names) for _ in range(3)]

    assert [names_of(report, Outcome.AGAIN) for report in reports] == [names] * 3


def test_without_authorities_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: Endpoint
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    url = endpoint.url.replace("http:", "https:")

    with closing(engine_of(of_tests(), url)) as engine:
        report = post(engine, ["c1"])

    assert report == Report([("c1", Outcome.AGAIN)], Counter({"FileNotFoundError": 1}))


def test_credentials_that_expire_are_replaced(endpoint: Endpoint) -> None:
    made = iter(["first", "second"])

    def refresh() -> dict[str, str]:
        expiry = datetime.now(UTC) + timedelta(seconds=1)
        key = {"access_key": next(made), "secret_key": "testing", "token": "testing"}
        return {**key, "expiry_time": expiry.isoformat()}

    signing = of_tests()
    # What is fresh enough to be used, so that the first is used once.
    signing._credentials = RefreshableCredentials.create_from_metadata(
        refresh(), refresh, "tests", advisory_timeout=0, mandatory_timeout=0
    )
    with closing(engine_of(signing, endpoint.url)) as engine:
        post(engine, ["c1"])
        time.sleep(1.1)
        post(engine, ["c1"])

    used = [it.authorization.partition("Credential=")[2][:6] for it in endpoint.asked]
    assert used == ["first/", "second"]
