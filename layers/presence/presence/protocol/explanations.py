"""The answer of `GET /users/{userId}/explain` (docs/protocol.md, section 2)."""

from presence.domain.explanation import Explanation, Look, Reason, Room
from presence.domain.rate_limit import USER
from presence.domain.user import Lease, User
from presence.limits import EXPLAINED_WATCHERS
from presence.protocol.frames import Frame, presence
from presence.protocol.strict_json import Json

#: For a person who reads it, in the words of docs/glossary.md.
SENTENCES = {
    Reason.UNKNOWN: "Nothing is stored: the user never connected, or was erased or forgotten.",
    Reason.HIDING: "The user hides; until `tellsAt` others see what they saw before.",
    Reason.INVISIBLE: "The user is connected and has chosen invisible.",
    Reason.GRACE: "The last connection was closed; the grace period lasts until `tellsAt`.",
    Reason.CHOSEN: "The user is connected and has chosen this status.",
    Reason.ACTIVE: "A person is at a device of the user.",
    Reason.IDLE: "Devices of the user are connected, and no person is at any of them.",
    Reason.TOKEN_ENDED: "The token of the last connection has ended; it was not renewed.",
    Reason.LEASE_EXPIRED: "No frame came from the last connection until its lease expired.",
    Reason.NOT_CONNECTED: "No connection of the user is open; the last one was closed or is over.",
}


def explanation(value: Explanation) -> Frame:
    """What is not known, or not so, is left out."""
    user = value.current
    return _known(
        {
            "userId": user.user_id,
            "reason": value.reason.value,
            "because": SENTENCES[value.reason],
            "seen": presence(user.presence),
            "own": presence(user.own_presence),
            "toViewer": None if value.look is None else _look(value.look),
            "asOf": value.now,
            "changedAt": user.version or None,
            "tellsAt": _tells_at(user),
            "nextChangeAt": user.next_change_at,
            "choice": _choice(user),
            "connections": [_connection(value, name) for name in sorted(value.stored.leases)],
            "chatSessions": [_room(it) for it in value.rooms],
            "watchers": {
                "connections": value.watchers,
                "isMore": value.watchers >= EXPLAINED_WATCHERS,
            },
            "blocked": len(user.blocked),
            "standing": _standing(user),
            "unitsLeft": _units_left(user, value.now),
            "probedAt": user.probed_at or None,
        }
    )


def _known(fields: Frame) -> Frame:
    return {name: it for name, it in fields.items() if it is not None}


def _look(look: Look) -> Json:
    return {
        "viewerId": look.viewer_id,
        "seen": presence(look.presence),
        "isBlocked": look.is_blocked,
        "maySee": look.may_see,
    }


def _tells_at(user: User) -> int | None:
    if user.farewell is not None:
        return user.farewell.until
    return user.grace_until if user.is_in_grace else None


def _choice(user: User) -> Json:
    return _known(
        {
            "status": user.choice.value,
            "text": user.text,
            "until": user.until,
            "chosenAt": user.chosen_at or None,
        }
    )


def _connection(value: Explanation, name: str) -> Json:
    """A lease, and what the connection's own record says beside it."""
    lease, record = value.stored.leases[name], value.records.get(name)
    return _known(
        {
            "connectionId": name,
            "device": lease.device,
            "isActive": lease.is_active,
            "heardAt": lease.seen_at,
            "leaseEndsAt": lease.expires_at,
            "isOver": lease.is_expired(value.now),
            "leaseSeconds": _seconds(lease),
            "tokenEndsAt": lease.ends_by,
            "chatSessionIds": sorted(lease.sessions),
            "openedAt": None if record is None else record.opened_at,
            "state": None if record is None else record.state.value,
        }
    )


def _seconds(lease: Lease) -> int:
    return (lease.lasts or lease.expires_at - lease.seen_at) // 1000


def _room(room: Room) -> Json:
    return _known(
        {
            "chatSessionId": room.session_id,
            "memberCount": room.member_count,
            "leavesAt": room.leaves_at,
        }
    )


def _standing(user: User) -> Json:
    standing = user.standing
    return _known(
        {
            "notBefore": standing.not_before or None,
            "revokedTokens": len(standing.revoked),
            "removedFrom": sorted(standing.barred),
        }
    )


def _units_left(user: User, now: int) -> int:
    """Of the user's rate limit; below 1, the next frame is refused as `rate-limited`."""
    used = max(0, user.arrival - now)
    return USER.burst - -(-used // USER.milliseconds)
