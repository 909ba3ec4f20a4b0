"""What a newcomer does on the demo page, in a real browser against a real stack."""

import json
import os
import re
import shlex
import subprocess
from typing import Any, Literal

import pytest
from playwright.sync_api import expect

from local.aws import client
from local.server import DevelopmentServer, serving
from local.stack import ROOT
from tests.demo import Demo, contrast, tab_to
from tests.stack import RunningStack, free_ports

SEEN = "last seen now"

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def gateway(deployed: RunningStack) -> Any:
    """Closes connections from the server's side, and says what the functions might."""
    return client("apigatewaymanagementapi", deployed.told["callbackUrl"])


@pytest.mark.usefixtures("no_user_online")
def test_the_count_follows_who_comes_and_goes(demo: Demo) -> None:
    left, right = demo.open()
    for side in (left, right):
        expect(side.heading("2 online")).to_be_visible()
    demo.open(left="linus", right="margaret")
    expect(left.heading("4 online")).to_be_visible()
    right.choose("Invisible")
    expect(left.heading("3 online")).to_be_visible()


def test_two_people_see_each_other_and_themselves(demo: Demo) -> None:
    left, right = demo.open()
    for side, other in ((left, right), (right, left)):
        expect(side.online(other.user)).to_contain_text("Online")
        expect(side.online(side.user)).to_contain_text("you")
        expect(side.own).to_have_text("Online")


def test_two_windows_are_two_people_as_well(demo: Demo) -> None:
    first, _ = demo.open(left="ada1", right="ada2")
    second, _ = demo.open(left="grace1", right="grace2")
    expect(first.online(second.user)).to_contain_text("Online")
    expect(second.online(first.user)).to_contain_text("Online")
    second.choose("Away")
    expect(first.online(second.user)).to_contain_text("Away")


def test_who_has_closed_one_of_two_tabs_is_still_there(demo: Demo) -> None:
    left, right = demo.open()
    left.press("Open another tab")
    expect(left.heading("2 devices connected")).to_be_visible()
    left.close("Tab 1")
    expect(left.heading("1 device connected")).to_be_visible()

    right.close("Tab 1")
    expect(right.link).to_have_text("No open tab")
    expect(left.gone(right.user)).to_be_visible()  # whose grace period began after left's could
    expect(left.online(left.user)).to_contain_text("Online")
    expect(left.frames(f"{left.user} offline")).to_have_count(0)


def test_tabs_that_share_have_one_connection_and_say_which_of_them_leads(demo: Demo) -> None:
    left, right = demo.open()
    for _ in range(2):
        left.press("Open a sharing tab")
    left.close("Tab 1")
    expect(left.device("Sharing tab 2")).to_contain_text("Live · leads")
    expect(left.device("Sharing tab 3")).to_contain_text("Live · follows")
    expect(left.heading("1 device connected")).to_be_visible()
    left.send("From the one that follows")
    expect(right.said("From the one that follows")).to_have_count(1)

    left.close("Sharing tab 2")
    expect(left.device("Sharing tab 3")).to_contain_text("Live · leads")
    left.press("Open a sharing tab")
    expect(left.device("Sharing tab 4")).to_contain_text("Live · follows")
    left.device("Sharing tab 3").locator(".chip").click()
    left.network("Frozen", "Sharing tab 3")
    expect(left.device("Sharing tab 4")).to_contain_text("Live · leads", timeout=20_000)
    left.network("Works", "Sharing tab 3")
    expect(left.device("Sharing tab 3")).to_contain_text("Live · follows")


def test_who_has_closed_both_tabs_is_gone_after_the_grace_period(demo: Demo) -> None:
    left, right = demo.open()
    left.press("Open another tab")
    expect(left.heading("2 devices connected")).to_be_visible()
    left.close("Tab 1", "Tab 2")
    expect(left.link).to_have_text("No open tab")
    expect(right.online(left.user)).to_contain_text("Online")
    expect(right.gone(left.user)).to_contain_text(SEEN)
    expect(right.gone(left.user)).to_contain_text("Offline")
    expect(right.online(left.user)).to_have_count(0)

    left.press("Open a tab")
    expect(right.online(left.user)).to_contain_text("Online")
    expect(right.gone(left.user)).to_have_count(0)


