"""Who may talk: tokens, origins, and the time there is to show one."""

import time
from contextlib import AsyncExitStack
from typing import Any

import jwt
import pytest

from presence_client.errors import CannotConnect, Refused
from presence_client.tokens import AUDIENCE, ISSUER
from tests.conftest import LEASE, ORIGIN, SHORT
from tests.conversation import Conversation, join, people, story
from tests.stack import RunningStack


def claims(user_id: str, **others: Any) -> dict[str, Any]:
    now = int(time.time())
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": user_id, "iat": now, "exp": now + 600}
    return {name: value for name, value in (usual | others).items() if value is not None}


HOUR_AGO = int(time.time()) - 3600
#: What is wrong with a token, and the code of the refusal.
BAD_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"iat": HOUR_AGO - 60, "exp": HOUR_AGO}, "token-expired"),
    "another-audience": ({"aud": "another"}, "token-invalid"),
    "another-issuer": ({"iss": "another"}, "token-invalid"),
    "no-audience": ({"aud": None}, "token-invalid"),
    "no-expiry": ({"exp": None}, "token-invalid"),
    "no-user": ({"sub": ""}, "token-invalid"),
    "no-id": ({"sub": "a b"}, "token-invalid"),
    "valid-for-centuries": ({"exp": int(time.time()) + 10**10}, "token-invalid"),
}


@pytest.mark.parametrize("kind", BAD_CLAIMS)
@story
async def test_a_token_with_wrong_claims_is_refused(deployed: RunningStack, kind: str) -> None:
    (user_id,) = people("eve")
    wrong, code = BAD_CLAIMS[kind]
    token = jwt.encode(claims(user_id, **wrong), deployed.secret, algorithm="HS256")

    await assert_refused(deployed, token, code)


@story
async def test_a_forged_token_is_refused(deployed: RunningStack) -> None:
    (user_id,) = people("eve")
    token = jwt.encode(claims(user_id), "a-secret-that-only-eve-has-0123456789", algorithm="HS256")

    await assert_refused(deployed, token, "token-invalid")


@story
async def test_an_unsigned_token_is_refused(deployed: RunningStack) -> None:
    (user_id,) = people("eve")
    token = jwt.encode(claims(user_id), "", algorithm="none")

    await assert_refused(deployed, token, "token-invalid")


@story
async def test_another_algorithm_is_refused(deployed: RunningStack) -> None:
    (user_id,) = people("eve")
    secret = deployed.secret * 2  # HS512 wants a longer one
    token = jwt.encode(claims(user_id), secret, algorithm="HS512")

    await assert_refused(deployed, token, "token-invalid")


@pytest.mark.parametrize("text", ["x", "a.b.c", "e30.e30.", "💥"])
@story
async def test_what_is_no_token_is_refused(deployed: RunningStack, text: str) -> None:
    await assert_refused(deployed, text, "token-invalid")


async def assert_refused(stack: RunningStack, token: str, code: str) -> None:
    """The refusal is typed, repeats the id, gives nothing away, and brings no user online."""
    async with Conversation.connect(stack.url) as eve:
        await eve.send({"action": "authenticate", "id": "mine", "token": token})
        error = await eve.expect(lambda frame: frame["id"] == "mine")

        assert error.keys() == {"type", "id", "code", "message"}
        assert (error["type"], error["code"]) == ("authentication-error", code)
        await eve.send({"action": "ping", "id": "next"})
        refused = await eve.expect(lambda frame: frame["id"] == "next")
        assert refused["code"] == "not-authenticated"


@story
async def test_a_refused_authentication_may_be_repeated(deployed: RunningStack) -> None:
    (ada_id,) = people("ada")
    async with Conversation.connect(deployed.url) as ada:
        with pytest.raises(Refused):
            await ada.authenticate("x")

        welcome = await ada.authenticate(deployed.token(ada_id))

    assert welcome["userId"] == ada_id
    assert welcome["presence"]["status"] == "online"
    assert welcome["heartbeatSeconds"] == SHORT["HeartbeatSeconds"]
    assert welcome["backgroundHeartbeatSeconds"] == SHORT["BackgroundHeartbeatSeconds"]
    assert welcome["leaseSeconds"] == LEASE
    assert welcome["connectionExpiresAt"] - welcome["serverTime"] <= 7_200_000


@story
async def test_a_connection_stays_with_its_user(deployed: RunningStack) -> None:
    ada_id, eve_id = people("ada", "eve")
    async with join(deployed, ada_id) as ada:
        with pytest.raises(Refused) as refused:
            await ada.authenticate(deployed.token(eve_id))
        first = ada.welcome
        again = await ada.authenticate(deployed.token(ada_id))

    assert refused.value.code == "forbidden"
    assert again["userId"] == ada_id
    assert again["connectionExpiresAt"] == first["connectionExpiresAt"]
    assert not deployed.call(f"GET /{eve_id}").json["isOnline"]


@story
async def test_the_connection_heard_longest_ago_makes_room_for_one_too_many(
    guarded: RunningStack,
) -> None:
    (ada_id,) = people("ada")
    async with AsyncExitStack() as tabs:
        first = await tabs.enter_async_context(join(guarded, ada_id))
        others = [await tabs.enter_async_context(join(guarded, ada_id)) for _ in range(20)]

        told = await first.expect(lambda frame: frame["type"] == "closing")
        await first.closed(within=10)
        for tab in (others[0], others[-1]):
            await tab.request("ping")

    assert told["reason"] == "replaced"


@story
async def test_a_user_id_beside_the_token_has_to_be_its_subject(deployed: RunningStack) -> None:
    ada_id, eve_id = people("ada", "eve")
    async with Conversation.connect(deployed.url) as eve:
        with pytest.raises(Refused) as refused:
            await eve.authenticate(deployed.token(eve_id), user_id=ada_id)

    assert refused.value.code == "forbidden"
    assert not deployed.call(f"GET /{ada_id}").json["isOnline"]


@story
async def test_an_unauthenticated_connection_is_closed(deployed: RunningStack) -> None:
    limit = SHORT["AuthenticationSeconds"]
    async with Conversation.connect(deployed.url) as stranger:
        opened_at = time.monotonic()
        over = await stranger.closed(within=limit + 5)

        assert time.monotonic() - opened_at >= limit - 0.5
        assert over.reason == "authentication-timeout"
        assert stranger.heard == [{"type": "closing", "reason": "authentication-timeout"}]


@story
async def test_a_page_of_another_origin_cannot_connect(guarded: RunningStack) -> None:
    for origin in ("https://evil.example", f"{ORIGIN}.evil.example", ORIGIN.upper(), "null"):
        with pytest.raises(CannotConnect) as refused:
            async with Conversation.connect(guarded.url, origin=origin):
                pass
        assert refused.value.status == 403


@story
async def test_our_own_page_and_apps_can(guarded: RunningStack) -> None:
    (ada_id,) = people("ada")
    async with join(guarded, ada_id, origin=ORIGIN), join(guarded, ada_id):
        assert guarded.call(f"GET /{ada_id}", user_id=ada_id).json["isOnline"]


@story
async def test_a_token_in_the_url_is_refused_before_it_is_logged(
    deployed: RunningStack,
) -> None:
    (ada_id,) = people("ada")
    with pytest.raises(CannotConnect):
        async with Conversation.connect(f"{deployed.url}?token={deployed.token(ada_id)}"):
            pass


def test_no_token_and_no_body_is_in_the_logs(deployed: RunningStack) -> None:
    text = (deployed.home / "functions.log").read_text()

    assert "served" in text
    assert "eyJ" not in text
    assert deployed.secret not in text
