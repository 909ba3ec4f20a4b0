"""The drivers of bench.aws, against a gateway on loopback that is as it is told to be."""

import asyncio
import fcntl
import json
import socket
import struct
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.aws import __main__ as command
from bench.aws.cloud import Cloud
from bench.aws.ledger import Ledger
from bench.aws.stage import Pace
from bench.aws.target import ForeignHost, Hosts
from bench.aws.wire import Refused, Wire
from tests.bench.gateway import FakeGateway, Nature, gateway
from tests.sink import Certificate, make_certificate

#: Minutes are a third of a second long.
PACE = Pace(
    sockets=3,
    frames=5,
    window=2,
    minute=0.3,
    settle=0,
    watch=1.5,
    every=0.1,
    twins=1,
    quiet=0.2,
    looks=(0.1, 0.2),
    rounds=2,
    pause=0.02,
)


@cache
def record(nature: Nature, *names: str, pace: Pace = PACE) -> dict[str, Any]:
    """Of a run of these experiments with such an AWS; each run is made once."""

    async def measure() -> dict[str, Any]:
        async with gateway(nature) as fake:
            return await command.run(fake.target(), pace, names, fake.cloud)

    return asyncio.run(measure())


def found(nature: Nature, *names: str, pace: Pace = PACE) -> dict[str, str]:
    """What the experiments say, by question."""
    parts = record(nature, *names, pace=pace)["experiments"]
    return {it["question"]: it["found"] for part in parts for it in part["answers"]}


def about(answers: dict[str, str], words: str) -> str:
    """The answer to the only question with these words."""
    [answer] = [it for question, it in answers.items() if words in question]
    return answer


# ── what is counted ────────────────────────────────────────────────────────────────────────

COUNTS = ("empty-answers", "get-connection")
DEAR = Nature(empty=True, billed=frozenset({"empty", "get"}))


@pytest.mark.slow
@pytest.mark.parametrize(("nature", "billed"), [(DEAR, "yes"), (Nature(empty=True), "no")])
def test_what_is_billed_is_in_the_count(nature: Nature, billed: str) -> None:
    answers = found(nature, *COUNTS)
    assert about(answers, "empty frame come? `ping`, a route that answers") == "yes"
    assert about(answers, "billed as a message? `ping`") == billed
    assert about(answers, "billed as a message? `unwatch`") == billed
    assert about(answers, "GET @connections billed") == billed
    assert about(answers, "a second are taken").startswith("at least ")


@pytest.mark.slow
def test_without_metrics_the_count_is_not_known_and_frames_are() -> None:
    answers = found(Nature(has_metrics=False, throttle=4), *COUNTS)
    assert about(answers, "empty frame come? `ping`, a one-way route") == "no"
    assert about(answers, "billed as a message? `unwatch`") == "not known here"
    assert about(answers, "GET @connections billed") == "not known here"
    assert about(answers, "a second are taken").startswith("fewer than ")


@pytest.mark.slow
def test_a_record_is_written_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = record(DEAR, *COUNTS, pace=PACE)
    monkeypatch.setattr(command, "RECORDS", tmp_path)
    command.write(run)
    command.show(run)
    written = json.loads((tmp_path / "aws" / "aws.json").read_text())
    assert written["connect_count"] == written["counts"]["connect"] > 0
    assert "token" not in written["target"]
    assert "--count empty-answers" in " ".join(capsys.readouterr().out.split())


# ── what is active ─────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_what_moves_last_active_is_told_apart() -> None:
    answers = found(
        Nature(resets=frozenset({"ping"})), "last-active", pace=replace(PACE, quiet=1.1)
    )
    assert about(answers, "moved by a client's frame") == "yes"
    assert about(answers, "moved by a client's protocol ping") == "yes"
    assert about(answers, "moved by a post") == "no"
    assert about(answers, "moved by nothing") == "no"


@pytest.mark.slow
def test_what_resets_the_idle_timer_is_told_apart() -> None:
    nature = Nature(idle=1.5, resets=frozenset({"post"}), billed=frozenset({"ping"}))
    answers = found(nature, "idle", pace=replace(PACE, watch=2.5, every=0.4))
    assert 1.0 < float(about(answers, "silent, living socket").split()[1]) < 2.5
    assert about(answers, "reset by frames") == "yes"
    assert about(answers, "reset by protocol pings") == "no"
    assert about(answers, "reset by posts") == "yes"
    assert about(answers, "Are protocol pings billed") == "yes"


