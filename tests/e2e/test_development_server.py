"""What the development server adds to a stack, for the demo and for a developer's own page."""

import http.client
from urllib.parse import urlsplit

import pytest

from tests.conversation import Conversation
from tests.e2e.story import people, story
from tests.stack import API, RunningStack, call

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: Where the page of a developer is, with Vite as it comes.
NEIGHBOUR = {"Origin": "http://localhost:5173"}


@story
async def test_one_url_and_a_name_are_enough_to_be_online(deployed: RunningStack) -> None:
    (ada_id,) = people("ada")
    config = call("GET", f"{deployed.demo_url}{API}/config", headers=NEIGHBOUR)
    made = call(
        "POST", config.json["developmentTokenUrl"], body={"userId": ada_id}, headers=NEIGHBOUR
    )

    token = made.json["token"]
    async with Conversation.connect(config.json["webSocketUrl"], token=token):
        assert deployed.call(f"GET /{ada_id}").json["isOnline"]


def test_the_deployed_function_knows_of_no_development_tokens(deployed: RunningStack) -> None:
    assert "developmentTokenUrl" not in deployed.call("GET /config").json


def test_the_cors_of_the_api_does_not_come_on_top(deployed: RunningStack) -> None:
    assert "access-control-allow-origin" in deployed.call("GET /online").headers
    connection = http.client.HTTPConnection(urlsplit(deployed.demo_url).netloc, timeout=20)
    connection.request("GET", f"{API}/online", headers=NEIGHBOUR)
    answer = connection.getresponse()
    connection.close()

    assert answer.status == 200
    assert answer.headers.get_all("Access-Control-Allow-Origin") == [NEIGHBOUR["Origin"]]
    assert answer.headers.get_all("Vary") == ["Origin"]


def test_a_page_from_elsewhere_cannot_ask_on_this_way(deployed: RunningStack) -> None:
    elsewhere = {"Origin": "https://evil.example"}

    assert call("GET", f"{deployed.demo_url}{API}/online", headers=elsewhere).status == 403


@story
async def test_what_is_stored_about_somebody_can_be_looked_at(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with Conversation.connect(deployed.url, token=deployed.token(ada_id)) as ada:
        await ada.request("watch", userIds=[grace_id])
        found = call("GET", f"{deployed.demo_url}/dev/tables?user={ada_id}").json["tables"]

    (user,) = found["Users"]
    gate, watched = found["Connections"]
    assert user["user_id"] == gate["user_id"] == ada_id
    assert watched["user_ids"] == [grace_id]
    assert list(user["leases"]) == [gate["connection_id"]]
    assert f"user:{grace_id}" in [row["topic"] for row in found["Subscriptions"]]