def test_a_status_and_a_text_are_seen_on_the_other_side(demo: Demo) -> None:
    left, right = demo.open()
    left.choose("Do not disturb")
    left.say("Deep in the engine <b>room</b>")
    expect(right.online(left.user)).to_contain_text("Do not disturb")
    expect(right.online(left.user)).to_contain_text("Deep in the engine <b>room</b>")
    expect(left.own).to_have_text("Do not disturb")

    left.say("")
    expect(right.online(left.user)).not_to_contain_text("engine")
    expect(right.online(left.user)).to_contain_text("Do not disturb")


def test_who_steps_away_is_away_until_they_come_back(demo: Demo) -> None:
    left, right = demo.open()
    left.person("Stepped away")
    expect(right.online(left.user)).to_contain_text("Away")
    expect(left.link).to_have_text("Live, idle")
    expect(left.choice("Online")).to_be_checked()
    left.person("There")
    expect(right.online(left.user)).to_contain_text("Online")


def test_invisible_is_offline_for_others_and_the_truth_for_oneself(demo: Demo) -> None:
    left, right = demo.open()
    left.choose("Invisible")
    expect(right.gone(left.user)).to_contain_text(SEEN)
    expect(right.gone(left.user)).to_contain_text("Offline")
    expect(left.own).to_have_text("Invisible: offline for others")
    expect(left.link).to_have_text("Live")
    expect(left.online(left.user)).to_contain_text("Invisible")
    expect(left.online(right.user)).to_be_visible()

    left.choose("Online")
    expect(right.online(left.user)).to_contain_text("Online")
    expect(left.own).to_have_text("Online")


def test_a_choice_is_still_known_when_the_page_is_loaded_again(demo: Demo) -> None:
    left, right = demo.open()
    for choice in ("Away", "Busy", "Invisible"):
        left.choose(choice)
        expect(left.frames("ack")).to_have_count(1)
        left.page.reload()
        expect(left.link).to_have_text("Live")
        expect(left.own).to_contain_text(choice)
        expect(left.choice(choice)).to_be_checked()

    left.choose("Online")
    expect(right.online(left.user)).to_contain_text("Online")


def test_what_is_chosen_elsewhere_does_not_wipe_out_what_is_being_written(
    demo: Demo, deployed: RunningStack
) -> None:
    left, _ = demo.open()
    elsewhere = {"status": "busy", "text": "On the phone"}
    deployed.call("PUT /", user_id=left.user, body=elsewhere)
    expect(left.choice("Busy")).to_be_checked()
    expect(left.text).to_have_value("On the phone")

    left.text.fill("On the train")
    deployed.call("PUT /", user_id=left.user, body=elsewhere | {"status": "dnd"})
    expect(left.choice("Do not disturb")).to_be_checked()
    expect(left.text).to_have_value("On the train")


def test_after_a_cut_network_all_that_was_missed_is_caught_up_with(demo: Demo) -> None:
    left, right = demo.open()
    _, other = demo.open(left="linus", right="margaret")
    expect(left.online(other.user)).to_be_visible()

    left.network("Cut")
    expect(left.link).to_have_text("Reconnecting")
    expect(left.lease).to_have_text(re.compile(r"lease ends in 0:0\d"))
    expect(left.stale).to_be_visible()
    left.choose("Do not disturb")
    other.choose("Invisible")
    right.choose("Busy")
    expect(right.own).to_have_text("Busy")
    expect(right.gone(other.user)).to_be_visible()
    expect(left.online(right.user)).to_contain_text("Online")
    expect(left.online(other.user)).to_be_visible()

    left.network("Works")
    expect(left.link).to_have_text("Live")
    expect(left.stale).to_be_hidden()
    expect(right.online(left.user)).to_contain_text("Do not disturb")
    expect(left.online(right.user)).to_contain_text("Busy")
    expect(left.gone(other.user)).to_contain_text(SEEN)


