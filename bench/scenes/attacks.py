"""What the dearest calls of one account cost, with all that the limits let it store.

Prints write and read units of each call. Ids are as long as they may be, and do not compress.
"""

import json
import random
import string
from collections.abc import Callable, Iterable
from functools import partial

from bench.lab import SECOND, Lab, UnexpectedAnswer, Visitor, lab

LETTERS = string.ascii_letters + string.digits
SESSIONS, BLOCKS, DEVICES, WATCHED = 50, 200, 20, 1_000
AT_ONCE = 50  # so many of the longest ids fit into a frame

found: dict[str, float] = {}
_random = random.Random(7)  # noqa: S311


def long_id() -> str:
    return "".join(_random.choices(LETTERS, k=128))


def until_full(acts: Iterable[Callable[[], object]]) -> None:
    """Until the build refuses more."""
    for act in acts:
        try:
            act()
        except UnexpectedAnswer:
            return


def cost(room: Lab, name: str, act: Callable[[], object]) -> None:
    room.wait(15 * SECOND)
    room.meter.reset()
    act()
    units = room.meter.usage.by_rule
    found[f"{name}: W"], found[f"{name}: R"] = units.writes, units.reads


def ordinary(room: Lab) -> None:
    who = room.join(room.newcomer())
    room.wait(30 * SECOND)
    cost(room, "ping", lambda: room.send(who, "ping", userId=who.user_id))
    cost(room, "status", lambda: room.send(who, "status", status="busy"))
    cost(room, "PUT /", lambda: room.http("PUT ", who, body={"status": "away"}))
    cost(room, "online", lambda: room.send(who, "online", limit=1))


def with_sessions_and_blocks(room: Lab) -> None:
    who = room.join(Visitor(long_id(), room._connection()))  # noqa: SLF001

    def block(name: str) -> object:
        room.wait(11 * SECOND)
        room.send(who, "ping", userId=who.user_id)  # the lease must not run out
        return room.http(f"PUT /blocked/{name}", who)

    def join() -> object:
        room.wait(1100)
        return room.send(who, "join", chatSessionId=long_id())

    until_full([join] * (SESSIONS // 2))
    cost(room, "25 sessions: first PUT /blocked/x", lambda: block(long_id()))
    until_full([lambda: block(long_id())] * BLOCKS)
    of_a_full_account(room, who)


def of_a_full_account(room: Lab, who: Visitor) -> None:
    name = _listed(room, who)
    room.http(f"DELETE /blocked/{name}", who)
    cost(room, "full account: ping", lambda: room.send(who, "ping", userId=who.user_id))
    for call in (f"PUT /blocked/{name}", f"DELETE /blocked/{name}"):
        label = f"full account: {call.replace(name, 'x')}"
        cost(room, label, partial(room.http, call, who))
    for status in ("invisible", "online"):
        label = f"full account: PUT / {status}"
        cost(room, label, partial(room.http, "PUT ", who, body={"status": status}))
    cost(room, "full account: status", lambda: room.send(who, "status", status="busy"))


def _listed(room: Lab, who: Visitor) -> str:
    blocked: list[str] = room.http("GET /blocked", who)["userIds"]
    return blocked[0]


def with_many_devices(room: Lab) -> None:
    user_id = long_id()
    devices = [room.join(Visitor(user_id, room._connection())) for _ in range(DEVICES)]  # noqa: SLF001

    def join(session_id: str) -> None:
        room.wait(1100)
        for device in devices:
            room.send(device, "join", chatSessionId=session_id)

    until_full([lambda: join(long_id())] * SESSIONS)
    first = devices[0]
    cost(room, "20 devices: ping", lambda: room.send(first, "ping", userId=first.user_id))
    cost(room, "20 devices: authenticate again", lambda: room.authenticate(first))
    cost(room, "20 devices: status", lambda: room.send(first, "status", status="busy"))
    reader = room.join(room.newcomer())
    item = dict(room.item(user_id) or {})
    item.pop("changed", None)
    names = [f"copy-{number}" for number in range(100)]
    for name in names:
        copy = {**item, "user_id": {"S": name}}
        room.reader.put_item(TableName="Users", Item=copy)
    cost(
        room,
        "POST /batch of 100 such users",
        lambda: room.http("POST /batch", reader, body={"userIds": names}),
    )


def with_a_watch_list(room: Lab) -> None:
    who = room.join(room.newcomer())
    names = [long_id() for _ in range(WATCHED)]
    for start in range(0, WATCHED, AT_ONCE):
        room.wait(5 * SECOND)
        room.send(who, "watch", userIds=names[start : start + AT_ONCE])
    cost(room, "list of 1,000: watch one again", lambda: room.send(who, "watch", userIds=names[:1]))
    cost(room, "list of 1,000: unwatch one", lambda: room.send(who, "unwatch", userIds=names[:1]))
    cost(room, "list of 999: watch one", lambda: room.send(who, "watch", userIds=names[:1]))
    cost(room, "list of 1,000: unwatch 50", lambda: room.send(who, "unwatch", userIds=names[:50]))
    cost(room, "list of 950: watch 50", lambda: room.send(who, "watch", userIds=names[:50]))


def main() -> None:
    with lab() as room:
        ordinary(room)
        with_sessions_and_blocks(room)
        with_many_devices(room)
        with_a_watch_list(room)
    print(json.dumps(found))


main()
