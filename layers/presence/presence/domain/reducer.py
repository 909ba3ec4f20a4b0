"""Everything about one user's presence, decided in one pure function: `reduce`.

No clock, no I/O, no randomness: `now` is an argument, in epoch milliseconds like every instant
here. Writes, reads, sweeps and tests all use it, so they cannot disagree.

                   last connection closes              grace ends
    OFFLINE ──add──► HERE ─────────────► GRACE ────────────────────► OFFLINE   (announced)
                      │  ▲                 │
                      │  └────── add ──────┘  nothing is announced
                      └─ last lease expires: it has waited already ─► OFFLINE  (announced)

A user leaves a chat session in the same way: at once if the last connection in it leaves it or
expires, and after the grace period if that connection is closed.

During grace the public view is frozen: an expired status is cleared when the user reconnects or
when grace ends, and an invisible user becomes visible only by connecting.
"""

from collections.abc import Iterable
from dataclasses import replace

from presence.domain.errors import Conflict, TooManyConnections, no_access
from presence.domain.events import (
    Allowed,
    Authenticated,
    Barred,
    Blocked,
    Chosen,
    Disconnected,
    Effect,
    Erased,
    Evicted,
    GraceEnded,
    Joined,
    LeaseExpired,
    LeaseRemoved,
    LeaseStillValid,
    Left,
    PresenceChanged,
    Renewed,
    Seen,
    TimePassed,
    TimerDue,
    TokenRevoked,
    TokensRevoked,
    Unblocked,
    UserEvent,
    ViewChanged,
)
from presence.domain.standing import Standing
from presence.domain.user import (
    Choice,
    FrozenView,
    Lease,
    Presence,
    Status,
    User,
)
from presence.limits import MAX_BLOCKED, MAX_CONNECTIONS, MAX_SESSIONS


def reduce(user: User, event: UserEvent, now: int) -> tuple[User, tuple[Effect, ...]]:
    """The user after *event*, and what follows from it.

    What the clock alone decides is decided first: leases and grace periods that ended by *now* are
    removed before the event is applied. Repeating an event changes nothing but the ends of leases.

    Raises:
        TooManyConnections: an `Authenticated` beyond MAX_CONNECTIONS; the user is unchanged.
        Conflict: a `Joined`, or an `Authenticated` whose lease brings chat sessions, beyond
            MAX_SESSIONS; or a `Blocked` beyond MAX_BLOCKED; likewise.
        TokenInvalid: an `Authenticated` with a token that was revoked; likewise.
        Forbidden: a `Joined` of a chat session that is barred; likewise.
        LeaseStillValid: a `LeaseExpired` of a lease that is valid; likewise.
    """
    current = _without_ended(user, now)
    if isinstance(event, Blocked):
        # The blocked viewer goes on seeing what the clock has made of the user: a version names it.
        current = _count_versions(user, current, now)
    after = _end_choice(_apply(current, event, now), now)
    after = _decide_status(after)
    after = _hide_or_show(current, after, now)
    after = _count_versions(user, after, now)
    return after, tuple(_effects(user, current, after))


# ── what the clock decides ─────────────────────────────────────────────────────────────────


def _without_ended(user: User, now: int) -> User:
    """Without what has ended by *now*, in the order in which it ended.

    The order decides what was seen last: a user whose chosen status `invisible` ended before the
    lease did was visible in between.
    """
    for at in sorted(end for end in _ends(user) if end < now):
        user = _without_ended_at(user, at)
    return _without_ended_at(user, now)


def _ends(user: User) -> set[int]:
    """The ends of the leases and of the chosen status."""
    ends = {lease.expires_at for lease in user.leases.values()}
    return ends if user.until is None else ends | {user.until}


def _without_ended_at(user: User, at: int) -> User:
    user = _end_choice(_without_expired(user, at), at)
    held = user.joined_sessions
    pending_leaves = {
        name: until for name, until in user.pending_leaves.items() if until > at or name in held
    }
    return _decide_status(replace(user, pending_leaves=pending_leaves))


def _end_choice(user: User, at: int) -> User:
    """Without a chosen status that has ended; during grace it stays, as does the public view."""
    if user.until is None or user.until > at or user.is_in_grace:
        return user
    ended = replace(user, choice=Choice.ONLINE, text=None, until=None)
    return _hide_or_show(user, ended, at)


def _without_expired(user: User, at: int) -> User:
    """Without expired leases and an ended grace period.

    `grace_until` matters only without leases. For expired leases `last_seen` is the last frame
    received (not the time of detection), or the last clean disconnect if that is later.
    """
    live = {name: lease for name, lease in user.leases.items() if not lease.is_expired(at)}
    heard = [lease.seen_at for name, lease in user.leases.items() if name not in live]
    if heard and not live:
        user = _seen(user, max(*heard, min(at, user.grace_until or 0)))
    if not live and user.grace_until is not None and user.grace_until <= at:
        user = replace(user, grace_until=None)
    return replace(user, leases=live)


def _decide_status(user: User) -> User:
    """With the status that follows from the rest; a user who is not here has no pending leaves."""
    pending_leaves = user.pending_leaves if user.is_here else {}
    return replace(user, status=_status(user), pending_leaves=pending_leaves)


