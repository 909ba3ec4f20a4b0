"""Block, kick and erase, through the handlers."""

import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from presence import bootstrap
from presence.domain.connection import State
from presence.limits import STANDING_MILLISECONDS
from tests.functions.conftest import DESK, PHONE, ROOM, START, TAB, WATCH, Event, Stack
from tests.functions.test_user_status import (
    ADMIN,
    MEMBERS,
    MESSAGES,
    PUBLISH,
    body_of,
    code_of,
    nothing_in,
)

#: Removing ada from the chat session, and allowing her again.
MEMBER = [f"DELETE {MEMBERS}/ada", f"PUT {MEMBERS}/ada"]

ADA = "ada.lovelace-1815"  # in no other text
LAST = "ZZZZcOFvHcCIhw0="  # a device more


def block(stack: Stack, user_id: str, viewer_id: str, method: str = "PUT") -> Event:
    return stack.http(f"{method} /blocked/{viewer_id}", token=stack.token(user_id))


def read(stack: Stack, user_id: str, viewer_id: str) -> Event:
    return body_of(stack.http(f"GET /{user_id}", token=stack.token(viewer_id)))


def told(frames: list[Event]) -> list[tuple[str, str]]:
    return [(it["userId"], it["status"]) for frame in frames for it in frame.get("changes", [])]


# ── block ───────────────────────────────────────────────────────────────────


def test_a_list_of_blocked_users_is_kept_for_the_caller(stack: Stack) -> None:
    token = stack.token("ada")
    for viewer_id in ("eve", "Mallory", "bob@example.com", "eve"):
        assert nothing_in(block(stack, "ada", viewer_id))
    assert nothing_in(block(stack, "ada", "Mallory", "DELETE"))
    assert nothing_in(block(stack, "ada", "unknown", "DELETE"))

    listed = body_of(stack.http("GET /blocked", token=token))
    asked = [
        body_of(stack.http(f"GET /blocked/{name}", token=token)) for name in ("eve", "Mallory")
    ]

    assert listed == {"userIds": ["bob@example.com", "eve"]}
    assert asked == [{"userId": "eve", "blocked": True}, {"userId": "Mallory", "blocked": False}]
    assert body_of(stack.http("GET /blocked", token=stack.token("eve"))) == {"userIds": []}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("viewer_id", ["a b", "a#b", "x" * 129, "ада", "a%20b"], ids=ascii)
def test_what_is_no_id_is_not_blocked(stack: Stack, method: str, viewer_id: str) -> None:
    answer = block(stack, "ada", viewer_id, method)

    assert code_of(answer, answer["statusCode"]) in ("invalid-message", "not-found")
    assert stack.image("ada") is None


