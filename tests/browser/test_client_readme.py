"""The working chat of web/README.md, as it stands there, in a browser against the local stack."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.application import CHAT, served_chat
from tests.node import Tools


def test_a_chat_is_twenty_lines() -> None:
    lines = [line for line in CHAT.splitlines() if line.strip()]

    assert len(lines) <= 20
    assert max(map(len, lines)) <= 100


@pytest.mark.usefixtures("nobody_online")
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
