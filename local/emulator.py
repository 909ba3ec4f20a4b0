"""Starts MiniStack with one change: WebSocket events are served side by side, as on AWS.

Bridge, for two queues of MiniStack 1.5.33. It has a pool of workers for each function, but
`get_or_create_worker`, by which only WebSocket events get one, gives it back before it is used: so
all events of a function wait for each other, whatever their connection. And it reads a frame when
the one before it on the connection is answered. Delete this file and start `-m ministack` when
`_invoke_ws_lambda` leases its worker until it has answered, as `_execute_function_warm` does, and
`handle_websocket` does not wait for it.

The interpreter of `.venv-aws` runs this file by its path: nothing of this project can be imported.
"""

import asyncio
import json
import threading
from typing import Any

from ministack.app import main
from ministack.core import lambda_runtime
from ministack.services import apigateway

#: Each worker is a process of 40 MB, and all share the cores of one machine: more events wait.
MAX_WORKERS = 6

_slots = threading.BoundedSemaphore(MAX_WORKERS)
_invoke = apigateway._invoke_ws_lambda  # noqa: SLF001  there is no other place to change it
_running: set[asyncio.Task[None]] = set()


class LeasedWorker:
    """Leases a worker for as long as it serves one event."""

    def __init__(self, *function: Any, **version: Any) -> None:  # noqa: ANN401  theirs, passed on
        self._function = function
        self._version = version

    def invoke(self, event: Any, request_id: str) -> Any:  # noqa: ANN401  JSON
        with _slots:
            worker, _ = lambda_runtime.acquire_worker(*self._function, **self._version)
            try:
                return worker.invoke(event, request_id)
            finally:
                lambda_runtime.release_worker(worker)


async def invoke(*event: Any, **more: Any) -> Any:  # noqa: ANN401  theirs, passed on
    """Serve a frame while the next one is read; wait for `$connect` and `$disconnect`."""
    connection_id, kind = event[5:7]
    if kind != "MESSAGE":
        return await _invoke(*event, **more)
    task = asyncio.create_task(_answer(connection_id, *event, **more))
    _running.add(task)
    task.add_done_callback(_running.discard)
    return None


async def _answer(connection_id: str, *event: Any, **more: Any) -> None:  # noqa: ANN401
    body = (await _invoke(*event, **more) or {}).get("body")
    connection = apigateway._ws_connections.get(connection_id)  # noqa: SLF001
    if body and connection:
        text = body if isinstance(body, str) else json.dumps(body)
        await connection["outbox"].put(text)


if __name__ == "__main__":
    lambda_runtime.get_or_create_worker = LeasedWorker
    apigateway._invoke_ws_lambda = invoke  # noqa: SLF001
    main()
