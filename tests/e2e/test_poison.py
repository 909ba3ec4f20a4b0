"""What cannot be processed holds nobody up, and ends in a dead-letter queue (I16).

The local AWS keeps no count of failed stream records (MiniStack 1.5.33 reads no
`batchItemFailures` of a stream), so the queue is shown for timers; for the stream it is the
template's settings that are tested.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.story import join, people, story
from tests.stack import RunningStack


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
async def test_a_poison_record_holds_nobody_up(deployed: RunningStack) -> None:
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
