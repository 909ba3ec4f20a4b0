"""Many functions at the same moment, on tables that take their time."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from presence import bootstrap
from presence.application.connections import AuthenticateCommand
from presence.domain.connection import Identity
from presence.domain.errors import PresenceError
from presence.limits import BURST, MAX_CONNECTIONS
from tests.functions.conftest import TAB, Stack

#: Of one call to a table, which is why two that read one after the other write at the same time.
LONGEST_SECONDS = 0.004


@pytest.fixture
def busy(private: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Each call waits a little, and is done while no other one is."""
    lock, call = threading.Lock(), private.tables._make_api_call

    def take_time(*about: Any) -> Any:
        time.sleep(random.uniform(0, LONGEST_SECONDS))  # noqa: S311  not a secret
        with lock:
            return call(*about)

    monkeypatch.setattr(private.tables, "_make_api_call", take_time)
    return private


def at_once(count: int, act: Callable[[int], object]) -> Counter[str]:
    """Do it that often in threads of its own; how often it was served, or why it was refused."""
    barrier, told = threading.Barrier(count), Counter[str]()

    def run(number: int) -> None:
        barrier.wait()
        try:
            act(number)
        except PresenceError as refusal:
            told[refusal.code] += 1
        else:
            told["served"] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


@pytest.mark.fault("Frames of one connection are handled at the same time.")
@pytest.mark.parametrize("action", ["status", "message", "join", "typing"])
def test_a_burst_that_is_handled_at_the_same_time_is_served(busy: Stack, action: str) -> None:
    busy.join("ada", TAB)
    busy.enter(TAB)
    busy.wait(1_000)  # the join has been paid back
    app, now = bootstrap.app(), busy.clock.now
    acts: dict[str, Callable[[int], object]] = {
        "status": lambda _: app.access.authorize(TAB, now),
        "message": lambda number: app.messages.say(TAB, "room.1", number, None, now),
        "join": lambda number: app.chat_sessions.join(TAB, [f"room.{number}"], now),
        "typing": lambda _: app.messages.typing(TAB, "room.1", now, is_typing=True),
    }

    told = at_once(BURST, acts[action])
    user = app.ports.users.read("ada", consistent=True)

    assert told == {"served": BURST}
    charged = (user.leases[TAB].arrival - now) // 1_000
    assert charged == (1 if action == "typing" else BURST)


@pytest.mark.fault("All devices of a user come back at the same moment.")
@pytest.mark.parametrize("count", [12, MAX_CONNECTIONS])
def test_all_tabs_that_return_together_are_let_in(busy: Stack, count: int) -> None:
    app, now = bootstrap.app(), busy.clock.now
    names = [f"tab-{number}" for number in range(count)]
    for name in names:
        app.connections.open(name, now)
    identity = Identity("ada", now + 3_600_000)
    rooms = [f"room.{number}" for number in range(5)]

    def authenticate(number: int) -> None:
        command = AuthenticateCommand(names[number], identity, now, session_ids=rooms)
        app.connections.authenticate(command, now)

    told = at_once(count, authenticate)

    assert told == {"served": count}
    assert app.ports.users.read("ada", consistent=True).leases.keys() == set(names)
