"""Hiding from somebody, being thrown out and being forgotten, through the handlers."""

import json
from collections.abc import Callable

import pytest

from presence import bootstrap
from presence.domain.connection import State
from tests.functions.conftest import DESK, PHONE, ROOM, START, TAB, WATCH, Event, Stack
from tests.functions.test_user_status import ADMIN, OFFLINE, PUBLISH, body_of, code_of, nothing_in

ADA = "ada.lovelace-1815"  # in no other text
LAST = "ZZZZcOFvHcCIhw0="  # a device more


def block(stack: Stack, user_id: str, viewer_id: str, method: str = "PUT") -> Event:
    return stack.http(f"{method} /blocked/{viewer_id}", token=stack.token(user_id))


def read(stack: Stack, user_id: str, viewer_id: str) -> Event:
    return body_of(stack.http(f"GET /{user_id}", token=stack.token(viewer_id)))


def told(frames: list[Event]) -> list[tuple[str, str]]:
    return [(it["userId"], it["status"]) for frame in frames for it in frame.get("changes", [])]


# ── hiding from somebody ───────────────────────────────────────────────────────────────────


def test_a_list_of_blocked_users_is_kept_for_the_caller(stack: Stack) -> None:
    token = stack.token("ada")
    for viewer_id in ("eve", "Mallory", "bob@example.com", "eve"):
        assert nothing_in(block(stack, "ada", viewer_id))
    assert nothing_in(block(stack, "ada", "Mallory", "DELETE"))
    assert nothing_in(block(stack, "ada", "nobody", "DELETE"))

    listed = body_of(stack.http("GET /blocked", token=token))
    asked = [
        body_of(stack.http(f"GET /blocked/{name}", token=token)) for name in ("eve", "Mallory")
    ]

    assert listed == {"userIds": ["bob@example.com", "eve"]}
    assert asked == [{"userId": "eve", "blocked": True}, {"userId": "Mallory", "blocked": False}]
    assert body_of(stack.http("GET /blocked", token=stack.token("eve"))) == {"userIds": []}


def test_nobody_blocks_themselves(stack: Stack) -> None:
    answer = block(stack, "ada", "ada")

    assert code_of(answer, 409) == "conflict"
    assert stack.image("ada") is None


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("viewer_id", ["a b", "a#b", "x" * 129, "ада", "a%20b"], ids=ascii)
def test_what_is_no_id_is_not_blocked(stack: Stack, method: str, viewer_id: str) -> None:
    answer = block(stack, "ada", viewer_id, method)

    assert code_of(answer, answer["statusCode"]) in ("invalid-message", "not-found")
    assert stack.image("ada") is None