def test_who_is_forgotten_during_a_cut_is_not_shown_any_more(
    demo: Demo, deployed: RunningStack
) -> None:
    left, right = demo.open()
    left.network("Cut")
    right.close("Tab 1")
    table = {"TableName": deployed.told["tables"]["Users"]}
    deployed.aws("dynamodb").delete_item(**table, Key={"user_id": {"S": right.user}})

    with left.page.expect_request("**/api/user-status/batch") as asked:
        left.network("Works")
    # A stack without public reads wants to know who asks.
    assert asked.value.headers["authorization"].startswith("Bearer ")
    expect(left.link).to_have_text("Live")
    expect(left.online(right.user)).to_have_count(0)


def test_a_page_outlives_the_stack_and_says_what_to_do(demo: Demo, deployed: RunningStack) -> None:
    (port,) = free_ports(1)

    def development_server() -> DevelopmentServer:
        return DevelopmentServer(
            port, deployed.told, lambda user, *_: deployed.token(user), lambda _: {}
        )

    with serving(development_server()):
        left, right = demo.open(url=f"http://localhost:{port}/")
    notice = left.page.get_by_text("The local stack does not answer.")
    expect(notice).to_be_hidden()
    left.press("Open another tab")
    expect(left.link).to_have_text("Reconnecting")
    expect(notice).to_be_visible()

    with serving(development_server()):
        expect(left.link).to_have_text("Live")
        expect(notice).to_be_hidden()
        expect(right.online(left.user)).to_contain_text("Online")
        left.page.goto("about:blank")  # no more requests once the server is gone
    for page in ("/dev/token", "/dev/stack", "/api/user-status"):
        demo.forgive(page)


def test_a_link_that_the_server_closes_is_made_again(demo: Demo, deployed: RunningStack) -> None:
    left, right = demo.open()
    connection_id = left.frame("authentication-success")["connectionId"]
    gateway(deployed).delete_connection(ConnectionId=connection_id)
    expect(left.frames("authentication-success")).to_have_count(2)
    expect(left.link).to_have_text("Live")
    expect(right.frames(f"{left.user} offline")).to_have_count(0)


def test_a_tab_that_is_told_not_to_come_back_stays_closed(
    demo: Demo, deployed: RunningStack
) -> None:
    left, _ = demo.open()
    connection_id = left.frame("authentication-success")["connectionId"]
    closing = json.dumps({"type": "closing", "reason": "kicked"})
    gateway(deployed).post_to_connection(ConnectionId=connection_id, Data=closing)
    gateway(deployed).delete_connection(ConnectionId=connection_id)
    expect(left.link).to_have_text("Closed by the server")
    expect(left.device("Tab 1")).to_contain_text("An administrator has closed it.")

    left.close("Tab 1")
    left.press("Open a tab")
    expect(left.link).to_have_text("Live")


def test_the_wire_log_shows_every_frame_but_no_token(demo: Demo) -> None:
    left, right = demo.open()
    right.choose("Busy")
    said = ("authenticate", "authentication-success", "online-users-list")
    for name in (*said, f"{right.user} busy"):
        expect(left.frames(name).last).to_be_visible()

    frame = left.frame("tab-1")
    assert (frame["action"], frame["device"]) == ("authenticate", "tab-1")
    assert re.fullmatch(r".{12}…", frame["token"])

    last = left.frames(f"{right.user} busy")
    last.locator("summary").click()
    expect(last.locator("pre")).to_be_in_viewport()

    expect(left.frames("ping")).to_have_count(0)
    left.pane.get_by_role("checkbox", name="heartbeats").check()
    expect(left.frames("ping").first).to_be_visible()

    left.press("Clear")
    expect(left.pane.get_by_text("No frame yet.")).to_be_visible()


