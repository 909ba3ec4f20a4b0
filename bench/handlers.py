"""What an invocation costs a processor, beside boto3 that makes one write.

    python -m bench.handlers [invocations]

The handlers run in this process, on a local AWS in another; CPU time is that of this process. Posts
are taken and not made. The yardstick is boto3's `update_item` of one number of one user, at the
same local AWS: nearly all that a handler could cost that does nothing but write. The two take
turns, so that a machine that is busy is so for both; figures are medians.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import boto3

from bench import capacity
from bench.capacity import FEW_WATCHED, HEARTBEAT, MEMBERS, PAGE, Act, Scene
from bench.lab import SECOND, Lab, Visitor, lab
from bench.printing import print_table
from presence.limits import MAX_SESSIONS
from tests.tables import TABLES

INVOCATIONS = 31
PACE = 5 * SECOND
HEADER = ("", "CPU ms", "boto3 CPU ms", "ratio")

Yardstick: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Line:
    """One route; a scene that its act uses up is set for every invocation."""

    name: str
    scene: Scene
    is_used_up: bool = True


# ── scenes that capacity.py has not, or with more people than are needed here ──────────────


def ping(room: Lab) -> Act:
    who = room.join(room.newcomer())

    def next_ping() -> None:
        room.wait(HEARTBEAT)
        room.send(who, "ping", userId=who.user_id)

    return next_ping


def online(room: Lab) -> Act:
    return paced(room, room.join(room.newcomer()), "online", limit=PAGE)


def type_in_session(room: Lab) -> Act:
    session_id, members = room.chat_session(MEMBERS + 1)
    return paced(room, members[0], "typing", chatSessionId=session_id, typing=True)


def speak_in_session(room: Lab) -> Act:
    session_id, members = room.chat_session(MEMBERS + 1)
    return paced(room, members[0], "message", chatSessionId=session_id, content="Hello.")


def paced(room: Lab, who: Visitor, action: str, **fields: object) -> Act:
    """Slowly enough to be served each time, with a lease that does not run out."""

    def next_one() -> None:
        room.wait(PACE)
        room.send(who, "ping", userId=who.user_id)
        room.send(who, action, **fields)

    return next_one


def join(room: Lab) -> Act:
    who = room.join(room.newcomer())
    return lambda: room.send(who, "join", chatSessionId=f"of-{who.user_id}")


def leave(room: Lab) -> Act:
    session_id, [who] = room.chat_session(1)
    return lambda: room.send(who, "leave", chatSessionId=session_id)


def get(room: Lab, path: str) -> Act:
    who = room.newcomer()
    return lambda: room.http(f"GET /{path}", who)


WEBSOCKET = (
    Line("$connect", capacity.connect),
    Line("authenticate", capacity.first_device),
    Line("ping", ping, is_used_up=False),
    Line("status", capacity.status),
    Line(f"online: a page of {PAGE}", online, is_used_up=False),
    Line("join: a new chat session", join),
    Line(f"join: {MAX_SESSIONS} new chat sessions", capacity.join_sessions),
    Line(f"authenticate: back in {MAX_SESSIONS} chat sessions", capacity.back_in_sessions),
    Line("leave: its last member", leave),
    Line(f"typing: {MEMBERS} others", type_in_session, is_used_up=False),
    Line(f"message: {MEMBERS} others", speak_in_session, is_used_up=False),
    Line(f"watch: {FEW_WATCHED} users", capacity.watch_few),
    Line(f"unwatch: {FEW_WATCHED} users", capacity.unwatch),
    Line("$disconnect: last device", capacity.last_device_leaves),
)
HTTP = (
    Line("GET /config", lambda room: get(room, "config"), is_used_up=False),
    Line("GET /{userId}", capacity.read_one, is_used_up=False),
    Line(f"POST /batch of {PAGE}", capacity.read_batch, is_used_up=False),
    Line(f"GET /online: a page of {PAGE}", capacity.read_online, is_used_up=False),
    Line("GET /online/count", capacity.read_count, is_used_up=False),
    Line("PUT /last-seen", capacity.put_seen),
    Line("PUT /", capacity.put_status),
    Line("PUT /blocked/{userId}", capacity.block),
    Line(f"POST …/messages: {MEMBERS} members", capacity.publish_to_session, is_used_up=False),
    Line(f"GET …/members: {MEMBERS} members", capacity.list_members, is_used_up=False),
)


# ── the table ──────────────────────────────────────────────────────────────────────────────


def yardstick(room: Lab) -> Yardstick:
    """CPU seconds of boto3 that writes to a user of its own."""
    client = boto3.client("dynamodb")
    request = {
        "TableName": TABLES["users"],
        "Key": {"user_id": {"S": room.newcomer().user_id}},
        "UpdateExpression": "SET seen = :now",
        "ExpressionAttributeValues": {":now": {"N": "1800000000000"}},
    }

    def write() -> float:
        started = time.process_time()
        client.update_item(**request)
        return time.process_time() - started

    write()  # opens its connection
    return write


def invocations(room: Lab, line: Line, write: Yardstick, amount: int) -> Sequence[str]:
    act = line.scene(room)
    act()  # the first one in an environment makes clients, and is no part of this
    ours, boto3s = [], []
    for _ in range(amount):
        if line.is_used_up:
            act = line.scene(room)
        act()
        ours.append(room.cpu_seconds)
        boto3s.append(write())
    took, yard = statistics.median(ours), statistics.median(boto3s)
    return line.name, f"{1000 * took:.2f}", f"{1000 * yard:.2f}", f"{took / yard:.2f}"


def main() -> None:
    amount = int(sys.argv[1]) if sys.argv[1:] else INVOCATIONS
    with lab(is_metered=False) as room:
        write = yardstick(room)
        room.store_users(capacity.FEW)
        room.sweep()
        for api, lines in {"WebSocket": WEBSOCKET, "HTTP": HTTP}.items():
            rows = [invocations(room, line, write, amount) for line in lines]
            title = f"CPU of an invocation, {api} API; boto3: one update_item"
            print_table(title, HEADER, rows)


if __name__ == "__main__":
    main()
