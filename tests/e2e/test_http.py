"""The HTTP routes (protocol.md §2), with good, bad and missing tokens."""

import time
from contextlib import AsyncExitStack

import pytest

from tests.conftest import LEASE, ORIGIN
from tests.conversation import join, people, story
from tests.stack import RunningStack

READS = ["GET /online", "GET /online/count", "GET /ada", "POST /batch"]
WRITES = ["PUT /last-seen", "PUT /", "PUT /data", "PATCH /data"]
BODIES = {
    "POST /batch": {"userIds": ["ada"]},
    "PUT /": {"status": "busy"},
    "PUT /data": {"page": "/"},
    "PATCH /data": {"page": None},
}
NEVER_SEEN = {"status": "offline", "isOnline": False, "lastSeen": None, "version": 0}


@pytest.mark.parametrize("route", [*READS, *WRITES])
def test_every_route_wants_a_good_token(guarded: RunningStack, route: str) -> None:
    body = BODIES.get(route)
    expired = guarded.token("ada", ttl=-60)
    forged = guarded.token("ada")[:-4] + "AAAA"

    missing = guarded.call(route, body=body)
    wrong = [guarded.call(route, body=body, token=token) for token in (expired, forged, "x")]
    good = guarded.call(route, body=body, user_id="ada")

    assert [missing.status, *(answer.status for answer in wrong), good.status] == [401] * 4 + [200]
    codes = [answer.json["error"]["code"] for answer in (missing, *wrong)]
    assert codes == ["not-authenticated", "token-expired", "token-invalid", "token-invalid"]
    assert missing.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("route", READS)
def test_public_reads_need_none(deployed: RunningStack, route: str) -> None:
    assert deployed.call(route, body=BODIES.get(route)).status == 200


@pytest.mark.parametrize("route", WRITES)
def test_public_reads_are_no_public_writes(deployed: RunningStack, route: str) -> None:
    assert deployed.call(route, body=BODIES.get(route)).status == 401


def test_config_and_health_need_no_token(guarded: RunningStack) -> None:
    config = guarded.call("GET /config").json

    assert config == {
        "webSocketUrl": guarded.url,
        "heartbeatSeconds": 60,
        "backgroundHeartbeatSeconds": 540,
        "leaseSeconds": 90,
        "maxConnectionSeconds": 7200,
        "protocol": 1,
        "globalPresence": True,
    }
    assert guarded.call("GET /health").status == 200


def test_config_says_when_global_presence_is_off(private: RunningStack) -> None:
    assert private.call("GET /config").json["globalPresence"] is False


def test_a_user_never_seen_is_offline_not_missing(guarded: RunningStack) -> None:
    (unknown,) = people("unknown")

    answer = guarded.call(f"GET /{unknown}", user_id="ada")

    assert (answer.status, answer.json) == (200, {"userId": unknown, **NEVER_SEEN})


@story
async def test_a_presence_is_only_sent_again_when_it_has_changed(guarded: RunningStack) -> None:
    (grace_id,) = people("grace")
    async with join(guarded, grace_id) as grace:
        first = guarded.call(f"GET /{grace_id}", user_id="ada")
        tag = first.headers["etag"]
        again = guarded.call(f"GET /{grace_id}", user_id="ada", headers={"If-None-Match": tag})
        await grace.request("status", status="busy")
        changed = guarded.call(f"GET /{grace_id}", user_id="ada", headers={"If-None-Match": tag})

    assert tag == f'"{first.json["version"]}-online"'
    assert (again.status, again.json) == (304, None)
    assert (changed.status, changed.json["status"]) == (200, "busy")


@story
async def test_a_batch_comes_in_the_order_asked(guarded: RunningStack) -> None:
    ada_id, grace_id, unknown = people("ada", "grace", "unknown")
    async with join(guarded, ada_id), join(guarded, grace_id):
        request = [unknown, grace_id, ada_id, grace_id]
        answer = guarded.call("POST /batch", user_id="ada", body={"userIds": request})

    found = [(user["userId"], user["status"]) for user in answer.json["users"]]
    assert found == [
        (unknown, "offline"),
        (grace_id, "online"),
        (ada_id, "online"),
        (grace_id, "online"),
    ]


