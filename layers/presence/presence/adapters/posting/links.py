"""Connections to one endpoint, all of them served by one thread; requests are not pipelined."""

import errno
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from presence.adapters.posting.answers import Answer, Malformed, read_answer
from presence.adapters.posting.signature import Endpoint

_PIECE = 4096
#: An answer to a post is some hundred bytes.
_MOST_BYTES = 64 * 1024
#: A connection that was idle for longer may be closed on the other side, or, after Lambda has
#: frozen the process, be forgotten by everything in between.
_IDLE_SECONDS = 10
#: API Gateway's addresses are good for about a minute.
_LOOKUP_SECONDS = 30
_NEVER = float("inf")
_READ, _WRITE = select.POLLIN, select.POLLOUT
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Watch:
    """Which connections are ready: epoll or, on macOS, poll; `selectors` takes twice the time."""

    def __init__(self) -> None:
        has_epoll = hasattr(select, "epoll")
        self._poll: Any = select.epoll() if has_epoll else select.poll()
        self._unit = 1 if has_epoll else 1000  # epoll counts seconds, poll counts milliseconds
        self._links = dict[int, Link]()

    def add(self, number: int, link: "Link", events: int) -> None:
        self._links[number] = link
        self._poll.register(number, events)

    def change(self, number: int, events: int) -> None:
        self._poll.modify(number, events)

    def remove(self, number: int) -> None:
        """Watch this one no longer; the system may have forgotten it already."""
        del self._links[number]
        with suppress(OSError, KeyError):  # KeyError is poll's
            self._poll.unregister(number)

    def ready(self, seconds: float) -> Iterable["Link"]:
        """Those for which something has happened, after *seconds* at most."""
        links = self._links
        return [links[number] for number, _ in self._poll.poll(seconds * self._unit)]

    def close(self) -> None:
        if hasattr(self._poll, "close"):
            self._poll.close()


#: As `socket.getaddrinfo` tells it: family, kind, protocol, canonical name, where.
Address: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Security:
    """What TLS takes: the certificate has to be for the host, from an authority of the context."""

    context: ssl.SSLContext
    host: str


class Link:
    """One connection, and the request on it."""

    __slots__ = (
        *("_heard", "_is_ready", "_number", "_security", "_socket"),
        *("_unsent", "_watch", "_watched"),
        *("asked_at", "idle_since", "is_late", "job", "since"),
    )

    def __init__(self, watch: Watch, address: Address, security: Security | None) -> None:
        """Begin to connect.

        Raises:
            OSError: that cannot even begin.
        """
        family, kind, protocol, _, where = address
        self._socket = socket.socket(family, kind, protocol)
        self._socket.settimeout(0)
        code = self._socket.connect_ex(where)
        if code not in (0, errno.EINPROGRESS):
            self._socket.close()
            raise OSError(code, "no connection")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch = watch
        self._security = security
        self._is_ready = False
        self._unsent = self._heard = b""
        self._watched = _WRITE
        # Kept: a socket that fails to be wrapped in TLS does not know it any more.
        self._number = self._socket.fileno()
        watch.add(self._number, self, _WRITE)
        #: Whose the request is; None while there is none.
        self.job: Any = None
        #: When the request was given, and when it went out, which handshakes may be between.
        self.since, self.asked_at = 0.0, _NEVER
        self.is_late = False
        self.idle_since = 0.0

    def send(self, request: bytes) -> None:
        """Send as much as the socket takes, or all when it is connected; `advance` does the rest.

        Raises:
            OSError: the connection is broken.
        """
        self._unsent = request
        if self._is_ready:
            self.asked_at = time.monotonic()
            self._flush()

    def advance(self) -> Answer | None:
        """Do what the socket is ready for; return the answer when it is complete.

        Raises:
            OSError: the connection is broken, the certificate is not good, the answer is none.
        """
        if not (self._is_ready or self._greet()):
            return None
        if self._unsent:
            self._flush()
        answer = self._listen()
        if answer is not None and self._unsent:
            # Refused before all of it was sent, and what is left of it would be the next request.
            return Answer(answer.status, keeps=False)
        return answer

    def close(self) -> None:
        self._watch.remove(self._number)
        self._socket.close()

    def _greet(self) -> bool:
        """Finish the handshakes of TCP and TLS; whether that is done."""
        if code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, "no connection")
        if self._security is not None:
            try:
                self._shake(self._security)
            except ssl.SSLWantReadError:
                self._wait_for(_READ)
                return False
            except ssl.SSLWantWriteError:
                self._wait_for(_WRITE)
                return False
        self._is_ready = True
        self._wait_for(_READ)
        self.asked_at = time.monotonic()
        return True

    def _shake(self, security: Security) -> None:
        if not isinstance(self._socket, ssl.SSLSocket):
            self._socket = security.context.wrap_socket(
                self._socket, server_hostname=security.host, do_handshake_on_connect=False
            )
        self._socket.do_handshake()

    def _flush(self) -> None:
        """Send what there is; TLS takes no more than a record of 16 KiB at a time."""
        unsent = self._unsent
        try:
            while unsent:
                unsent = unsent[self._socket.send(unsent) :]
        except _NOT_YET:
            self._wait_for(_READ | _WRITE)
        else:
            self._wait_for(_READ)
        self._unsent = unsent

    def _listen(self) -> Answer | None:
        try:
            data = self._socket.recv(_PIECE)
        except _NOT_YET:
            return None
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed before its answer")
        if len(data) == _PIECE:
            data += self._rest()
        if self._heard:
            data = self._heard + data
        answer = read_answer(data)
        if answer is None and len(data) > _MOST_BYTES:
            raise Malformed("the answer does not end")
        self._heard = data if answer is None else b""
        return answer

    def _rest(self) -> bytes:
        """What more there is: TLS may hold the end of a record, of which no selector knows."""
        data = b""
        with suppress(*_NOT_YET):
            while len(data) <= _MOST_BYTES and (piece := self._socket.recv(_PIECE)):
                data += piece
        return data

    def _wait_for(self, events: int) -> None:
        if events != self._watched:
            self._watch.change(self._number, events)
            self._watched = events


