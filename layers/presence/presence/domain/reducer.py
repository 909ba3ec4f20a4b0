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

In grace nobody is there, so what others see stands still: a choice that is over ends when its user
is back, or with the grace period; and whoever was hidden is shown by a connection alone.
"""

from collections.abc import Iterable
from dataclasses import replace

from presence.domain.errors import Conflict, TooManyConnections
from presence.domain.events import (
    Authenticated,
    Blocked,
    Chosen,
    Disconnected,
    Effect,
    Erased,
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
    Unblocked,
    UserEvent,
    ViewChanged,
)
from presence.domain.user import (
    MAX_BLOCKED,
    MAX_CONNECTIONS,
    MAX_SESSIONS,
    Choice,
    FrozenView,
    Lease,
    Presence,
    Status,
    User,
)


def reduce(user: User, event: UserEvent, now: int) -> tuple[User, tuple[Effect, ...]]:
    """The user after *event*, and what follows from it.

    What the clock alone decides is decided first: leases and grace periods that are over by
    *now* are gone before the event is looked at. Repeating an event changes nothing but the
    ends of leases (I13).

    Raises:
        TooManyConnections: an `Authenticated` beyond MAX_CONNECTIONS; the user is unchanged.
        Conflict: a `Joined`, or a late connection's return, beyond MAX_SESSIONS, or a `Blocked`
            beyond MAX_BLOCKED; likewise.
        LeaseStillValid: a `LeaseExpired` of a lease that is good; likewise.
    """
    settled = _settle(user, now)
    if isinstance(event, Blocked):
        # What the clock has changed is what the viewer sees from now on, so it has its version.
        settled = _count_versions(user, settled, now)
    after = _end_choice(_apply(settled, event, now), now)
    after = _decide_status(after)
    after = _hide_or_show(settled, after, now)
    after = _count_versions(user, after, now)
    return after, tuple(_changes(user, settled, after))


# ── what the clock decides ─────────────────────────────────────────────────────────────────


def _settle(user: User, now: int) -> User:
    """Without what is over, in the order in which it ended, whenever somebody looks.

    Whether a lease or a choice ended first says whether the user was hiding at the end of both.
    """
    ends = {lease.expires_at for lease in user.leases.values()} | {user.until or now}
    for at in sorted(end for end in ends if end < now):
        user = _without_over(user, at)
    return _without_over(user, now)


def _without_over(user: User, at: int) -> User:
    user = _end_choice(_without_lapsed(user, at), at)
    held = user.joined_sessions
    pending_leaves = {
        name: until for name, until in user.pending_leaves.items() if until > at or name in held
    }
    return _decide_status(replace(user, pending_leaves=pending_leaves))


def _end_choice(user: User, at: int) -> User:
    """Without a choice that is over; in grace it goes on, as does all that others see."""
    if user.until is None or user.until > at or user.is_in_grace:
        return user
    ended = replace(user, choice=Choice.ONLINE, text=None, until=None)
    return _hide_or_show(user, ended, at)


def _without_lapsed(user: User, at: int) -> User:
    """Without the leases and the grace that are over.

    Grace counts when nothing else does: beside a lease nobody looks whether it is over. Whoever
    falls silent was last seen when last heard, not when that was noticed; or when another device
    left, which is known by its grace period.
    """
    live = {name: lease for name, lease in user.leases.items() if not lease.is_over(at)}
    heard = [lease.seen_at for name, lease in user.leases.items() if name not in live]
    if heard and not live:
        user = _seen(user, max(*heard, min(at, user.grace_until or 0)))
    if not live and user.grace_until is not None and user.grace_until <= at:
        user = replace(user, grace_until=None)
    return replace(user, leases=live)


def _decide_status(user: User) -> User:
    """The status, and with it the sessions: whoever is not here is expected back in none."""
    pending_leaves = user.pending_leaves if user.is_here else {}
    return replace(user, status=_status(user), pending_leaves=pending_leaves)


def _status(user: User) -> Status:
    if not user.is_here or user.choice is Choice.INVISIBLE:
        return Status.OFFLINE
    if user.is_in_grace and user.status is Status.OFFLINE:
        return Status.OFFLINE  # they left while they hid
    if user.choice is not Choice.ONLINE:
        return Status(user.choice)
    if user.leases:
        active = any(lease.is_active for lease in user.leases.values())
        return Status.ONLINE if active else Status.AWAY
    # In grace nobody is there to be active: others go on seeing what they saw.
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
        case LeaseExpired():
            return _lapse(user, event)
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
        case Erased():
            return user.erased()
        case TimePassed():
            return user


def _add(user: User, event: Authenticated, now: int) -> User:
    known = user.leases.get(event.connection_id)
    if known is None and len(user.leases) >= MAX_CONNECTIONS:
        raise TooManyConnections(f"Close one of the {MAX_CONNECTIONS} connections of this user.")
    sessions = (known or event.lease).sessions
    if len(user.sessions | sessions) > MAX_SESSIONS:
        raise Conflict(f"This user is in {MAX_SESSIONS} chat sessions; open a new connection.")
    is_active = (known or event.lease).is_active if event.is_active is None else event.is_active
    lease = replace(_heard_last(known, event.lease), is_active=is_active, sessions=sessions)
    arriving = user if user.presence.is_online else _seen(user, now)
    leases = {**arriving.leases, event.connection_id: lease}
    return replace(arriving, leases=leases, grace_until=None)


def _heard_last(known: Lease | None, new: Lease) -> Lease:
    """What was answered meanwhile holds: a later frame may have overtaken this one (I2)."""
    return new if known is None or known.seen_at <= new.seen_at else known


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
    left = replace(user, leases=leases)
    if not leases:
        left = _seen(left, now)
    if event.grace_until <= now:
        return _settle(left, now)  # what was over beside this lease counts now
    # Also beside other leases: they may be those of devices that are dead.
    expected = dict.fromkeys(lease.sessions, event.grace_until)
    pending_leaves = {**user.pending_leaves, **expected}
    return replace(left, grace_until=event.grace_until, pending_leaves=pending_leaves)


def _lapse(user: User, event: LeaseExpired) -> User:
    """What has run out is gone already."""
    if (lease := user.leases.get(event.connection_id)) is not None:
        raise LeaseStillValid(lease)
    return user


def _join(user: User, event: Joined) -> User:
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    if event.session_id not in user.sessions and len(user.sessions) >= MAX_SESSIONS:
        raise Conflict(f"Leave one of the {MAX_SESSIONS} chat sessions of this user first.")
    user = _without_expected(user, event.session_id)
    joined = replace(lease, sessions=lease.sessions | {event.session_id})
    return replace(user, leases={**user.leases, event.connection_id: joined})


def _without_expected(user: User, session_id: str) -> User:
    pending_leaves = {name: it for name, it in user.pending_leaves.items() if name != session_id}
    return replace(user, pending_leaves=pending_leaves)


def _leave(user: User, event: Left) -> User:
    user = _without_expected(user, event.session_id)
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
    frozen_view = FrozenView(user.last_seen, user.version)
    if user.presence.is_online:
        frozen_view = FrozenView(now, max(user.version + 1, now))
    return replace(user, blocked={**user.blocked, viewer_id: frozen_view})


def _unblock(user: User, viewer_ids: frozenset[str], now: int) -> User:
    """A version that the viewers do not hold, or they would drop the truth as old news."""
    seen = [user.seen_by(name) for name in viewer_ids & user.blocked.keys()]
    if not seen:
        return user
    blocked = {
        name: frozen_view for name, frozen_view in user.blocked.items() if name not in viewer_ids
    }
    held = max(presence.version for presence in seen)
    is_newer = user.version > held or set(seen) == {user.presence}
    version = user.version if is_newer else max(held + 1, now)
    return replace(user, blocked=blocked, version=version)


# ── what others see of it ──────────────────────────────────────────────────────────────────


def _hide_or_show(before: User, after: User, now: int) -> User:
    """Becoming invisible looks like leaving, and ceasing to be like arriving.

    Whoever has no connection has left already, and does not arrive.
    """
    was_hidden, is_hidden = (user.choice is Choice.INVISIBLE for user in (before, after))
    return replace(after, last_seen=now) if was_hidden != is_hidden and after.leases else after


def _count_versions(before: User, after: User, now: int) -> User:
    """Hybrid clocks: greater than before, and than any version of an item since deleted."""
    if not after.presence.looks_like(before.presence):
        after = replace(after, version=max(after.version, before.version + 1, now))
    if not after.own_presence.looks_like(before.own_presence):
        after = replace(after, own_version=max(before.own_version + 1, after.version, now))
    return after


def _changes(before: User, settled: User, after: User) -> Iterable[Effect]:
    for name, lease in before.leases.items():
        if name not in settled.leases:
            yield LeaseRemoved(name, lease.sessions)
    if after.next_change_at is not None and after.next_change_at != before.next_change_at:
        yield TimerDue(after.next_change_at)
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
