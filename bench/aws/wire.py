"""A WebSocket at the level of its frames, and three ways to end one without a word.

The protocol is websockets' (RFC 6455); the socket is ours, because a client library hides empty
frames and control frames, follows redirects, and goes on reading.
"""

import asyncio
import ctypes
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from bench.aws.ledger import Ledger

_CHUNK = 65_536
#: With this set, closing sends a reset (socket(7), SO_LINGER).
_RESET = struct.pack("ii", 1, 0)
#: Not in Python's `socket` (asm-generic/socket.h).
_SO_ATTACH_FILTER = 26
#: One instruction of classic BPF, "return 0": not a byte of any segment is let in (bpf(2)).
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)


class Refused(ConnectionError):
    """The server did not open a WebSocket; the message has its answer."""


@dataclass(frozen=True, slots=True)
class End:
    """When the socket was over (seconds since the epoch), and the close code that came with it.

    1006 stands for none, as in RFC 6455.
    """

    at: float
    code: int


@dataclass
class Wire:
    """One socket. `on_text` gets every data frame with a payload."""

    ledger: Ledger
    protocol: ClientProtocol
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    on_text: Callable[[str], None] = lambda _: None
    over: "asyncio.Future[End]" = field(default_factory=asyncio.Future)
    pongs: int = 0
    empty: int = 0
    _part: bytes = b""
    _reading: "asyncio.Task[None] | None" = None

    @classmethod
    async def open(cls, url: str, ledger: Ledger, *, within: float = 30) -> "Wire":
        """Connect to exactly this address: no proxy, no redirect.

        Raises:
            Refused: it does not answer with 101.
            OSError, TimeoutError: no server is there, or not in time.
        """
        async with asyncio.timeout(within):
            parts = urlsplit(url)
            context = ssl.create_default_context() if parts.scheme == "wss" else None
            port = parts.port or (443 if context else 80)
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
            wire = cls(ledger, ClientProtocol(parse_uri(url)), reader, writer)
            wire.protocol.send_request(wire.protocol.connect())
            wire._flush()
            while wire.protocol.state is State.CONNECTING and wire.protocol.handshake_exc is None:
                await wire._take()
        if wire.protocol.state is State.CONNECTING:
            writer.transport.abort()
            raise Refused(str(wire.protocol.handshake_exc))
        ledger.note("connect")
        wire._reading = asyncio.create_task(wire._read())
        return wire

    # ── what a client does ─────────────────────────────────────────────────────────────────

    def send(self, text: str) -> None:
        self.protocol.send_text(text.encode())
        self.ledger.note("sent")
        self._flush()

    def ping(self) -> None:
        """A protocol ping (opcode 9), which no browser can send."""
        self.protocol.send_ping(b"bench")
        self.ledger.note("ping")
        self._flush()

    async def close(self, within: float = 10) -> None:
        """Say goodbye (1000), and wait until the server has, too."""
        with suppress(Exception):  # over already
            self.protocol.send_close(1000)
            self._flush()
        await asyncio.wait([self.over], timeout=within)
        self.abandon()

    def reset(self) -> None:
        """End with a TCP reset, as a process that is killed or a box that forgets."""
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.abandon()

    def freeze(self) -> None:
        """Neither read nor answer: a program that stands still, on a machine that acknowledges."""
        self._stop_reading()

    def deafen(self) -> bool:
        """Acknowledge nothing from now on, as a machine that is gone: half open at the other end.

        A socket filter of one's own socket needs no rights (socket(7), SO_ATTACH_FILTER). The
        kernel drops each segment before TCP sees it, a FIN and a reset, too. Only Linux has it:
        elsewhere the answer is False, and nothing is changed.
        """
        if not sys.platform.startswith("linux"):
            return False
        code = ctypes.create_string_buffer(_DROP_ALL)
        program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
        try:
            self._socket().setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        except OSError:
            return False
        self._stop_reading()
        return True

    def abandon(self) -> None:
        """Drop what is left of it."""
        self._stop_reading()
        self.writer.transport.abort()
        self._end()

    # ── what comes ─────────────────────────────────────────────────────────────────────────

    async def _read(self) -> None:
        with suppress(OSError):
            while await self._take():
                pass
        self._end()
        self.writer.transport.abort()

    async def _take(self) -> bool:
        """Read once, and answer what the protocol answers by itself; False at the end."""
        data = await self.reader.read(_CHUNK)
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self._hear(event)
        self._flush()
        return bool(data)

    def _hear(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self.pongs += 1
            self.ledger.note("pong")
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._part += bytes(frame.data)
        if not frame.fin:
            return
        whole, self._part = self._part, b""
        self.empty += not whole
        self.ledger.note("heard" if whole else "empty")
        if whole:
            self.on_text(whole.decode(errors="replace"))

    def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.writer.write(data)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading.cancel()
        with suppress(RuntimeError):  # closed, or paused already
            self.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it reads, too

    def _end(self) -> None:
        if not self.over.done():
            close = self.protocol.close_rcvd
            self.over.set_result(End(time(), close.code if close else 1006))

    def _socket(self) -> socket.socket:
        found: socket.socket = self.writer.get_extra_info("socket")
        return found
