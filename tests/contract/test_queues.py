"""What waits: timers and deliveries, on moto's SQS and in the fakes alike."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID

from presence import limits
from presence.adapters.sqs import SQSDeliveries, SQSTimers, job_from_json, posts_from_json
from presence.domain.errors import Unavailable
from presence.domain.user import Presence, Status
from presence.fanout.dispatch import Dispatcher
from presence.fanout.payloads import FramesPayload, Payload, PresenceByViewer, PresencePayload
from presence.limits import MAX_FRAME_BYTES
from presence.ports import EVERYONE, ExpiredCheck, Job, Post, Timers, Topic, UserCheck
from tests.fakes import FakeDeliveries, FakeGateway, FakeTimers

pytestmark = pytest.mark.contract

REGION = "eu-central-1"
NOW = 1_800_000_000_000
TAB, PHONE = "L0SM9cOFvHcCIhw=", "VNRXVFJOywMF3-Q="


def queued(region: str, name: str) -> list[tuple[dict[str, Any], int]]:
    """Every message and its delay in seconds, in the order in which they were sent."""
    queue: Any = get_backend("sqs")[DEFAULT_ACCOUNT_ID][region].queues[name]
    return [
        (json.loads(it.body), round(max(0, it.delayed_until - it.sent_timestamp) / 1000))
        for it in queue._messages
    ]


@dataclass(frozen=True)
class Queues:
    timers: Timers
    deliveries: FakeDeliveries | SQSDeliveries
    #: What was asked for: the kind of check, what it is about, and the delay.
    asked: Callable[[], list[tuple[Any, ...]]]
    #: What waits to be posted: the post, how often it was tried, and the delay.
    waiting: Callable[[], list[tuple[Post, int, int]]]
    #: The jobs that wait.
    jobs: Callable[[], list[Job]]


def fakes() -> Queues:
    timers, deliveries = FakeTimers(), FakeDeliveries()
    return Queues(
        timers,
        deliveries,
        lambda: [
            *timers.asked,
            *(("expired", *about) for about in timers.expired),
            *(("gone", name, at) for name, at in timers.gone),
            *(("room", *about) for about in timers.rooms),
        ],
        lambda: deliveries.waiting,
        lambda: deliveries.jobs,
    )


@pytest.fixture
def sqs(aws: None) -> Queues:
    del aws
    client = boto3.client("sqs")
    urls = [client.create_queue(QueueName=name)["QueueUrl"] for name in ("timers", "deliveries")]
    return Queues(
        SQSTimers(lambda: client, urls[0]),
        SQSDeliveries(lambda: client, urls[1]),
        lambda: [it for body, delay in queued(REGION, "timers") for it in _asked(body, delay)],
        lambda: [
            (post, body["attempt"], delay)
            for body, delay in queued(REGION, "deliveries")
            for post in posts_from_json(body)
        ],
        lambda: [job_from_json(body) for body, _ in queued(REGION, "deliveries")],
    )


def _asked(body: dict[str, Any], delay: int) -> list[tuple[Any, ...]]:
    match body:
        case {"check": "connection", "connectionId": name}:
            return [("connection", name, delay)]
        case {"check": "gone", "connectionIds": names, "at": at}:
            return [("gone", name, at) for name in names]
        case {"check": "room", "chatSessionId": name, "tick": tick}:
            return [("room", name, tick, delay)]
        case {"check": "user", "userId": name}:
            return [("user", name, delay)]
        case {"check": "expired", "connectionId": name, "userId": user_id, **rest}:
            return [("expired", name, user_id, frozenset(rest["chatSessionIds"]), delay)]
    raise AssertionError(body)


@pytest.fixture(params=["fake", "sqs"])
def queues(request: pytest.FixtureRequest) -> Queues:
    if request.param == "fake":
        return fakes()
    real: Queues = request.getfixturevalue("sqs")
    return real


@pytest.mark.parametrize("delay", [0, 1, 10, 900])
def test_a_second_look_comes_when_it_was_asked_for(queues: Queues, delay: int) -> None:
    queues.timers.check_connection(TAB, delay)
    queues.timers.check_user("ada", delay)

    assert queues.asked() == [("connection", TAB, delay), ("user", "ada", delay)]


def test_many_checks_are_each_as_one_alone(queues: Queues) -> None:
    checks: list[UserCheck | ExpiredCheck] = [UserCheck(f"user-{n}", n) for n in range(12)]
    checks += [ExpiredCheck(TAB, "ada", {"b", "a"}), ExpiredCheck(PHONE, "ada", (), 3)]

    queues.timers.check_all(checks)
    queues.timers.check_all(checks[:1])
    queues.timers.check_all([])

    assert sorted(queues.asked(), key=str) == sorted(
        [
            *(("user", f"user-{n}", n) for n in (*range(12), 0)),
            ("expired", TAB, "ada", frozenset({"a", "b"}), 0),
            ("expired", PHONE, "ada", frozenset(), 3),
        ],
        key=str,
    )


@pytest.mark.parametrize("sessions", [(), ("b", "a"), {"x" * 128}, frozenset({"a"})], ids=str)
def test_what_a_lease_left_behind_is_looked_at_at_once(queues: Queues, sessions: Any) -> None:
    queues.timers.check_expired(TAB, "ada", sessions)
    queues.timers.check_expired(TAB, "ada", sessions, 3)
    queues.timers.check_gone([PHONE], 17)

    about = ("expired", TAB, "ada", frozenset(sessions))
    assert queues.asked() == [(*about, 0), (*about, 3), ("gone", PHONE, 17)]


def test_a_room_is_counted_when_its_tick_is_due(queues: Queues) -> None:
    queues.timers.check_room("room.1", NOW, 2)

    assert queues.asked() == [("room", "room.1", NOW, 2)]


def test_what_was_asked_for_twice_may_come_twice(queues: Queues) -> None:
    for _ in range(2):
        queues.timers.check_user("ada", 10)

    assert queues.asked() == [("user", "ada", 10)] * 2


@pytest.mark.parametrize("text", ["{}", '{"text":"hi \\"🌞\\""}', "\u2028", ""], ids=ascii)
def test_a_post_waits_as_it_is(queues: Queues, text: str) -> None:
    both, one = Post(text, [TAB, PHONE]), Post(text, [TAB])

    queues.deliveries.put_all([[both]], attempt=2, delay_seconds=4)
    queues.deliveries.put_all([[one, both], [one]])
    queues.deliveries.put_all([])

    assert queues.waiting() == [(both, 2, 4), (one, 0, 0), (both, 0, 0), (one, 0, 0)]


def test_a_second_look_at_many_that_are_gone_comes_for_each(queues: Queues) -> None:
    names = [f"{number:0>15}=" for number in range(123)]

    queues.timers.check_gone(names, 17)

    assert queues.asked() == [("gone", name, 17) for name in names]


VIEWS = [
    PresenceByViewer("ada", Presence("ada", Status.ONLINE, None, 1)),
    PresenceByViewer(
        "bob",
        Presence("bob", Status.BUSY, NOW, NOW),
        {"bob": None, "eve": Presence("bob", Status.OFFLINE, 7, 8)},
    ),
    PresenceByViewer("kim", None, {"eve": Presence("kim", Status.OFFLINE, 7, 8), "kim": None}),
]
PAYLOADS: dict[str, Payload] = {
    "presences": PresencePayload(VIEWS),
    "frames": FramesPayload(["{}", '{"text":"hi 🌞"}'], said_at=NOW),
    "frames-for-some": FramesPayload(
        ["{}"], {"eve": ["[]"], "kim": [], "bob": ["[]"]}, said_at=NOW
    ),
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("topic", [EVERYONE, Topic("user", "ada"), Topic("session", "room.1")])
def test_a_job_comes_as_it_was_put(queues: Queues, payload: Payload, topic: Topic) -> None:
    jobs = [Job(topic, 3, 8, payload), Job(topic, 0, 8, payload, after=TAB, rows=17, without=PHONE)]

    queues.deliveries.put_jobs(jobs)
    queues.deliveries.put_jobs([])

    assert queues.jobs() == jobs


def test_jobs_for_many_shards_are_put_together(sqs: Queues) -> None:
    some = PAYLOADS["frames"], FramesPayload(["x" * 100_000], said_at=NOW)
    jobs = [Job(EVERYONE, shard, 32, it) for it in some for shard in range(32)]

    sqs.deliveries.put_jobs(jobs)

    assert sqs.jobs() == jobs


class Scales:
    """SQS that weighs every batch; it refuses the first messages, each so often."""

    def __init__(self, refused: int = 0, times: int = 1) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self._refused, self._times = refused, times

    def __call__(self) -> "Scales":
        return self

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was taken."""
        return [json.loads(it["MessageBody"]) for batch in self.batches for it in batch]

    def send_message(self, **message: Any) -> None:
        raise AssertionError(message)

    def send_message_batch(self, *, Entries: Any, **_: Any) -> Any:  # noqa: N803
        sizes = [len(it["MessageBody"].encode()) for it in Entries]
        assert len(Entries) <= limits.MESSAGES_PER_BATCH
        assert sum(sizes) <= limits.MESSAGE_BYTES
        refused = self._refused if self._times else 0
        self._times -= 1
        self.batches.append([*Entries][refused:])
        return {"Failed": [{"Id": it["Id"]} for it in Entries[:refused]]} if refused else {}