def _status(user: User) -> Status:
    if not user.is_here or user.choice is Choice.INVISIBLE:
        return Status.OFFLINE
    if user.is_in_grace and user.status is Status.OFFLINE:
        return Status.OFFLINE  # the user left while invisible
    if user.choice is not Choice.ONLINE:
        return Status(user.choice)
    if user.leases:
        active = any(lease.is_active for lease in user.leases.values())
        return Status.ONLINE if active else Status.AWAY
    # During grace the public view is frozen.
    return user.status if user.status in (Status.ONLINE, Status.AWAY) else Status.ONLINE


# ── what the event does ────────────────────────────────────────────────────────────────────


def _apply(user: User, event: UserEvent, now: int) -> User:  # noqa: C901, PLR0911, PLR0912  one case per event
    match event:
        case Authenticated():
            return _add(user, event, now)
        case Renewed():
            return _renew(user, event)
        case Disconnected():
            return _remove(user, event, now)
        case Evicted():
            return _evict(user, event, now)
        case LeaseExpired():
            return _expire(user, event)
        case GraceEnded():
            return replace(user, grace_until=None, pending_leaves={})
        case Joined():
            return _join(user, event)
        case Left():
            return _leave(user, event)
        case Chosen():
            return replace(user, choice=event.choice, text=event.text, until=event.until)
        case Seen():
            return _seen(user, now)
        case Blocked():
            return _block(user, event.viewer_id, now)
        case Unblocked():
            return _unblock(user, event.viewer_ids, now)
        case TokensRevoked() | TokenRevoked() | Barred() | Allowed():
            return _decide_standing(user, event, now)
        case Erased(allows_sessions):
            kept = replace(user.standing, barred=frozenset())
            return replace(user, standing=kept if allows_sessions else user.standing).erased()
        case TimePassed():
            return user


def _add(user: User, event: Authenticated, now: int) -> User:
    user.standing.require_accepted(event.token)
    known = user.leases.get(event.connection_id)
    if known is None and len(user.leases) >= MAX_CONNECTIONS:
        raise TooManyConnections(f"Close one of the {MAX_CONNECTIONS} connections of this user.")
    sessions = _allowed(user, event, (known or event.lease).sessions)
    if len(user.sessions | sessions) > MAX_SESSIONS:
        raise Conflict(f"This user is in {MAX_SESSIONS} chat sessions; open a new connection.")
    is_active = (known or event.lease).is_active if event.is_active is None else event.is_active
    lease = replace(_last_heard(known, event.lease), is_active=is_active, sessions=sessions)
    arriving = user if user.presence.is_online else _seen(user, now)
    leases = {**arriving.leases, event.connection_id: lease}
    return replace(arriving, leases=leases, grace_until=None)


def _allowed(user: User, event: Authenticated, sessions: frozenset[str]) -> frozenset[str]:
    """Those of the chat sessions that the token allows, and the back end."""
    allowed = event.token.allowed_sessions
    return frozenset(name for name in sessions if user.standing.lets_into(name, allowed))


def _last_heard(known: Lease | None, new: Lease) -> Lease:
    """The lease of the later frame: its renewal was confirmed to the client and must hold.

    It ends with the token of now, also if the later frame was sent under an earlier token.
    """
    later = new if known is None or known.seen_at <= new.seen_at else known
    return replace(later, ends_by=new.ends_by, expires_at=_until_token_ends(later.expires_at, new))


def _until_token_ends(expires_at: int, lease: Lease) -> int:
    return expires_at if lease.ends_by is None else min(expires_at, lease.ends_by)


def _renew(user: User, event: Renewed) -> User:
    """Creates nothing: a lease that was removed stays removed, else it would have no connection."""
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    renewed = replace(
        lease,
        expires_at=max(lease.expires_at, _until_token_ends(event.lease.expires_at, lease)),
        seen_at=max(lease.seen_at, event.lease.seen_at),
        is_active=lease.is_active if event.is_active is None else event.is_active,
    )
    return replace(user, leases={**user.leases, event.connection_id: renewed})


def _remove(user: User, event: Disconnected, now: int) -> User:
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    leases = {name: it for name, it in user.leases.items() if name != event.connection_id}
    left = replace(user, leases=leases)
    if not leases:
        left = _seen(left, now)
    if event.grace_until <= now:
        return _without_ended(left, now)  # a grace period that ended beside this lease counts now
    # Also beside other leases: they may belong to dead devices.
    expected = dict.fromkeys(lease.sessions, event.grace_until)
    pending_leaves = {**user.pending_leaves, **expected}
    return replace(left, grace_until=event.grace_until, pending_leaves=pending_leaves)


def _evict(user: User, event: Evicted, now: int) -> User:
    for connection_id in sorted(event.connection_ids):
        user = _remove(user, Disconnected(connection_id, grace_until=now), now)
    return user


def _expire(user: User, event: LeaseExpired) -> User:
    """Expired leases were removed before the event was applied."""
    if (lease := user.leases.get(event.connection_id)) is not None:
        raise LeaseStillValid(lease)
    return user


