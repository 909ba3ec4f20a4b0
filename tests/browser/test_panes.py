"""The panes of the demo page in a real browser: faults of devices, chat, watch list and blocks."""

import json
import re

from playwright.sync_api import Locator, expect

from tests.demo import Demo, Side
from tests.stack import RunningStack

#: Until a client notices that it is not answered.
SILENCE = 20_000
#: A choice for ten seconds, and until the server says that it has ended.
CHOICE = 25_000


def sweep(deployed: RunningStack) -> None:
    """What happens once a minute: those whose leases ran out are told."""
    event = {"source": "aws.events", "detail-type": "Scheduled Event"}
    name = deployed.told["functions"]["SweepFunction"]
    deployed.aws("lambda").invoke(FunctionName=name, Payload=json.dumps(event))


def row(side: Side, user: str) -> Locator:
    """A user's row, whether it is up to date or not."""
    return side.online(user)


def test_a_black_hole_is_noticed_and_what_was_known_is_dimmed(demo: Demo) -> None:
    left, right = demo.open()
    expect(row(left, right.user)).not_to_have_attribute("data-stale", "")
    left.network("Black hole")
    expect(left.link).to_have_text("Live")  # as far as it knows
    left.choose("Busy")
    expect(left.frames("lost").first).to_be_attached()
    expect(left.link).to_have_text("Reconnecting", timeout=SILENCE)
    expect(row(left, right.user)).to_have_attribute("data-stale", "")
    expect(left.pane.get_by_role("button", name="Try now")).to_be_visible()

    left.network("Works")
    expect(left.link).to_have_text("Live")
    expect(row(left, right.user)).not_to_have_attribute("data-stale", "")
    left.choose("Busy")
    expect(right.online(left.user)).to_contain_text("Busy")


def test_a_frozen_page_is_offline_when_its_lease_is_over_and_comes_back(
    demo: Demo, deployed: RunningStack
) -> None:
    left, right = demo.open()
    left.network("Frozen")
    expect(left.link).to_have_text("Frozen")
    expect(left.pane.get_by_text("This page is frozen.")).to_be_visible()
    expect(left.lease).to_have_text("lease is over")
    sweep(deployed)
    expect(right.gone(left.user)).to_contain_text("Offline")

    left.network("Works")
    expect(left.link).to_have_text("Live")
    expect(right.online(left.user)).to_contain_text("Online")
    expect(left.online(right.user)).to_contain_text("Online")


def test_a_page_frozen_for_a_moment_hears_what_was_said_meanwhile(demo: Demo) -> None:
    left, right = demo.open()
    left.network("Frozen")
    right.send("Are you there?")
    expect(right.said("Are you there?")).not_to_contain_text("Sending…")
    expect(left.pane.get_by_text("This page is frozen.")).to_be_visible()
    left.network("Works")
    expect(left.said("Are you there?")).to_have_count(1)
    expect(left.frames("authentication-success")).to_have_count(1)


def test_a_phone_that_sleeps_is_connected_again_when_it_wakes(demo: Demo) -> None:
    left, right = demo.open()
    left.press("Open on a phone")
    left.close("Tab 1")
    expect(left.heading("1 device connected")).to_be_visible()
    left.person("Asleep", "Phone 2")
    expect(left.link).to_have_text("Asleep")
    expect(left.pane.get_by_text("This device sleeps.")).to_be_visible()
    right.choose("Busy")
    expect(right.own).to_have_text("Busy")
    left.person("There", "Phone 2")
    expect(left.link).to_have_text("Live")
    expect(left.online(right.user)).to_contain_text("Busy")


def test_who_hides_the_tab_is_away_unless_there_is_another_device(demo: Demo) -> None:
    left, right = demo.open()
    left.person("Tab hidden")
    expect(right.online(left.user)).to_contain_text("Away")
    left.press("Open on a phone")
    expect(right.online(left.user)).to_contain_text("Online")
    left.close("Phone 2")
    expect(right.online(left.user)).to_contain_text("Away")


def test_the_next_attempt_is_counted_down_to_and_can_be_made_at_once(demo: Demo) -> None:
    left, _ = demo.open()
    left.network("Cut")
    expect(left.link.locator("..")).to_contain_text(re.compile(r"Reconnecting ?in 0:\d\d"))
    left.pane.get_by_role("button", name="Try now").click()
    expect(left.frames("authentication-success")).to_have_count(1)
    left.network("Works")
    expect(left.link).to_have_text("Live")


def test_a_device_is_looked_at_that_one_chooses(demo: Demo) -> None:
    left, right = demo.open()
    left.press("Open on a phone")
    expect(left.frames("authentication-success")).to_have_count(2)
    left.network("Cut", "Phone 2")
    expect(left.link).to_have_text("Reconnecting")
    expect(left.heading("1 device connected")).to_be_visible()
    left.device("Tab 1").get_by_role("button", name="Tab 1 Live").click()
    expect(left.link).to_have_text("Live")
    right.send("On which of them?")
    expect(left.said("On which of them?")).to_have_count(1)


def test_a_third_person_joins_and_leaves(demo: Demo) -> None:
    left, right = demo.open()
    page = left.page
    third = Side(page, demo.name("linus"))
    page.get_by_role("textbox", name="User id of another person").fill(third.user)
    page.get_by_role("button", name="Add a person").click()
    third.expect_connected()
    expect(left.online(third.user)).to_contain_text("Online")
    third.send("Three is company")
    for side in (left, right):
        expect(side.said("Three is company")).to_have_count(1)

    page.reload()
    third.expect_connected()
    third.press(f"Remove {third.name}")
    expect(third.pane).to_have_count(0)
    expect(left.gone(third.user)).to_contain_text("Offline")


