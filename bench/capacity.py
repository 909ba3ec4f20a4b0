"""What each route costs: units of DynamoDB, round trips to it, messages, posts.

    python -m bench.capacity [stored users, few] [stored users, many]

The figures that the design sets stand beside what was used; a line that misses its own says NOT,
and nothing more happens.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bench.lab import DEVICE, SECOND, Lab, Visitor, lab
from bench.meter import Usage
from bench.printing import number, print_note, print_table
from bench.units import WRITE_BYTES, item_size
from presence import bootstrap
from presence.limits import MAX_SESSIONS
from presence.ports import LargeRoom

FEW, MANY = 1_000, 100_000
PAGE = 100
HEARTBEAT, GRACE, AUTHENTICATION = 30 * SECOND, 10 * SECOND, 10 * SECOND
MAX_DEVICES = 20
MEMBERS, FEW_WATCHED, LARGE_ROOM = 20, 10, 2_000

Act: TypeAlias = Callable[[], object]
Scene: TypeAlias = Callable[[Lab], Act]


@dataclass(frozen=True, slots=True)
class Target:
    """What a route may use at most; None where the design gives no figure."""

    writes: float | None = None
    reads: float | None = None
    calls: float | None = None
    posts: float | None = None

    def __str__(self) -> str:
        figures = {"W": self.writes, "R": self.reads, "calls": self.calls, "posts": self.posts}
        return ", ".join(f"{most:g} {unit}" for unit, most in figures.items() if most is not None)

    def misses(self, usage: Usage) -> bool:
        used = (usage.by_rule.writes, usage.by_rule.reads, usage.calls, usage.posts)
        most = (self.writes, self.reads, self.calls, self.posts)
        return any(limit is not None and it > limit for it, limit in zip(used, most, strict=True))


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table.

    Attributes:
        name: of the line.
        scene: sets the scene, and returns what is to be measured.
        target: what the design says.
        is_global: with the stack's `GlobalPresence`.
        share: how many of what the line counts there were, from what the measured act returns.
    """

    name: str
    scene: Scene
    target: Target = Target()
    is_global: bool = False
    share: Callable[[object], float] = lambda _: 1


# ── a connection's life ────────────────────────────────────────────────────────────────────


def connect(room: Lab) -> Act:
    who = room.newcomer()
    return lambda: room.connect(who)


def first_device(room: Lab) -> Act:
    who = room.newcomer()
    room.connect(who)
    return lambda: room.authenticate(who)


def second_device(room: Lab) -> Act:
    other = room.other_device(room.join(room.newcomer()))
    room.connect(other)
    return lambda: room.authenticate(other)


def back_in_time(room: Lab) -> Act:
    who = room.join(room.newcomer())
    room.disconnect(who)
    again = room.other_device(who)
    room.connect(again)
    return lambda: room.authenticate(again)


def back_in_sessions(room: Lab) -> Act:
    who = room.join(room.newcomer())
    names = sessions_of(who)
    room.send(who, "join", chatSessionIds=names)
    room.disconnect(who)
    again = room.other_device(who)
    room.connect(again)
    return lambda: room.authenticate(again, chatSessionIds=names)


def new_in_sessions(room: Lab) -> Act:
    who = room.newcomer()
    room.connect(who)
    return lambda: room.authenticate(who, chatSessionIds=sessions_of(who))


def sessions_of(who: Visitor) -> list[str]:
    """As many as a user may be in, and no other user."""
    return [f"room-{number:02}-{who.user_id}" for number in range(MAX_SESSIONS)]


def fresh_token(room: Lab) -> Act:
    who = room.join(room.newcomer())
    room.wait(HEARTBEAT)
    return lambda: room.authenticate(who)


def last_device_leaves(room: Lab) -> Act:
    who = room.join(room.newcomer())
    return lambda: room.disconnect(who)


def one_of_two_leaves(room: Lab) -> Act:
    who = room.join(room.newcomer())
    other = room.join(room.other_device(who))
    return lambda: room.disconnect(other)


# ── what it sends meanwhile ────────────────────────────────────────────────────────────────


def ping(room: Lab, **fields: object) -> Act:
    who = room.join(room.newcomer())
    room.wait(HEARTBEAT)
    return lambda: room.send(who, "ping", userId=who.user_id, **fields)


def ping_unnamed(room: Lab) -> Act:
    who = room.join(room.newcomer())
    room.wait(HEARTBEAT)
    return lambda: room.send(who, "ping")


