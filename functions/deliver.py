"""The queue of deliveries: posts that had to wait, and jobs of large audiences."""

from presence.entrypoints.background import deliver as handler

__all__ = ["handler"]
