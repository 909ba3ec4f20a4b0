"""Is this user there now? Asked of a real stack, of users who are, who died, and who hide."""

import asyncio
import signal
import time
from collections.abc import Iterator

import pytest

from presence_client.client import Client
from presence_client.errors import Refused
from presence_client.models import Frame, Presence
from tests.conftest import ATTENTIVE, SHORT
from tests.conversation import PATIENCE_SECONDS, join, people, story
from tests.e2e.test_coming_and_going import another_process
from tests.stack import RunningStack, running_stack

FRESH, PROBE = ATTENTIVE["FreshSeconds"], ATTENTIVE["ProbeSeconds"]
#: A probe ends, and then a timer, a function, the stream and a post follow, as in production.
KNOWN = PROBE + 2
#: What a busy machine may take longer.
SLOW = 3


@pytest.fixture(scope="module")
def attentive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("attentive"), ATTENTIVE) as stack:
        yield stack


def client(stack: RunningStack, user_id: str) -> Client:
    return Client(str(stack.told["httpUrl"]), stack.token(user_id))


async def verified(asker: Client, user_id: str) -> tuple[Presence, float]:
    """What is known in the end, and after how many seconds."""
    started = time.monotonic()
    (found,) = await asker.verify(user_id)
    return found, time.monotonic() - started


def is_probe(frame: Frame) -> bool:
    return bool(frame["type"] == "probe")


@story
async def test_a_user_who_is_there_answers_within_a_second(attentive: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with client(attentive, ada_id) as ada, join(attentive, grace_id) as grace:
        await ada.online()
        await asyncio.sleep(FRESH + 1)
        asked_at = time.time() * 1000

        found, seconds = await verified(ada, grace_id)

        assert found.status == "online"
        assert (found.heard_at or 0) >= asked_at - 1_000
        assert seconds < 1 + SLOW
        await grace.expect(is_probe)


@pytest.mark.fault("A client stops, and its socket stays open.")
@story
async def test_a_user_whose_process_is_stopped_is_offline_to_a_viewer_who_asks(
    attentive: RunningStack,
) -> None:
    ada_id, bob_id, grace_id = people("ada", "bob", "grace")
    async with client(attentive, ada_id) as ada, join(attentive, bob_id) as bob:
        await bob.request("watch", userIds=[grace_id])
        process = another_process(attentive, grace_id)
        try:
            await bob.expect_change(grace_id, status="online", within=20)
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(FRESH + 1)

            (found, seconds), _ = await asyncio.gather(
                verified(ada, grace_id),
                bob.expect_change(grace_id, status="offline", within=KNOWN + SLOW),
            )

            assert (found.status, found.heard_at) == ("offline", None)
            assert seconds < KNOWN + SLOW
        finally:
            process.kill()
            process.wait()


@story
async def test_a_device_that_answers_keeps_a_user_whose_other_device_is_dead(
    attentive: RunningStack,
) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with (
        client(attentive, ada_id) as ada,
        join(attentive, grace_id),
        join(attentive, grace_id, heartbeats=False) as dead,
    ):
        await ada.online()
        await ada.watch(grace_id)
        await asyncio.sleep(FRESH + 1)

        assert (await verified(ada, grace_id))[0].status == "online"
        await dead.closed(within=KNOWN + 10)
        assert (await verified(ada, grace_id))[0].status == "online"


@story
async def test_many_who_look_send_one_probe(attentive: RunningStack) -> None:
    grace_id, *others = people("grace", *(f"user{number}" for number in range(10)))
    route = f"GET /users/{grace_id}?verify=true"

    def ask(user_id: str) -> int:
        return attentive.call(route, user_id=user_id, within=PATIENCE_SECONDS).status

    async with join(attentive, grace_id) as grace:
        await asyncio.sleep(FRESH + 1)
        started = time.monotonic()

        answers = await asyncio.gather(*(asyncio.to_thread(ask, it) for it in others))
        await grace.request("ping")
        seconds = time.monotonic() - started

        assert set(answers) == {200}
        probes = [it for it in grace.heard if is_probe(it)]
        assert 1 <= len(probes) <= 1 + seconds // FRESH


@story
async def test_a_blocked_viewer_learns_nothing_and_asks_for_nothing(
    attentive: RunningStack,
) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(attentive, ada_id) as ada, join(attentive, grace_id) as grace:
        assert attentive.call(f"PUT /blocked/{ada_id}", user_id=grace_id).status == 204
        await asyncio.sleep(SHORT["GraceSeconds"] + 1)

        told = await ada.request("verify", userIds=[grace_id, "never-here"])

        assert told["awaited"] == []
        assert [(it["status"], "heardAt" in it) for it in told["users"]] == [("offline", False)] * 2
        await grace.never(is_probe, during=1)


@story
async def test_an_invisible_user_is_offline_and_not_probed(attentive: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(attentive, ada_id) as ada, join(attentive, grace_id) as grace:
        await grace.request("status", status="invisible")
        await ada.request("watch", userIds=[grace_id])
        await asyncio.sleep(max(FRESH, SHORT["GraceSeconds"]) + 1)

        told = await ada.request("verify", userIds=[grace_id])

        assert (told["users"][0]["status"], told["awaited"]) == ("offline", [])
        await grace.never(is_probe, during=1)


@story
async def test_verifying_is_limited(attentive: RunningStack) -> None:
    (ada_id,) = people("ada")
    names = [f"nobody-{number}" for number in range(10)]
    async with join(attentive, ada_id) as ada:

        async def ask_on() -> None:
            for _ in range(60):
                await ada.request("verify", userIds=names)

        with pytest.raises(Refused) as refused:
            await ask_on()

        assert refused.value.code == "rate-limited"
        assert refused.value.retry_after_seconds


@story
async def test_over_http_a_dead_user_is_offline_when_the_probe_is_over(
    attentive: RunningStack,
) -> None:
    ada_id, grace_id = people("ada", "grace")

    def ask() -> str:
        route = f"GET /users/{grace_id}?verify=true"
        answer = attentive.call(route, user_id=ada_id)
        assert ("Retry-After" in answer.headers) == answer.json["isOnline"]
        return str(answer.json["status"])

    async with join(attentive, grace_id, heartbeats=False) as grace:
        await asyncio.sleep(FRESH + 1)
        assert ask() == "online"
        await grace.expect(is_probe)
        await asyncio.sleep(PROBE + 0.1)
        assert ask() == "offline"
