"""One connection for all tabs of a browser, with its real locks, channels, crashes and freezes.

The page is the chat of web/README.md with a shared client.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright, expect
from websockets.sync.client import ClientConnection, connect

from tests.browser.conftest import (
    CHAT,
    PATIENCE,
    Opener,
    browser_at_4000,
    opening,
    row,
    served_chat,
)
from tests.stack import RunningStack, free_ports
from tests.tools import Tools

SHARED = (
    'import { createSharedClient } from "@presence/client/tabs";\n'
    "const createClient = (options) => (window.client = createSharedClient(options));\n"
    + CHAT.replace("userId={me}>", "userId={me} createClient={createClient}>")
)
#: Notes whenever a row of that user is not shown as online, or not as of now.
WITNESS = """(user) => {
  window.blinks = [];
  const look = () => {
    const rows = [...document.querySelectorAll(".presence-list li")];
    const row = rows.find((it) => it.textContent.includes(user));
    if (!row || row.matches("[data-stale]")) window.blinks.push(row?.textContent ?? "gone");
    const banner = document.querySelector(".presence-banner[data-state]");
    if (banner) window.blinks.push(banner.textContent);
  };
  new MutationObserver(look).observe(document.body, {
    subtree: true, childList: true, attributes: true, characterData: true,
  });
}"""


@pytest.fixture(scope="module")
def chat(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served_chat(tools, tmp_path_factory.mktemp("tabs"), SHARED) as url:
        yield url


@dataclass
class Window:
    """A browser window of its own profile, as a private one is, with tabs of one user."""

    context: BrowserContext
    url: str
    user: str
    sockets: dict[Page, int] = field(default_factory=dict)

    def tab(self) -> Page:
        page = self.context.new_page()
        self.sockets[page] = 0

        def opened(_: object) -> None:
            self.sockets[page] += 1

        page.on("websocket", opened)
        page.goto(f"{self.url}/?me={self.user}")
        expect(row(page, self.user)).to_contain_text("Online")
        return page

    def pair(self) -> tuple[Page, Page]:
        """Two tabs, of which the first one leads."""
        leader, follower = self.tab(), self.tab()
        expect_role(leader, "leader")
        expect_role(follower, "follower")
        return leader, follower


@pytest.fixture
def window(at_4000: Browser, chat: str) -> Iterator[Callable[[str], Window]]:
    windows: list[Window] = []

    def opened(user: str) -> Window:
        windows.append(Window(at_4000.new_context(), chat, user))
        return windows[-1]

    yield opened
    for it in windows:
        it.context.close()


@pytest.fixture
def come(at_4000: Browser, chat: str) -> Iterator[Opener]:
    """Another user, who looks on."""
    yield from opening(at_4000, chat)


def expect_role(page: Page, role: str) -> None:
    page.wait_for_function("(role) => client.tabs.get().role === role", arg=role)


def say(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator("[data-state=sent]", has_text=text)).to_have_count(1)


def test_two_tabs_have_one_connection_and_show_the_same(
    window: Callable[[str], Window], come: Opener
) -> None:
    ada = window("tab-ada")
    leader, follower = ada.pair()
    grace = come("tab-grace")
    for page in (leader, follower):
        expect(row(page, "tab-grace")).to_contain_text("Online")
    say(follower, "From the second tab")
    for page in (leader, grace):
        expect(page.get_by_text("From the second tab")).to_have_count(1)
    say(grace, "To both")
    for page in (leader, follower):
        expect(page.get_by_text("To both")).to_have_count(1)
    assert ada.sockets == {leader: 1, follower: 0}


@pytest.mark.fault("The tab that has the connection of all tabs is closed, or crashes.")
@pytest.mark.parametrize("end", ["closed", "crashed"])
def test_no_user_sees_that_another_tab_leads(
    end: str, window: Callable[[str], Window], come: Opener
) -> None:
    me, other = f"{end}-ada", f"{end}-grace"
    ada = window(me)
    leader, follower = ada.pair()
    grace = come(other)
    expect(row(follower, other)).to_contain_text("Online")
    expect(row(grace, me)).to_contain_text("Online")
    say(follower, "Before")
    expect(grace.get_by_text("Before")).to_have_count(1)
    grace.evaluate(WITNESS, me)
    follower.evaluate(WITNESS, other)

    if end == "closed":
        leader.close()
    else:
        with pytest.raises(Error):
            leader.goto("chrome://crash")
    expect_role(follower, "leader")
    say(follower, "After")
    expect(grace.get_by_text("After")).to_have_count(1)
    say(grace, "An answer")
    expect(follower.get_by_text("An answer")).to_have_count(1)
    grace.wait_for_timeout(5_000)  # longer than the grace period
    assert grace.evaluate("blinks") == []
    assert follower.evaluate("blinks") == []
    assert ada.sockets[follower] == 1


@pytest.mark.fault("The tab that has the connection of all tabs stands still, and keeps its lock.")
def test_a_leader_that_stands_still_is_robbed_and_follows(window: Callable[[str], Window]) -> None:
    leader, follower = window("ice-ada").pair()
    debugger = leader.context.new_cdp_session(leader)
    debugger.send("Debugger.enable")
    debugger.send("Debugger.pause")
    follower.bring_to_front()
    expect_role(follower, "leader")
    debugger.send("Debugger.disable")
    expect_role(leader, "follower")
    for page in (leader, follower):
        expect(row(page, "ice-ada")).to_contain_text("Online")
        expect(row(page, "ice-ada")).not_to_have_attribute("data-stale", "")
    say(leader, "Back again")
    expect(follower.get_by_text("Back again")).to_have_count(1)


class BarePage:
    """A page that Playwright does not hold visible: only a hidden page can be frozen.

    It speaks the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/).
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._sent = 0

    def send(self, method: str, **parameters: object) -> Any:
        self._sent += 1
        asked = {"id": self._sent, "method": method, "params": parameters}
        self._socket.send(json.dumps(asked))
        while True:
            answer = json.loads(self._socket.recv(PATIENCE))
            if answer.get("id") == self._sent:
                return answer["result"]

    def until(self, expression: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._is_so(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.1)

    def _is_so(self, expression: str) -> bool:
        answer = self.send("Runtime.evaluate", expression=expression)
        return answer["result"].get("value") is True


@pytest.fixture
def bare(
    playwright: Playwright, chromium: str, deployed: RunningStack
) -> Iterator[Callable[[str], BarePage]]:
    """Opens pages in one browser."""
    (port,) = free_ports(1)
    flag = f"--remote-debugging-port={port}"

    def opened(url: str) -> BarePage:
        page = httpx.put(f"http://127.0.0.1:{port}/json/new?{quote(url)}", trust_env=False)
        return BarePage(sockets.enter_context(connect(page.json()["webSocketDebuggerUrl"])))

    with browser_at_4000(playwright, chromium, deployed, flag), ExitStack() as sockets:
        yield opened


ROLE = "window.client?.tabs.get().role === '{}' && client.connection.get().name === 'ready'"


@pytest.mark.fault("The browser freezes the tab that has the connection of all tabs.")
def test_a_leader_that_the_browser_freezes_hands_over_at_once(
    bare: Callable[[str], BarePage], chat: str, come: Opener
) -> None:
    leader = bare(f"{chat}/?me=frozen-ada")
    leader.until(ROLE.format("leader"))
    follower = bare(f"{chat}/?me=frozen-ada")
    follower.until(ROLE.format("follower"))
    grace = come("frozen-grace")
    expect(row(grace, "frozen-ada")).to_contain_text("Online")
    grace.evaluate(WITNESS, "frozen-ada")

    leader.send("Page.setWebLifecycleState", state="frozen")
    follower.until(ROLE.format("leader"))
    grace.wait_for_timeout(5_000)  # longer than the grace period
    assert grace.evaluate("blinks") == []
    leader.send("Page.setWebLifecycleState", state="active")
    leader.until(ROLE.format("follower"))
    assert grace.evaluate("blinks") == []


def test_logging_out_in_one_tab_ends_all(
    window: Callable[[str], Window], deployed: RunningStack
) -> None:
    leader, follower = window("out-ada").pair()
    follower.evaluate("client.disconnect({ atOnce: true })")
    for page in (leader, follower):
        page.wait_for_function("client.connection.get().name === 'closed'")
    leader.wait_for_timeout(500)
    assert not deployed.call("GET /out-ada").json["isOnline"]


def test_a_private_window_and_another_user_have_connections_of_their_own(
    window: Callable[[str], Window],
) -> None:
    leader, follower = window("own-ada").pair()
    private = window("own-ada").tab()
    expect_role(private, "leader")
    follower.goto(follower.url.replace("own-ada", "own-grace"))
    expect(row(follower, "own-grace")).to_contain_text("Online")
    expect_role(follower, "leader")
    expect_role(leader, "leader")


def test_a_page_that_comes_back_from_the_cache_joins_again(window: Callable[[str], Window]) -> None:
    leader, follower = window("back-ada").pair()
    leader.goto("about:blank")
    expect_role(follower, "leader")
    leader.go_back()
    expect_role(leader, "follower")
    expect(row(leader, "back-ada")).to_contain_text("Online")
