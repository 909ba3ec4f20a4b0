"""A page whose application, or whose stack, has a mistake says which, in words, at once."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import CHAT, DOCUMENT, served_chat
from tests.tools import Tools

STACK = f"http://{DOCUMENT}"


def said(at_4000: Browser, url: str, setting: str = "") -> str:
    """What the banner says, before the client would try again."""
    context = at_4000.new_context()
    context.add_init_script(setting)
    page = context.new_page()
    page.goto(f"{url}/?me=ada")
    banner = page.locator(".presence-banner")
    expect(banner).to_contain_text("Not connected: ")
    text = banner.inner_text()
    context.close()
    return text


@pytest.mark.parametrize(
    ("api_url", "words"),
    [
        (f'"{DOCUMENT}"', "begin it with https:// or http://"),
        ("{location.origin}", "no stack there"),
    ],
)
def test_an_address_that_is_none(
    at_4000: Browser, tools: Tools, tmp_path: Path, api_url: str, words: str
) -> None:
    source = CHAT.replace(f'"{STACK}"', api_url)
    assert source != CHAT
    with served_chat(tools, tmp_path, source) as chat:
        assert words in said(at_4000, chat)


def test_an_origin_that_the_stack_does_not_list(
    at_4000: Browser, tools: Tools, tmp_path: Path
) -> None:
    with served_chat(tools, tmp_path) as chat:
        elsewhere = chat.replace("localhost", "chat.localhost")

        assert f"Add {elsewhere} to AllowedOrigins of the stack." in said(at_4000, elsewhere)


def test_a_page_without_sockets(at_4000: Browser, tools: Tools, tmp_path: Path) -> None:
    with served_chat(tools, tmp_path) as chat:
        assert "No WebSocket" in said(at_4000, chat, "delete globalThis.WebSocket;")
