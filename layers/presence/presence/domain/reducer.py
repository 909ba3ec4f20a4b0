"""Everything about one user's presence, decided in one pure function: `reduce`.

No clock, no I/O, no randomness: `now` is an argument, in epoch milliseconds like every instant
here. Writes, reads, sweeps and tests all use it, so they cannot disagree.

                     last lease leaves               grace is over
    OFFLINE ──add──► HERE ─────────────► GRACE ────────────────────► OFFLINE   (announced)
                      │  ▲                 │
                      │  └────── add ──────┘  nothing is announced
                      └─ last lease runs out: it has waited already ► OFFLINE  (announced)

A chat session is left in the same way: at once if its last connection leaves it or runs out, and
after the grace period if that connection is closed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from presence.domain.errors import Conflict, TooManyConnections
from presence.domain.events import (
    Authenticated,
    Blocked,
    Change,
    Chosen,
    Disconnected,
    Due,
    Erased,
    Event,
    Joined,
    LeaseRanOut,
    Left,
    PresenceChanged,
    Renewed,
    Seen,
    TimePassed,
    Unblocked,
    ViewChanged,
)
from presence.domain.user import (
    MAX_BLOCKED,
    MAX_CONNECTIONS,
    MAX_SESSIONS,
    Choice,
    Lease,
    Mask,
    Presence,
    Status,
    User,
)


def reduce(user: User, event: Event, now: int) -> tuple[User, tuple[Change, ...]]:
    """The user after *event*, and what follows from it.

    What the clock alone decides is decided first: leases and grace periods that are over by
    *now* are gone before the event is looked at. Repeating an event changes nothing but the
    ends of leases (I13).

    Raises:
        TooManyConnections: an `Authenticated` beyond MAX_CONNECTIONS; the user is unchanged.
        Conflict: a `Joined`, or a late connection's return, beyond MAX_SESSIONS, or a `Blocked`
            beyond MAX_BLOCKED; likewise.
    """
    settled = _settle(user, now)
    after = _apply(settled, event, now)
    after = _decide_status(after)
    after = _hide_or_show(user, after, now)
    after = _count_versions(user, after, now)
    return after, tuple(_changes(user, settled, after))


# ── what the clock decides ─────────────────────────────────────────────────────────────────


def _settle(user: User, now: int) -> User:
    if user.until is not None and user.until <= now:
        user = replace(user, choice=Choice.ONLINE, text=None, until=None)
    live = {name: lease for name, lease in user.leases.items() if not lease.is_over(now)}
    if len(live) < len(user.leases):
        user = _without_lapsed(user, live)
    if user.grace_until is not None and user.grace_until <= now:
        user = replace(user, grace_until=None)
    lingering = {name: until for name, until in user.lingering.items() if until > now}
    return _decide_status(replace(user, lingering=lingering))


def _without_lapsed(user: User, live: Mapping[str, Lease]) -> User:
    """Whoever falls silent was last seen when last heard, not when that was noticed."""
    heard = max(lease.seen_at for name, lease in user.leases.items() if name not in live)
    user = replace(user, leases=live)
    return user if user.is_here else _seen(user, heard)


def _decide_status(user: User) -> User:
    """The status, and with it the sessions: whoever is not here is expected back in none."""
    lingering = user.lingering if user.is_here else {}
    return replace(user, status=_status(user), lingering=lingering)


def _status(user: User) -> Status:
    if not user.is_here or user.choice is Choice.INVISIBLE:
        return Status.OFFLINE
    if user.choice is not Choice.ONLINE:
        return Status(user.choice)
    if user.leases:
        active = any(lease.is_active for lease in user.leases.values())
        return Status.ONLINE if active else Status.AWAY
    # In grace nobody is there to be active: others go on seeing what they saw.
    return user.status if user.status in (Status.ONLINE, Status.AWAY) else Status.ONLINE


# ── what the event does ────────────────────────────────────────────────────────────────────


def _apply(user: User, event: Event, now: int) -> User:  # noqa: C901, PLR0911  one case per event
    match event:
        case Authenticated():
            return _add(user, event, now)
        case Renewed():
            return _renew(user, event)
        case Disconnected():
            return _remove(user, event, now)
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
        case Erased():
            return _erase(user)
        case TimePassed():
            return user


def _add(user: User, event: Authenticated, now: int) -> User:
    known = user.leases.get(event.connection_id)
    if known is None and len(user.leases) >= MAX_CONNECTIONS:
        raise TooManyConnections(f"Close one of the {MAX_CONNECTIONS} connections of this user.")
    sessions = event.lease.sessions if known is None else event.lease.sessions | known.sessions
    if len(user.sessions | sessions) > MAX_SESSIONS:
        raise Conflict(f"This user is in {MAX_SESSIONS} chat sessions; open a new connection.")
    arriving = user if user.is_here else _seen(user, now)
    leases = {**arriving.leases, event.connection_id: replace(event.lease, sessions=sessions)}
    return replace(arriving, leases=leases, grace_until=None)


def _renew(user: User, event: Renewed) -> User:
    """Creates nothing: a lease that is gone stays gone (a ghost otherwise, F11)."""
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    renewed = replace(
        lease,
        expires_at=max(lease.expires_at, event.lease.expires_at),
        seen_at=max(lease.seen_at, event.lease.seen_at),
        is_active=lease.is_active if event.is_active is None else event.is_active,
    )
    return replace(user, leases={**user.leases, event.connection_id: renewed})


def _remove(user: User, event: Disconnected, now: int) -> User:
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    leases = {name: it for name, it in user.leases.items() if name != event.connection_id}
    if event.grace_until > now:
        expected = dict.fromkeys(lease.sessions, event.grace_until)
        user = _without_held(replace(user, leases=leases, lingering={**user.lingering, **expected}))
    user = replace(user, leases=leases)
    if leases:
        return user
    left = _seen(user, now)
    return replace(left, grace_until=event.grace_until) if event.grace_until > now else left


def _without_held(user: User) -> User:
    """What another connection is in does not depend on the one that left."""
    held = frozenset[str]().union(*(lease.sessions for lease in user.leases.values()))
    lingering = {name: until for name, until in user.lingering.items() if name not in held}
    return replace(user, lingering=lingering)


def _join(user: User, event: Joined) -> User:
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    if event.session_id not in user.sessions and len(user.sessions) >= MAX_SESSIONS:
        raise Conflict(f"Leave one of the {MAX_SESSIONS} chat sessions of this user first.")
    joined = replace(lease, sessions=lease.sessions | {event.session_id})
    return _without_held(replace(user, leases={**user.leases, event.connection_id: joined}))


def _leave(user: User, event: Left) -> User:
    lingering = {name: it for name, it in user.lingering.items() if name != event.session_id}
    user = replace(user, lingering=lingering)
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    left = replace(lease, sessions=lease.sessions - {event.session_id})
    return replace(user, leases={**user.leases, event.connection_id: left})


def _seen(user: User, at: int) -> User:
    """An invisible user is not seen; for everybody else they left when they became invisible."""
    if user.choice is Choice.INVISIBLE:
        return user
    return replace(user, last_seen=max(at, user.last_seen or 0))


def _block(user: User, viewer_id: str, now: int) -> User:
    """For the viewer it looks as if the user left now; or as it looked, if they had left."""
    if viewer_id in user.blocked:
        return user
    if len(user.blocked) >= MAX_BLOCKED:
        raise Conflict(f"Unblock one of the {MAX_BLOCKED} users first.")
    mask = Mask(user.last_seen, user.version)
    if user.presence.is_online:
        mask = Mask(now, max(user.version + 1, now))
    return replace(user, blocked={**user.blocked, viewer_id: mask})


def _unblock(user: User, viewer_ids: frozenset[str], now: int) -> User:
    """A version that the viewers do not hold, or they would drop the truth as old news."""
    seen = [user.seen_by(name) for name in viewer_ids & user.blocked.keys()]
    if not seen:
        return user
    blocked = {name: mask for name, mask in user.blocked.items() if name not in viewer_ids}
    held = max(presence.version for presence in seen)
    is_newer = user.version > held or set(seen) == {user.presence}
    version = user.version if is_newer else max(held + 1, now)
    return replace(user, blocked=blocked, version=version)


def _erase(user: User) -> User:
    return User(
        user.user_id,
        revision=user.revision,
        version=user.version,
        own_version=user.own_version,
        blocked=user.blocked,
    )


# ── what others see of it ──────────────────────────────────────────────────────────────────


def _hide_or_show(before: User, after: User, now: int) -> User:
    """Becoming invisible looks like leaving, and ceasing to be like arriving."""
    was_hidden, is_hidden = (user.choice is Choice.INVISIBLE for user in (before, after))
    return replace(after, last_seen=now) if was_hidden != is_hidden and after.is_here else after


def _count_versions(before: User, after: User, now: int) -> User:
    """Hybrid clocks: greater than before, and than any version of an item since deleted."""
    if not after.presence.looks_like(before.presence):
        after = replace(after, version=max(after.version, before.version + 1, now))
    if not after.own_presence.looks_like(before.own_presence):
        after = replace(after, own_version=max(before.own_version + 1, after.version, now))
    return after


def _changes(before: User, settled: User, after: User) -> Iterable[Change]:
    for name, lease in before.leases.items():
        if name not in settled.leases:
            yield LeaseRanOut(name, lease.sessions)
    if after.wakes_at is not None and after.wakes_at != before.wakes_at:
        yield Due(after.wakes_at)
    if after.presence.says_more_than(before.presence):
        yield PresenceChanged(before.presence, after.presence)
    elif any(_is_news(before, after, viewer) for viewer in special_viewers(before, after)):
        yield ViewChanged()


def _is_news(before: User, after: User, viewer_id: str | None) -> bool:
    """Whether *viewer_id* has to hear of the difference, in whatever frame."""
    known: Presence = before.seen_by(viewer_id)
    sessions = before.sessions_seen_by(viewer_id) != after.sessions_seen_by(viewer_id)
    return sessions or after.seen_by(viewer_id).says_more_than(known)


def special_viewers(*users: User) -> Iterable[str | None]:
    """Everybody whose view may differ from the others', and None for all those others."""
    return {None, users[0].user_id, *(name for user in users for name in user.blocked)}