@pytest.mark.slow
def test_silent_peers_are_told_apart_from_those_that_are_posted_to() -> None:
    nature = Nature(idle=0.5, resets=frozenset({"post"}))
    answers = found(nature, "half-open")
    kinds = ("frozen", "gone") if sys.platform.startswith("linux") else ("frozen",)
    for kind in kinds:
        assert 0.2 < float(about(answers, f"Peer {kind}, without posts").split()[0]) < 1.5
        assert about(answers, f"Peer {kind}, with posts") == "not known here"
        assert about(answers, f"answered? Peer {kind}") == "200"


# ── what takes how long ────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_ends_and_changes_are_timed() -> None:
    answers = found(Nature(), "disconnects", "latency", "billed")
    for words in ("a clean close", "a reset", "from a change to", "from the answer to"):
        assert float(about(answers, words).removesuffix(" s")) < 5.0
    assert about(answers, "is a ping billed") == "8 ms"
    assert about(answers, "cold start") == "not known here"


def test_an_experiment_that_fails_ends_no_other() -> None:
    async def measure() -> Sequence[dict[str, Any]]:
        async with gateway(Nature()) as fake:
            target = fake.target(token=_refuse)
            record = await command.run(target, PACE, ["latency", "last-active"], fake.cloud)
            return record["experiments"]  # type: ignore[no-any-return]

    for it in asyncio.run(measure()):
        assert it["observed"] is None
        assert "It failed: ValueError: no token" in it["answers"][0]["because"]


def _refuse(user_id: str) -> str:
    raise ValueError(f"no token for {user_id}")


# ── only where it is pointed ───────────────────────────────────────────────────────────────


def test_a_request_to_another_host_is_not_sent() -> None:
    async def look() -> int:
        async with gateway(Nature()) as fake:
            cloud = Cloud(fake.target(), Ledger())
            cloud.hosts = Hosts.of(["https://example.com"])
            with pytest.raises(ForeignHost, match=r"127\.0\.0\.1"):
                await cloud.look("c0")
            cloud.close()
            return fake.asked

    assert asyncio.run(look()) == 0


def test_a_redirect_is_not_followed() -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: ws://example.com/\r\nContent-Length: 0\r\n\r\n"
        )
        await writer.drain()
        writer.close()

    async def meet() -> None:
        async with await asyncio.start_server(redirect, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Refused, match="302"):
                await Wire.open(f"ws://127.0.0.1:{port}/live", Ledger())

    asyncio.run(meet())


# ── silence ────────────────────────────────────────────────────────────────────────────────


def unacknowledged(sender: socket.socket) -> int:
    """Bytes that the other side's kernel has not acknowledged (tcp(7), SIOCOUTQ)."""
    told = fcntl.ioctl(sender.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    return int(struct.unpack("i", told)[0])


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    made = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", made.bundle)
    return made


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux filters a socket")
@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("tls", [True, False])
def test_a_peer_that_is_gone_acknowledges_nothing(
    certificate: Certificate, *, gone: bool, tls: bool
) -> None:
    async def fall_silent() -> int:
        async with gateway(Nature(), certificate if tls else None) as fake:
            wire = await Wire.open(fake.web_socket_url, Ledger())
            await _until_connected(fake)
            [line] = fake.lines.values()
            if gone:
                assert wire.deafen()
            else:
                wire.freeze()
            await line.socket.send("anything")
            left = await _until_acknowledged(line.socket.transport.get_extra_info("socket"))
            wire.reset()
            return left

    assert (asyncio.run(fall_silent()) > 0) is gone


async def _until_acknowledged(sender: socket.socket) -> int:
    """What is left when it no longer shrinks to nothing within two seconds."""
    deadline = time.monotonic() + 2
    while (left := unacknowledged(sender)) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return left


def test_a_frame_goes_and_comes_over_tls(certificate: Certificate) -> None:
    async def converse() -> str:
        async with gateway(Nature(), certificate) as fake:
            heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            wire = await Wire.open(fake.web_socket_url, Ledger())
            wire.on_text = heard.set_result
            wire.send('{"action": "unwatch", "id": "1"}')
            answer = await asyncio.wait_for(heard, 5)
            await wire.close()
            assert wire.over.result().code == 1000
            return answer

    assert json.loads(asyncio.run(converse())) == {"id": "1", "type": "ack"}


async def _until_connected(fake: FakeGateway) -> None:
    async with asyncio.timeout(5):
        while not fake.lines:  # noqa: ASYNC110  the fake says nothing
            await asyncio.sleep(0.01)
