"""A real browser in front of a real stack."""

import os
import shutil
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.demo import Demo
from tests.stack import RunningStack

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE = 10.0


@pytest.fixture(scope="session", autouse=True)
def chromium() -> str:
    """The browser of this machine; asked for first, so that without it no stack is started."""
    for path in map(shutil.which, NAMES):
        if path:
            return path
    missing = "There is no Chromium on this machine; install it to see the demo page tested."
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


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
    """Those whom earlier tests have left behind are gone."""
    deadline = time.monotonic() + PATIENCE
    while deployed.call("GET /online").json["users"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
