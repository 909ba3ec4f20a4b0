"""Ways to post to many connections, each in a process of its own.

    python -m bench.posters NAME '{"url": …}'

Reads how many posts to make, line by line, and tells what that took. All sign as the functions do,
but for boto3.
"""

import asyncio
import os
import select
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from threading import Event
from typing import Any, TypeAlias

import boto3
import urllib3
from botocore.config import Config
from botocore.session import Session

from presence.adapters.gateway import engine_of
from presence.adapters.posting.engine import Outcome
from presence.adapters.posting.signature import Credentials, Endpoint, Frame, Stamp, encoded, stamp

try:
    import pycurl
except ImportError:
    pycurl = None
try:
    import aiohttp
    from yarl import URL
except ImportError:
    aiohttp = None
try:
    from awscrt import http as crt_http
    from awscrt import io as crt_io
except ImportError:
    crt_http = None

#: Connections of those that have many in flight, and threads of those that have one each.
CONNECTIONS, THREADS = 200, 16
OK = 200
REGION = "eu-central-1"

Poster: TypeAlias = Callable[[Sequence[str]], int]


@dataclass(frozen=True, slots=True)
class Target:
    url: str
    #: The authorities to trust; empty for plain HTTP.
    bundle: str
    credentials: Credentials
    frame: Frame

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.of(self.url)

    def stamp(self) -> Stamp:
        return stamp(self.endpoint, REGION, self.credentials, int(time.time()))

    def context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.bundle) if self.bundle else None


def fields(made: Stamp, path: str, frame: Frame) -> list[str]:
    """The lines of the headers."""
    return made.request(path, frame).partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:-1]


def named_fields(made: Stamp, path: str, frame: Frame) -> Mapping[str, str]:
    return dict(line.split(": ", 1) for line in fields(made, path, frame))


# ── ours ───────────────────────────────────────────────────────────────────────────────────


def ours(target: Target) -> Poster:
    engine = engine_of(Session(), target.url)

    def post(names: Sequence[str]) -> int:
        report = engine.post([(name, target.frame) for name in names], 60)
        return sum(outcome is Outcome.TAKEN for _, outcome in report.outcomes)

    return post


# ── libcurl ────────────────────────────────────────────────────────────────────────────────


