"""One sweep that finds so many users dead: their only leases ran out without a close.

The real handler and the real adapters, on a local AWS of their own.
"""

import json
import sys
import time
from typing import Any
from unittest.mock import patch

from botocore.httpsession import URLLib3Session

from bench.lab import DAY, lab


def main() -> None:
    amount, calls, send = int(sys.argv[1]), [0], URLLib3Session.send

    def counted(self: URLLib3Session, request: Any) -> Any:  # noqa: ANN401
        calls[0] += 1
        return send(self, request)

    with lab(is_metered=False) as room:
        room.store_users(amount)
        room.wait(2 * DAY)
        with patch.object(URLLib3Session, "send", counted):
            started = time.perf_counter()
            room.sweep()
            seconds = time.perf_counter() - started
        figures = {"calls": calls[0], "cpu_seconds": room.cpu_seconds, "seconds": seconds}
        found = room.sweep()
    if found:
        raise AssertionError(f"{found} users are still online")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
