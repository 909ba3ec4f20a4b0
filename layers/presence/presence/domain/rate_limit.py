"""How fast a connection may act: the generic cell rate algorithm (ITU-T I.371)."""

from presence.domain.errors import RateLimited
from presence.limits import ACTION_MILLISECONDS, BURST


def take(theoretical_arrival: int, now: int) -> int:
    """The next theoretical arrival time, in epoch milliseconds, after one action at *now*.

    That one instant is the whole state of the limit, so one conditional write keeps it.

    Raises:
        RateLimited: more than BURST actions at once; says in how many seconds the next is allowed.
    """
    following = max(theoretical_arrival, now) + ACTION_MILLISECONDS
    excess = following - now - BURST * ACTION_MILLISECONDS
    if excess > 0:
        seconds = -(-excess // 1000)
        raise RateLimited(f"Ask again in {seconds} s.", retry_after_seconds=seconds)
    return following