def check(room: Lab) -> Act:
    who = room.join(room.newcomer())
    room.wait(HEARTBEAT)
    return lambda: room.send(who, "check", userId=who.user_id)


def ping_still_active(room: Lab) -> Act:
    return ping(room, active=True)


def ping_now_away(room: Lab) -> Act:
    return ping(room, active=False)


def ping_too_soon(room: Lab) -> Act:
    who = room.join(room.newcomer())
    room.wait(5 * SECOND)
    return lambda: room.send(who, "ping", userId=who.user_id)


def ping_too_late(room: Lab) -> Act:
    who = room.join(room.newcomer())
    room.wait(100 * SECOND)
    room.http(f"GET /{who.user_id}", who)  # the first reader writes the change
    return lambda: room.send(who, "ping", userId=who.user_id)


def ping_of_many_devices(room: Lab) -> Act:
    who = user_with_many_devices(room)
    room.wait(HEARTBEAT)
    return lambda: room.send(who, "ping", userId=who.user_id)


def user_with_many_devices(room: Lab) -> Visitor:
    """The last connection of a user who has as many as one may have."""
    who = room.join(room.newcomer())
    for _ in range(MAX_DEVICES - 1):
        who = room.join(room.other_device(who))
    return who


def status(room: Lab) -> Act:
    who = room.join(room.newcomer())
    return lambda: room.send(who, "status", status="busy", text="In a meeting")


def online(room: Lab) -> Act:
    who = room.join(room.newcomer())
    return lambda: room.send(who, "online", limit=PAGE)


def online_again(room: Lab) -> Act:
    who = room.join(room.newcomer())
    page = room.send(who, "online", limit=PAGE)
    known = [it["userId"] for it in page["users"]]
    room.wait(HEARTBEAT)
    return lambda: room.send(who, "online", limit=PAGE, upTo=page["cursor"], without=known)


# ── in chat sessions ───────────────────────────────────────────────────────────────────────


def join_session(room: Lab) -> Act:
    session_id, _ = room.chat_session(MEMBERS)
    who = room.join(room.newcomer())
    return lambda: room.send(who, "join", chatSessionId=session_id)


def join_sessions(room: Lab) -> Act:
    who = room.join(room.newcomer())
    return lambda: room.send(who, "join", chatSessionIds=sessions_of(who))


def leave_sessions(room: Lab) -> Act:
    who = room.join(room.newcomer())
    room.send(who, "join", chatSessionIds=sessions_of(who))
    return lambda: room.send(who, "leave", chatSessionIds=sessions_of(who))


def leave_session(room: Lab) -> Act:
    session_id, members = room.chat_session(MEMBERS)
    return lambda: room.send(members[0], "leave", chatSessionId=session_id)


def type_in_session(room: Lab) -> Act:
    session_id, members = room.chat_session(MEMBERS + 1)
    return lambda: room.send(members[0], "typing", chatSessionId=session_id, typing=True)


def speak_in_session(room: Lab) -> Act:
    session_id, members = room.chat_session(MEMBERS + 1)
    return lambda: room.send(members[0], "message", chatSessionId=session_id, content="Hello.")


def publish_to_session(room: Lab) -> Act:
    session_id, _ = room.chat_session(MEMBERS)
    who, path = room.newcomer(), f"POST /chat-sessions/{session_id}/messages"
    return lambda: room.http(path, who, body={"content": "Hello."})


def list_members(room: Lab) -> Act:
    session_id, _ = room.chat_session(MEMBERS)
    who = room.newcomer()
    return lambda: room.http(f"GET /chat-sessions/{session_id}/members", who)


def member_leaves(room: Lab) -> Act:
    _, members = room.chat_session(MEMBERS)
    return lambda: room.disconnect(members[0])


def watch_few(room: Lab) -> Act:
    return watch(room, FEW_WATCHED)


def watch_many(room: Lab) -> Act:
    return watch(room, PAGE)


def watch(room: Lab, amount: int) -> Act:
    who, user_ids = room.join(room.newcomer()), room.store_users(amount)
    return lambda: room.send(who, "watch", userIds=user_ids)


def unwatch(room: Lab) -> Act:
    who, user_ids = room.join(room.newcomer()), room.store_users(FEW_WATCHED)
    room.send(who, "watch", userIds=user_ids)
    return lambda: room.send(who, "unwatch", userIds=user_ids)


