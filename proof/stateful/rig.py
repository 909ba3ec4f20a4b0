"""The real handlers on `Tables`, with queues, a stream and sockets that only tests move.

Nothing comes by itself, so a test decides what comes when, how often, and in which order.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from presence.adapters.dynamodb.tables import Packed
from presence.domain import reducer
from presence.entrypoints import runtime
from presence.entrypoints.websocket import ONE_WAY
from presence.ports import Delivery, Post
from presence.protocol.frames import PROBE
from tests.fakes import FakeGateway
from tests.functions.conftest import (
    START,
    Event,
    Stack,
    change,
    message,
)
from tests.tables import Item

#: So few that ordinary runs have more.
MAX_CONNECTIONS = 3
#: What a handler takes. Versions follow the clock, and it never stands still in between.
TAKES = 3


@dataclass
class Waiting:
    """A message of a queue: it may come from `due` on."""

    due: int
    body: Event


class Gateway(FakeGateway):
    """Too busy for posts at times, but never to close a socket: that a closing is asked for tells
    the oracle that the connection is over. What follows when it fails is told by test_upkeep.

    `answer` is the last frame that answers one, whether it was taken or not.
    """

    answer: str | None = None

    def post(self, posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        posts = list(posts)
        answers = [it.text for it in posts if "id" in json.loads(it.text)]
        self.answer = answers[-1] if answers else self.answer
        return super().post(posts, until=until)

    def close(self, connection_id: str) -> None:
        self.closed.append(connection_id)


@dataclass
class Rig(Stack):
    gateway: Gateway = field(default_factory=lambda: Gateway(at=START))
    timers_waiting: list[Waiting] = field(default_factory=list)
    deliveries_waiting: list[Waiting] = field(default_factory=list)
    #: By user, what the stream has not told yet: the order of one key is kept, and no other.
    by_user: dict[str, list[tuple[Item, Item]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.monkeypatch.setattr(runtime.logger, "info", lambda *_, **__: None)
        self.monkeypatch.setattr(reducer, "MAX_CONNECTIONS", MAX_CONNECTIONS)

    def start(self, *, is_global: bool) -> None:
        self.configure(
            GLOBAL_PRESENCE=str(is_global).lower(),
            TIMER_QUEUE_URL="timers",
            DELIVERY_QUEUE_URL="deliveries",
        )

    def put(self, queue: str, body: Event, delay: int) -> None:
        waiting = self.timers_waiting if queue == "timers" else self.deliveries_waiting
        waiting.append(Waiting(self.clock.now + 1000 * delay, body))

    def written(self, before: Item, after: Item) -> None:
        if after.get("changed") == {"BOOL": True}:  # the filter of template.yaml
            self.by_user.setdefault(after["user_id"]["S"], []).append((before, after))

    def reply(self, connection_id: str, frame: Event) -> Event:
        """The frame that answers one; of a one-way route it is posted, and may not arrive."""
        if frame["action"] not in ONE_WAY:
            return super().reply(connection_id, frame)
        self.gateway.answer = None
        assert self.send(connection_id, frame) == {"statusCode": 200}
        return dict(json.loads(str(self.gateway.answer)))

    @property
    def deaf(self) -> frozenset[str]:
        """The connections to which no post comes."""
        return frozenset(self.gateway.gone | self.gateway.busy)

    def probed(self) -> set[str]:
        """The connections that have read a probe since all were heard.

        Raises:
            AssertionError: one has read two.
        """
        texts = {name: it.count(PROBE) for name, it in self.gateway.heard.items()}
        assert max(texts.values(), default=0) <= 1, "I22"
        return {name for name, count in texts.items() if count}

    def lasts(self) -> dict[str, int]:
        """For how long each lease is good; 0 if for as long as usual."""
        leases = {
            name: it["M"] for user in self.users() for name, it in user["leases"]["M"].items()
        }
        return {name: int(it.get("lasts", {"N": 0})["N"]) for name, it in leases.items()}

    def lease_end(self, user_id: str, connection_id: str) -> int:
        """As it is stored; 0 without one."""
        found = [it for it in self.users() if it["user_id"]["S"] == user_id]
        leases = found[0]["leases"]["M"] if found else {}
        lease = leases.get(connection_id)
        return int(lease["M"]["expires_at"]["N"]) if lease else 0

    # ── what AWS does ──────────────────────────────────────────────────────────────────

    def invoke(self, name: str, event: Event | None = None, *, remaining: int = 60_000) -> Event:
        answer = super().invoke(name, event, remaining=remaining)
        self.clock.now += TAKES
        return answer

    def announce(self, user_id: str, records: list[tuple[Item, Item]]) -> None:
        batch = [change(user_id, *images, n) for n, images in enumerate(records)]
        assert self.invoke("announce", {"Records": batch}) == {"batchItemFailures": []}

    def handle(self, queue: str, body: Event) -> bool:
        """Hand a message to the function of its queue; False if it will come again."""
        answer = self.invoke(queue, {"Records": [message("1", body)]})
        return not answer["batchItemFailures"]

    @contextmanager
    def interrupted(self, number: int, by: Callable[[], None]) -> Iterator[None]:
        """Something else happens just before a call to the tables, counted from 0."""
        calls = iter(range(number + 1))

        def called(*_: object) -> None:
            if next(calls, None) == number:
                by()

        self.called = called
        try:
            yield
        finally:
            self.called = lambda *_: None

    def expire(self, chosen: Callable[[], bool]) -> None:
        """Let DynamoDB delete some of what it may delete by now."""
        seconds = self.clock.now // 1000
        for items in self.tables.items.values():
            for key, item in list(items.items()):
                if "ttl" in item and int(item["ttl"]["N"]) < seconds and chosen():
                    del items[key]

    # ── what is stored ─────────────────────────────────────────────────────────────────

    def users(self) -> Iterator[Item]:
        """Every user as stored, but for the count, and the versions of those who were erased."""
        return (
            item for (key,), item in self.tables.items["Users"].items() if not key.startswith("#")
        )

    def has_overdue(self) -> bool:
        """Whether something of a user is over, and that is not written yet."""
        return any(end <= self.clock.now for item in self.users() for end in _ends(item))

    def essence(self) -> Any:
        """All that is stored, but for what anything that comes twice may change (I13)."""
        return [
            {name: it for name, it in _timeless(item).items() if name not in _FLEETING}
            for table in self.tables.items.values()
            for item in table.values()
            if item.get("user_id") != {"S": "#online"}
        ]


def _ends(item: Item) -> Iterator[int]:
    for name in ("until", "grace_until"):
        if name in item:
            yield int(item[name]["N"])
    for lease in item["leases"]["M"].values():
        yield int(lease["M"]["expires_at"]["N"])
    sessions = packed(item, "sessions")
    yield from sessions.get("leaving", {}).values()
    for scene in sessions.get("scenes", {}).values():
        yield from (it for it in scene.get("sessions", {}).values() if it is not None)
    yield from (
        it["farewell"]["until"] for it in packed(item, "blocked").values() if "farewell" in it
    )
    if "farewell" in item:
        yield int(item["farewell"]["M"]["until"]["N"])


def packed(item: Item, name: str) -> dict[str, Any]:
    """A map, as it was before it was compressed."""
    return Packed().deserialize(item[name]["B"]) if name in item else {}


_FLEETING = {
    "revision",
    "chosen_at",
    "changed",
    "ttl",
    "arrival",
    "typed",
    "token_expires_at",
}


def _timeless(item: Item) -> Item:
    """A user whose leases have no ends."""
    leases = item.get("leases", {"M": {}})["M"]
    timeless = item | {"leases": {name: _without_ends(it["M"]) for name, it in leases.items()}}
    # Until when a token has to be known as revoked.
    return timeless | {"revoked": sorted(packed(item, "revoked"))}


def _without_ends(lease: Item) -> Item:
    return {
        name: it for name, it in lease.items() if name not in ("expires_at", "seen_at", "arrival")
    }
