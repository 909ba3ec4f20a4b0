"""The queue of deliveries: posts that had to wait, and jobs of large audiences."""

from presence.entrypoints.queues import deliver as handler

__all__ = ["handler"]