class Links:
    """All connections to one endpoint. They are kept from one invocation to the next.

    `idle` are those that serve the next request, the one that was used last at the end.
    """

    def __init__(self, endpoint: Endpoint, security: Callable[[], Security | None]) -> None:
        self._watch = Watch()
        self.all = set[Link]()
        self.idle = list[Link]()
        self._endpoint = endpoint
        self._make_security = security
        self._security: Security | None = None
        self._addresses: Sequence[Address] = ()
        self._looked_up_at = 0.0
        self._opened = 0

    def refresh(self) -> None:
        """Close what has been idle for too long, or was closed on the other side.

        Raises:
            OSError: the name of the endpoint has no address, or there is no bundle of authorities.
        """
        now = time.time()  # the monotonic clock may stand still while Lambda freezes the process
        for link in self._watch.ready(0):
            self.drop(link)
        for link in [link for link in self.idle if now - link.idle_since > _IDLE_SECONDS]:
            self.drop(link)
        if now - self._looked_up_at > _LOOKUP_SECONDS:
            self._addresses = self._look_up()
            self._looked_up_at = now
        if self._security is None:
            self._security = self._make_security()

    def rest(self) -> None:
        """Remember since when nothing was asked."""
        now = time.time()
        for link in self.idle:
            link.idle_since = now

    def ready(self, seconds: float) -> Iterable[Link]:
        """Those for which something has happened, after *seconds* at most."""
        return self._watch.ready(seconds)

    def open(self) -> Link:
        """Begin a connection to the next address in turn.

        Raises:
            OSError: to none of them one can be begun.
        """
        failure = OSError(errno.EADDRNOTAVAIL, "no address")
        for _ in self._addresses:
            self._opened += 1
            address = self._addresses[self._opened % len(self._addresses)]
            try:
                link = Link(self._watch, address, self._security)
            except OSError as error:
                failure = error
            else:
                self.all.add(link)
                return link
        raise failure

    def drop(self, link: Link) -> None:
        """Close a connection; nothing will be heard from it."""
        self.all.discard(link)
        if link in self.idle:
            self.idle.remove(link)
        link.close()

    def close(self) -> None:
        """Close everything."""
        for link in [*self.all]:
            self.drop(link)
        self._watch.close()

    def _look_up(self) -> Sequence[Address]:
        return socket.getaddrinfo(self._endpoint.host, self._endpoint.port, type=socket.SOCK_STREAM)