def test_every_way_of_reading_agrees(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("eve", PHONE)
    stack.enter(TAB)
    block(stack, "ada", "eve")
    stack.wait(10_000)
    token = stack.token("eve")

    single = read(stack, "ada", "eve")
    batch = body_of(stack.http("POST /batch", token=token, body={"userIds": ["ada"]}))
    online = body_of(stack.http("GET /online", token=token))
    count = body_of(stack.http("GET /online/count", token=token))
    members = body_of(stack.http(f"GET /chat-sessions/{ROOM}/members", token=token))
    watching = stack.ask(PHONE, "watch", userIds=["ada"])
    listed = stack.ask(PHONE, "online")
    behind = stack.ask(
        PHONE, "online", cursor=bootstrap.app().ports.online_index.position_of("eve")
    )

    assert single["status"] == "offline"
    assert batch["users"] == watching["users"] == [single]
    assert [it["userId"] for it in online["users"]] == ["eve"]
    assert [it["userId"] for it in listed["users"]] == ["eve"]
    assert (online["onlineCount"], listed["onlineCount"], count["count"]) == (1, 1, 1)
    assert (behind["users"], behind["onlineCount"]) == ([], 1)
    assert (members["members"], members["memberCount"]) == ([], 0)


@pytest.mark.fault("A cache asks for one viewer with the tag of what it kept for another.")
@pytest.mark.parametrize("first", ["ada", "eve"], ids=["oneself", "blocked"])
def test_a_tag_of_one_viewer_is_not_the_tag_of_another(stack: Stack, first: str) -> None:
    stack.join("ada", TAB)
    block(stack, "ada", "eve")
    if first == "ada":
        stack.send(TAB, {"action": "status", "status": "invisible"})
    stack.wait(10_000)
    tag = stack.http("GET /ada", token=stack.token(first))["headers"]["ETag"]

    headers = {"if-none-match": tag}
    answers = [
        stack.http("GET /ada", token=stack.token(name), headers=headers) for name in (first, "bob")
    ]

    assert [answer["statusCode"] for answer in answers] == [304, 200]
    assert all(answer["headers"]["Vary"] == "Authorization" for answer in answers)


# ── being thrown out ───────────────────────────────────────────────────────────────────────


def throw_out(stack: Stack, user_id: str) -> Event:
    admin = stack.token("root", scope=ADMIN)
    return stack.http(f"DELETE /users/{user_id}/connections", token=admin)


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
    assert stack.subscribers() == {WATCH}


def test_a_kicked_user_may_reconnect(stack: Stack) -> None:
    stack.join("ada", TAB)
    throw_out(stack, "ada")

    assert stack.ask(TAB, "ping")["code"] == "not-authenticated"
    assert stack.join("ada", PHONE)["type"] == "authentication-success"


@pytest.mark.parametrize("scope", ["", PUBLISH, "presence:administrator", "admin"])
@pytest.mark.parametrize("caller", ["ada", "eve"])
def test_a_kick_needs_the_scope(stack: Stack, caller: str, scope: str) -> None:
    stack.join("ada", TAB)

    answer = stack.http("DELETE /users/ada/connections", token=stack.token(caller, scope=scope))

    record = stack.connection(TAB)
    assert code_of(answer, 403) == "forbidden"
    assert record is not None
    assert record.state is State.AUTHENTICATED


# ── revoked tokens ─────────────────────────────────────────────────────────────────────────


def revoke(stack: Stack, body: Event, user_id: str = "ada") -> Event:
    root = stack.token("root", scope=ADMIN)
    return stack.http(f"POST /users/{user_id}/revocations", token=root, body=body)


@pytest.mark.fault("A user's tokens are revoked while they are in use.")
def test_revoked_tokens_open_nothing_read_nothing_and_close_what_they_opened(stack: Stack) -> None:
    old = stack.token("ada")
    stack.join("ada", TAB)
    stack.http("GET /eve", token=old)
    stack.wait(1_000)

    assert nothing_in(revoke(stack, {}))

    assert stack.gateway.closed == [TAB]
    assert stack.ask(TAB, "ping")["code"] == "not-authenticated"
    stack.connect(PHONE)
    assert stack.ask(PHONE, "authenticate", token=old)["code"] == "token-invalid"
    stack.wait(STANDING_MILLISECONDS)
    for line, body in (("GET /eve", None), ("PUT /", {"status": "busy"}), ("GET /online", None)):
        assert code_of(stack.http(line, token=old, body=body), 401) == "token-invalid"
    assert (
        stack.ask(PHONE, "authenticate", token=stack.token("ada"))["type"]
        == "authentication-success"
    )
    assert stack.http("GET /eve", token=stack.token("ada"))["statusCode"] == 200


def test_one_token_is_revoked_by_its_id(stack: Stack) -> None:
    lost, kept = (stack.token("ada", jti=name) for name in ("https://issuer/1", "2"))

    for _ in range(2):
        assert nothing_in(revoke(stack, {"tokenId": "https://issuer/1"}))

    assert code_of(stack.http("GET /eve", token=lost), 401) == "token-invalid"
    assert stack.http("GET /eve", token=kept)["statusCode"] == 200
    assert "issuer/1" not in as_text(stack.everything())


@pytest.mark.parametrize(
    "body",
    [
        {"notBefore": "now"},
        {"notBefore": True},
        {"notBefore": 0},
        {"notBefore": START + 1},
        {"tokenId": 7},
        {"tokenId": ""},
        {"tokenId": "a", "notBefore": START},
    ],
)
def test_a_revocation_that_means_nothing_is_refused(stack: Stack, body: Event) -> None:
    assert code_of(revoke(stack, body), 400) == "invalid-message"
    assert stack.image("ada") is None


@pytest.mark.parametrize("line", ["POST /users/ada/revocations", *MEMBER])
@pytest.mark.parametrize("scope", ["", PUBLISH, "admin"])
def test_what_back_ends_decide_needs_the_scope(stack: Stack, line: str, scope: str) -> None:
    answer = stack.http(line, token=stack.token("ada", scope=scope), body={})

    assert code_of(answer, 403) == "forbidden"
    assert stack.image("ada") is None


# ── removed from a chat session ────────────────────────────────────────────────────────────


def test_a_removed_member_is_told_nothing_more_and_refused_everywhere(stack: Stack) -> None:
    token, root = stack.token("ada"), stack.token("root", scope=f"{ADMIN} {PUBLISH}")
    stack.join("ada", TAB)
    stack.join("bob", PHONE)
    for connection_id in (TAB, PHONE):
        stack.enter(connection_id)
    stack.calm()

    assert nothing_in(stack.http(MEMBER[0], token=root))

    stack.http(f"POST {MESSAGES}", token=root, body={"content": 1})
    assert [it["type"] for it in stack.heard(TAB)] == []
    assert [it["type"] for it in stack.heard(PHONE)] == ["new-message"]
    for action in ("join", "typing", "message"):
        assert stack.ask(TAB, action)["code"] == "forbidden"
    assert code_of(stack.http(f"GET {MEMBERS}", token=token), 403) == "forbidden"
    assert nothing_in(stack.http(MEMBER[1], token=root))
    assert stack.ask(TAB, "join")["type"] == "chat-session-joined"


def test_a_claim_limits_where_an_administrator_removes(stack: Stack) -> None:
    root = stack.token("root", scope=ADMIN, chat_sessions=["hall"])

    assert code_of(stack.http(MEMBER[0], token=root), 403) == "forbidden"
    assert stack.image("ada") is None


# ── being forgotten ────────────────────────────────────────────────────────────────────────


def erase(stack: Stack, user_id: str = ADA) -> Event:
    return stack.http(f"DELETE /users/{user_id}", token=stack.token("root", scope=ADMIN))


def as_text(item: Any) -> str:
    """With what is packed in it."""
    return json.dumps(item, default=lambda packed: zlib.decompress(packed).decode())


def items_that_name(stack: Stack, user_id: str = ADA) -> list[Event]:
    return [item for item in stack.everything() if user_id in as_text(item)]


def a_life(stack: Stack) -> None:
    """All that a user can leave behind: devices, rooms, watchers, blocks in both directions."""
    for connection_id in (TAB, PHONE):
        stack.join(ADA, connection_id)
        stack.enter(connection_id)
        stack.ask(connection_id, "watch", userIds=["grace", "unknown", ADA])
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


#: For each of two watchers a row of the topic, and an entry of the list.
WATCHES = 4
AFTERWARDS: dict[str, Callable[[Stack], object]] = {
    "the-stream": lambda stack: stack.stream(),
    "the-timers": lambda stack: stack.run_timers(),
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


def test_no_item_in_any_table_names_a_user_who_was_erased(stack: Stack) -> None:
    """But the watches of others: they are theirs, and end with their connections."""
    a_life(stack)
    assert len(items_that_name(stack)) > 50

    answer = erase(stack)

    assert nothing_in(answer)
    assert len(items_that_name(stack)) == WATCHES
    for name, happens in AFTERWARDS.items():
        happens(stack)
        assert len(items_that_name(stack)) == WATCHES, name
    stack.wait(90_000)
    stack.invoke("sweep")
    stack.run_timers()
    for name in (WATCH, DESK):
        stack.disconnect(name)
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
    users = bootstrap.app().ports.users
    raise_floor, left = users.raise_floor, [meanwhile]

    def raise_slowly(version: int) -> None:
        raise_floor(version)
        if left:
            left.pop()(stack)

    monkeypatch.setattr(users, "raise_floor", raise_slowly)

    answer = erase(stack)

    assert nothing_in(answer)
    assert items_that_name(stack) == []


@pytest.mark.parametrize("scope", ["", PUBLISH, "presence:administrator"])
def test_erasing_another_user_needs_the_scope(stack: Stack, scope: str) -> None:
    stack.join("ada", TAB)
    stored = stack.everything()

    answer = stack.http("DELETE /users/ada", token=stack.token("eve", scope=scope))

    assert code_of(answer, 403) == "forbidden"
    assert stack.everything() == stored
