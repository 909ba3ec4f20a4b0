"""Data of a user (protocol.md §1), said through every door and seen by another."""

import pytest

from presence_client.errors import Refused
from tests.conversation import join, people, story
from tests.stack import RunningStack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


@story
async def test_data_are_said_patched_hidden_and_erased_with_their_user(
    deployed: RunningStack,
) -> None:
    ada_id, grace_id = people("ada", "grace")
    name = {"name": "Grâce", "tags": [1, None, {"a": 1.5}]}
    async with join(deployed, ada_id) as ada, join(deployed, grace_id) as grace:
        await grace.request("authenticate", token=deployed.token(grace_id), data=name)
        await ada.expect_change(grace_id, data=name)

        await grace.request("status", status="busy", data={"page": "/"})
        await ada.expect_change(grace_id, status="busy", data={"page": "/"})

        ack = await grace.request("data", patch={"page": None, "mood": {"is": "fine"}})
        assert ack["type"] == "ack"
        await ada.expect_change(grace_id, data={"mood": {"is": "fine"}})
        with pytest.raises(Refused) as refused:
            await grace.request("data", patch={"mood": "x" * 1_024})
        assert refused.value.code == "payload-too-large"

        put = deployed.call("PUT /data", user_id=grace_id, body=name)
        patch = deployed.call(
            "PATCH /data", user_id=grace_id, body={"tags": None}, headers=MERGE_PATCH
        )
        assert (put.json["data"], patch.json["data"]) == (name, {"name": "Grâce"})
        told = await ada.expect_change(grace_id, data={"name": "Grâce"})
        assert deployed.call(f"GET /{grace_id}", user_id=ada_id).json == told

        await grace.request("status", status="invisible", data={"page": "/secret"})
        own = await grace.expect_change(grace_id, status="invisible")
        gone = await ada.expect_change(grace_id, status="offline")
        assert (own["data"], "data" in gone) == ({"page": "/secret"}, False)

    assert deployed.call(f"DELETE /users/{grace_id}", user_id=grace_id).status == 204
    erased = deployed.call(f"GET /{grace_id}", user_id=grace_id).json
    assert (erased["version"], "data" in erased) == (0, False)