def watcher_leaves(room: Lab) -> Act:
    who, user_ids = room.join(room.newcomer()), room.store_users(FEW_WATCHED)
    room.send(who, "watch", userIds=user_ids)
    return lambda: room.disconnect(who)


# ── over HTTP ──────────────────────────────────────────────────────────────────────────────


def read_one(room: Lab) -> Act:
    who = room.join(room.newcomer())
    return lambda: room.http(f"GET /{who.user_id}", who)


def read_batch(room: Lab) -> Act:
    who = room.newcomer()
    user_ids = room.store_users(PAGE)
    return lambda: room.http("POST /batch", who, body={"userIds": user_ids})


def read_online(room: Lab) -> Act:
    who = room.newcomer()
    return lambda: room.http("GET /online", who, query={"limit": str(PAGE)})


def read_count(room: Lab) -> Act:
    who = room.newcomer()
    return lambda: room.http("GET /online/count", who)


def put_seen(room: Lab) -> Act:
    who = room.join(room.newcomer())
    room.wait(SECOND)
    return lambda: room.http("PUT /last-seen", who)


def put_status(room: Lab) -> Act:
    who = room.join(room.newcomer())
    return lambda: room.http("PUT /", who, body={"status": "busy"})


def block(room: Lab) -> Act:
    who, other = room.join(room.newcomer()), room.newcomer()
    return lambda: room.http(f"PUT /blocked/{other.user_id}", who)


# ── behind the APIs ────────────────────────────────────────────────────────────────────────


def announce_arrival(room: Lab) -> Act:
    who = room.join(room.newcomer())
    return lambda: room.announce(who.user_id, None)


def announce_status(room: Lab) -> Act:
    who = room.join(room.newcomer())
    return announcement(room, who)


def announce_status_to_all(room: Lab) -> Act:
    room.forget_subscribers()
    subscribers = [room.join(room.newcomer()) for _ in range(PAGE)]
    return announcement(room, subscribers[0])


def announcement(room: Lab, who: Visitor) -> Act:
    before = room.item(who.user_id)
    room.send(who, "status", status="busy")
    return lambda: room.announce(who.user_id, before)


def announce_status_in_session(room: Lab) -> Act:
    _, members = room.chat_session(MEMBERS)
    return announcement(room, members[0])


def announce_status_to_watchers(room: Lab) -> Act:
    who = room.join(room.newcomer())
    for _ in range(FEW_WATCHED):
        room.send(room.join(room.newcomer()), "watch", userIds=[who.user_id])
    return announcement(room, who)


def announce_joining(room: Lab) -> Act:
    session_id, _ = room.chat_session(MEMBERS)
    who = room.join(room.newcomer())
    before = room.item(who.user_id)
    room.send(who, "join", chatSessionId=session_id)
    return lambda: room.announce(who.user_id, before)


def join_large(room: Lab) -> Act:
    session_id, _ = large_room(room)
    who = room.join(room.newcomer())
    return lambda: room.send(who, "join", chatSessionId=session_id)


def announce_joining_large(room: Lab) -> Act:
    session_id, _ = large_room(room)
    who = room.join(room.newcomer())
    before = room.item(who.user_id)
    room.send(who, "join", chatSessionId=session_id)
    return lambda: room.announce(who.user_id, before)


def announce_status_in_large(room: Lab) -> Act:
    return announcement(room, large_room(room)[1])


def speak_in_large(room: Lab) -> Act:
    session_id, who = large_room(room)
    return lambda: room.send(who, "message", chatSessionId=session_id, content="Hello.")


def tick_large(room: Lab) -> Act:
    session_id, who = large_room(room)
    before = room.item(who.user_id)
    room.send(who, "leave", chatSessionId=session_id)
    room.announce(who.user_id, before)
    tick = bootstrap.app().ports.members.room(session_id).tick
    room.wait(2 * SECOND)
    return lambda: room.run_timer(check="room", chatSessionId=session_id, tick=tick)


def large_room(room: Lab) -> tuple[str, Visitor]:
    """A large room as it lies in the tables, and one who came into it through the front door."""
    session_id, (who,) = room.chat_session(1)
    room.store_members(session_id, LARGE_ROOM)
    app = bootstrap.app().ports
    app.subscriptions.mark(session_id, is_large=True)
    app.members.keep(
        LargeRoom(session_id),
        LargeRoom(session_id, is_large=True, member_count=LARGE_ROOM, as_of=1),
    )
    return session_id, who


