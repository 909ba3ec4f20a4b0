"""A real browser in front of a real stack."""

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.application import FLAGS, PATIENCE, browser_at_4000, flawless
from tests.demo import Demo
from tests.lacking import program
from tests.stack import RunningStack

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session", autouse=True)
def chromium() -> str:
    """The browser of this machine; asked for first, so that without it no stack is started."""
    reason = "There is no Chromium on this machine; install it to see pages tested."
    return program(*NAMES, reason=reason)


# Not for the session: as long as Playwright runs, no other test could run an event loop.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE * 1000)
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def demo(browser: Browser, deployed: RunningStack) -> Iterator[Demo]:
    opened = Demo(browser, deployed.demo_url)
    yield opened
    opened.close()


@pytest.fixture
def nobody_online(deployed: RunningStack) -> None:
    """The users of earlier tests are gone."""
    deadline = time.monotonic() + PATIENCE
    while deployed.call("GET /online").json["users"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def at_4000(chromium: str, deployed: RunningStack) -> Iterator[Browser]:
    """A browser for which that stack is where documents say: http://localhost:4000."""
    with browser_at_4000(chromium, deployed) as browser:
        yield browser


@pytest.fixture
def page(at_4000: Browser) -> Iterator[Page]:
    with flawless(at_4000) as opened:
        yield opened