def test_whoever_is_blocked_hears_and_reads_that_the_user_has_left(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("eve", PHONE)
    stack.join("bob", WATCH)
    stack.calm()
    stack.wait(1_000)

    block(stack, "ada", "eve")
    stack.stream()
    heard = {name: told(frames) for name, frames in stack.all_heard().items()}
    seen = [read(stack, "ada", name) for name in ("eve", "bob", "ada")]
    stack.ask(TAB, "status", status="busy")
    stack.stream()

    assert heard == {PHONE: [("ada", "offline")]}
    assert [it["status"] for it in seen] == ["offline", "online", "online"]
    assert seen[0]["lastSeen"] == START + 1_000
    assert {name: told(frames) for name, frames in stack.all_heard().items()} == {
        TAB: [("ada", "busy")],
        WATCH: [("ada", "busy")],
    }


def test_every_way_of_reading_agrees(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("eve", PHONE)
    stack.enter(TAB)
    block(stack, "ada", "eve")
    token = stack.token("eve")

    single = read(stack, "ada", "eve")
    batch = body_of(stack.http("POST /batch", token=token, body={"userIds": ["ada"]}))
    online = body_of(stack.http("GET /online", token=token))
    count = body_of(stack.http("GET /online/count", token=token))
    members = body_of(stack.http(f"GET /chat-sessions/{ROOM}/members", token=token))
    watching = stack.ask(PHONE, "watch", userIds=["ada"])
    listed = stack.ask(PHONE, "online")
    behind = stack.ask(PHONE, "online", cursor=bootstrap.app().statuses.roster.position_of("eve"))

    assert single["status"] == "offline"
    assert batch["users"] == watching["users"] == [single]
    assert [it["userId"] for it in online["users"]] == ["eve"]
    assert [it["userId"] for it in listed["users"]] == ["eve"]
    assert (online["onlineCount"], listed["onlineCount"], count["count"]) == (1, 1, 1)
    assert (behind["users"], behind["onlineCount"]) == ([], 1)
    assert (members["members"], members["memberCount"]) == ([], 0)


def test_whoever_is_unblocked_takes_the_truth_for_news(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("eve", PHONE)
    block(stack, "ada", "eve")
    hidden = stack.http("GET /ada", token=stack.token("eve"))
    stack.calm()

    block(stack, "ada", "eve", "DELETE")
    stack.stream()

    (change,) = [it for frame in stack.heard(PHONE) for it in frame["changes"]]
    shown = stack.http("GET /ada", token=stack.token("eve"))
    assert (change["userId"], change["status"]) == ("ada", "online")
    assert change["version"] > body_of(hidden)["version"]
    assert body_of(shown) == change
    assert shown["headers"]["ETag"] != hidden["headers"]["ETag"]


def test_a_tag_of_one_viewer_is_not_the_tag_of_another(stack: Stack) -> None:
    stack.join("ada", TAB)
    block(stack, "ada", "eve")
    tag = stack.http("GET /ada", token=stack.token("eve"))["headers"]["ETag"]

    headers = {"if-none-match": tag}
    answers = [
        stack.http("GET /ada", token=stack.token(name), headers=headers) for name in ("eve", "bob")
    ]

    assert [answer["statusCode"] for answer in answers] == [304, 200]
    assert all(answer["headers"]["Vary"] == "Authorization" for answer in answers)


# ── being thrown out ───────────────────────────────────────────────────────────────────────


def throw_out(stack: Stack, user_id: str) -> Event:
    return stack.http(f"DELETE /{user_id}/connections", token=stack.token("root", scope=ADMIN))


def die_halfway(stack: Stack, connection_id: str) -> None:
    """A disconnect closes the gate first; this one gets no further."""
    bootstrap.app().connections.close(connection_id, stack.clock.now)


@pytest.mark.fault("A user is banned while connected.")
def test_an_administrator_closes_every_connection_of_a_user(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("ada", PHONE)
    stack.join("eve", WATCH)
    stack.enter(TAB)
    stack.calm()
    stack.wait(1_000)

    answer = throw_out(stack, "ada")
    heard = stack.all_heard()
    stack.stream()

    assert nothing_in(answer)
    assert heard == {name: [{"type": "closing", "reason": "kicked"}] for name in (TAB, PHONE)}
    assert sorted(stack.gateway.closed) == sorted([TAB, PHONE])
    assert told(stack.heard(WATCH)) == [("ada", "offline")]
    assert read(stack, "ada", "eve")["lastSeen"] == START + 1_000
    assert stack.listeners() == {WATCH}


def test_whoever_was_thrown_out_is_so_when_api_gateway_says_so_too(stack: Stack) -> None:
    stack.join("ada", TAB)
    throw_out(stack, "ada")
    stack.calm()
    stored = stack.everything()

    stack.disconnect(TAB)
    stack.settle()
    stack.stream()

    assert stack.all_heard() == {}
    assert stack.everything() == stored


def test_whoever_was_thrown_out_may_come_back(stack: Stack) -> None:
    stack.join("ada", TAB)
    throw_out(stack, "ada")

    assert stack.ask(TAB, "ping")["code"] == "not-authenticated"
    assert stack.join("ada", PHONE)["type"] == "authentication-success"


def test_throwing_out_ends_what_a_disconnect_left_half_done(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.enter(TAB)
    die_halfway(stack, TAB)

    throw_out(stack, "ada")

    assert read(stack, "ada", "eve")["status"] == "offline"
    assert stack.listeners() == set()


def test_throwing_out_nobody_is_fine(stack: Stack) -> None:
    assert nothing_in(throw_out(stack, "nobody"))
    assert stack.everything() == []


@pytest.mark.parametrize("scope", ["", PUBLISH, "presence:administrator", "admin"])
@pytest.mark.parametrize("caller", ["ada", "eve"])
def test_only_the_scope_lets_anybody_throw_out(stack: Stack, caller: str, scope: str) -> None:
    stack.join("ada", TAB)

    answer = stack.http("DELETE /ada/connections", token=stack.token(caller, scope=scope))

    gate = stack.gate(TAB)
    assert code_of(answer, 403) == "forbidden"
    assert gate is not None
    assert gate.state is State.AUTHENTICATED


# ── being forgotten ────────────────────────────────────────────────────────────────────────


def erase(stack: Stack, user_id: str = ADA) -> Event:
    return stack.http(f"DELETE /{user_id}", token=stack.token("root", scope=ADMIN))


def items_that_name(stack: Stack, user_id: str = ADA) -> list[Event]:
    return [item for item in stack.everything() if user_id in json.dumps(item)]


def a_life(stack: Stack) -> None:
    """All that a user can leave behind: devices, rooms, watchers, blocks in both directions."""
    for connection_id in (TAB, PHONE):
        stack.join(ADA, connection_id)
        stack.enter(connection_id)
        stack.ask(connection_id, "watch", userIds=["grace", "nobody", ADA])
    stack.enter(TAB, "room.2")
    stack.ask(TAB, "typing")
    for number in range(3):
        name = f"{number:0>15}="
        stack.join(ADA, name)
        stack.enter(name)
        stack.ask(name, "watch", userIds=["grace"])
        stack.disconnect(name)
    stack.join("grace", WATCH)
    stack.enter(WATCH)
    stack.ask(WATCH, "watch", userIds=[ADA, "alan"])
    stack.join("alan", DESK)
    stack.enter(DESK)
    stack.ask(DESK, "watch", userIds=[ADA])
    for name in ("grace", "someone.offline"):
        block(stack, name, ADA)
    for number in range(45):
        block(stack, ADA, f"blocked-{number}")
    block(stack, ADA, "alan")
    stack.ask(TAB, "status", status="busy", text="writing")
    stack.calm()


AFTERWARDS: dict[str, Callable[[Stack], object]] = {
    "the-stream": lambda stack: stack.stream(),
    "the-timers": lambda stack: stack.settle(),
    "the-posts": lambda stack: stack.deliver(),
    "api-gateway": lambda stack: [stack.disconnect(name) for name in (TAB, PHONE)],
    "the-clients": lambda stack: [
        stack.send(name, stack.fields(action))
        for name in (TAB, PHONE)
        for action in ("ping", "join")
    ],
    "the-sweep": lambda stack: stack.invoke("sweep"),
    "a-reader": lambda stack: read(stack, ADA, "grace"),
}


def test_whoever_erases_themselves_stays_on_the_privacy_lists_of_others(stack: Stack) -> None:
    a_life(stack)
    blockers = set(bootstrap.app().subscriptions.blockers(ADA))
    assert blockers

    answer = stack.http(f"DELETE /{ADA}", token=stack.token(ADA))

    left = items_that_name(stack)
    rows = [item for item in left if item.get("topic") == {"S": f"blocked:{ADA}"}]
    lists = [item for item in left if ADA in item.get("blocked", {}).get("M", {})]
    assert nothing_in(answer)
    assert {item["subscriber"]["S"] for item in rows} == blockers
    assert {item["user_id"]["S"] for item in lists} == blockers
    seats = [item for item in left if "hidden_from" in item]
    assert {item["subscriber"]["S"] for item in seats} <= blockers
    assert len(left) == len(rows) + len(lists) + len(seats)
    assert read(stack, blockers.pop(), ADA)["status"] == "offline"


def test_no_item_in_any_table_names_a_user_who_was_erased(stack: Stack) -> None:
    a_life(stack)
    assert len(items_that_name(stack)) > 50

    answer = erase(stack)

    assert nothing_in(answer)
    assert items_that_name(stack) == []
    for name, happens in AFTERWARDS.items():
        happens(stack)
        assert items_that_name(stack) == [], name
    stack.wait(90_000)
    stack.invoke("sweep")
    stack.settle()
    assert items_that_name(stack) == []


def come_and_go(stack: Stack) -> None:
    stack.join(ADA, LAST)
    stack.enter(LAST)
    stack.ask(LAST, "watch", userIds=["grace"])
    stack.disconnect(LAST)


MEANWHILE: dict[str, Callable[[Stack], object]] = {
    "comes": lambda stack: [stack.join(ADA, LAST), stack.enter(LAST)],
    "comes-and-goes": come_and_go,
    "blocks": lambda stack: block(stack, ADA, "mallory"),
    "chooses": lambda stack: stack.http("PUT /", token=stack.token(ADA), body={"status": "busy"}),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE.values(), ids=MEANWHILE)
def test_whatever_an_erased_user_does_meanwhile_leaves_no_row(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[Stack], object]
) -> None:
    stack.join(ADA, TAB)
    stack.enter(TAB)
    subscriptions = bootstrap.app().subscriptions
    forget, left = subscriptions.forget, [meanwhile]

    def forget_slowly(user_id: str) -> None:
        forget(user_id)
        if left:
            left.pop()(stack)

    monkeypatch.setattr(subscriptions, "forget", forget_slowly)

    answer = erase(stack)

    assert nothing_in(answer)
    assert items_that_name(stack) == []


def test_the_others_lose_nothing_but_the_one_who_was_erased(stack: Stack) -> None:
    a_life(stack)
    block(stack, "grace", "mallory")

    erase(stack)

    path = f"/chat-sessions/{ROOM}/members"
    members = body_of(stack.http(f"GET {path}", token=stack.token("a.stranger")))
    assert stack.user("grace").blocked.keys() == {"mallory"}
    assert stack.user("grace").sessions == stack.user("alan").sessions == {ROOM}
    assert stack.watchers("alan") == {WATCH}
    assert stack.listeners() == {WATCH, DESK}
    assert [it["userId"] for it in members["members"]] == ["alan", "grace"]


def test_whoever_may_know_hears_that_the_erased_user_has_left(private: Stack) -> None:
    stack = private
    a_life(stack)
    hidden = read(stack, ADA, "alan")

    erase(stack)
    stack.stream()

    # alan was blocked: for him the user left long ago, and he has that version.
    news = [it for frame in stack.heard(DESK) for it in frame.get("changes", [])]
    assert [it for it in news if it["version"] > hidden["version"]] == []
    assert set(told(stack.heard(WATCH))) == {(ADA, "offline")}
    assert stack.heard(TAB)[0] == {"type": "closing", "reason": "kicked"}
    assert read(stack, ADA, "grace") == {"userId": ADA, **OFFLINE}


def test_erasing_may_be_repeated_and_needs_nobody(stack: Stack) -> None:
    a_life(stack)

    answers = [*(erase(stack) for _ in range(3)), erase(stack, "nobody.at.all")]

    assert all(nothing_in(answer) for answer in answers)
    assert items_that_name(stack) == items_that_name(stack, "nobody.at.all") == []


def test_what_a_disconnect_left_half_done_is_erased_as_well(stack: Stack) -> None:
    a_life(stack)
    die_halfway(stack, TAB)

    erase(stack)

    assert items_that_name(stack) == []


@pytest.mark.parametrize("late", ["the timer of the sweep", "the disconnect"])
def test_what_comes_late_does_not_bring_an_erased_user_back(stack: Stack, late: str) -> None:
    """The sweep took the lease, so erasing did not know of the connection."""
    stack.join(ADA, TAB)
    stack.enter(TAB)
    stack.wait(90_000)
    stack.invoke("sweep")
    erase(stack)

    if late == "the disconnect":
        stack.disconnect(TAB)
    stack.settle()

    assert items_that_name(stack) == []


def test_whoever_comes_back_begins_anew_with_a_version_that_others_take(stack: Stack) -> None:
    stack.join(ADA, TAB)
    block(stack, ADA, "eve")
    before = read(stack, ADA, "grace")
    erase(stack)
    stack.wait(1_000)

    stack.join(ADA, PHONE)

    after = read(stack, ADA, "grace")
    assert after["version"] > before["version"]
    assert stack.user(ADA).blocked == {}


@pytest.mark.parametrize("scope", ["", PUBLISH, "presence:administrator"])
def test_nobody_erases_somebody_else_without_the_scope(stack: Stack, scope: str) -> None:
    stack.join("ada", TAB)
    stored = stack.everything()

    answer = stack.http("DELETE /ada", token=stack.token("eve", scope=scope))

    assert code_of(answer, 403) == "forbidden"
    assert stack.everything() == stored