@story
async def test_pages_name_every_user_once(guarded: RunningStack) -> None:
    user_ids = people(*(f"user{number}" for number in range(12)))
    async with AsyncExitStack() as clients:
        for user_id in user_ids:
            await clients.enter_async_context(join(guarded, user_id))
        found: list[str] = []
        path: str | None = "GET /online?limit=5"
        while path:
            page = guarded.call(path, user_id="ada").json
            assert page["onlineCount"] >= len(page["users"])
            found += [user["userId"] for user in page["users"]]
            path = page["cursor"] and f"GET /online?limit=5&cursor={page['cursor']}"
        count = guarded.call("GET /online/count", user_id="ada").json

    assert sorted(user_id for user_id in found if user_id in user_ids) == sorted(user_ids)
    assert len(found) == len(set(found))
    assert count["count"] >= len(user_ids)
    assert abs(count["asOf"] - time.time() * 1000) < 60_000


@story
async def test_a_status_can_be_chosen_without_a_socket(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada, join(deployed, grace_id):
        await ada.expect_change(grace_id, status="online")

        body = {"status": "dnd", "text": "focus"}
        answer = deployed.call("PUT /", user_id=grace_id, body=body)
        told = await ada.expect_change(grace_id, status="dnd")

    assert answer.json == told


def test_being_seen_without_a_socket(guarded: RunningStack) -> None:
    (grace_id,) = people("grace")

    answer = guarded.call("PUT /last-seen", user_id=grace_id)

    assert answer.json.keys() == {"userId", "lastSeen"}
    seen = guarded.call(f"GET /{grace_id}", user_id="ada").json
    assert (seen["lastSeen"], seen["isOnline"]) == (answer.json["lastSeen"], False)


@pytest.mark.parametrize(
    ("route", "body", "status", "code"),
    [
        ("GET /online?limit=0", None, 400, "invalid-message"),
        ("GET /online?cursor=never-given", None, 400, "invalid-message"),
        ("GET /not%20an%20id", None, 400, "invalid-message"),
        ("POST /batch", {"userIds": []}, 400, "invalid-message"),
        ("POST /batch", {"userIds": ["u"] * 101}, 400, "invalid-message"),
        ("POST /batch", b"not json", 400, "invalid-message"),
        ("POST /batch", b'{"userIds":["' + b"x" * 40_000 + b'"]}', 413, "payload-too-large"),
        ("PUT /", {"status": "sleepy"}, 400, "invalid-message"),
        ("PUT /", {"status": "busy", "until": 1}, 400, "invalid-message"),
    ],
)
def test_bad_requests_get_a_typed_error(
    guarded: RunningStack, route: str, body: object, status: int, code: str
) -> None:
    answer = guarded.call(route, user_id="ada", body=body)

    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert answer.json["error"]["message"].endswith(".")


def test_browsers_of_one_origin_may_ask(guarded: RunningStack) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    preflight = guarded.call("OPTIONS /", headers=asked)
    stranger = guarded.call("OPTIONS /", headers=asked | {"Origin": "https://evil.example"})

    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert "access-control-allow-origin" not in stranger.headers


@story
async def test_http_is_exact_while_the_sweep_is_yet_to_come(deployed: RunningStack) -> None:
    (grace_id,) = people("grace")
    async with join(deployed, grace_id, heartbeats=False):
        before = deployed.call(f"GET /{grace_id}").json
        while (now := deployed.call(f"GET /{grace_id}").json)["isOnline"]:
            assert time.time() * 1000 - before["lastSeen"] < (LEASE + 1) * 1000

    assert now["version"] > before["version"]
    assert now["lastSeen"] >= before["lastSeen"]
