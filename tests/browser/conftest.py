"""A real browser in front of a real stack, and an application that uses the package.

The application is served on a port of its own. It names http://localhost:4000, as documents do, so
the browser is told where that is in a test.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Playwright, expect, sync_playwright

from tests.demo import Demo
from tests.docs.markdown import CLIENT, blocks
from tests.stack import RunningStack
from tests.tools import Tools, program

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE = 10.0
DOCUMENT = "localhost:4000"
#: The working chat of web/README.md; `?me=` says who it is.
CHAT = blocks(CLIENT.read_text("utf-8"), "jsx")[0]
PAGE = """<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>Chat</title><link rel="icon" href="data:,"></head>
  <body><div id="root"></div><script type="module" src="./chat.jsx"></script></body>
</html>
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A developer's own page: on another port, so of another origin than the stack."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def served_chat(tools: Tools, folder: Path, source: str = CHAT) -> Iterator[str]:
    """The chat, built in this folder."""
    (folder / "index.html").write_text(PAGE)
    (folder / "chat.jsx").write_text(source)
    tools.script("build-page.mjs", folder / "index.html", folder / "built")
    with served(folder / "built") as url:
        yield url


@contextmanager
def browser_at_4000(
    playwright: Playwright, chromium: str, stack: RunningStack, *flags: str
) -> Iterator[Browser]:
    """A browser for which the stack listens where the document says."""
    port = urlsplit(stack.demo_url).port
    rule = f"--host-resolver-rules=MAP {DOCUMENT} 127.0.0.1:{port}"
    launched = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, rule, *flags])
    yield launched
    launched.close()


@contextmanager
def flawless(browser: Browser) -> Iterator[Page]:
    """A window in which nothing goes wrong."""
    context = browser.new_context()
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda it: faults.append(it.text) if it.type == "error" else None)
    yield opened
    context.close()
    assert faults == []


Opener = Callable[[str], Page]


def opening(browser: Browser, chat: str) -> Iterator[Opener]:
    """Opens the chat of a user, each in a window of their own."""
    pages: list[Page] = []

    def come(user: str) -> Page:
        page = browser.new_context().new_page()
        pages.append(page)
        page.goto(f"{chat}/?me={user}")
        expect(row(page, user)).to_contain_text("Online")
        return page

    yield come
    for page in pages:
        page.context.close()


def row(page: Page, user: str) -> Locator:
    return page.locator(".presence-list li").filter(has=page.get_by_text(user, exact=True))


NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Debian's package of the engine alone: the same pages for two thirds of the work. Its tabs are not
#: those of a browser: none is kept for going back, for example.
SHELL = "chromium-headless-shell"


@pytest.fixture(scope="session", autouse=True)
def chromium() -> str:
    """The browser of this machine; asked for first, so that without it no stack is started."""
    reason = "There is no Chromium on this machine; install it to see pages tested."
    return program(*NAMES, reason=reason)


# Not for the session: as long as Playwright runs, no other test could run an event loop.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        expect.set_options(timeout=PATIENCE * 1000)
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """For pages alone in their windows: the engine of a browser, or else all of it."""
    engine = shutil.which(SHELL) or chromium
    launched = playwright.chromium.launch(executable_path=engine, args=FLAGS)
    yield launched
    launched.close()


@pytest.fixture
def demo(browser: Browser, deployed: RunningStack) -> Iterator[Demo]:
    opened = Demo(browser, deployed.demo_url)
    yield opened
    opened.close()


@pytest.fixture
def no_user_online(deployed: RunningStack) -> None:
    """The users of earlier tests are gone."""
    deadline = time.monotonic() + PATIENCE
    while deployed.call("GET /online").json["users"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def at_4000(playwright: Playwright, chromium: str, deployed: RunningStack) -> Iterator[Browser]:
    """A browser for which that stack is where documents say: http://localhost:4000."""
    with browser_at_4000(playwright, chromium, deployed) as browser:
        yield browser


@pytest.fixture
def page(at_4000: Browser) -> Iterator[Page]:
    with flawless(at_4000) as opened:
        yield opened