@pytest.mark.parametrize("letters", [50, 2_000, 30_000])
def test_posts_of_distinct_texts_take_no_more_calls_than_their_bytes(letters: int) -> None:
    count = 1_000 if letters < 30_000 else 100
    posts = [
        Post(f"{n} {'x' * letters}", [f"{n:0>15}="]) for n in range(limits.POSTS_AT_ONCE + count)
    ]
    sqs, gateway = Scales(), FakeGateway()

    Dispatcher(gateway, SQSDeliveries(sqs, ""), FakeTimers()).send(posts)

    size = sum(len(post.text) + 60 for post in posts[limits.POSTS_AT_ONCE :])
    assert [it for body in sqs.bodies for it in posts_from_json(body)] == posts[
        limits.POSTS_AT_ONCE :
    ]
    assert len(gateway.heard) == limits.POSTS_AT_ONCE
    assert len(sqs.batches) <= 2 + size // (limits.MESSAGE_BYTES - 2 * letters - 20_000)


def test_many_that_are_gone_take_few_calls() -> None:
    names = [f"{number:0>15}=" for number in range(1_500)]
    sqs, gateway = Scales(), FakeGateway(gone=set(names))

    Dispatcher(gateway, FakeDeliveries(), SQSTimers(sqs, "")).send([Post("hello", names)])

    assert [name for body in sqs.bodies for name in body["connectionIds"]] == names
    assert len(sqs.batches) == 15


