"""What happens to real pages: cut off, frozen, killed, left alone.

The page is the chat of web/README.md, with the package's own timers and the browser's own events.
"""

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, expect

from tests.browser.application import PATIENCE, Opener, opening, row, served_chat
from tests.conftest import SHORT
from tests.node import Tools
from tests.stack import RunningStack

LEASE = SHORT["LeaseSeconds"]


@pytest.fixture(scope="module")
def chat(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served_chat(tools, tmp_path_factory.mktemp("chat")) as url:
        yield url


@pytest.fixture
def come(at_4000: Browser, chat: str) -> Iterator[Opener]:
    yield from opening(at_4000, chat)


def await_offline(stack: RunningStack, user: str) -> None:
    """Over HTTP the lease is exact: no frame is needed."""
    deadline = time.monotonic() + LEASE + PATIENCE
    while stack.call(f"GET /{user}").json["isOnline"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_page_without_a_network_says_so_and_catches_up(come: Opener) -> None:
    ada, grace = come("net-ada"), come("net-grace")
    expect(row(ada, "net-grace")).to_contain_text("Online")

    ada.context.set_offline(offline=True)
    expect(ada.get_by_text("No network")).to_be_visible()
    expect(row(ada, "net-grace")).to_have_attribute("data-stale", "")
    expect(row(ada, "net-grace")).to_contain_text("as of")

    grace.close()
    ada.context.set_offline(offline=False)
    expect(ada.get_by_text("No network")).to_have_count(0)
    expect(row(ada, "net-ada")).not_to_have_attribute("data-stale", "")
    expect(row(ada, "net-grace")).to_have_count(0)


def test_a_page_that_is_killed_is_gone_for_the_others(come: Opener) -> None:
    ada, grace = come("kill-ada"), come("kill-grace")
    expect(row(ada, "kill-grace")).to_contain_text("Online")
    with pytest.raises(Error):
        grace.goto("chrome://crash")
    expect(row(ada, "kill-grace")).to_have_count(0)


def test_a_page_that_was_frozen_comes_back(come: Opener, deployed: RunningStack) -> None:
    ada = come("ice-ada")
    debugger = ada.context.new_cdp_session(ada)
    debugger.send("Debugger.enable")
    debugger.send("Debugger.pause")  # as a phone does to its pages: nothing runs any more
    await_offline(deployed, "ice-ada")
    debugger.send("Debugger.disable")
    expect(row(ada, "ice-ada")).to_contain_text("Online")
    expect(row(ada, "ice-ada")).not_to_have_attribute("data-stale", "")
    assert deployed.call("GET /ice-ada").json["isOnline"]


def test_an_idle_device_is_away_and_back_with_a_touch(come: Opener) -> None:
    ada, grace = come("idle-ada"), come("idle-grace")
    expect(row(grace, "idle-ada")).to_contain_text("Online")
    ada.clock.install()
    ada.reload()
    expect(row(ada, "idle-ada")).to_contain_text("Online")
    ada.clock.fast_forward("05:01")
    expect(row(grace, "idle-ada")).to_contain_text("Away")
    ada.mouse.move(5, 5)
    ada.mouse.move(50, 50)
    expect(row(grace, "idle-ada")).to_contain_text("Online")
