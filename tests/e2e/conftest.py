"""What a real stack says is as docs/asyncapi.yaml and docs/openapi.yaml say, in every story."""

from collections.abc import Iterator
from typing import Any

import pytest

from presence_client.models import Frame
from tests.conversation import Conversation
from tests.docs.schema import answer_faults, message_faults
from tests.stack import Answer, RunningStack


@pytest.fixture(autouse=True)
def as_the_schema_says(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a client hears, and whatever an HTTP route answers; looked at when all is over."""
    faults: list[str] = []
    hear, call = Conversation._hear, RunningStack.call

    def checked_hear(client: Conversation, frame: Frame) -> None:
        faults.extend(message_faults(frame.get("type"), frame))
        hear(client, frame)

    def checked_call(stack: RunningStack, route: str, **request: Any) -> Answer:
        answer = call(stack, route, **request)
        method, _, path = route.partition(" ")
        faults.extend(answer_faults(method, path, answer.status, answer.json))
        return answer

    monkeypatch.setattr(Conversation, "_hear", checked_hear)
    monkeypatch.setattr(RunningStack, "call", checked_call)
    yield
    assert faults == []
