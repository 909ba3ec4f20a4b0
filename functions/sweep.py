"""Every minute: users whose leases have expired, and the count."""

from presence.entrypoints.schedule import sweep as handler

__all__ = ["handler"]
