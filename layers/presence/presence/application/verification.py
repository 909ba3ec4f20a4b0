"""Whether a user is there now: what is known at once, and a probe where that is too old.

The asker is answered at once and asks again; who does not answer a probe loses that lease:

    mark     one conditional write: of all who ask within `Rules.fresh`, one sends the probe
    post     to each connection of the user, which answers with a `ping`
    expect   only when the post was taken: the lease ends `wait` ms later, if no frame has come

A crash after any of them leaves a probe that was not sent, or leases as they were.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from presence.application.access import Access
from presence.application.statuses import Statuses
from presence.application.user_changes import UserChanges
from presence.domain import freshness
from presence.domain.errors import Unavailable
from presence.domain.events import Probed
from presence.domain.rate_limit import verify_units
from presence.domain.user import Presence, User
from presence.fanout.dispatch import Dispatcher
from presence.fanout.sight import Reach
from presence.limits import PROBE_POST_MILLISECONDS
from presence.metrics import PROBES, Meter
from presence.ports import Post
from presence.protocol.frames import PROBE


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe that was taken for these connections of a user, each heard last at this instant.

    `user` is as when it was marked, before the post.
    """

    user: User
    unheard: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Verified:
    """What is known of the users, in the order asked; of those in `awaited` the answer may change.

    `probes` are for `Verification.expect`.
    """

    users: Sequence[Presence]
    awaited: Sequence[str]
    probes: Sequence[Probe] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """`wait` is how long a probe may take to be answered, in milliseconds."""

    access: Access
    statuses: Statuses
    changes: UserChanges
    dispatcher: Dispatcher
    wait: int
    meter: Meter = field(default_factory=Meter)

    def ask(self, connection_id: str, user_ids: Sequence[str], now: int) -> Verified:
        """What a connection may know of these users.

        Raises:
            NotAuthenticated, TokenExpired, RateLimited: see `Access.authorize`.
        """
        actor = self.access.authorize(connection_id, now, verify_units(len(user_ids)))
        reach = Reach(actor.connection.allowed_sessions)
        return self.verify(user_ids, actor.user.user_id, now, reach)

    def verify(self, user_ids: Sequence[str], viewer_id: str, now: int, reach: Reach) -> Verified:
        """What *viewer_id* may know of these users; those whose evidence is old are probed.

        Those who look offline to the viewer are not, so that nothing tells them from those who are.
        """
        users = self.statuses.users_for(user_ids, viewer_id, now, reach=reach)
        seen = {name: freshness.seen_by(it, viewer_id, now) for name, it in users.items()}
        old = [it for it in users.values() if freshness.needs_probe(it, viewer_id, now)]
        return Verified(
            [seen[name] for name in user_ids],
            [name for name, it in users.items() if not freshness.is_settled(seen[name], it, now)],
            self._probe(old, now) if old else (),
        )

    def _probe(self, users: Iterable[User], now: int) -> Sequence[Probe]:
        marked = [self._mark(it, now) for it in users]
        asked = [Probe(it, freshness.unheard(it, now)) for it in marked if it is not None]
        names = [name for it in asked for name in it.unheard]
        if not names:
            return ()
        until = now + PROBE_POST_MILLISECONDS
        it = self.dispatcher.send_or_drop([Post(PROBE, names)], until=until)
        lost = {*it.gone, *it.again, *it.refused}
        self.meter.count(PROBES, len(names) - len(lost))
        return [
            Probe(probe.user, {name: at for name, at in probe.unheard.items() if name not in lost})
            for probe in asked
        ]

    def _mark(self, user: User, now: int) -> User | None:
        """The user as of the mark; None if others have just probed."""
        return self.changes.users.mark_probed(user.user_id, now, now - user.rules.fresh)

    def expect(self, probes: Iterable[Probe], now: int) -> None:
        """Give those who were probed until *now* and `wait`; *now* is read after the post.

        Read before it, it could be long past when the probe leaves, and end a lease in vain.
        """
        for probe in probes:
            if probe.unheard:
                event = Probed(probe.unheard, now + self.wait)
                with suppress(Unavailable):  # whose item is written all the time is there
                    self.changes.apply(probe.user.user_id, event, now, known=probe.user)
