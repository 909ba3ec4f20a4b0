"""The next connection takes over before API Gateway cuts the last one, without a visible change.

The connections of this stack last for twenty seconds.
"""

import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, WebSocket, expect

from tests.browser.application import PATIENCE, browser_at_4000, opening, row, served_chat
from tests.node import Tools
from tests.stack import RunningStack

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
def browser_of_private(chromium: str, private: RunningStack) -> Iterator[Browser]:
    with browser_at_4000(chromium, private) as browser:
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
