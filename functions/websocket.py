"""The WebSocket API: every route, `$connect` and `$disconnect` included."""

from presence.entrypoints.websocket import handler

__all__ = ["handler"]
