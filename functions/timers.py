"""The queue of timers: a grace period, a lease or the time to authenticate may be over."""

from presence.entrypoints.background import timers as handler

__all__ = ["handler"]
