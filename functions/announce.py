"""The stream of Users: tell everybody who should know what has changed."""

from presence.background import announce as handler

__all__ = ["handler"]
