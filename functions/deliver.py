"""Deliveries: posts that had to wait, because there were many or API Gateway was busy."""

from presence.background import deliver as handler

__all__ = ["handler"]
