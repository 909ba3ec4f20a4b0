"""`$connect`: a client opens a connection; nobody has claimed it yet."""

from presence.entrypoint import connect as handler

__all__ = ["handler"]
