"""Everything on the demo page that is not a pane, and what holds for all of it."""

import os
import re
import shutil
import subprocess
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from local.stack import ROOT
from tests.demo import Demo, Side, tab_to
from tests.stack import RunningStack
from tests.tools import WEB, Tools

AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
EXHIBITS = (
    *("UserStatusIndicator", "OnlineUsersList", "StatusPicker", "ConnectionBanner"),
    *("TypingIndicator", "ChatRoom", "ChatApp"),
)


@pytest.fixture(scope="module")
def axe(tools: Tools) -> str:
    del tools  # installed, it is there
    return AXE.read_text()


@pytest.fixture
def gallery(demo: Demo) -> Page:
    page = demo.window()
    page.goto(f"{demo.url}?left={demo.name('ada')}&right={demo.name('grace')}#gallery")
    expect(page.get_by_role("region", name="ChatApp")).to_be_visible()
    return page


def expect_accessible(page: Page, axe: str) -> None:
    """axe finds nothing to complain of, by day and by night.

    No colour is on its way to another one while it is measured.
    """
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate(axe)
        found = page.evaluate("axe.run()")["violations"]
        faults = [
            f"{scheme}: {fault['id']}: {node['html'][:200]}: {node['failureSummary'][:400]}"
            for fault in found
            for node in fault["nodes"]
        ]
        assert not faults, "\n".join(faults)


def open_drawer(page: Page) -> Any:
    page.get_by_role("button", name="Server", exact=True).click()
    return page.get_by_role("region", name="Server", exact=True)


# ── accessible ──────────────────────────────────────────────────────────────────────────────


def test_the_page_is_accessible(demo: Demo, axe: str) -> None:
    left, right = demo.open()
    left.send("Hello")
    right.say("Writing letters")
    expect(left.online(right.user)).to_contain_text("Writing letters")
    left.watch(demo.name("linus"))
    left.frame("authentication-success")
    expect_accessible(left.page, axe)
    left.press("Open on a phone")
    right.close("Tab 1")
    expect(left.gone(right.user)).to_be_visible()
    expect_accessible(left.page, axe)


def test_the_page_is_accessible_when_everything_is_broken(demo: Demo, axe: str) -> None:
    left, right = demo.open()
    left.network("Cut")
    left.send("Into the void")
    right.network("Frozen")
    expect(left.stale).to_be_visible()
    expect(left.pane.get_by_role("button", name="Try now")).to_be_visible()
    expect_accessible(left.page, axe)


def test_the_drawer_is_accessible(demo: Demo, axe: str) -> None:
    left, _ = demo.open()
    drawer = open_drawer(left.page)
    drawer.locator("summary").filter(has_text="Users").click()
    drawer.get_by_text(left.user, exact=True).last.click()
    expect(drawer.locator("pre:visible")).to_contain_text("own_version")
    expect_accessible(left.page, axe)


def test_the_gallery_is_accessible(gallery: Page, axe: str) -> None:
    expect_accessible(gallery, axe)
    gallery.get_by_role("checkbox", name="Right to left").check()
    gallery.get_by_role("checkbox", name="High contrast").check()
    expect_accessible(gallery, axe)


