"""The HTTP API: every route under /api/user-status."""

from presence.entrypoints.http import handler

__all__ = ["handler"]
