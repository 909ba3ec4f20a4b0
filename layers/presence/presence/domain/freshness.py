"""How fresh the evidence is that a user is there, what a viewer is told of it, and when to probe.

Evidence is the last frame of any live connection. It is told in steps of a part of `Rules.fresh`:
told exactly, it would show the moment of everything that a user does, to viewers who see none of
it. A probe is no such secret, so a user who answered one was heard then at least.
"""

from collections.abc import Mapping
from dataclasses import replace

from presence.domain.user import Presence, User
from presence.limits import STEPS_OF_FRESH


def seen_by(user: User, viewer_id: str | None, now: int) -> Presence:
    """As the viewer sees the user, with `heard_at`, if a viewer may learn it."""
    seen = user.seen_by(viewer_id)
    is_told = user.is_seen_acting_by(viewer_id)
    return replace(seen, heard_at=heard_at(user, now)) if is_told else seen


def is_settled(seen: Presence, user: User, now: int) -> bool:
    """Whether a viewer who was told this knows how the user is, without waiting for an answer."""
    return not seen.is_online or _is_fresh(seen.heard_at, user, now)


def needs_probe(user: User, viewer_id: str | None, now: int) -> bool:
    """Whether to ask the user's connections, because this viewer asks.

    Not of a user who looks offline to the viewer, or about to be: it would take longer than for one
    who is. Not again within `Rules.fresh`, however many viewers ask.
    """
    is_due = user.probed_at <= now - user.rules.fresh
    return is_due and user.is_seen_acting_by(viewer_id) and bool(unheard(user, now))


def unheard(user: User, now: int) -> Mapping[str, int]:
    """The live connections, each with when it was heard last; none if the evidence is fresh."""
    live = _live(user, now)
    return {} if _is_fresh(heard_at(user, now), user, now) else live


def heard_at(user: User, now: int) -> int | None:
    """When the user was heard last, as it is told; None without a live connection."""
    newest = max(_live(user, now).values(), default=None)
    if newest is None:
        return None
    told = newest - newest % (user.rules.fresh // STEPS_OF_FRESH)
    return max(told, user.probed_at) if newest >= user.probed_at else told


def _is_fresh(heard: int | None, user: User, now: int) -> bool:
    return heard is not None and heard > now - user.rules.fresh


def _live(user: User, now: int) -> Mapping[str, int]:
    return {name: it.seen_at for name, it in user.leases.items() if not it.is_expired(now)}