def test_what_the_queue_refused_of_a_batch_is_sent_again_and_nothing_else() -> None:
    jobs = [Job(EVERYONE, shard, 8, PAYLOADS["frames"]) for shard in range(8)]
    sqs = Scales(refused=3, times=2)

    SQSDeliveries(sqs, "").put_jobs(jobs)

    taken = [job_from_json(body).shard for body in sqs.bodies]
    assert sorted(taken) == list(range(8))
    assert [len(batch) for batch in sqs.batches] == [5, 0, 3]


def test_what_the_queue_does_not_take_is_an_error() -> None:
    sqs = Scales(refused=1, times=99)

    with pytest.raises(Unavailable):
        SQSDeliveries(sqs, "").put_all([[Post("{}", [TAB])]])
    with pytest.raises(Unavailable):
        SQSTimers(sqs, "").check_gone([TAB], 17)


def test_jobs_that_the_queue_did_not_take_are_an_error() -> None:
    class Full:
        def send_message(self, **message: Any) -> None:
            raise AssertionError(message)

        def send_message_batch(self, **_: Any) -> Any:
            return {"Failed": [{"Id": "0"}]}

    with pytest.raises(Unavailable):
        SQSDeliveries(Full, "").put_jobs([Job(EVERYONE, 0, 1, PAYLOADS["frames"])])


@pytest.mark.parametrize("letter", ["x", '"', "\\", "é", "😀"], ids=ascii)
def test_the_longest_frame_for_as_many_as_wait_together_fits_a_message(
    letter: str, aws: None
) -> None:
    del aws
    client = boto3.client("sqs")
    url = client.create_queue(QueueName="deliveries")["QueueUrl"]
    text = letter * (MAX_FRAME_BYTES // len(letter.encode()))
    names = [f"{number:0>15}=" for number in range(limits.CONNECTIONS_PER_PARCEL)]
    gateway = FakeGateway(busy=set(names))

    Dispatcher(gateway, SQSDeliveries(lambda: client, url), FakeTimers()).send([Post(text, names)])

    ((body, _),) = queued(REGION, "deliveries")
    assert len(json.dumps(body)) < limits.MESSAGE_BYTES
    assert posts_from_json(body) == [Post(text, names)]