def test_with_the_keyboard_alone_a_status_is_chosen_and_a_message_sent(demo: Demo) -> None:
    left, right = demo.open()
    keyboard = left.page.keyboard
    keyboard.press("Tab")
    expect(left.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    keyboard.press("Enter")
    expect(left.page.get_by_role("main")).to_be_focused()
    tab_to(left.choice("Online"))
    keyboard.press("ArrowRight")
    expect(right.online(left.user)).to_contain_text("Away")
    tab_to(left.message)
    keyboard.type("No mouse was harmed")
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(right.said("No mouse was harmed")).to_have_count(1)
    expect(left.message).to_have_value("")


def test_closing_a_device_by_keyboard_keeps_the_focus_there(demo: Demo) -> None:
    left, _ = demo.open()
    tab_to(left.pane.get_by_role("button", name="Close Tab 1"))
    left.page.keyboard.press("Enter")
    opener = left.pane.get_by_role("button", name="Open a tab", exact=True)
    expect(opener).to_be_focused()
    left.page.keyboard.press("Enter")
    expect(left.link).to_have_text("Live")


def test_the_focused_control_is_visible(demo: Demo) -> None:
    left, _ = demo.open()
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    label = "getComputedStyle(document.activeElement.closest('label')).outlineStyle"
    tab_to(left.message)
    assert left.page.evaluate(outline) == "solid"
    tab_to(left.pane.get_by_role("radio", name="Works"))
    assert left.page.evaluate(label) == "solid"


def test_reduced_motion_stops_the_animations(demo: Demo) -> None:
    left, right = demo.open()
    right.message.press_sequentially("Hm")
    expect(left.typing).not_to_be_empty()
    moving = "document.getAnimations().filter((it) => it.playState === 'running').length"
    assert left.page.evaluate(moving) == 0
    left.page.emulate_media(reduced_motion="no-preference")
    assert left.page.evaluate(moving) > 0


# ── the drawer ──────────────────────────────────────────────────────────────────────────────


def test_the_drawer_shows_whose_lease_counts_down(demo: Demo) -> None:
    left, _ = demo.open()
    drawer = open_drawer(left.page)
    leases = drawer.get_by_role("list", name=f"Leases of {left.user}").get_by_role("listitem")
    expect(leases).to_have_count(1)
    expect(leases).to_contain_text("Tab 1 on this page")
    expect(leases).to_contain_text(left.frame("authentication-success")["connectionId"])

    left.network("Cut")
    for seconds in (3, 1):
        expect(leases).to_contain_text(f"0:0{seconds} left")
    expect(leases).to_contain_text("over, waits for the sweep")


def test_the_drawer_asks_only_while_it_is_open(demo: Demo) -> None:
    left, _ = demo.open()
    page = left.page

    def asked() -> int:
        return sum("/dev/tables" in url for url in demo.requests)

    assert asked() == 0
    drawer = open_drawer(page)
    expect(drawer.get_by_role("list", name="Stored users")).to_be_visible()
    assert asked() > 0
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    before = asked()
    # Two heartbeats take longer than the drawer ever waited.
    left.pane.get_by_role("checkbox", name="heartbeats").check()
    left.press("Clear")
    expect(left.frames("ping")).to_have_count(2)
    assert asked() <= before + 1


# ── the gallery ─────────────────────────────────────────────────────────────────────────────


def test_the_gallery_shows_every_component_in_every_status(gallery: Page) -> None:
    for name in EXHIBITS:
        expect(gallery.get_by_role("region", name=name, exact=True)).to_be_visible()
    indicators = gallery.get_by_role("region", name="UserStatusIndicator")
    for status in ("Online", "Away", "Busy", "Do not disturb", "Invisible", "Offline"):
        cells = indicators.get_by_role("row").filter(
            has=gallery.get_by_role("rowheader", name=status, exact=True)
        )
        expect(cells.get_by_role("img")).to_have_count(4)
        expect(cells.get_by_role("cell").last).to_contain_text(status)
    stale = indicators.get_by_role("row").filter(has_text="Stale")
    expect(stale).to_contain_text(re.compile(r"Busy, as of"))
    banners = gallery.get_by_role("region", name="ConnectionBanner")
    expect(banners).to_contain_text("Connection lost.")
    expect(banners).to_contain_text("Not connected")
    expect(gallery.get_by_role("region", name="TypingIndicator")).to_contain_text("is typing…")


def test_the_gallery_turns_around(gallery: Page) -> None:
    picker = gallery.get_by_role("region", name="StatusPicker").locator("form")
    expect(picker).to_have_css("direction", "ltr")
    gallery.get_by_role("checkbox", name="Right to left").check()
    expect(picker).to_have_css("direction", "rtl")


def test_going_back_from_the_gallery_restores_the_page(demo: Demo) -> None:
    left, right = demo.open()
    right.send("Before")
    expect(left.said("Before")).to_have_count(1)
    left.page.get_by_role("link", name="Components").click()
    expect(left.pane).to_be_hidden()
    left.page.get_by_role("link", name="Live").click()
    expect(left.said("Before")).to_have_count(1)
    expect(left.frames("authentication-success")).to_have_count(1)


# ── the calculator ──────────────────────────────────────────────────────────────────────────


def test_the_calculator_bills_what_is_typed(demo: Demo, axe: str) -> None:
    page = demo.window()
    page.goto(f"{demo.url}?left={demo.name('ada')}&right={demo.name('grace')}#cost")
    usage = page.get_by_role("form", name="Usage")
    total = page.get_by_role("status", name="Total")
    usual = total.inner_text()
    usage.get_by_label("Users").fill("0")
    expect(total).not_to_have_text(usual)
    without_users = total.inner_text()
    # What is out of bounds changes no sum.
    usage.get_by_label("Users").fill("-1")
    expect(total).to_have_text(without_users)
    usage.get_by_label("Users").fill("10000")
    expect(total).to_have_text(usual)
    expect_accessible(page, axe)


# ── the wire log ────────────────────────────────────────────────────────────────────────────


def test_the_wire_log_shows_what_one_looks_for(demo: Demo) -> None:
    left, right = demo.open()
    right.choose("Busy")
    expect(left.frames(f"{right.user} busy")).to_have_count(1)
    left.pane.get_by_role("searchbox", name="Filter the frames").fill("busy")
    expect(left.frames("authenticate")).to_have_count(0)
    expect(left.frames(f"{right.user} busy")).to_have_count(1)
    left.pane.get_by_role("searchbox", name="Filter the frames").fill("no such thing")
    expect(left.pane.get_by_text("No such frame.")).to_be_visible()


def copied(side: Side, text: str, name: str) -> str:
    frame = side.frames(text)
    frame.locator("summary").click()
    frame.get_by_role("button", name=name).click()
    expect(frame.get_by_role("button", name="Copied")).to_be_visible()
    return str(side.page.evaluate("navigator.clipboard.readText()"))


def test_a_request_copied_from_the_wire_log_is_answered(demo: Demo, deployed: RunningStack) -> None:
    left, right = demo.open(permissions=["clipboard-read", "clipboard-write"])
    right.choose("Busy")
    command = copied(left, f"{right.user} busy", "Copy as curl")
    told = subprocess.run(
        [shutil.which("bash") or "sh", "-c", command.replace("curl ", "curl -sS ", 1)],
        cwd=ROOT,
        env=os.environ | {"PRESENCE_HOME": str(deployed.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f'"userId":"{right.user}","status":"busy"' in told.stdout


def test_a_frame_copied_for_a_socket_has_no_token_in_it(demo: Demo) -> None:
    left, _ = demo.open(permissions=["clipboard-read", "clipboard-write"])
    left.send("Hello")
    command = copied(left, "message Hello", "Copy as wscat")
    assert f"presence token {left.user}" in command
    assert "wscat -c ws://" in command
    assert "eyJ" not in command


# ── all of it ───────────────────────────────────────────────────────────────────────────────


def test_the_page_makes_no_requests_to_other_hosts(demo: Demo) -> None:
    left, _ = demo.open()
    open_drawer(left.page)
    left.page.get_by_role("link", name="Components").click()
    expect(left.page.get_by_role("region", name="ChatApp")).to_be_visible()
    assert {urlsplit(url).hostname for url in demo.requests} == {"localhost"}


@pytest.mark.parametrize("width", [390, 320])
def test_no_view_is_wider_than_a_phone(demo: Demo, width: int) -> None:
    left, _ = demo.open(viewport={"width": width, "height": 800})
    root = "document.documentElement"
    excess = f"{root}.scrollWidth - {root}.clientWidth"
    left.press("Open on a phone")
    expect(left.heading("2 devices connected")).to_be_visible()
    assert left.page.evaluate(excess) == 0
    drawer = open_drawer(left.page)
    expect(drawer.get_by_role("list", name="Stored users")).to_be_visible()
    assert left.page.evaluate(excess) == 0
    left.page.get_by_role("link", name="Components").click()
    expect(left.page.get_by_role("region", name="ChatApp")).to_be_visible()
    assert left.page.evaluate(excess) == 0
