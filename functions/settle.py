"""The timer queue: a grace period or the time to authenticate may be over."""

from presence.background import settle as handler

__all__ = ["handler"]
