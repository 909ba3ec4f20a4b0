"""The stream of the table Users: tell the recipients what has changed."""

from presence.entrypoints.stream import announce as handler

__all__ = ["handler"]
