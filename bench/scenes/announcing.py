"""CPU of announcing one batch: so many users flip invisible and online in the same chat sessions.

The real use cases on the fakes of the tests: fakes take less than a hundredth of it in any build.
"""

import json
import sys
import time
from dataclasses import replace
from importlib import import_module
from typing import Any

from presence.domain.user import Choice
from tests.world import World

RECORDS = 100


def record_of_build() -> Any:  # noqa: ANN401  a class of one of the builds
    try:
        return import_module("presence.fanout.diffs").Record
    except ModuleNotFoundError:
        return import_module("presence.use_cases.announcements").Record


def crowd(users: int, sessions: int) -> Any:  # noqa: ANN401  World is of one of the builds
    world: Any = World(is_global=False)
    names = frozenset(f"s{number}" for number in range(sessions))
    for number in range(users):
        user_id, device = f"user-{number}", f"c{number}"
        world.join(user_id, device)
        user = world.tables.users[user_id]
        lease = replace(user.leases[device], sessions=names)
        world.tables.users[user_id] = replace(user, leases={device: lease})
        for name in names:
            world.tables.sessions.setdefault(name, {})[device] = user_id
    return world


def main() -> None:
    users, sessions = map(int, sys.argv[1:])
    world, make = crowd(users, sessions), record_of_build()
    first, turn = len(world.tables.stream), 0
    while len(world.tables.stream) - first < RECORDS:
        world.wait(5)
        choice = Choice.ONLINE if turn // users % 2 else Choice.INVISIBLE
        world.choose(f"user-{turn % users}", choice)
        turn += 1
    batch = [make(*images, at=world.now) for images in world.tables.stream[first:]]
    announcer = world.announcer if hasattr(world, "announcer") else world.announcements
    started = time.process_time()
    announcer.announce(batch)
    print(json.dumps({"cpu_seconds": time.process_time() - started}))


if __name__ == "__main__":
    main()