def _join(user: User, event: Joined) -> User:
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    if event.session_id in user.standing.barred:
        raise no_access()
    if event.session_id not in user.sessions and len(user.sessions) >= MAX_SESSIONS:
        raise Conflict(f"Leave one of the {MAX_SESSIONS} chat sessions of this user first.")
    user = _without_pending_leave(user, event.session_id)
    joined = replace(lease, sessions=lease.sessions | {event.session_id})
    return replace(user, leases={**user.leases, event.connection_id: joined})


def _decide_standing(
    user: User, event: TokensRevoked | TokenRevoked | Barred | Allowed, now: int
) -> User:
    decided = replace(user, standing=_standing(user.standing, event, now))
    if isinstance(event, Barred):
        return _without_pending_leave(decided, event.session_id)
    return decided


def _standing(
    standing: Standing, event: TokensRevoked | TokenRevoked | Barred | Allowed, now: int
) -> Standing:
    match event:
        case TokensRevoked(not_before):
            return standing.revoking_before(not_before)
        case TokenRevoked(token_id):
            return standing.revoking(token_id, now)
        case Barred(session_id):
            return standing.barring(session_id)
        case Allowed(session_id):
            return standing.allowing(session_id)


def _without_pending_leave(user: User, session_id: str) -> User:
    pending_leaves = {name: it for name, it in user.pending_leaves.items() if name != session_id}
    return replace(user, pending_leaves=pending_leaves)


def _leave(user: User, event: Left) -> User:
    user = _without_pending_leave(user, event.session_id)
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    left = replace(lease, sessions=lease.sessions - {event.session_id})
    return replace(user, leases={**user.leases, event.connection_id: left})


def _seen(user: User, at: int) -> User:
    """With a later `last_seen`; for others an invisible user left when becoming invisible."""
    if user.choice is Choice.INVISIBLE:
        return user
    return replace(user, last_seen=max(at, user.last_seen or 0))


def _block(user: User, viewer_id: str, now: int) -> User:
    """The viewer sees the user leave now, or goes on seeing a user who had left before."""
    if viewer_id in user.blocked:
        return user
    if len(user.blocked) >= MAX_BLOCKED:
        raise Conflict(f"Unblock one of the {MAX_BLOCKED} users first.")
    frozen_view = FrozenView(user.last_seen, user.version)
    if user.presence.is_online:
        frozen_view = FrozenView(now, max(user.version + 1, now))
    return replace(user, blocked={**user.blocked, viewer_id: frozen_view})


def _unblock(user: User, viewer_ids: frozenset[str], now: int) -> User:
    """With a version that is new to the viewers, or they would drop the truth as outdated."""
    frozen = [user.seen_by(name) for name in viewer_ids & user.blocked.keys()]
    if not frozen:
        return user
    blocked = {name: view for name, view in user.blocked.items() if name not in viewer_ids}
    held = max(presence.version for presence in frozen)
    shows_the_truth = all(presence == user.presence for presence in frozen)
    is_newer = shows_the_truth or user.version > held
    version = user.version if is_newer else max(held + 1, now)
    return replace(user, blocked=blocked, version=version)


# ── what others see of it ──────────────────────────────────────────────────────────────────


def _hide_or_show(before: User, after: User, now: int) -> User:
    """For others, becoming invisible is leaving and ceasing to be invisible is arriving.

    A user without a connection has left already, and does not arrive.
    """
    was_hidden, is_hidden = (user.choice is Choice.INVISIBLE for user in (before, after))
    return replace(after, last_seen=now) if was_hidden != is_hidden and after.leases else after


def _count_versions(before: User, after: User, now: int) -> User:
    """With greater versions where a view has changed.

    They are hybrid clocks: also greater than any version of an item that was deleted since.
    """
    if not after.presence.equals_except_version(before.presence):
        after = replace(after, version=max(after.version, before.version + 1, now))
    if not after.own_presence.equals_except_version(before.own_presence):
        after = replace(after, own_version=max(before.own_version + 1, after.version, now))
    return after


def _effects(before: User, current: User, after: User) -> Iterable[Effect]:
    for name, lease in before.leases.items():
        if name not in current.leases:
            yield LeaseRemoved(name, lease.sessions)
    if after.next_change_at is not None and after.next_change_at != before.next_change_at:
        yield TimerDue(after.next_change_at)
    if after.presence.differs_for_others(before.presence):
        yield PresenceChanged(before.presence, after.presence)
    elif any(_differs_for(before, after, viewer) for viewer in special_viewers(before, after)):
        yield ViewChanged()


def _differs_for(before: User, after: User, viewer_id: str | None) -> bool:
    """Whether *viewer_id* must be told, of the presence or of a chat session."""
    known: Presence = before.seen_by(viewer_id)
    sessions = before.sessions_seen_by(viewer_id) != after.sessions_seen_by(viewer_id)
    return sessions or after.seen_by(viewer_id).differs_for_others(known)


def special_viewers(*users: User) -> Iterable[str | None]:
    """The viewers whose view may differ from the public one, and None for the public."""
    return {None, users[0].user_id, *(name for user in users for name in user.blocked)}
