"""Large rooms: sent by ticks, and clients that hear only samples end with the right count."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presence import limits
from presence.application.lists import MemberPage
from presence.domain.errors import Conflict, Unavailable
from presence.domain.user import Choice, User
from presence.fanout.diffs import Record
from presence.ports import Topic, Viewer
from tests.fakes import FakeMembers
from tests.world import GRACE, TICK, World

ROOM = "room.1"
SESSION = Topic("session", ROOM)
LARGE = 5


def room_with(amount: int, *, large: int = LARGE) -> World:
    """A room with so many members who joined one after the other; frames until then are dropped."""
    world = World(is_global=False, large=large)
    for number in range(amount):
        arrive(world, number)
    tick(world)
    world.gateway.heard.clear()
    return world


def arrive(world: World, number: int) -> MemberPage:
    world.join(f"user-{number}", f"c{number}")
    page = world.enter(f"c{number}", ROOM)
    world.stream()
    return page


def tick(world: World) -> None:
    world.stream()
    world.wait(TICK)
    world.fire_timers()
    world.work()


def members_told(world: World, connection_id: str) -> list[dict[str, Any]]:
    frames = world.frames_of(connection_id)
    return [it for it in frames if it["type"] == "chat-session-members"]


def room_of(world: World) -> Any:
    return world.members.room(ROOM)


def joined(frames: Sequence[dict[str, Any]]) -> list[str]:
    return [it["userId"] for frame in frames for it in frame["joined"]]


# ── into the mode ──────────────────────────────────────────────────────────────────────────


def test_a_small_room_hears_each_change_and_leaves_no_trace() -> None:
    world = room_with(LARGE - 1)

    page = arrive(world, LARGE)

    assert (page.as_of, page.is_sampled) == (world.now, False)
    assert not world.tables.rooms
    assert not world.tables.marked
    (told,) = members_told(world, "c0")
    assert told.keys() == {"type", "chatSessionId", "joined", "left", "memberCount", "asOf"}
    assert (joined([told]), told["memberCount"]) == (["user-5"], 5)


def test_one_member_more_and_changes_are_sent_with_the_next_tick() -> None:
    world = room_with(LARGE)

    arrive(world, LARGE)
    heard_at_once = members_told(world, "c0")
    tick(world)

    assert heard_at_once == []
    (told,) = members_told(world, "c0")
    assert (joined([told]), told["left"], told["memberCount"]) == (["user-5"], [], 6)
    assert told["sampled"] is True
    assert told["asOf"] == world.now


def test_the_answer_to_joining_a_large_room_is_a_page_and_says_so() -> None:
    world = room_with(120)
    reads = []

    class Counted(FakeMembers):
        def of(self, session_id: str, after: str = "", viewer: Viewer | None = None) -> Any:
            for member in super().of(session_id, after, viewer):
                reads.append(member.user_id)
                yield member

    counted = Counted(world.tables, page=1)
    counted.part = world.members.part  # type: ignore[method-assign]
    object.__setattr__(world.member_list, "members", counted)
    page = arrive(world, 120)

    assert (page.is_sampled, page.member_count, page.as_of) == (True, 120, room_of(world).as_of)
    assert len(page.members) == 50
    assert page.cursor is not None
    assert len(reads) < 60


def test_the_whole_list_of_a_large_room_is_read_in_pages() -> None:
    world = room_with(230)
    world.block("user-7", "user-3")
    pages = [world.member_list.page(ROOM, "user-3", 100, None, world.now)]
    while pages[-1].cursor is not None:
        pages.append(world.member_list.page(ROOM, "user-3", 100, pages[-1].cursor, world.now))

    listed = [it.user_id for page in pages for it in page.members]
    assert listed == sorted({f"user-{number}" for number in range(230)} - {"user-7"})
    assert {page.member_count for page in pages} == {230}
    assert all(page.is_sampled for page in pages)


# ── ticks ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.fault("A large room changes very often.")
def test_a_tick_is_one_frame_for_each_subscriber_however_much_happens() -> None:
    world = room_with(20)

    for number in range(20, 40):
        arrive(world, number)
    world.exit("c7", ROOM)
    tick(world)

    (told,) = members_told(world, "c0")
    assert told["memberCount"] == 39
    assert set(joined([told])) == {f"user-{number}" for number in range(20, 40)}
    assert told["left"] == ["user-7"]


def test_one_timer_is_set_however_many_changes_come() -> None:
    world = room_with(20)

    for number in range(20, 25):
        arrive(world, number)

    assert world.timers.rooms == [(ROOM, room_of(world).tick, TICK // 1000)]


def test_a_tick_names_fifty_of_the_newest() -> None:
    world = room_with(20)

    for number in range(100, 170):
        arrive(world, number)
    tick(world)

    told = members_told(world, "c0")
    assert set(joined(told)) == {f"user-{number}" for number in range(120, 170)}
    assert {it["memberCount"] for it in told} == {90}


def test_without_changes_there_are_no_ticks() -> None:
    world = room_with(20)

    for _ in range(3):
        tick(world)

    assert not world.gateway.heard


def test_a_block_makes_no_tick() -> None:
    world = room_with(20)

    world.block("user-3", "user-4")
    tick(world)

    assert not [frame for name in world.gateway.heard for frame in members_told(world, name)]


def test_a_status_in_a_large_room_reaches_own_devices_watchers_and_small_rooms() -> None:
    world = room_with(20)
    world.watching.watch("c3", ["user-0"], world.now)
    for name in ("c0", "c4"):
        world.enter(name, "small")
    tick(world)
    world.gateway.heard.clear()

    world.choose("user-0", Choice.BUSY)
    world.stream()
    world.work()

    heard = {name: it for name, it in world.everything_heard().items() if it}
    assert heard == {name: [("user-0", "busy")] for name in ("c0", "c3", "c4")}


def test_messages_reach_all_of_a_large_room_and_typing_does_not() -> None:
    world = room_with(20)

    world.messages.typing("c0", ROOM, world.now, is_typing=True)
    world.messages.say("c0", ROOM, "hi", None, world.now)
    world.work()

    heard = {name: [it["type"] for it in world.frames_of(name)] for name in world.gateway.heard}
    assert heard == {f"c{number}": ["new-message"] for number in range(1, 20)}


def test_a_lost_timer_does_not_stop_the_ticks_for_ever() -> None:
    world = room_with(20)
    arrive(world, 20)
    world.timers.rooms.clear()
    arrive(world, 21)
    too_soon = list(world.timers.rooms)

    world.wait(TICK + limits.LOST_TICK_MILLISECONDS)
    for number in range(22):
        world.ping(f"c{number}")
    arrive(world, 22)
    tick(world)

    assert too_soon == []
    assert members_told(world, "c0")[-1]["memberCount"] == 23


def test_a_timer_that_no_room_waits_for_sends_nothing() -> None:
    world = room_with(20)

    for asked in (0, world.now, room_of(world).as_of):
        world.large_rooms.tick(ROOM, asked, world.now)
    world.large_rooms.tick("never-large", world.now, world.now)
    world.work()

    assert not world.gateway.heard
    assert world.tables.rooms.keys() == {ROOM}


def test_a_tick_that_stopped_halfway_is_sent_when_it_is_repeated() -> None:
    world = room_with(20)
    arrive(world, 20)
    ((_, asked, _),) = world.timers.rooms
    fails_once(world.members, "count")
    with pytest.raises(Unavailable):
        world.large_rooms.tick(ROOM, asked, world.now)

    world.wait(1)
    world.large_rooms.tick(ROOM, asked, world.now)
    world.work()

    assert joined(members_told(world, "c0")) == ["user-20"]


def test_an_overtaken_tick_does_not_replace_the_newer_count() -> None:
    world = room_with(20)
    arrive(world, 20)
    ((_, asked, _),) = world.timers.rooms
    world.wait(TICK)
    slow = world.now

    def overtaken(session_id: str) -> int:
        world.members.count = count  # type: ignore[method-assign]
        world.timers.rooms.clear()
        arrive(world, 21)
        tick(world)
        return count(session_id) - 1

    count, world.members.count = world.members.count, overtaken  # type: ignore[method-assign]
    world.large_rooms.tick(ROOM, asked, slow)
    world.work()

    assert room_of(world).member_count == 22
    assert {it["memberCount"] for it in members_told(world, "c0")} == {22}


def test_a_room_with_too_many_writes_repeats_the_batch(world: World) -> None:
    world = room_with(20)
    world.members.keep = lambda *_: False  # type: ignore[method-assign]

    world.join("late", "late")
    world.enter("late", ROOM)
    with pytest.raises(Unavailable):
        world.stream()


# ── users who hide ───────────────────────────────────────────────────────────────────


def test_a_user_who_hides_from_a_viewer_is_in_no_sample() -> None:
    world = room_with(20)
    world.join("shy", "s1")
    world.block("shy", "user-0")
    world.enter("s1", ROOM)
    arrive(world, 21)
    tick(world)
    world.exit("s1", ROOM)
    world.blocking.unblock("shy", "user-0", world.now)
    world.exit("c21", ROOM)
    tick(world)

    told = members_told(world, "c0")
    assert "shy" not in str(told)
    assert [it["memberCount"] for it in told] == [22, 20]


def test_a_block_that_a_replica_does_not_know_yet_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = room_with(20)
    arrive(world, 20)
    before, read_many = world.user("user-20"), world.users.read_many
    world.blocking.block("user-20", "user-0", world.now)

    def read_late(user_ids: Collection[str], *, consistent: bool = False) -> Mapping[str, User]:
        found = read_many(user_ids, consistent=consistent)
        return found if consistent else {**found, "user-20": before}

    monkeypatch.setattr(world.users, "read_many", read_late)
    tick(world)

    assert joined(members_told(world, "c0")) == []


def test_a_user_who_blocks_before_the_tick_is_in_no_sample() -> None:
    world = room_with(20)
    arrive(world, 20)
    world.block("user-20", "user-0")
    tick(world)

    assert "user-20" not in str(members_told(world, "c0"))


def test_an_invisible_user_has_left_a_large_room() -> None:
    world = room_with(20)

    world.hide("user-7")
    tick(world)

    (told,) = members_told(world, "c0")
    assert (told["left"], told["memberCount"]) == (["user-7"], 19)


# ── out of the mode ────────────────────────────────────────────────────────────────────────


def test_a_room_stays_large_until_a_fifth_is_missing_and_says_when_it_ends() -> None:
    world = room_with(6)
    for number in (5, 4):
        world.exit(f"c{number}", ROOM)
        tick(world)
    still = room_of(world).is_large
    world.exit("c3", ROOM)
    tick(world)

    told = members_told(world, "c0")
    assert still
    assert [(it["memberCount"], it.get("sampled")) for it in told] == [
        (5, True),
        (4, True),
        (3, None),
    ]
    assert told[-1]["asOf"] == world.now
    assert not world.tables.marked


def test_a_room_that_is_small_again_hears_each_change() -> None:
    world = room_with(6)
    for number in (5, 4, 3):
        world.exit(f"c{number}", ROOM)
    tick(world)
    world.gateway.heard.clear()

    page = arrive(world, 9)
    world.choose("user-9", Choice.BUSY)
    world.stream()

    (told,) = members_told(world, "c0")
    assert (joined([told]), told["memberCount"], told["asOf"]) == (["user-9"], 4, world.now)
    assert ("user-9", "busy") in world.heard_by("c0")
    assert (page.is_sampled, page.as_of) == (False, room_of(world).as_of)


def test_a_room_may_be_large_a_second_time() -> None:
    world = room_with(6)
    before = room_of(world).as_of
    for number in (5, 4, 3):
        world.exit(f"c{number}", ROOM)
    tick(world)
    for number in range(10, 14):
        arrive(world, number)
    tick(world)

    assert room_of(world).is_large
    assert room_of(world).as_of > before
    assert members_told(world, "c0")[-1]["memberCount"] == 7


def test_the_last_tick_is_sent_also_if_it_stopped_halfway() -> None:
    world = room_with(6)
    for number in (5, 4, 3):
        world.exit(f"c{number}", ROOM)
    world.stream()
    ((_, asked, _),) = world.timers.rooms
    fails_once(world.subscriptions, "part")
    with pytest.raises(Unavailable):
        world.large_rooms.tick(ROOM, asked, world.now)

    world.large_rooms.tick(ROOM, asked, world.now)
    world.work()

    assert [it["memberCount"] for it in members_told(world, "c0")] == [3]


def test_a_mark_left_on_a_small_room_is_removed() -> None:
    world = room_with(3)
    world.subscriptions.mark(ROOM, is_large=True)

    arrive(world, 3)
    world.work()
    world.choose("user-0", Choice.BUSY)
    world.stream()

    assert not world.tables.marked
    assert members_told(world, "c0")[-1]["memberCount"] == 4
    assert world.heard_by("c1")[-1] == ("user-0", "busy")


def fails_once(owner: Any, name: str) -> None:
    """The next call of a port is the last one before a crash."""
    works = getattr(owner, name)

    def broken(*_: Any, **__: Any) -> None:
        setattr(owner, name, works)
        raise Unavailable("a crash")

    setattr(owner, name, broken)


def latest(world: World, connection_id: str, user_id: str) -> str:
    heard = [status for who, status in world.heard_by(connection_id) if who == user_id]
    return heard[-1] if heard else "nothing"


def ticked_again(world: World) -> None:
    world.wait(TICK)
    for asked in [*world.timers.rooms]:
        for _ in range(2):
            with suppress(Unavailable):
                world.large_rooms.tick(asked[0], asked[1], world.now)
    world.work()


@pytest.mark.parametrize("leaving", [1, 3])
@pytest.mark.parametrize(
    "call",
    ["members.keep", "subscriptions.mark", "timers.check_room", "deliveries.put_jobs"],
)
def test_no_status_is_missed_because_a_room_was_only_about_to_be_large(
    call: str, leaving: int
) -> None:
    world = room_with(LARGE)
    owner, name = call.split(".")
    fails_once(getattr(world, owner), name)
    first = len(world.tables.stream)
    world.join("user-5", "c5")
    world.enter("c5", ROOM)
    batch = [Record(*images, at=world.now) for images in world.tables.stream[first:]]
    with suppress(Unavailable):
        world.stream()

    world.choose("user-0", Choice.BUSY)
    world.stream()
    for number in range(leaving):
        world.exit(f"c{number + 1}", ROOM)
    world.announcer.announce(batch)
    world.stream()
    ticked_again(world)

    assert [latest(world, it, "user-0") for it in ("c4", "c5")] == ["busy", "busy"]


@pytest.mark.parametrize(
    "call", ["subscriptions.part", "subscriptions.mark", "deliveries.put_jobs"]
)
def test_no_status_is_missed_because_the_first_tick_stopped_halfway(call: str) -> None:
    world = room_with(LARGE)
    arrive(world, LARGE)
    ((_, asked, _),) = world.timers.rooms
    owner, name = call.split(".")
    fails_once(getattr(world, owner), name)
    with pytest.raises(Unavailable):
        world.large_rooms.tick(ROOM, asked, world.now)

    world.choose("user-0", Choice.BUSY)
    world.stream()
    for number in (1, 2, 3):
        world.exit(f"c{number}", ROOM)
    world.stream()
    ticked_again(world)

    is_sampled = [
        any(it.get("sampled") for it in members_told(world, name)) for name in ("c4", "c5")
    ]
    statuses = [latest(world, it, "user-0") for it in ("c4", "c5")]
    assert is_sampled == [True, True] or statuses == ["busy", "busy"]


# ── any story ──────────────────────────────────────────────────────────────────────────────


@dataclass
class Client:
    """What a client makes of what it hears of a room (docs/protocol.md)."""

    count: int
    as_of: int = 0
    is_sampled: bool = False
    read: int = 0
    named: set[str] = field(default_factory=set)

    def joined(self, page: MemberPage) -> None:
        if page.as_of >= self.as_of:
            self.count, self.is_sampled = page.member_count, page.is_sampled
            self.as_of = page.as_of

    def hears(self, frames: Sequence[dict[str, Any]]) -> bool:
        """Whether it has to join again, to know them all."""
        was_sampled = False
        for frame in frames[self.read :]:
            if frame["type"] != "chat-session-members":
                continue
            self.named |= {it["userId"] for it in frame["joined"]} | set(frame["left"])
            if frame["asOf"] < self.as_of:
                continue
            was_sampled |= self.is_sampled and not frame.get("sampled", False)
            self.as_of = frame["asOf"]
            self.count, self.is_sampled = frame["memberCount"], frame.get("sampled", False)
        self.read = len(frames)
        return was_sampled


@dataclass
class Party:
    """Users who join, leave and hide around the threshold, and a queue in no order."""

    data: st.DataObject
    world: World = field(default_factory=lambda: World(is_global=False, large=LARGE))
    clients: dict[int, Client] = field(default_factory=dict)

    def happens(self) -> None:
        number = self.data.draw(st.integers(0, 8))
        self.world.wait(self.data.draw(st.integers(1, TICK // 4)))
        match self.data.draw(
            st.sampled_from(["enter", "enter", "enter", "leave", "status", "block", "aws", "aws"])
        ):
            case "enter":
                self.enter(number)
            case "leave" if number in self.clients:
                self.exits(f"c{number}")
                del self.clients[number]
            case "status":
                choice = self.data.draw(st.sampled_from([Choice.BUSY, Choice.ONLINE, Choice.AWAY]))
                self.world.choose(f"user-{number}", choice)
            case "block":
                self.blocks(number, self.data.draw(st.integers(0, 8)))
            case "aws":
                self.aws()
            case _:
                pass

    def enter(self, number: int) -> None:
        if f"c{number}" not in self.world.tables.connections:
            self.world.join(f"user-{number}", f"c{number}")
        page = self.enters(f"c{number}")
        client = self.clients.setdefault(number, Client(0))
        client.read = len(self.world.frames_of(f"c{number}"))
        client.joined(page)

    def enters(self, connection_id: str) -> MemberPage:
        self.world.wait(700)  # the rate limit
        return self.world.enter(connection_id, ROOM)

    def exits(self, connection_id: str) -> None:
        self.world.wait(700)
        self.world.exit(connection_id, ROOM)

    def blocks(self, number: int, other: int) -> None:
        try:
            if self.data.draw(st.booleans()):
                self.world.blocking.block(f"user-{number}", f"user-{other}", self.world.now)
            else:
                self.world.blocking.unblock(f"user-{number}", f"user-{other}", self.world.now)
        except Conflict:
            return  # themselves

    def aws(self) -> None:
        """Some of what waits comes, in any order, and some of it twice."""
        for _ in range(self.data.draw(st.integers(1, 4))):
            match self.data.draw(st.sampled_from(["stream", "tick", "job"])):
                case "stream":
                    self.world.stream()
                case "tick" if asked := self.world.timers.rooms:
                    self.ticks(asked[self.data.draw(st.integers(0, len(asked) - 1))])
                case "job" if jobs := self.world.deliveries.jobs:
                    at = self.data.draw(st.integers(0, len(jobs) - 1))
                    self.world.broadcast.work(jobs[at], self.world.now)
                    if self.data.draw(st.booleans()):
                        jobs.pop(at)
                case _:
                    pass
        self.listens()

    def ticks(self, asked: tuple[str, int, int]) -> None:
        session_id, tick, seconds = asked
        self.world.now = max(self.world.now, tick + seconds * 1000)
        self.world.large_rooms.tick(session_id, tick, self.world.now)
        if self.data.draw(st.booleans()):
            self.world.timers.rooms.remove(asked)

    def listens(self) -> bool:
        """All clients read; those that hear that the samples are over join again."""
        again = [
            number
            for number, client in self.clients.items()
            if client.hears(self.world.frames_of(f"c{number}"))
        ]
        for number in again:
            self.enter(number)
        return bool(again)

    def calms_down(self) -> None:
        """Everything has been delivered, and every client has read it."""
        for _ in range(30):
            self.world.stream()
            self.world.wait(TICK)
            asked, self.world.timers.rooms = self.world.timers.rooms, []
            for session_id, tick, _ in self.data.draw(st.permutations(asked)):
                self.world.large_rooms.tick(session_id, tick, self.world.now)
            jobs, self.world.deliveries.jobs = self.world.deliveries.jobs, []
            for job in self.data.draw(st.permutations(jobs)):
                self.world.broadcast.work(job, self.world.now)
            if not (self.listens() or asked or jobs):
                return
        raise AssertionError("it never ends")


@given(st.data())
@settings(max_examples=40)
def test_each_client_ends_with_the_right_count_whatever_comes_late_or_twice(
    data: st.DataObject,
) -> None:
    party = Party(data)
    for _ in range(data.draw(st.integers(0, 30))):
        party.happens()

    party.calms_down()

    room, members = party.world.members.room(ROOM), list(party.world.members.of(ROOM))
    for number, client in party.clients.items():
        viewer = f"user-{number}"
        seen = [it for it in members if it.audience.has(viewer)]
        assert client.is_sampled == room.is_large
        usual = [it for it in members if not it.audience.only_for]
        assert client.count == len(usual if room.is_large else seen), viewer


@given(st.data())
@settings(max_examples=30)
def test_a_hidden_user_is_never_named_to_a_blocked_viewer(data: st.DataObject) -> None:
    """One user hides from all others, and joins and leaves again and again."""
    party = Party(data)
    party.world.join("hider", "h1")
    for number in range(9):
        party.world.blocking.block("hider", f"user-{number}", party.world.now)
    party.world.wait(GRACE)
    party.world.on_timer.user("hider", party.world.now)
    party.world.stream()
    for number in range(data.draw(st.integers(0, 25))):
        party.happens()
        if number % 3 == 0:
            party.enters("h1")
        elif number % 3 == 1:
            party.exits("h1")

    party.calms_down()

    for number in range(9):
        assert "hider" not in str(party.world.frames_of(f"c{number}"))
    assert party.world.now > GRACE