class Curl:
    """The multi interface, driven by its sockets: the way in which libcurl scales."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._base = f"{target.url}/@connections/"
        self._poll = select.epoll()
        self._watched = set[int]()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, CONNECTIONS)
        self._due = 0.0
        self._idle = [self._easy() for _ in range(CONNECTIONS)]

    def _easy(self) -> Any:  # noqa: ANN401  pycurl has no types
        easy = pycurl.Curl()
        easy.setopt(pycurl.POST, 1)
        easy.setopt(pycurl.POSTFIELDS, self._target.frame.body)
        easy.setopt(pycurl.TIMEOUT_MS, 2000)
        easy.setopt(pycurl.NOSIGNAL, 1)
        easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        if self._target.bundle:
            easy.setopt(pycurl.CAINFO, self._target.bundle)
        return easy

    def __call__(self, names: Sequence[str]) -> int:
        made, left, taken, done = self._target.stamp(), iter(names), 0, 0
        for _ in range(min(len(names), len(self._idle))):
            self._start(self._idle.pop(), next(left), made)
        while done < len(names):
            self._turn()
            for easy, is_good in self._finished():
                taken += is_good
                done += 1
                name = next(left, None)
                if name is None:
                    self._idle.append(easy)
                else:
                    self._start(easy, name, made)
        return taken

    def _start(self, easy: Any, name: str, made: Stamp) -> None:  # noqa: ANN401
        path = encoded(name)
        easy.setopt(pycurl.URL, self._base + path)
        easy.setopt(pycurl.HTTPHEADER, fields(made, path, self._target.frame))
        self._multi.add_handle(easy)

    def _turn(self) -> None:
        wait = max(0.0, min(1.0, self._due - time.monotonic()))
        events = self._poll.poll(wait)
        for number, event in events:
            bits = pycurl.CSELECT_IN if event & select.EPOLLIN else 0
            bits |= pycurl.CSELECT_OUT if event & select.EPOLLOUT else 0
            self._multi.socket_action(number, bits or pycurl.CSELECT_ERR)
        if not events or time.monotonic() >= self._due:
            self._due = float("inf")
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _finished(self) -> Iterator[tuple[Any, bool]]:
        queued = 1
        while queued:
            queued, good, bad = self._multi.info_read()
            for easy in (*good, *(it for it, _, _ in bad)):
                self._multi.remove_handle(easy)
                yield easy, easy.getinfo(pycurl.RESPONSE_CODE) == OK

    def _watch(self, what: int, number: int, *_: object) -> None:
        if what == pycurl.POLL_REMOVE:
            self._watched.discard(number)
            self._poll.unregister(number)
            return
        frozen_view = select.EPOLLIN if what & pycurl.POLL_IN else 0
        frozen_view |= select.EPOLLOUT if what & pycurl.POLL_OUT else 0
        if number in self._watched:
            self._poll.modify(number, frozen_view)
        else:
            self._watched.add(number)
            self._poll.register(number, frozen_view)

    def _set_timer(self, milliseconds: int) -> None:
        never = milliseconds < 0
        self._due = float("inf") if never else time.monotonic() + milliseconds / 1000


# ── aiohttp ────────────────────────────────────────────────────────────────────────────────


class AIOHTTP:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._session = self._loop.run_until_complete(self._open())

    async def _open(self) -> Any:  # noqa: ANN401  it may not be installed
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._target.context() or True)
        return aiohttp.ClientSession(connector=connector)

    def __call__(self, names: Sequence[str]) -> int:
        return self._loop.run_until_complete(self._post(names))

    async def _post(self, names: Sequence[str]) -> int:
        left, made = iter(names), self._target.stamp()
        workers = (self._work(left, made) for _ in range(CONNECTIONS))
        return sum(await asyncio.gather(*workers))

    async def _work(self, names: Iterator[str], made: Stamp) -> int:
        taken, frame = 0, self._target.frame
        for name in names:
            path = encoded(name)
            url = URL(f"{self._target.url}/@connections/{path}", encoded=True)
            headers = named_fields(made, path, frame)
            async with self._session.post(url, data=frame.body, headers=headers) as answer:
                taken += answer.status == OK
        return taken


# ── awscrt ─────────────────────────────────────────────────────────────────────────────────


class CRT:
    """The HTTP client of AWS's common runtime, with threads of its own."""

    def __init__(self, target: Target) -> None:
        self._target = target
        group = crt_io.EventLoopGroup(1)
        bootstrap = crt_io.ClientBootstrap(group, crt_io.DefaultHostResolver(group))
        futures = [self._connect(bootstrap) for _ in range(CONNECTIONS)]
        self._connections = [future.result(10) for future in futures]

    def _connect(self, bootstrap: Any) -> "Future[Any]":  # noqa: ANN401
        endpoint, tls = self._target.endpoint, None
        if self._target.bundle:
            options = crt_io.TlsContextOptions()
            options.override_default_trust_store_from_path(None, self._target.bundle)
            tls = crt_io.ClientTlsContext(options).new_connection_options()
            tls.set_server_name(endpoint.host)
        future: Future[Any] = crt_http.HttpClientConnection.new(
            endpoint.host, endpoint.port, bootstrap, crt_io.SocketOptions(), tls
        )
        return future

    def __call__(self, names: Sequence[str]) -> int:
        left, made, over = iter(names), self._target.stamp(), Event()
        statuses = list[int]()

        def start(connection: Any) -> None:  # noqa: ANN401
            name = next(left, None)
            if name is not None:
                stream = self._request(connection, name, made, statuses)
                stream.completion_future.add_done_callback(lambda _: go_on(connection))

        def go_on(connection: Any) -> None:  # noqa: ANN401
            if len(statuses) == len(names):
                over.set()
            start(connection)

        for connection in self._connections:
            start(connection)
        over.wait(60)
        return statuses.count(OK)

    def _request(self, connection: Any, name: str, made: Stamp, statuses: list[int]) -> Any:  # noqa: ANN401
        path, frame = encoded(name), self._target.frame
        headers = [
            *(tuple(line.split(": ", 1)) for line in fields(made, path, frame)),
            ("content-length", str(len(frame.body))),
        ]
        request = crt_http.HttpRequest(
            "POST",
            f"{self._target.endpoint.path}/@connections/{path}",
            crt_http.HttpHeaders(headers),
            BytesIO(frame.body),
        )
        stream = connection.request(request, lambda status_code, **_: statuses.append(status_code))
        stream.activate()
        return stream


