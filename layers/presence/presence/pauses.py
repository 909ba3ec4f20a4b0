"""How long to wait before a lost write is tried again."""

import random
import time

from presence.limits import FIRST_PAUSE_SECONDS, LONGEST_SWAP_PAUSE_SECONDS


def pause(attempt: int) -> None:
    """Wait after the try with this number, from 0 on: longer each time, and never as others do.

    Writers that lost together would lose together again.
    """
    most = min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_SWAP_PAUSE_SECONDS)
    time.sleep(random.uniform(most / 4, most))  # noqa: S311  no secret
