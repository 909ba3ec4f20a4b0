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

Hiding, from all or from one viewer, looks like closing the last connection: what is seen is frozen
for the length of a grace period (`Farewell`), and then the user is offline.
"""

from collections.abc import Iterable
from dataclasses import replace

from presence.domain.data import NO_DATA, patched
from presence.domain.errors import Conflict, PresenceError, RateLimited, no_access
from presence.domain.events import (
    Allowed,
    Authenticated,
    Barred,
    Blocked,
    Chosen,
    DataChanged,
    Decision,
    Disconnected,
    Effect,
    Erased,
    Evicted,
    GraceEnded,
    Joined,
    LeaseExpired,
    LeaseRemoved,
    LeaseReplaced,
    LeaseStillValid,
    Left,
    PresenceChanged,
    Probed,
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
from presence.domain.standing import AllowedSessions, Standing
from presence.domain.user import (
    Choice,
    EarlierChoice,
    Farewell,
    FrozenView,
    Lease,
    Presence,
    Returned,
    Status,
    User,
)
from presence.limits import (
    MAX_BLOCKED,
    MAX_CONNECTIONS,
    MAX_EARLIER_CHOICES,
    MAX_NAME_BYTES,
    MAX_RETURNED,
    MAX_SCENES,
    MAX_SESSIONS,
)


def reduce(user: User, event: UserEvent, now: int) -> tuple[User, tuple[Effect, ...]]:
    """The user after *event*, and what follows from it.

    What the clock alone decides is decided first: leases and grace periods that ended by *now* are
    removed before the event is applied. Repeating an event changes nothing but the ends of leases.

    Raises:
        Conflict: an `Authenticated` whose lease brings chat sessions beyond MAX_SESSIONS, a
            `Blocked` beyond MAX_BLOCKED, or what takes more than MAX_NAME_BYTES with the rest; the
            user is unchanged.
        PayloadTooLarge: a `DataChanged` by a patch that makes the data too large; likewise.
        RateLimited: a `Blocked` beyond MAX_SCENES; likewise.
        TokenInvalid: an `Authenticated` with a token that was revoked; likewise.
        Forbidden, Conflict: a `Joined` of which no chat session may be joined, for the reason of
            the first (see `no_entry`); likewise.
        LeaseStillValid: a `LeaseExpired` of a lease that is valid; likewise.
    """
    current = _without_ended(user, now)
    after = _end_choice(_apply(current, event, now), now)
    after = _decide_status(_hide_or_show(current, after, now))
    after = _count_versions(user, after, now)
    replaced = _replaced(current, after) if isinstance(event, Authenticated) else ()
    awaited = _awaited(event, current, after) if isinstance(event, Probed) else ()
    return after, (*replaced, *awaited, *_effects(user, current, after))


# ── what the clock decides ─────────────────────────────────────────────────────────────────


def _without_ended(user: User, now: int) -> User:
    """Without what has ended by *now*, in the order in which it ended.

    The order decides what was seen last: a user whose chosen status `invisible` ended before the
    lease did was visible in between.
    """
    last = 0
    while (at := min((end for end in _ends(user) if last < end < now), default=now)) < now:
        user, last = _without_ended_at(user, at), at
    return _without_ended_at(user, now)


def _ends(user: User) -> set[int]:
    """The ends of the leases, of the chosen status, and of what is seen of a user who hides."""
    ends = {lease.expires_at for lease in user.leases.values()}
    told = (end for it in user.farewells for end in it.ends)
    return {*ends, *told} if user.until is None else {*ends, *told, user.until}


def _without_ended_at(user: User, at: int) -> User:
    user = _end_farewells(_end_choice(_without_expired(user, at), at), at)
    held = user.joined_sessions
    pending_leaves = {
        name: until for name, until in user.pending_leaves.items() if until > at or name in held
    }
    return _decide_status(replace(user, pending_leaves=pending_leaves))


def _end_choice(user: User, at: int) -> User:
    """With the choice before a timed one that has ended; during grace it stays, as what is seen."""
    while user.until is not None and user.until <= at and not user.is_in_grace:
        *earlier, back = user.earlier or (EarlierChoice(),)
        ended = replace(
            user, choice=back.choice, text=back.text, until=back.until, earlier=tuple(earlier)
        )
        user = _hide_or_show(_decide_status(user), ended, at)
    return user


def _end_farewells(user: User, at: int) -> User:
    """Viewers who have seen a hidden user for long enough see the user offline."""
    blocked = {
        name: it if it.farewell is None else replace(it, farewell=it.farewell.at(at))
        for name, it in user.blocked.items()
    }
    user = replace(user, blocked=blocked)
    if user.farewell is None:
        return user
    farewell = user.farewell.at(at)
    status = Status.OFFLINE if farewell is None else user.status
    return replace(user, farewell=farewell, status=status)


def _without_expired(user: User, at: int) -> User:
    """Without expired leases and an ended grace period.

    `grace_until` matters only without leases. For expired leases `last_seen` is the last frame
    received from an active device (not the time of detection), or what came later.
    """
    live = {name: lease for name, lease in user.leases.items() if not lease.is_expired(at)}
    for name, lease in user.leases.items():
        if name not in live and lease.is_active:
            user = _active(user, lease.seen_at)
    if user.leases and not live:
        user = _seen(user, user.active_at)
    if not live and user.grace_until is not None and user.grace_until <= at:
        user = replace(user, grace_until=None)
    return replace(user, leases=live)


def _decide_status(user: User) -> User:
    """With the status that follows from the rest; a user who is not here has no pending leaves.

    A user who is away was last seen at the last activity.
    """
    pending_leaves = user.pending_leaves if user.is_here else {}
    if user.leases and user.choice is not Choice.INVISIBLE:
        user = replace(user, farewell=None)
    user = replace(user, status=_status(user), pending_leaves=pending_leaves)
    is_away = user.leases and user.choice is Choice.ONLINE and user.status is Status.AWAY
    return _seen(user, user.active_at) if is_away else user


def _status(user: User) -> Status:
    if user.farewell is not None:
        return user.farewell.status
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


def _apply(user: User, event: UserEvent, now: int) -> User:  # noqa: C901, PLR0911  one case per event
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
        case Probed():
            return _await_answers(user, event)
        case GraceEnded():
            return _end_grace(user, now)
        case Joined():
            return _join(user, event)
        case Left():
            return _leave(user, event)
        case TimePassed():
            return user
        case _:
            return _decide(user, event, now)


def _decide(user: User, event: Decision, now: int) -> User:  # noqa: C901, PLR0911  one case per event
    match event:
        case Chosen():
            return _choose(user, event, now)
        case DataChanged():
            return _change_data(user, event)
        case Seen():
            return _seen(user, now)
        case Blocked():
            return _block(user, event.viewer_id, now)
        case Unblocked():
            return _unblock(user, event)
        case TokensRevoked() | TokenRevoked() | Barred() | Allowed():
            return _decide_standing(user, event, now)
        case Erased():
            return _erase(user, event)


def _end_grace(user: User, now: int) -> User:
    """Also for viewers that the user hides from: a user who has closed the last tab is gone now."""
    ended = _end_farewells(user, max((it.until for it in user.farewells), default=now))
    return replace(ended, grace_until=None, pending_leaves={})


def _erase(user: User, event: Erased) -> User:
    kept = replace(user.standing, barred=frozenset())
    return replace(user, standing=kept if event.allows_sessions else user.standing).erased()


def _add(user: User, event: Authenticated, now: int) -> User:
    user.standing.require_accepted(event.token)
    known = user.leases.get(event.connection_id)
    if known is None and len(user.leases) >= MAX_CONNECTIONS:
        replaced = Disconnected(_to_replace(user, event.lease.device), event.grace_until)
        user = _remove(user, replaced, now)
    sessions = _allowed(user, event, (known or event.lease).sessions)
    if len(user.all_sessions | sessions) > MAX_SESSIONS:
        raise Conflict(f"This user is in {MAX_SESSIONS} chat sessions; open a new connection.")
    is_active = (known or event.lease).is_active if event.is_active is None else event.is_active
    lease = replace(_last_heard(known, event.lease), is_active=is_active, sessions=sessions)
    if lease.device and user.name_bytes_with(lease.device, *sessions) > MAX_NAME_BYTES:
        lease = replace(lease, device=None)
    arriving = _active_no_more(user, known, lease, now)
    if not user.presence.is_online and (is_active or user.last_seen is None):
        arriving = _seen(arriving, now)
    leases = {**arriving.leases, event.connection_id: lease}
    arrived = _with_data(replace(arriving, leases=leases, grace_until=None), event.data)
    here = _within_bytes(user, arrived)
    return _take_part(here, event.connection_id, event.session_ids, event.token.allowed_sessions)


def _to_replace(user: User, device: str | None) -> str:
    """The connection that was heard longest ago, of the same device if there is one."""
    same = {name: it for name, it in user.leases.items() if device and it.device == device}
    return min((lease.seen_at, name) for name, lease in (same or user.leases).items())[1]


def _allowed(user: User, event: Authenticated, sessions: frozenset[str]) -> frozenset[str]:
    """The chat sessions, without those that the token or the back end refuses."""
    allowed = event.token.allowed_sessions
    return frozenset(name for name in sessions if user.standing.lets_into(name, allowed))


def _active_no_more(user: User, before: Lease | None, after: Lease | None, at: int) -> User:
    """With *at* as the last activity, if a person was at the device of a lease, and is not now."""
    was_active = before is not None and before.is_active
    is_active = after is not None and after.is_active
    return _active(user, at) if was_active and not is_active else user


def _active(user: User, at: int) -> User:
    """A person was at a device at *at*; what an invisible user does is not kept."""
    if user.choice is Choice.INVISIBLE:
        return user
    return replace(user, active_at=max(at, user.active_at))


def _last_heard(known: Lease | None, new: Lease) -> Lease:
    """The lease of the later frame: its renewal was confirmed to the client and must hold.

    It ends with the token of now, also if the later frame was sent under an earlier token, and
    lasts as long as the client has asked for last.
    """
    if known is None:
        return replace(new, expires_at=_until_token_ends(new.expires_at, new))
    later = new if known.seen_at <= new.seen_at else known
    lasts = known.lasts if new.lasts is None else new.lasts
    expires_at = later.expires_at
    if later is new and lasts is not None:
        expires_at = new.seen_at + lasts
    return replace(
        later,
        ends_by=new.ends_by,
        expires_at=_until_token_ends(expires_at, new),
        arrival=known.arrival,
        lasts=lasts,
    )


def _until_token_ends(expires_at: int, lease: Lease) -> int:
    return expires_at if lease.ends_by is None else min(expires_at, lease.ends_by)


def _renew(user: User, event: Renewed) -> User:
    """Creates nothing: a lease that was removed stays removed, else it would have no connection.

    It becomes shorter only if the client has asked for that.
    """
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    is_newer = event.lease.lasts != lease.lasts and event.lease.seen_at >= lease.seen_at
    expires_at = _until_token_ends(event.lease.expires_at, lease)
    renewed = replace(
        lease,
        expires_at=expires_at if is_newer else max(lease.expires_at, expires_at),
        lasts=event.lease.lasts if is_newer else lease.lasts,
        seen_at=max(lease.seen_at, event.lease.seen_at),
        is_active=lease.is_active if event.is_active is None else event.is_active,
    )
    user = _active_no_more(user, lease, renewed, renewed.seen_at)
    return replace(user, leases={**user.leases, event.connection_id: renewed})


def _remove(user: User, event: Disconnected, now: int) -> User:
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    leases = {name: it for name, it in user.leases.items() if name != event.connection_id}
    left = _active_no_more(replace(user, leases=leases), lease, None, now)
    if not leases:
        left = _seen(left, left.active_at)
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


def _await_answers(user: User, event: Probed) -> User:
    """Creates no lease and lengthens none; one that was renewed since says another `seen_at`.

    The instants of the probe and of the last frame are not compared: they are of two clocks.
    """
    awaited = {
        name: replace(lease, expires_at=min(lease.expires_at, event.until))
        for name, lease in user.leases.items()
        if event.unheard.get(name) == lease.seen_at
    }
    return replace(user, leases={**user.leases, **awaited})


def _join(user: User, event: Joined) -> User:
    """The claim of the token was looked at before: the connection record keeps it."""
    if event.connection_id not in user.leases:
        return user
    refusals = [no_entry(user, name, None) for name in event.session_ids]
    if refusals and refusals[0] is not None and all(refusals):
        raise refusals[0]
    return _take_part(user, event.connection_id, event.session_ids, None)


def no_entry(user: User, session_id: str, allowed: AllowedSessions) -> PresenceError | None:
    """Why the user may not join a chat session, by a token that allows these; None if it may."""
    if not user.standing.lets_into(session_id, allowed):
        return no_access()
    known = user.all_sessions
    if session_id not in known and len(known) >= MAX_SESSIONS:
        return Conflict(f"Leave one of the {MAX_SESSIONS} chat sessions of this user first.")
    if session_id not in known and user.name_bytes_with(session_id) > MAX_NAME_BYTES:
        return _too_many_bytes()
    return None


def _take_part(
    user: User, connection_id: str, session_ids: Iterable[str], allowed: AllowedSessions
) -> User:
    """The user, after joining the chat sessions that may be joined, in their order."""
    for session_id in session_ids:
        if no_entry(user, session_id, allowed) is None:
            user = _without_pending_leave(user, session_id)
            lease = user.leases[connection_id]
            joined = replace(lease, sessions=lease.sessions | {session_id})
            user = replace(user, leases={**user.leases, connection_id: joined})
    return user


def _decide_standing(
    user: User, event: TokensRevoked | TokenRevoked | Barred | Allowed, now: int
) -> User:
    decided = _within_bytes(user, replace(user, standing=_standing(user.standing, event, now)))
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
    for session_id in event.session_ids:
        user = _without_pending_leave(user, session_id)
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    left = replace(lease, sessions=lease.sessions.difference(event.session_ids))
    return replace(user, leases={**user.leases, event.connection_id: left})


def _choose(user: User, event: Chosen, now: int) -> User:
    """With the choice, unless a newer one is known; a timed one remembers those before it.

    One that is over when it comes was never made: it would show a hidden user for no time.
    """
    if event.until is not None and event.until <= now:
        return user
    chosen_at = max(now, user.chosen_at)
    if event.chosen_at is not None:
        chosen_at = min(event.chosen_at, now)
        if chosen_at < user.chosen_at:
            return user
    chosen = replace(
        user,
        choice=event.choice,
        text=event.text,
        until=event.until,
        earlier=_earlier(user, event),
        chosen_at=chosen_at,
        disclosure=event.disclosure or user.disclosure,
    )
    return _within_bytes(user, _with_data(chosen, event.data))


def _change_data(user: User, event: DataChanged) -> User:
    """A patch is of the data as they are now, whatever its sender has seen."""
    data = patched(user.data, event.data) if event.is_patch else event.data
    return _within_bytes(user, _with_data(user, data))


def _with_data(user: User, data: str | None) -> User:
    """With these data instead; None keeps them."""
    return user if data is None else replace(user, data=None if data == NO_DATA else data)


def _earlier(user: User, event: Chosen) -> tuple[EarlierChoice, ...]:
    """The choices that outlast a timed one; the lasting one is never dropped.

    The same choice again with an end gets that end: it is not what comes after it.
    """
    if (until := event.until) is None:
        return ()
    current = EarlierChoice(user.choice, user.text, user.until)
    is_same = (current.choice, current.text) == (event.choice, event.text)
    known = user.earlier if is_same else (*user.earlier, current)
    lasting = [it for it in known if it.until is None and it != EarlierChoice()]
    timed = [it for it in known if it.until is not None and it.until > until]
    return (*lasting, *timed[-MAX_EARLIER_CHOICES:])


def _seen(user: User, at: int) -> User:
    """With a later `last_seen`; for others an invisible user left when becoming invisible."""
    if user.choice is Choice.INVISIBLE:
        return user
    return replace(user, last_seen=max(at, user.last_seen or 0) or None)


def _block(user: User, viewer_id: str, now: int) -> User:
    """The viewer sees the user leave now, or goes on seeing a user who had left before."""
    if viewer_id in user.blocked:
        return user
    if len(user.blocked) >= MAX_BLOCKED:
        raise Conflict(f"Unblock one of the {MAX_BLOCKED} users first.")
    known, returned = user.seen_by(viewer_id), user.returned.get(viewer_id, Returned(0))
    farewell = user.farewell or _farewell(user, now)
    scenes = {it.scene for it in (*user.farewells, farewell) if it is not None}
    if len(scenes) > MAX_SCENES:
        seconds = -(-(min(it.until for it in user.farewells) - now) // 1000)
        raise RateLimited(f"Block this user in {seconds} s.", retry_after_seconds=seconds)
    last_seen = max(_last_seen_at(user, now) or 0, returned.last_seen or 0) or None
    view = FrozenView(last_seen, known.version, farewell, user.disclosure)
    others = {name: it for name, it in user.returned.items() if name != viewer_id}
    blocked = {**user.blocked, viewer_id: view}
    return _within_bytes(user, replace(user, blocked=blocked, returned=others, has_blocked=True))


def _within_bytes(before: User, after: User) -> User:
    """The user after a change, if it fits: each ping is billed by all that is stored of a user.

    Raises:
        Conflict: the ids, texts and data take too much.
    """
    if after.name_bytes > max(MAX_NAME_BYTES, before.name_bytes):
        raise _too_many_bytes()
    return after


def _too_many_bytes() -> Conflict:
    return Conflict(
        "Unblock users, leave chat sessions, or keep less data: ids, texts and data take too much."
    )


def _unblock(user: User, event: Unblocked) -> User:
    """The viewers see the truth, from the version on that they hold."""
    names = event.viewer_ids
    ended = {name: it for name, it in user.blocked.items() if name in names}
    blocked = {name: it for name, it in user.blocked.items() if name not in names}
    returned = {**user.returned, **{name: Returned(0, it.last_seen) for name, it in ended.items()}}
    if event.gone:
        returned = {name: it for name, it in returned.items() if name not in names}
    return replace(user, blocked=blocked, returned=returned)


# ── what others see of it ──────────────────────────────────────────────────────────────────


def _hide_or_show(before: User, after: User, now: int) -> User:
    """For others, becoming invisible is leaving and ceasing to be invisible is arriving.

    A user without a connection has left already, and does not arrive. A user who shows up while
    others still see what was before is back within the grace period.
    """
    was_hidden, is_hidden = (user.choice is Choice.INVISIBLE for user in (before, after))
    if was_hidden == is_hidden:
        return after
    if is_hidden:
        farewell = before.farewell or _farewell(before, now)
        return replace(after, farewell=farewell, last_seen=_last_seen_at(before, now))
    is_arriving = before.farewell is None and _is_active(after)
    return _seen(after, now) if is_arriving else after


def _farewell(user: User, now: int) -> Farewell | None:
    """What is seen from *now* on of a user who hides; None if the user is offline."""
    until = now + user.rules.grace if user.leases else user.grace_until or now
    if until <= now or not user.presence.is_online:
        return None
    sessions = {**user.pending_leaves, **dict.fromkeys(user.joined_sessions, until)}
    seen = user.presence
    return Farewell(until, user.status, seen.text, sessions, seen.data)


def _last_seen_at(user: User, now: int) -> int | None:
    """`last_seen` as if the user's last connection were closed now."""
    if not user.leases or user.choice is Choice.INVISIBLE:
        return user.last_seen
    return max(user.last_seen or 0, now if _is_active(user) else user.active_at) or None


