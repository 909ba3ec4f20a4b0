"""Every minute: users whose leases have expired, and the count."""

from presence.entrypoints.background import sweep as handler

__all__ = ["handler"]
