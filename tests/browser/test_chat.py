"""The chat, the watch list and the blocks of the demo page, in a real browser."""

from playwright.sync_api import expect

from tests.demo import Demo


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
    expect(left.frames("chat-session-joined")).to_have_count(2)
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
    expect(left.frames("chat-session-joined")).to_have_count(2)
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
