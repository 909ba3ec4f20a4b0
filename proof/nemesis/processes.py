"""The processes of a run: devices, observers, and those who verify."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from local.stack import ROOT
from proof.nemesis import device, observer
from proof.nemesis.history import Rules, Writer
from proof.nemesis.settings import LOOKED_AT, LOOKERS, OBSERVERS, READ, USERS
from tests.stack import API, RunningStack, call

#: By how many seconds the clock of one device is wrong, by the device.
CLOCKS = {0: -3 * 3600.0, 1: 5 * 3600.0}
_EXIT_SECONDS = 10.0


@dataclass
class Slot:
    """Where one device is again and again, each time as another process."""

    number: int
    user_id: str
    name: str
    count: int = 0
    process: subprocess.Popen[bytes] | None = None
    is_paused: bool = False


@dataclass
class Processes:
    """The processes of a run."""

    stack: RunningStack
    folder: Path
    rules: Rules
    seed: int
    writer: Writer
    slots: list[Slot] = field(default_factory=list)
    observers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def gather(self) -> None:
        """Observers first: they have to know that no user is there."""
        for program, names in (("observer", OBSERVERS), ("looker", LOOKERS)):
            for name in names:
                errand = json.dumps(asdict(self._observer(name)))
                self.observers.append(spawn(program, errand))
        time.sleep(2)
        for user_id, count in USERS.items():
            self.sign_in(user_id)
            for number in range(count):
                slot = Slot(len(self.slots), user_id, f"{user_id}.{number}")
                self.slots.append(slot)
                self.start(slot)

    def _observer(self, name: str) -> observer.Errand:
        return observer.Errand(
            observer=name,
            url=self.stack.url,
            http=f"{self.stack.told['httpUrl']}{API}",
            token=self.stack.token(name),
            history=str(self.folder / f"{name}.jsonl"),
            users={"poller": READ, **dict.fromkeys(LOOKERS, LOOKED_AT)}.get(name, list(USERS)),
            heartbeat=self.rules.heartbeat,
        )

    def _token_file(self, user_id: str) -> Path:
        return self.folder / f"{user_id}.token"

    def sign_in(self, user_id: str) -> None:
        """Give a user a fresh token, by which the user's devices come from now on."""
        issued = time.monotonic()
        file = self._token_file(user_id)
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps({"token": self.stack.token(user_id), "issued": issued}))
        draft.replace(file)

    def decide(self, name: str, user_id: str, request: str, body: Any = None) -> None:
        """Ask as a back end does, until it is answered."""
        start = time.monotonic()
        while not self._is_answered(request, body):
            time.sleep(0.5)
        self.writer.write("decision", decision=name, user=user_id, start=start)

    def _is_answered(self, request: str, body: Any) -> bool:
        method, _, path = request.partition(" ")
        token = self.stack.token("back-end", scope="presence:admin")
        url = f"{self.stack.told['httpUrl']}{API}{path}"
        try:
            return call(method, url, token=token, body=body).status == HTTPStatus.NO_CONTENT
        except httpx.TransportError:
            return False

    def start(self, slot: Slot) -> None:
        slot.count += 1
        name = f"{slot.name}.{slot.count}"
        errand = device.Errand(
            process=name,
            user=slot.user_id,
            url=self.stack.url,
            token=str(self._token_file(slot.user_id)),
            history=str(self.folder / f"{name}.jsonl"),
            seed=hash((self.seed, slot.number, slot.count)),
            heartbeat=int(self.rules.heartbeat),
            background=int(self.rules.background),
            grace=self.rules.grace,
            clock=CLOCKS.get(slot.number, 0.0),
        )
        slot.process = spawn("device", json.dumps(asdict(errand)))

    def kill(self, slot: Slot) -> None:
        """Kill -9: nothing is said, and the system closes the socket, if nothing else did."""
        assert slot.process is not None
        self.writer.write("kill", process=f"{slot.name}.{slot.count}")
        slot.process.kill()
        slot.process.wait()
        slot.process, slot.is_paused = None, False

    def pause(self, slot: Slot) -> None:
        """The socket stays open without a process behind it: a half-open connection."""
        assert slot.process is not None
        slot.process.send_signal(signal.SIGSTOP)
        self.writer.write("pause", process=f"{slot.name}.{slot.count}")
        slot.is_paused = True

    def resume(self, slot: Slot) -> None:
        assert slot.process is not None
        self.writer.write("resume", process=f"{slot.name}.{slot.count}")
        slot.process.send_signal(signal.SIGCONT)
        slot.is_paused = False

    def stay(self) -> None:
        """All devices come, and stay."""
        for slot in self.slots:
            if slot.process is None:
                self.start(slot)
        (self.folder / device.STAY).touch()

    def leave(self) -> Sequence[str]:
        """All devices end; the names of those that did not end by themselves."""
        return _end([it.process for it in self.slots if it.process])

    def close(self) -> Sequence[str]:
        """All observers end."""
        return _end(self.observers)


_PATHS = (ROOT, ROOT / "layers/presence", ROOT / "clients/python")


def spawn(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", f"proof.nemesis.{program}", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, _PATHS))},
        stdin=subprocess.DEVNULL,
    )


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> Sequence[str]:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _EXIT_SECONDS
    return [text for it in processes if (text := _complaint(it, deadline))]


def _complaint(process: subprocess.Popen[bytes], deadline: float) -> str:
    try:
        code = process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"{process.args!r} did not end"
    return f"{process.args!r} ended with {code}" if code else ""
