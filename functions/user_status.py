"""The HTTP API: every route under /api/user-status."""

from presence.http_api import handler

__all__ = ["handler"]
