"""Around a stack: the command, the development server, the client in Node, dead-letter queues."""

import asyncio
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.stack import ROOT
from tests.conversation import Conversation, join, people, story
from tests.stack import API, RunningStack, call
from tests.tools import Tools

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# ── command line ──────────────────────────────────────────────────────────────────────────────────


@contextmanager
def presence(stack: RunningStack, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a newcomer types it, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "presence_client.cli", *arguments],
        cwd=ROOT,
        env=os.environ | {"PRESENCE_HOME": str(stack.home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    return iter(process.stdout)


def printed(stack: RunningStack, *arguments: str) -> str:
    with presence(stack, *arguments) as process:
        text, _ = process.communicate(timeout=20)
    return text


def test_join_is_seen_by_watch_online_and_status(deployed: RunningStack) -> None:
    (ada_id,) = people("ada")
    with presence(deployed, "watch", "--json") as watch:
        with presence(deployed, "join", ada_id, "--status", "busy", "--text", "hello") as ada:
            next(line for line in lines(ada) if f"connected as {ada_id}" in line)
            next(line for line in lines(watch) if ada_id in line and '"busy"' in line)

            assert ada_id in printed(deployed, "online")
            assert "hello" in printed(deployed, "status", ada_id)

        next(line for line in lines(watch) if ada_id in line and '"offline"' in line)
        assert "last seen" in printed(deployed, "status", ada_id)


def test_a_token_is_all_that_token_prints(deployed: RunningStack) -> None:
    (ada_id,) = people("ada")

    text = printed(deployed, "token", ada_id, "--ttl", "60")

    (token,) = text.splitlines()
    assert deployed.call("PUT /last-seen", token=token).json["userId"] == ada_id


# ── development server ────────────────────────────────────────────────────────────────────────────


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
async def test_the_stored_items_of_a_user_can_be_listed(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with Conversation.connect(deployed.url, token=deployed.token(ada_id)) as ada:
        await ada.request("watch", userIds=[grace_id])
        found = call("GET", f"{deployed.demo_url}/dev/tables?user={ada_id}").json["tables"]

    (user,) = found["Users"]
    (record,) = found["Connections"]
    assert user["user_id"] == record["user_id"] == ada_id
    assert list(user["leases"]) == [record["connection_id"]]
    topics = [row["topic"] for row in found["Subscriptions"]]
    assert f"user:{grace_id}" in topics
    assert f"watching:{record['connection_id']}" in topics


# ── client in node ────────────────────────────────────────────────────────────────────────────────


def test_the_client_does_in_node_what_it_does_in_a_browser(
    tools: Tools, deployed: RunningStack, private: RunningStack
) -> None:
    where = {
        "PRESENCE_STACK": str(deployed.home / "stack.json"),
        "PRESENCE_PRIVATE_STACK": str(private.home / "stack.json"),
    }
    tools.run("vitest", "run", "--project", "stack", environment=where)


# ── poison ────────────────────────────────────────────────────────────────────────────────────────
#
# The local AWS keeps no count of failed stream records (MiniStack 1.5.33 reads no
# `batchItemFailures` of a stream), so the queue is shown for timers; for the stream it is the
# template's settings that are tested.


async def received(stack: RunningStack, queue: str, *, within: float) -> str:
    """The body of the next message of a queue."""
    sqs, deadline = stack.aws("sqs"), time.monotonic() + within
    while time.monotonic() < deadline:
        answer = sqs.receive_message(QueueUrl=stack.told[queue], MaxNumberOfMessages=1)
        for message in answer.get("Messages", ()):
            sqs.delete_message(QueueUrl=stack.told[queue], ReceiptHandle=message["ReceiptHandle"])
            return str(message["Body"])
        await asyncio.sleep(0.2)
    raise AssertionError(f"nothing came into {queue} in {within:g} s")


@story
async def test_a_poison_record_does_not_block_the_stream(deployed: RunningStack) -> None:
    ada_id, grace_id, poison = people("ada", "grace", "poison")
    async with join(deployed, ada_id) as ada:
        deployed.aws("dynamodb").put_item(
            TableName=deployed.told["tables"]["Users"],
            Item={
                "user_id": {"S": poison},
                "status": {"S": "no such status"},
                "changed": {"BOOL": True},
            },
        )
        async with join(deployed, grace_id):
            await ada.expect_change(grace_id, status="online")

    answer = deployed.call(f"GET /{poison}")
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal")
    assert "status" not in answer.json["error"]["message"]


@pytest.fixture
def impatient(deployed: RunningStack) -> Iterator[Any]:
    """The timer queue with seconds instead of minutes between two tries."""
    sqs, queue = deployed.aws("sqs"), deployed.told["timerQueueUrl"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    yield sqs
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "180"})


@story
async def test_a_poison_timer_ends_in_the_dead_letter_queue(
    deployed: RunningStack, impatient: Any
) -> None:
    impatient.send_message(QueueUrl=deployed.told["timerQueueUrl"], MessageBody='{"check":"moon"}')

    assert await received(deployed, "timerDeadLetterQueueUrl", within=40) == '{"check":"moon"}'
