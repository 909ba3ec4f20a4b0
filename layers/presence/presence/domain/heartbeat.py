"""How often a connection pings, and how long its lease lasts, by its situation: the whole policy.

No clock and no I/O. Durations and instants are in milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from presence.domain.user import Lease, User
from presence.limits import HIDDEN_TIMER_MILLISECONDS, LATE_MILLISECONDS


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """The heartbeats of one stack.

    `foreground` is that of a device with a person at it, and `background` that of one which is
    hidden or idle, or stands beside another device of its user that keeps the foreground's: one
    of them is enough to notice soon that the user is gone. `browsers` says whether web pages
    connect.
    """

    foreground: int
    background: int
    browsers: bool = True

    def lease(self, heartbeat: int) -> int:
        """1.5 heartbeats, the ratio of AWS IoT Core's keep-alive; whole seconds.

        With browsers it also outlasts a hidden tab, whose timers run once a minute: its ping comes
        at the next whole minute, and may be late.
        """
        lease = -(-heartbeat * 3 // 2000) * 1000
        if not self.browsers:
            return lease
        minutes = -(-heartbeat // HIDDEN_TIMER_MILLISECONDS)
        return max(lease, minutes * HIDDEN_TIMER_MILLISECONDS + LATE_MILLISECONDS)

    @property
    def usual_lease(self) -> int:
        return self.lease(self.foreground)

    def allowed(self, heartbeat: int | None) -> int:
        """What a client may keep that asks for this heartbeat; None asks for none."""
        return self.foreground if heartbeat is None else min(heartbeat, self.background)

    def wanted(self, user: User, connection_id: str, now: int) -> int:
        """The heartbeat that a connection should keep, beside the others of its user."""
        lease = user.leases[connection_id]
        if not lease.is_active:
            return self.background
        others = (name for name in user.leases if name > connection_id)
        is_beside = any(self._is_watchful(user.leases[name], now) for name in others)
        return self.background if is_beside else self.foreground

    def _is_watchful(self, lease: Lease, now: int) -> bool:
        return lease.is_active and not lease.is_expired(now) and not self.is_long(lease)

    def is_long(self, lease: Lease) -> bool:
        return (lease.lasts or 0) > self.usual_lease

    def misfits(self, user: User, now: int) -> Mapping[str, int]:
        """The connections that keep the background's heartbeat, and what they should keep instead.

        The other way round only costs money, and is said when they ping.
        """
        long = [name for name, it in user.leases.items() if it.is_active and self.is_long(it)]
        wanted = {name: self.wanted(user, name, now) for name in long}
        return {name: it for name, it in wanted.items() if it < self.background}