def test_a_command_copied_from_the_wire_log_says_the_same(
    demo: Demo, deployed: RunningStack
) -> None:
    left, right = demo.open(permissions=["clipboard-read", "clipboard-write"])
    right.choose("Busy")
    frame = left.frames(f"{right.user} busy")
    frame.locator("summary").click()
    frame.get_by_role("button", name="Copy as presence").click()
    expect(frame.get_by_role("button", name="Copied")).to_be_visible()
    command = left.page.evaluate("navigator.clipboard.readText()")

    told = subprocess.run(
        shlex.split(command),
        cwd=ROOT,
        env=os.environ | {"PRESENCE_HOME": str(deployed.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert right.user in told.stdout
    assert "busy" in told.stdout


def test_a_status_can_be_picked_with_the_keyboard_alone(demo: Demo) -> None:
    left, right = demo.open()
    keyboard = left.page.keyboard
    tab_to(left.choice("Online"))
    keyboard.press("ArrowRight")
    expect(right.online(left.user)).to_contain_text("Away")
    expect(left.own).to_have_text("Away")
    keyboard.press("ArrowRight")
    expect(right.online(left.user)).to_contain_text("Busy")
    keyboard.press("Tab")
    keyboard.type("Writing letters")
    keyboard.press("Enter")
    expect(right.online(left.user)).to_contain_text("Writing letters")


def test_a_choice_that_is_refused_is_explained_and_not_shown_as_made(demo: Demo) -> None:
    left, _ = demo.open()
    left.text.fill("\u202esdrawkcab")  # would turn the text of others around, too
    left.choose("Busy")
    expect(left.complaint).to_contain_text("without controls")
    expect(left.own).to_have_text("Online")
    expect(left.choice("Online")).to_be_checked()

    left.text.fill("")
    left.choose("Busy")
    expect(left.complaint).to_be_empty()
    expect(left.own).to_have_text("Busy")


def test_every_control_has_a_name(demo: Demo) -> None:
    left, _ = demo.open()
    left.press("Open another tab")
    left.frames("authentication-success").first.locator("summary").click()
    controls = left.page.locator("button, input, summary, [tabindex='0']").filter(visible=True)
    for control in controls.all():
        expect(control).to_have_accessible_name(re.compile(r"\w{2}"))
    expect(left.page.get_by_role("region", name=f"Wire log of {left.name}")).to_have_count(1)


def test_a_status_is_a_word_and_a_shape_and_not_only_a_colour(demo: Demo) -> None:
    left, right = demo.open()
    shapes = set()
    for status in ("Online", "Away", "Busy", "Do not disturb"):
        left.choose(status)
        row = right.online(left.user)
        expect(row.get_by_text(status, exact=True)).to_be_visible()
        expect(left.own).to_have_text(status)
        shapes.add(row.locator("path").get_attribute("d"))
    assert len(shapes) == 4


def test_what_is_out_of_date_can_still_be_read_by_day_and_by_night(demo: Demo) -> None:
    left, right = demo.open()
    left.network("Cut")
    expect(left.stale).to_be_visible()
    row = left.online(right.user)
    for scheme in SCHEMES:
        left.page.emulate_media(color_scheme=scheme)
        for text in (
            row.get_by_text(right.user),
            row.get_by_text("Online", exact=True),
            left.own,
            left.stale,
        ):
            assert contrast(text) >= 4.5


def test_nothing_sticks_out_at_the_side_however_narrow_the_window(demo: Demo) -> None:
    left, _ = demo.open(left="a" * 60)
    left.say("Donaudampfschiffahrtsgesellschaft" * 4)
    expect(left.online(left.user)).to_contain_text("Donau")
    left.frame("authentication-success")
    for width in (1400, 768, 390, 320):
        left.page.set_viewport_size({"width": width, "height": 800})
        root = "document.documentElement"
        assert left.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
