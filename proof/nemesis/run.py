"""One run: a stack, devices and observers as processes, the nemesis among them, then calm."""

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from proof.nemesis.faults import (
    STACK_FAULTS,
    Nemesis,
    Scheduler,
    Step,
    crashes,
    dead_letters,
    plan,
    set_visibility,
    traces,
)
from proof.nemesis.history import Rules, Writer
from proof.nemesis.outages import TRAVEL
from proof.nemesis.processes import CLOCKS, Processes, Slot, spawn
from proof.nemesis.settings import SILENT, USERS, parameters
from proof.nemesis.wire import SESSION
from tests.stack import RunningStack, running_stack

VISIBILITY_SECONDS = 10
#: What a back end decides about the user of a device.
DECISIONS = ("revoke", "remove")
#: How long after a revocation a fresh token comes, at least and at most.
SIGNS_IN, LONGEST_OUT = 2.0, 5.0
#: Until a device that was told to stay is there.
ARRIVAL = 3.0
#: How long before it says so the local AWS may have dropped a socket.
DROP_SECONDS = 3.0

#: Two stacks that start at the same time would find the same free ports.
_starting = Lock()


@dataclass
class Attack:
    """Steps through a plan: what is done to devices here, what is done to the stack beside it."""

    processes: Processes
    nemesis: Nemesis
    writer: Writer
    dice: random.Random
    undo: list[tuple[float, int, str, Slot]] = field(default_factory=list)
    #: Users that a back end decides about.
    decided: set[str] = field(default_factory=set)
    pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(len(STACK_FAULTS) + len(USERS))
    )
    lanes: list[Future[None]] = field(default_factory=list)

    def run(self, steps: Sequence[Step]) -> None:
        started = time.monotonic()
        with self.pool:
            for step in steps:
                self._wait_until(started + step.at)
                if step.fault in STACK_FAULTS:
                    self.lanes.append(self.pool.submit(self._on_stack, step))
                else:
                    self._on_device(step)
            self._wait_until(max([started, *(it[0] for it in self.undo)]))
        for lane in self.lanes:
            lane.result()

    def _on_stack(self, step: Step) -> None:
        start = time.monotonic()
        self.nemesis.do(step.fault, step.seconds, step.number)
        self.writer.write("fault", fault=step.fault, start=start)

    def _on_device(self, step: Step) -> None:
        able = [it for it in self.processes.slots if it.process is not None and not it.is_paused]
        if not able:
            return
        slot = able[step.number % len(able)]
        if step.fault in DECISIONS:
            self._decide(step.fault, slot, step.seconds)
        elif step.fault == "kill":
            self.processes.kill(slot)
            self._later(self.dice.choice((0.5, step.seconds, step.seconds)), "start", slot)
        else:
            self.processes.pause(slot)
            self._later(step.seconds, "resume" if step.fault == "pause" else "kill", slot)

    def _decide(self, what: str, slot: Slot, seconds: float) -> None:
        """Beside the other steps, since an answer may take long; undone when it is answered."""
        user_id = slot.user_id
        if user_id in self.decided:  # one after the other
            return
        self.decided.add(user_id)
        self.lanes.append(self.pool.submit(self._decided, what, user_id, seconds))

    def _decided(self, what: str, user_id: str, seconds: float) -> None:
        member = f"/chat-sessions/{SESSION}/members/{user_id}"
        if what == "revoke":
            path = f"POST /users/{user_id}/revocations"
            self.processes.decide(what, user_id, path, {})
            # A token of the same second is refused, too.
            time.sleep(max(SIGNS_IN, min(seconds, LONGEST_OUT)))
            self.processes.sign_in(user_id)
        else:
            self.processes.decide(what, user_id, f"DELETE {member}")
            time.sleep(seconds)
            self.processes.decide("allow", user_id, f"PUT {member}")
        self.decided.discard(user_id)

    def _later(self, seconds: float, what: str, slot: Slot) -> None:
        heappush(self.undo, (time.monotonic() + seconds, slot.number, what, slot))

    def _wait_until(self, at: float) -> None:
        """Undo meanwhile what is to be undone."""
        while self.undo and self.undo[0][0] <= at:
            due, _, what, slot = heappop(self.undo)
            time.sleep(max(0.0, due - time.monotonic()))
            self._undo(what, slot)
        time.sleep(max(0.0, at - time.monotonic()))

    def _undo(self, what: str, slot: Slot) -> None:
        match what:
            case "start":
                self.processes.start(slot)
            case "resume":
                self.processes.resume(slot)
            case "kill":
                self.processes.kill(slot)
                self._later(self.dice.uniform(0.5, 4), "start", slot)


