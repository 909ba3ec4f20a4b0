"""Chat sessions that are joined at the same moment go out as one frame."""

import asyncio
from collections.abc import Mapping, Sequence

from presence_client.connection import Connection, refusal_in
from presence_client.errors import ClientError, Refused
from presence_client.models import Frame

#: Chat sessions in one frame: those of a user.
MOST = 50


class Joins:
    """Those of one connection, which is authenticated."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asked: dict[str, asyncio.Future[Frame]] = {}
        self._sending = set[asyncio.Task[None]]()

    async def enter(self, chat_session_id: str) -> Frame:
        """Join with all that is asked for before the event loop goes on; what is told of it.

        Raises:
            ClientError: see `Connection.request`; `Refused` also of this one alone.
        """
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._send)
        answer = self._asked.setdefault(chat_session_id, loop.create_future())
        return await asyncio.shield(answer)

    def _send(self) -> None:
        asked, self._asked = self._asked, {}
        # A server of before this says nothing of `joined`, and takes one at a time.
        size = MOST if "joined" in self._connection.welcome else 1
        names = list(asked)
        for start in range(0, len(names), size):
            some = {name: asked[name] for name in names[start : start + size]}
            task = asyncio.create_task(self._ask(some))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _ask(self, asked: Mapping[str, asyncio.Future[Frame]]) -> None:
        told: Mapping[str, Frame | Refused | ClientError]
        try:
            answer = await self._connection.request("join", **_naming(list(asked)))
        except ClientError as error:
            told = dict.fromkeys(asked, error)
        else:
            told = outcomes(answer) if "joined" in answer else dict.fromkeys(asked, answer)
        for name, future in asked.items():
            outcome = told.get(name) or Refused("internal", "The server says nothing of it.")
            if isinstance(outcome, ClientError):
                future.set_exception(outcome)
                future.exception()  # a caller may have gone
            else:
                future.set_result(outcome)


def outcomes(answer: Frame) -> dict[str, Frame | Refused]:
    """By chat session, what is told of it, or why it was not joined."""
    joined = {it["chatSessionId"]: it for it in answer.get("joined", ())}
    refused = {it["chatSessionId"]: refusal_in(it) for it in answer.get("refused", ())}
    return {**joined, **refused}


def _naming(names: Sequence[str]) -> Frame:
    return {"chatSessionId": names[0]} if len(names) == 1 else {"chatSessionIds": list(names)}
