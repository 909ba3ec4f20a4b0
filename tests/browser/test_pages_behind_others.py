"""What pages answer that no person looks at: hidden, with their timers throttled, and frozen."""

import asyncio
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from presence_client.client import Client
from presence_client.models import Presence
from tests.browser.conftest import DOCUMENT, FLAGS, served_chat
from tests.browser.tabs import Browser, launched
from tests.conftest import ATTENTIVE
from tests.stack import RunningStack, running_stack
from tests.tools import Tools

FRESH, PROBE = ATTENTIVE["FreshSeconds"], ATTENTIVE["ProbeSeconds"]
#: What a busy machine may take.
SLOW = 5
#: Timers of a hidden page run once a minute, and not only after five minutes ("Heavy throttling of
#: chained JS timers", https://developer.chrome.com/blog/timer-throttling-in-chrome-88).
THROTTLED = "--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/0"


@pytest.fixture(scope="module")
def attentive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("attentive"), ATTENTIVE) as stack:
        yield stack


@pytest.fixture(scope="module")
def chat(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served_chat(tools, tmp_path_factory.mktemp("chat")) as url:
        yield url


@pytest.fixture(scope="module")
def browser(
    chromium: str, attentive: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    port = urlsplit(attentive.demo_url).port
    rule = f"--host-resolver-rules=MAP {DOCUMENT} 127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("chromium")
    with launched(chromium, folder, [*FLAGS, THROTTLED, rule]) as found:
        yield found


def verified(stack: RunningStack, user_id: str) -> tuple[Presence, float]:
    """What a viewer is told in the end who asks now, and after how many seconds."""

    async def ask() -> tuple[Presence, float]:
        url = str(stack.told["httpUrl"])
        async with Client(url, stack.token(f"viewer-of-{user_id}")) as viewer:
            await viewer.watch(user_id)
            started = time.monotonic()
            (found,) = await viewer.verify(user_id)
            return found, time.monotonic() - started

    return asyncio.run(ask())


def await_online(stack: RunningStack, user_id: str) -> None:
    deadline = time.monotonic() + 10 + SLOW
    while not stack.call(f"GET /{user_id}").json["isOnline"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_hidden_page_answers_a_probe_though_its_timers_are_throttled(
    browser: Browser, chat: str, attentive: RunningStack
) -> None:
    with browser.open(f"{chat}/?me=behind-ada") as ada:
        await_online(attentive, "behind-ada")
        with browser.open("about:blank"):
            ada.awaits("document.hidden")
            time.sleep(FRESH + 1)
            asked_at = time.time() * 1000

            found, seconds = verified(attentive, "behind-ada")

            assert ada.says("document.visibilityState") == "hidden"
        assert found.is_online
        assert (found.heard_at or 0) >= asked_at - 1_000
        assert seconds < 1 + SLOW


@pytest.mark.fault("A browser freezes a page in the background.")
def test_a_frozen_page_is_offline_to_a_viewer_who_asks_and_back_when_it_runs(
    browser: Browser, chat: str, attentive: RunningStack
) -> None:
    with browser.open(f"{chat}/?me=ice-ada") as ada:
        await_online(attentive, "ice-ada")
        ada.says("document.addEventListener('freeze', () => { window.isFrozen = true })")
        with browser.open("about:blank"):
            ada.awaits("document.hidden")
            ada.freeze()
            ada.awaits("window.isFrozen")
            time.sleep(FRESH + 1)

            found, seconds = verified(attentive, "ice-ada")

            assert (found.status, found.heard_at) == ("offline", None)
            assert PROBE - 1 < seconds < PROBE + 1 + SLOW
            ada.resume()
            await_online(attentive, "ice-ada")