def timer_authenticated(room: Lab) -> Act:
    who = room.join(room.newcomer())
    room.wait(AUTHENTICATION)
    return lambda: room.run_timer(check="connection", connectionId=who.connection_id)


def timer_unauthenticated(room: Lab) -> Act:
    who = room.newcomer()
    room.connect(who)
    room.wait(AUTHENTICATION)
    return lambda: room.run_timer(check="connection", connectionId=who.connection_id)


def timer_back_in_time(room: Lab) -> Act:
    who = room.join(room.newcomer())
    room.disconnect(who)
    room.join(room.other_device(who))
    room.wait(GRACE)
    return lambda: room.run_timer(check="user", userId=who.user_id)


def timer_grace_over(room: Lab) -> Act:
    who = room.join(room.newcomer())
    room.disconnect(who)
    room.wait(GRACE)
    return lambda: room.run_timer(check="user", userId=who.user_id)


def sweep(room: Lab) -> Act:
    room.sweep()  # leases that the lines above have left behind
    return room.sweep


def hundreds(online_count: object) -> float:
    return int(str(online_count)) / PAGE


# ── the table ──────────────────────────────────────────────────────────────────────────────

AUTHENTICATE = Target(writes=4, reads=1, calls=3)
PING = Target(writes=1, reads=0, calls=1, posts=0)
LEAVE, LEAVE_LISTENING = Target(writes=2), Target(writes=2 + 1)
LEAVE_WATCHING = Target(writes=2 + FEW_WATCHED)
HUNDRED = Target(reads=50, calls=2)

ROUTES = (
    Route("$connect", connect),
    Route("authenticate: first device", first_device, AUTHENTICATE),
    Route("authenticate: first device, global", first_device, AUTHENTICATE, is_global=True),
    Route("authenticate: second device", second_device, AUTHENTICATE),
    Route("authenticate: second device, global", second_device, AUTHENTICATE, is_global=True),
    Route("authenticate: back within the grace period", back_in_time, AUTHENTICATE),
    Route(f"authenticate: back in {MAX_SESSIONS} chat sessions", back_in_sessions),
    Route(f"authenticate: to {MAX_SESSIONS} new chat sessions", new_in_sessions),
    Route("authenticate: a fresh token", fresh_token, AUTHENTICATE),
    Route("ping", ping, PING),
    Route("check", check, PING),
    Route("ping: does not say whose", ping_unnamed),
    Route("ping: active, as before", ping_still_active, PING),
    Route("ping: not active any more", ping_now_away, PING),
    Route("ping: 5 s after the last", ping_too_soon, PING),
    Route("ping: after the lease ran out", ping_too_late, PING),
    Route("ping: user with 20 devices", ping_of_many_devices, PING),
    Route("status", status),
    Route("online: a page of 100", online),
    Route("online: the same, all known", online_again, Target(writes=1, reads=6, posts=0)),
    Route(f"join: a chat session of {MEMBERS}", join_session),
    Route(f"join: {MAX_SESSIONS} new chat sessions", join_sessions),
    Route("leave", leave_session),
    Route(f"leave: {MAX_SESSIONS} chat sessions", leave_sessions),
    Route(f"typing: {MEMBERS} others", type_in_session),
    Route(f"message: {MEMBERS} others", speak_in_session),
    Route(f"watch: {FEW_WATCHED} users", watch_few),
    Route(f"watch: {PAGE} users", watch_many),
    Route(f"unwatch: {FEW_WATCHED} users", unwatch),
    Route("$disconnect: last device", last_device_leaves, LEAVE),
    Route("$disconnect: last device, global", last_device_leaves, LEAVE_LISTENING, is_global=True),
    Route("$disconnect: one of two devices", one_of_two_leaves, LEAVE),
    Route("$disconnect: in one chat session", member_leaves, LEAVE_LISTENING),
    Route(f"$disconnect: watching {FEW_WATCHED} users", watcher_leaves, LEAVE_WATCHING),
    Route("GET /{userId}", read_one),
    Route("POST /batch of 100", read_batch, HUNDRED),
    Route("GET /online: a page of 100", read_online),
    Route("GET /online/count", read_count),
    Route("PUT /last-seen", put_seen),
    Route("PUT /", put_status),
    Route("PUT /blocked/{userId}", block),
    Route(f"POST …/messages: {MEMBERS} members", publish_to_session),
    Route(f"GET …/members: {MEMBERS} members", list_members),
    Route("announce: an arrival", announce_arrival),
    Route("announce: a status", announce_status),
    Route("announce: a status, global, 100 listen", announce_status_to_all, is_global=True),
    Route(f"announce: a status, {FEW_WATCHED} watch", announce_status_to_watchers),
    Route(f"announce: a status, a chat session of {MEMBERS}", announce_status_in_session),
    Route(f"announce: joining a chat session of {MEMBERS}", announce_joining),
    Route(f"join: a large room of {LARGE_ROOM:,}", join_large),
    Route(f"message: in a large room of {LARGE_ROOM:,}", speak_in_large),
    Route("announce: a status in a large room", announce_status_in_large),
    Route("announce: joining a large room", announce_joining_large),
    Route(f"timers: a tick in a large room of {LARGE_ROOM:,}", tick_large),
    Route("timers: authenticated in time", timer_authenticated),
    Route("timers: never authenticated", timer_unauthenticated),
    Route("timers: back within the grace period", timer_back_in_time),
    Route("timers: grace is over", timer_grace_over),
    Route("sweep, per 100 online", sweep, share=hundreds),
)
#: What small stacks are answered exactly, at the cost of reading every user.
SMALL = (Route("GET /online/count", read_count), Route("GET /online: a page of 100", read_online))