def run(seed: int, seconds: float, rules: Rules, folder: Path) -> None:
    """Leave the history of a run in *folder*."""
    folder.mkdir(parents=True)
    writer = Writer(folder / "nemesis.jsonl")
    offset = time.monotonic() - time.time()
    writer.write("rules", **(asdict(rules) | {"offset": offset}))
    with ExitStack() as everything:
        with _starting:
            stack = everything.enter_context(
                running_stack(folder / "stack", parameters(seed, rules))
            )
        set_visibility(stack, VISIBILITY_SECONDS)
        everything.enter_context(_machine(stack, folder))
        scheduler = everything.enter_context(_sweeps(stack, rules))
        processes = everything.enter_context(_processes(stack, folder, rules, seed, writer))
        dice = random.Random(seed)  # noqa: S311  to be repeated, not to be secret
        attack = Attack(processes, Nemesis(stack, scheduler), writer, dice)
        began = time.monotonic()
        attack.run(plan(seed, seconds, rules))
        for _ in CLOCKS:
            writer.write("fault", fault="clock", start=began)
        _calm_down(processes, rules, scheduler, writer)


def _calm_down(processes: Processes, rules: Rules, scheduler: Scheduler, writer: Writer) -> None:
    """All users are there but those that fell silent, then only the observers, then none.

    Nothing excuses anything here: a sweep, or who looks, has to find who fell silent, and timers
    alone have to end all grace periods.
    """
    stack = processes.stack
    processes.stay()
    time.sleep(ARRIVAL)
    silent = [it for it in processes.slots if it.user_id in SILENT]
    for slot in silent:
        processes.pause(slot)
    time.sleep(rules.lease + rules.sweep + 2 * TRAVEL)
    writer.write("stored", users=_stored(stack))
    for slot in silent:
        processes.kill(slot)
    scheduler.is_stopped.set()
    complaints = [*processes.leave()]
    time.sleep(rules.grace + 2 * TRAVEL)
    writer.write("stored", users=_stored(stack))
    scheduler.is_stopped.clear()
    complaints += processes.close()
    writer.write("leftovers", items=_leftovers(stack, rules))
    for second in crashes(stack):
        # The log has whole seconds, and is written when the socket has been dropped and the
        # function of `$disconnect` has run: 1.2 s later, once.
        start = second + time.monotonic() - time.time() - DROP_SECONDS
        writer.write("crash", at=start + DROP_SECONDS + 2, start=start)
    for text in complaints:
        writer.write("complaint", text=text)


def _leftovers(stack: RunningStack, rules: Rules) -> Sequence[str]:
    deadline = time.monotonic() + rules.grace + rules.sweep + VISIBILITY_SECONDS + TRAVEL
    while (found := traces(stack)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return [*found, *dead_letters(stack)]


def _stored(stack: RunningStack) -> Sequence[Any]:
    answer = stack.call("POST /batch", user_id="poller", body={"userIds": list(USERS)})
    return list(answer.json["users"])


@contextmanager
def _machine(stack: RunningStack, folder: Path) -> Iterator[None]:
    url = f"{stack.told['endpointUrl']}/_ministack/health"
    process = spawn("observer", "machine", str(folder / "machine.jsonl"), url)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _sweeps(stack: RunningStack, rules: Rules) -> Iterator[Scheduler]:
    scheduler = Scheduler(stack, rules.sweep)
    thread = Thread(target=scheduler.run)
    thread.start()
    try:
        yield scheduler
    finally:
        scheduler.is_over.set()
        thread.join()


@contextmanager
def _processes(
    stack: RunningStack, folder: Path, rules: Rules, seed: int, writer: Writer
) -> Iterator[Processes]:
    processes = Processes(stack, folder, rules, seed, writer)
    try:
        processes.gather()
        yield processes
    finally:
        left = [*(it.process for it in processes.slots if it.process), *processes.observers]
        for process in left:
            if process.poll() is None:
                process.kill()
            process.wait()
