"""What happens to real pages: cut off, frozen, killed, left alone, moved to the next connection.

The page is the chat of web/README.md, with the package's own timers and the browser's own events.
"""

import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, Playwright, WebSocket, expect

from tests.browser.conftest import PATIENCE, Opener, browser_at_4000, opening, row, served_chat
from tests.conftest import LEASE
from tests.stack import RunningStack
from tests.tools import Tools


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


# ── the next connection takes over before API Gateway cuts the last one ──────────────────────────


#: Notes whatever is shown as stale, and every word of a banner.
WITNESS = """() => {
  window.seen = [];
  const look = () => {
    for (const it of document.querySelectorAll("[data-stale], .presence-banner[data-state]"))
      window.seen.push(it.textContent);
  };
  new MutationObserver(look).observe(document.body, {
    subtree: true, childList: true, attributes: true, characterData: true,
  });
}"""


@pytest.fixture(scope="module")
def browser_of_private(
    playwright: Playwright, chromium: str, private: RunningStack
) -> Iterator[Browser]:
    with browser_at_4000(playwright, chromium, private) as browser:
        yield browser


def say(stack: RunningStack, text: str) -> None:
    """Publishes as a back end does, which may say more than one thing a second."""
    token = stack.token("back-end", scope="presence:publish")
    route = "POST /chat-sessions/lobby/messages"
    assert stack.call(route, token=token, body={"content": {"text": text}}).status == HTTPStatus.OK


def takes_part(page: Page, name: str) -> None:
    """A message leaves the page when it has joined; before that it hears nothing."""
    page.get_by_role("textbox", name="Message").fill(f"{name} is here")
    page.keyboard.press("Enter")
    expect(page.locator("[data-state=sent]", has_text=f"{name} is here")).to_have_count(1)


@pytest.mark.fault("A connection reaches the two hours after which API Gateway cuts it.")
def test_a_connection_is_followed_by_the_next_before_it_is_cut(
    browser_of_private: Browser, private: RunningStack, tools: Tools, tmp_path: Path
) -> None:
    with served_chat(tools, tmp_path) as chat:
        windows = opening(browser_of_private, chat)
        come = next(windows)
        ada, grace = come("next-ada"), come("next-grace")
        sockets: list[WebSocket] = []
        ada.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108
        ada.reload()
        for page, name in ((ada, "Ada"), (grace, "Grace")):
            expect(row(page, "next-ada")).to_contain_text("Online")
            takes_part(page, name)
        # Without subscriptions the list is read every 30 s; a message needs no list.
        for page in (ada, grace):
            page.evaluate(WITNESS)

        deadline = time.monotonic() + 3 * PATIENCE
        sent = 0
        while not any(socket.is_closed() for socket in sockets):
            assert time.monotonic() < deadline
            sent += 1
            say(private, f"No. {sent} of many")
            for page in (ada, grace):
                expect(page.get_by_text(f"No. {sent} of many")).to_have_count(1)
        assert len(sockets) >= 2
        for page in (ada, grace):
            assert page.evaluate("window.seen") == []
        list(windows)