HEADER = (
    *("", "W told", "W", "R told", "R", "calls", "SQS", "posts"),
    *("target, at most", "held"),
)


def measure(room: Lab, routes: Sequence[Route]) -> Mapping[str, Usage]:
    usages = {}
    for route in routes:
        room.configure(is_global=route.is_global)
        act = route.scene(room)
        room.meter.reset()
        share = route.share(act())
        usages[route.name] = room.meter.usage / share
    return usages


def cells(route: Route, usage: Usage) -> Sequence[str]:
    figures = (
        *(usage.reported.writes, usage.by_rule.writes),
        *(usage.reported.reads, usage.by_rule.reads),
        *(usage.calls, usage.timers, usage.posts),
    )
    target = str(route.target)
    held = "NOT" if route.target.misses(usage) else "ok"
    return route.name, *map(number, figures), target, held if target else ""


def at_scale(usage: Usage) -> Sequence[str]:
    return [number(it) for it in (usage.by_rule.writes, usage.by_rule.reads, usage.calls)]


def print_growth(few: Mapping[str, Usage], many: Mapping[str, Usage], sizes: str) -> None:
    """Whatever is not the same for many stored users as for few."""
    grown = [
        (name, *at_scale(few[name]), *at_scale(many[name]))
        for name in few
        if at_scale(few[name]) != at_scale(many[name])
    ]
    print_note(f"{len(few) - len(grown)} of {len(few)} lines are the same at {sizes} users.")
    if grown:
        header = ("", *("W", "R", "calls"), *("W, many", "R, many", "calls, many"))
        print_table("What grows with the number of stored users", header, grown)


def print_sizes(room: Lab) -> None:
    """From which device on a ping costs a second unit."""
    who = room.join(room.newcomer())
    room.join(room.other_device(who))  # the mark of the first one's arrival is gone with this
    sizes = {2: item_size(room.item(who.user_id))}
    for devices in range(3, MAX_DEVICES + 1):
        room.join(room.other_device(who))
        sizes[devices] = item_size(room.item(who.user_id))
    each = (sizes[MAX_DEVICES] - sizes[2]) / (MAX_DEVICES - 2)
    most = max(devices for devices, size in sizes.items() if size <= WRITE_BYTES)
    print_note(
        f"A user's item has {sizes[2]} bytes with two devices (each called {DEVICE!r}), and each "
        f"more adds {each:.0f}: up to {most} devices it stays within 1 KB, and a ping costs one "
        "write unit."
    )


def main() -> None:
    few, many = (int(argument) for argument in (sys.argv[1:] or (FEW, MANY)))
    with lab() as room:
        room.store_users(PAGE)
        room.sweep()
        small = measure(room, SMALL)
        room.store_users(few - PAGE)
        room.sweep()
        first = measure(room, ROUTES)
        title = f"Capacity with {few:,} users online. W, R: units by rule; told: by the local AWS"
        print_table(title, HEADER, [cells(route, first[route.name]) for route in ROUTES])
        title = f"The same with {PAGE} users online"
        print_table(title, HEADER, [cells(route, small[route.name]) for route in SMALL])
        print_sizes(room)
        room.store_users(many - few)
        room.sweep()
        print_growth(first, measure(room, ROUTES), f"{few:,} and at {many:,}")


if __name__ == "__main__":
    main()