# ── threads ────────────────────────────────────────────────────────────────────────────────


def urllib3_threads(target: Target) -> Poster:
    trust: dict[str, Any] = {"ca_certs": target.bundle} if target.bundle else {}
    pool = urllib3.PoolManager(maxsize=THREADS, block=True, retries=False, **trust)
    workers = ThreadPoolExecutor(THREADS)

    def post(names: Sequence[str]) -> int:
        made = target.stamp()

        def one(name: str) -> bool:
            path = encoded(name)
            headers = named_fields(made, path, target.frame)
            url = f"{target.url}/@connections/{path}"
            return pool.request("POST", url, body=target.frame.body, headers=headers).status == OK

        return sum(workers.map(one, names))

    return post


def boto3_client(target: Target) -> Any:  # noqa: ANN401  boto3 makes its clients as it runs
    return boto3.client(
        "apigatewaymanagementapi",
        region_name=REGION,
        endpoint_url=target.url,
        verify=target.bundle or None,
        config=Config(max_pool_connections=THREADS, retries={"total_max_attempts": 1}),
    )


def boto3_loop(target: Target) -> Poster:
    client = boto3_client(target)

    def post(names: Iterable[str]) -> int:
        return sum(_boto3_post(client, name, target.frame.body) for name in names)

    return post


def boto3_threads(target: Target) -> Poster:
    client, workers = boto3_client(target), ThreadPoolExecutor(THREADS)

    def post(names: Sequence[str]) -> int:
        return sum(workers.map(lambda name: _boto3_post(client, name, target.frame.body), names))

    return post


def _boto3_post(client: Any, name: str, body: bytes) -> bool:  # noqa: ANN401
    answer = client.post_to_connection(ConnectionId=name, Data=body)
    return bool(answer["ResponseMetadata"]["HTTPStatusCode"] == OK)


@dataclass(frozen=True, slots=True)
class Candidate:
    make: Callable[[Target], Poster]
    #: It posts to one in so many: 10,000 posts of boto3 take too long.
    one_in: int
    is_installed: bool = True


BASELINE = "boto3, one by one"
OURS = "ours"

CANDIDATES: Mapping[str, Candidate] = {
    BASELINE: Candidate(boto3_loop, 50),
    "boto3, 16 threads": Candidate(boto3_threads, 20),
    "urllib3, 16 threads": Candidate(urllib3_threads, 10),
    "aiohttp": Candidate(AIOHTTP, 4, aiohttp is not None),
    "awscrt": Candidate(CRT, 4, crt_http is not None),
    "pycurl, multi": Candidate(Curl, 1, pycurl is not None),
    OURS: Candidate(ours, 1),
}


# ── a process ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Run:
    posts: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.posts / self.seconds

    @property
    def per_cpu_second(self) -> float:
        return self.posts / self.cpu_seconds


class Process:
    """A candidate that runs until `stop`."""

    def __init__(self, name: str, url: str, bundle: str, text: str) -> None:
        command = [sys.executable, "-m", "bench.posters", name, url, bundle, text]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what aiohttp says of the connections it leaves open
            text=True,
        )

    def run(self, posts: int) -> Run:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("pipes were asked for")
        print(posts, file=stdin, flush=True)
        line = stdout.readline()
        if not line:
            raise RuntimeError("a candidate did not get all its posts taken")
        return Run(posts, *map(float, line.split()))

    def stop(self) -> None:
        self._process.communicate()


def connection_ids(count: int) -> list[str]:
    return [f"L0SM9c{number:0>9}=" for number in range(count)]


def main() -> None:
    name, url, bundle, text = sys.argv[1:]
    credentials = Session().get_credentials().get_frozen_credentials()
    target = Target(url, bundle, Credentials(*credentials[:3]), Frame.of(text))
    poster = CANDIDATES[name].make(target)
    for line in sys.stdin:
        names = connection_ids(int(line))
        wall, cpu = time.perf_counter(), time.process_time()
        taken = poster(names)
        took = time.perf_counter() - wall, time.process_time() - cpu
        if taken != len(names):
            raise RuntimeError(f"{len(names) - taken} posts were not taken")
        print(*took, flush=True)
    os._exit(0)  # without waiting for the threads of libraries


if __name__ == "__main__":
    main()
