"""The code of documents, unchanged, in a browser against the local stack."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import CHAT, DOCUMENT, served, served_chat
from tests.stack import RunningStack
from tests.tools import WEB, Tools


def test_a_chat_is_twenty_lines() -> None:
    lines = [line for line in CHAT.splitlines() if line.strip()]

    assert len(lines) <= 20
    assert max(map(len, lines)) <= 100


@pytest.mark.usefixtures("no_user_online")
def test_two_people_chat_with_them(page: Page, tools: Tools, tmp_path: Path) -> None:
    other = page.context.new_page()
    with served_chat(tools, tmp_path) as chat:
        page.goto(f"{chat}/?me=ada")
        other.goto(f"{chat}/?me=grace")
        for window in (page, other):
            expect(window.get_by_role("heading", name="Online: 2")).to_be_visible()
        expect(page.locator(".presence-list li", has_text="grace")).to_contain_text("Online")
        page.get_by_role("textbox", name="Message").fill("Hello")
        page.keyboard.press("Enter")
        for window in (page, other):
            expect(window.get_by_role("log")).to_contain_text("Hello")
        other.close()
        expect(page.get_by_role("heading", name="Online: 1")).to_be_visible()


# ── the React snippets of the source document ────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def application(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, built as an application is, and served."""
    folder = tmp_path_factory.mktemp("application")
    root = WEB / "tests" / "browser"
    entry = root / "source-document.html"
    tools.script("build-page.mjs", entry, folder)
    with served(folder) as url:
        yield f"{url}/{entry.name}"


@pytest.mark.usefixtures("no_user_online")
def test_the_snippets_work_unchanged(page: Page, application: str, deployed: RunningStack) -> None:
    page.goto(f"{application}?show=components")
    expect(page.get_by_role("heading", name="Online: 1")).to_be_visible()
    expect(page.locator(".presence-list.w-64")).to_contain_text("user456")
    status = page.locator("#app > .presence-status")
    expect(status).to_have_text("Offline")

    # The document's application: it wraps, it authenticates, and it shows nothing of its own.
    yours = page.context.new_page()
    yours.goto(f"{application}?show=App")
    expect(status).to_have_text("Online")
    expect(page.get_by_role("heading", name="Online: 2")).to_be_visible()
    assert deployed.call("GET /user123").json["isOnline"] is True

    expect(page.get_by_role("log")).to_contain_text("Hello")
    page.get_by_role("textbox", name="Message").fill("Hi")
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("")
    assert page.evaluate("window.sent") == ["Hi"]

    yours.close()
    expect(status).to_have_text(re.compile(r"^Offline"))
    expect(page.get_by_role("heading", name="Online: 1")).to_be_visible()


@pytest.mark.usefixtures("no_user_online")
def test_the_complete_chat_app_needs_nothing(page: Page, application: str) -> None:
    other = page.context.new_page()
    for window, name in ((page, "Ada"), (other, "Grace")):
        window.goto(f"{application}?show=ChatApp")
        window.get_by_role("textbox", name="Your name").fill(name)
        window.keyboard.press("Enter")
    for window in (page, other):
        expect(window.get_by_role("heading", name="Online: 2")).to_be_visible()

    page.get_by_role("textbox", name="Message").press_sequentially("Hello, Gr")
    expect(other.get_by_text("Ada is typing…").first).to_be_attached()
    page.keyboard.type("ace")
    page.keyboard.press("Enter")
    for window in (page, other):
        expect(window.get_by_role("log")).to_contain_text("Hello, Grace")
    expect(other.get_by_text("Ada is typing…")).to_have_count(0)


def test_the_documents_requests_are_answered_where_it_says(
    page: Page, application: str, deployed: RunningStack
) -> None:
    page.goto(f"{application}?show=App")
    for path in ("online", "online/count", "user123"):
        url = f"http://{DOCUMENT}/api/user-status/{path}"
        told = page.evaluate("(url) => fetch(url).then((it) => it.json())", url)
        assert told.keys() == deployed.call(f"GET /{path}").json.keys()