def test_a_status_for_a_while_ends_by_itself(demo: Demo) -> None:
    left, right = demo.open()
    left.choose("Busy")
    expect(right.online(left.user)).to_contain_text("Busy")
    left.pane.get_by_role("combobox", name="How long").select_option("For 10 seconds")
    expect(left.pane).to_contain_text(re.compile(r"ends in 0:\d\d"))
    expect(right.online(left.user)).to_contain_text("Online", timeout=CHOICE)
    expect(left.choice("Online")).to_be_checked()


def test_chat_sessions_are_joined_switched_and_left(demo: Demo) -> None:
    left, right = demo.open()
    other = demo.name("engine-room")
    left.join(other)
    expect(left.member_count).to_have_text("1 member")
    right.join(other)
    expect(left.member_count).to_have_text("2 members")
    left.send("Only in here")
    expect(right.said("Only in here")).to_have_count(1)

    left.press(demo.session)
    expect(left.said("Only in here")).to_have_count(0)
    left.press(other)
    expect(left.said("Only in here")).to_have_count(1)
    right.press("Leave")
    expect(left.member_count).to_have_text("1 member")
    expect(right.member_count).to_have_text("2 members")  # of the other one


def test_members_are_shown_some_at_a_time(demo: Demo) -> None:
    left, _ = demo.open()
    page = left.page
    others = [Side(page, demo.name(name)) for name in ("alan", "barbara", "edsger", "frances")]
    for side in others:
        page.get_by_role("textbox", name="User id of another person").fill(side.user)
        page.get_by_role("button", name="Add a person").click()
    expect(left.member_count).to_have_text("6 members")
    demo.open(left="linus", right="margaret")
    demo.open(left="radia", right="sophie")
    expect(left.member_count).to_have_text("10 members")
    rows = left.member("")
    expect(rows).to_have_count(8)
    left.press("2 more")
    expect(rows).to_have_count(10)


# ── chat, watch list and blocks ──────────────────────────────────────────────────────────────────


def test_a_message_is_read_on_both_sides_and_nothing_in_it_is_markup(demo: Demo) -> None:
    left, right = demo.open()
    left.send("Hello <b>there</b>")
    expect(right.said("Hello <b>there</b>")).to_contain_text("Ada-")
    expect(left.said("Hello <b>there</b>")).to_contain_text("You")
    expect(left.message).to_have_value("")
    right.send("Hello yourself")
    expect(left.said("Hello yourself")).to_have_count(1)
    expect(right.said("Hello yourself")).to_have_count(1)


def test_two_tabs_of_one_person_show_a_message_once(demo: Demo) -> None:
    left, right = demo.open()
    left.press("Open another tab")
    expect(left.frames("authentication-success")).to_have_count(2)
    right.send("Only once")
    expect(left.frames("Only once")).to_have_count(2)
    expect(left.said("Only once")).to_have_count(1)


def test_who_writes_is_seen_writing_until_the_field_is_empty_or_the_message_sent(
    demo: Demo,
) -> None:
    left, right = demo.open()
    right.message.press_sequentially("Hm")
    expect(left.typing).to_have_text(f"{right.name} is typing…")
    expect(right.typing).to_be_empty()
    right.message.fill("")
    expect(left.typing).to_be_empty()

    right.message.fill("Now then")
    right.press("Send")
    expect(left.said("Now then")).to_be_visible()
    expect(left.typing).to_be_empty()
    right.message.press_sequentially("And")
    expect(left.typing).to_have_text(f"{right.name} is typing…")


def test_members_are_those_whose_tabs_are_open(demo: Demo) -> None:
    left, right = demo.open()
    expect(left.member_count).to_have_text("2 members")
    expect(left.member(right.user)).to_be_visible()
    right.close("Tab 1")
    expect(left.member_count).to_have_text("1 member")
    expect(left.member(right.user)).to_have_count(0)
    expect(left.member(left.user)).to_be_visible()


def test_after_a_cut_network_one_is_in_the_chat_again(demo: Demo) -> None:
    left, right = demo.open()
    left.network("Cut")
    expect(left.link).to_have_text("Reconnecting")
    left.send("Said into the void")
    expect(left.said("Said into the void")).to_contain_text("Sending…")
    left.network("Works")
    expect(left.frames("authentication-success")).to_have_count(2)
    expect(right.said("Said into the void")).to_have_count(1)
    expect(left.said("Said into the void")).not_to_contain_text("Sending…")
    right.send("Back already?")
    expect(left.said("Back already?")).to_be_visible()


def test_a_blocking_user_is_offline_for_the_blocked_viewer_until_unblocked(demo: Demo) -> None:
    left, right = demo.open()
    row = left.online(right.user)
    row.get_by_role("button", name=f"Block {right.user}", exact=True).click()
    expect(right.gone(left.user)).to_contain_text("Offline")
    expect(right.online(left.user)).to_have_count(0)
    expect(left.own).to_have_text("Online")

    left.page.reload()  # it is still known who is blocked
    row.get_by_role("button", name=f"Unblock {right.user}", exact=True).click()
    expect(right.online(left.user)).to_contain_text("Online")
    expect(right.gone(left.user)).to_have_count(0)


def test_a_watched_user_is_shown_live_until_unwatched(demo: Demo) -> None:
    left, _ = demo.open()
    third = demo.name("linus")
    left.watch(third)
    expect(left.watched(third)).to_contain_text("never seen")
    linus, _ = demo.open(left="linus", right="margaret")
    expect(left.watched(third)).to_contain_text("Online")
    linus.choose("Busy")
    expect(left.watched(third)).to_contain_text("Busy")
    left.press(f"Unwatch {third}")
    expect(left.watched(third)).to_have_count(0)