def _is_active(user: User) -> bool:
    return any(lease.is_active for lease in user.leases.values())


def _count_versions(before: User, after: User, now: int) -> User:
    """With greater versions where a view has changed.

    They are hybrid clocks: also greater than any version of an item that was deleted since.
    """
    clock = after.precision.version_at(now)
    if not after.presence.equals_except_version(before.presence):
        version = max(after.version, max(before.version, before.floor) + 1, clock)
        after = replace(after, version=version)
    after = _count_for_returned(before, _count_for_blocked(before, after, now), clock)
    own_version = after.own_version
    if not after.own_presence.equals_except_version(before.own_presence):
        own_version = max(max(before.own_version, before.floor) + 1, after.version, now)
    if not after.own_presence.equals_except_version(after.presence):
        # A large room may name users to themselves, as others see them: that must look older.
        own_version = max(own_version, after.version + 1)
    return replace(after, own_version=own_version)


def _next_version(known: Presence, seen: Presence, clock: int) -> int:
    """The version of what a viewer sees, who saw *known* before."""
    return known.version if seen.equals_except_version(known) else max(known.version + 1, clock)


def _count_for_blocked(before: User, after: User, now: int) -> User:
    def counted(name: str, view: FrozenView) -> FrozenView:
        clock = after.rules.precision_with(view.disclosure).version_at(now)
        version = _next_version(before.seen_by(name), after.seen_by(name), clock)
        return replace(view, version=version)

    return replace(after, blocked={name: counted(name, it) for name, it in after.blocked.items()})


def _count_for_returned(before: User, after: User, clock: int) -> User:
    """Each viewer stays ahead until the public view has caught up.

    If there are too many, it is made to: that raises the version for all, and shows nothing else.
    """
    ahead = dict[str, Returned]()
    for name, it in after.returned.items():
        version = _next_version(before.seen_by(name), after.seen_by(name), clock)
        kept = replace(it, ahead=max(0, version - after.version))
        if kept.ahead or (it.last_seen or 0) > (after.last_seen or 0):
            ahead[name] = kept
    if len(ahead) <= MAX_RETURNED:
        return replace(after, returned=ahead)
    version = max(after.version + it.ahead for it in ahead.values()) + 1
    return replace(after, version=version, returned={})


def _replaced(current: User, after: User) -> Iterable[Effect]:
    for name, lease in current.leases.items():
        if name not in after.leases:
            yield LeaseReplaced(name, lease.sessions)


def _awaited(event: Probed, current: User, after: User) -> Iterable[Effect]:
    """Expired leases are left to the sweep; but viewers wait for this one."""
    if after.leases != current.leases:
        yield TimerDue(event.until)


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
    return {None, users[0].user_id, *(name for user in users for name in user.special_viewers)}
