"""Starts MiniStack with two changes, for as long as its standard input is open.

Without any of these, delete this file and start `-m ministack`.

Bridge: WebSocket events are served side by side, as on AWS. MiniStack has a pool of workers for
each function, but `get_or_create_worker`, by which only WebSocket events get one, gives it back
before it is used. So all events of a function wait for each other, whatever their connection. It
can go when `_invoke_ws_lambda` leases its worker until it has answered, as
`_execute_function_warm` does.

Bridge: `connectedAt` is when the socket was opened, as on AWS, and not the time of the event. It
can go when `_ws_request_context` takes it from the connection (1.5.33 takes `now_ms`).

The frames of one connection still wait for each other, because MiniStack reads a frame when the
one before is answered. AWS does not wait. Here it is left so: clients that send without waiting
(tests/e2e, racing clients) would fill the queue of six workers faster than two cores empty it.

The interpreter of `.venv-aws` runs this file by its path: nothing of this project can be imported.
"""

import os
import signal
import sys
import threading
from typing import Any

from ministack.app import main
from ministack.core import lambda_runtime
from ministack.services import apigateway

#: Each worker is a process of 40 MB, and all share the cores of one machine: more events wait.
MAX_WORKERS = 6

_slots = threading.BoundedSemaphore(MAX_WORKERS)


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


_context = apigateway._ws_request_context  # noqa: SLF001  there is no other way
_connected_at: dict[str, int] = {}


def context_since_connect(*event: Any) -> dict[str, Any]:  # noqa: ANN401  theirs, passed on
    """Their requestContext, with the time of the first event of its connection."""
    context: dict[str, Any] = _context(*event)
    name = context["connectionId"]
    context["connectedAt"] = _connected_at.setdefault(name, context["connectedAt"])
    if context["eventType"] == "DISCONNECT":
        del _connected_at[name]
    return context


def end_with_owner() -> None:
    """End when standard input is closed, as it is however its owner ends, and the workers too.

    They share the process group, whose leader this process is.
    """
    sys.stdin.buffer.read()
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=end_with_owner, daemon=True).start()
    apigateway._ws_request_context = context_since_connect  # noqa: SLF001
    lambda_runtime.get_or_create_worker = LeasedWorker
    main()
