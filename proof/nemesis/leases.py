"""How long a lease lasts that a client has asked for: certainly, and at the latest.

A client may name another heartbeat with each frame, and frames may be handled late. So the lease of
a frame is one of those that it, or a frame that may have been handled after it, has named.
"""

from collections.abc import Callable, Sequence

from proof.nemesis.history import Call, Rules

#: How long after its sending a frame may be handled.
LATE = 5.0


def _named(calls: Sequence[Call], number: int, rules: Rules) -> list[float]:
    """The leases that may be kept when this frame has been handled."""
    call, found = calls[number], list[float]()
    for earlier in reversed(calls[: number + 1]):
        is_settled = earlier.acked is not None and earlier.acked <= call.sent
        if earlier.heartbeat is not None and not (is_settled and call.heartbeat):
            found.append(rules.lasts(earlier.heartbeat))
        if is_settled and earlier.heartbeat is not None:
            break
    return found or [rules.lease]


def least_end(calls: Sequence[Call], number: int, rules: Rules) -> float:
    """Until when the lease of this frame lasts at least, if it has been handled."""
    call = calls[number]
    # Who is let in again by a frame that names none gets the usual one.
    again = [rules.lease] if call.heartbeat is None else []
    ends = [call.sent + min([*_named(calls, number, rules), *again])]
    ends += [it.sent + rules.lasts(it.heartbeat) for it in calls[number + 1 :] if it.heartbeat]
    return min(ends)


def latest_end(
    calls: Sequence[Call], rules: Rules, spared_until: Callable[[float], float]
) -> float:
    """Until when the last of these leases lasts at most, counted from the sending.

    Who is let in again by a frame that names no heartbeat may be silent for as long as any: so it
    is where the lease of before may have been over, which a probe spares until then.
    """
    answered = [number for number, it in enumerate(calls) if it.acked is not None]
    first = answered[-1] if answered else 0
    ends = [calls[it].sent + max(_named(calls, it, rules)) for it in range(first, len(calls))]
    for number in range(max(first, 1), len(calls)):
        call, before = calls[number], calls[number - 1]
        certain = min(least_end(calls, number - 1, rules), spared_until(before.sent))
        if call.heartbeat is None and (before.acked is None or call.sent + LATE > certain):
            ends.append(call.sent + rules.background_lease)
    return max(ends)
