"""Watching, hiding, and who else is asked (protocol.md §1, §2)."""

import io
import json
import zipfile
from collections.abc import Iterator

import pytest

from local.build import runtime
from presence_client.errors import Refused
from tests.conftest import SHORT
from tests.conversation import change, join, people, story
from tests.stack import RunningStack, running_stack


@story
async def test_a_watcher_hears_of_a_stranger_until_it_stops(private: RunningStack) -> None:
    ada_id, grace_id, unknown = people("ada", "grace", "unknown")
    async with join(private, ada_id) as ada, join(private, ada_id) as other_tab:
        watching = await ada.request("watch", userIds=[grace_id, unknown])
        async with join(private, grace_id) as grace:
            await ada.expect_change(grace_id, status="online")
            ack = await ada.request("unwatch", userIds=[grace_id])
            await grace.request("status", status="busy")
            await ada.never(lambda frame: change(frame, grace_id), during=1)

        assert (watching["type"], set(ack)) == ("watching", {"type", "id"})
        assert [user["userId"] for user in watching["users"]] == [grace_id, unknown]
        assert [user["status"] for user in watching["users"]] == ["offline", "offline"]
        assert not [frame for frame in other_tab.heard if change(frame, grace_id)]


@story
async def test_strangers_hear_nothing(private: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(private, ada_id) as ada, join(private, grace_id) as grace:
        await grace.request("status", status="busy")

        await ada.never(lambda frame: change(frame, grace_id), during=1)


@story
async def test_a_blocked_viewer_sees_the_user_leave_and_return(private: RunningStack) -> None:
    ada_id, grace_id, zoe_id = people("ada", "grace", "zoe")
    async with (
        join(private, ada_id) as ada,
        join(private, zoe_id) as zoe,
        join(private, grace_id) as grace,
    ):
        for viewer in (ada, zoe):
            await viewer.request("watch", userIds=[grace_id])

        assert private.call(f"PUT /blocked/{ada_id}", user_id=grace_id).status == 204
        hidden = await ada.expect_change(grace_id, status="offline")
        await grace.request("status", status="busy")
        await zoe.expect_change(grace_id, status="busy")
        await ada.never(lambda frame: change(frame, grace_id), during=1)
        assert private.call(f"GET /{grace_id}", user_id=ada_id).json == hidden
        assert private.call(f"GET /{grace_id}", user_id=zoe_id).json["status"] == "busy"
        assert private.call("GET /blocked", user_id=grace_id).json == {"userIds": [ada_id]}
        asked = private.call(f"GET /blocked/{ada_id}", user_id=grace_id).json
        assert asked == {"userId": ada_id, "blocked": True}

        assert private.call(f"DELETE /blocked/{ada_id}", user_id=grace_id).status == 204
        back = await ada.expect_change(grace_id, status="busy")

        assert back["version"] > hidden["version"]
        assert private.call("GET /blocked", user_id=grace_id).json == {"userIds": []}


@story
async def test_own_devices_see_the_truth(private: RunningStack) -> None:
    (grace_id,) = people("grace")
    async with join(private, grace_id) as laptop, join(private, grace_id) as phone:
        await laptop.request("status", status="invisible", text="writing")

        own = await phone.expect_change(grace_id, status="invisible")

        assert (own["isOnline"], own["text"]) == (True, "writing")
        assert private.call(f"GET /{grace_id}", user_id=grace_id).json == own
        shown = private.call(f"GET /{grace_id}").json
        assert shown["status"] != "invisible"
        assert "text" not in shown


def test_blocking_oneself_is_refused(private: RunningStack) -> None:
    answer = private.call("PUT /blocked/ada", user_id="ada")

    assert (answer.status, answer.json["error"]["code"]) == (409, "conflict")


# ── a function of the owner's ──────────────────────────────────────────────────────────────

AUTHORIZER = "arn:aws:lambda:us-east-1:000000000000:function:authorizer"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
CODE = """
def handler(event, context):
    if event["chatSessionId"] == "broken":
        raise RuntimeError("out of order")
    return {"allowed": event["userId"].startswith("ada")}
"""


@pytest.fixture
def guarded_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that asks a function before each join."""
    parameters = SHORT | {"AuthorizerFunctionArn": AUTHORIZER}
    with running_stack(tmp_path_factory.mktemp("door"), parameters) as stack:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as target:
            target.writestr("door.py", CODE)
        role = stack.aws("iam").create_role(
            RoleName="authorizer", AssumeRolePolicyDocument=json.dumps(TRUST)
        )
        stack.aws("lambda").create_function(
            FunctionName="authorizer",
            Runtime=runtime(),
            Role=role["Role"]["Arn"],
            Handler="door.handler",
            Code={"ZipFile": archive.getvalue()},
        )
        yield stack


@story
async def test_the_authorizer_is_invoked(guarded_door: RunningStack) -> None:
    ada_id, eve_id = people("ada", "eve")
    async with join(guarded_door, ada_id) as ada, join(guarded_door, eve_id) as eve:
        joined = await ada.request("join", chatSessionId="room")
        with pytest.raises(Refused) as refused:
            await eve.request("join-chat-session", chatSessionId="room")
        with pytest.raises(Refused) as broken:
            await ada.request("join", chatSessionId="broken")

    assert joined["memberCount"] == 1
    assert refused.value.code == "forbidden"
    assert broken.value.code == "unavailable"
