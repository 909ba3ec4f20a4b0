"""What `presence explain` prints: why a user is shown as they are, for a person to read."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Explanation: TypeAlias = Mapping[str, Any]


def lines(found: Explanation) -> Iterator[str]:
    """Lines of text for an answer of `Api.explain`; times are from the stack's own clock."""
    now = found["asOf"]
    yield f"{found['userId']} is seen {found['seen']['status']} ({found['reason']})"
    yield f"  {found['because']}"
    for name, label in _MOMENTS.items():
        if name in found:
            yield f"  {label} {relative(found[name], now)}"
    yield from _choice(found["choice"], now)
    yield from _viewer(found.get("toViewer"))
    for connection in found["connections"]:
        yield from _connection(connection, now)
    for room in found["chatSessions"]:
        leaves = f", leaves {relative(room['leavesAt'], now)}" if "leavesAt" in room else ""
        yield f"  in {room['chatSessionId']}: {room['memberCount']} members{leaves}"
    yield from _others(found)


_MOMENTS = {
    "changedAt": "last changed for others",
    "tellsAt": "others are told",
    "nextChangeAt": "changes by itself",
    "probedAt": "last probed",
}


def _choice(choice: Explanation, now: int) -> Iterator[str]:
    if choice["status"] != "online" or "text" in choice:
        until = f" until {relative(choice['until'], now)}" if "until" in choice else ""
        yield f"  chosen: {choice['status']}{until}"


def _viewer(look: Explanation | None) -> Iterator[str]:
    if look is None:
        return
    blocked = ", because the user blocks this viewer" if look["isBlocked"] else ""
    kept_out = "" if look["maySee"] else ", because the stack's policy hides the user"
    yield f"  {look['viewerId']} sees {look['seen']['status']}{blocked}{kept_out}"


def _connection(it: Explanation, now: int) -> Iterator[str]:
    device = it.get("device", "a device without a name")
    person = "a person is there" if it["isActive"] else "no person is there"
    ends = "expired" if it["isOver"] else "ends"
    yield f"  connection {it['connectionId']} ({device}): {person}"
    lease = f"{relative(it['leaseEndsAt'], now)} ({it['leaseSeconds']} s)"
    yield f"    heard {relative(it['heardAt'], now)}; its lease {ends} {lease}"
    if it.get("state") != "authenticated":
        yield f"    its record is {it.get('state', 'gone')}"


def _others(found: Explanation) -> Iterator[str]:
    watchers, standing = found["watchers"], found["standing"]
    more = "at least " if watchers["isMore"] else ""
    yield f"  watched by {more}{watchers['connections']} connections"
    yield f"  blocks {found['blocked']} users"
    if found["unitsLeft"] < 1:
        yield "  is over the rate limit: frames are refused as rate-limited"
    if "notBefore" in standing:
        yield f"  tokens issued before {relative(standing['notBefore'], found['asOf'])} are revoked"
    if standing["revokedTokens"]:
        yield f"  tokens revoked one by one: {standing['revokedTokens']}"
    if standing["removedFrom"]:
        yield f"  removed from {', '.join(standing['removedFrom'])}"


def relative(instant: int, now: int | None = None) -> str:
    """How far an instant is from *now*, both in epoch milliseconds: `3 min ago`, `in 12 h`."""
    seconds = (instant - (time.time() * 1000 if now is None else now)) / 1000
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        # Half a second short of 12 hours is still 12 hours.
        if abs(seconds) + 0.5 >= size:
            amount = f"{int((abs(seconds) + 0.5) // size)} {unit}"
            return f"in {amount}" if seconds > 0 else f"{amount} ago"
    return "now"
