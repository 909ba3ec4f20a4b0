"""What lies on a queue of moto's, waiting or not: SQS itself shows only what is due."""

import json
from typing import Any

from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID


def queued(region: str, name: str) -> list[tuple[dict[str, Any], int]]:
    """Every message and its delay in seconds, in the order in which they were sent."""
    queue: Any = get_backend("sqs")[DEFAULT_ACCOUNT_ID][region].queues[name]
    return [
        (json.loads(it.body), round(max(0, it.delayed_until - it.sent_timestamp) / 1000))
        for it in queue._messages
    ]
