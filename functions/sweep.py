"""Every minute: whoever fell silent, whatever was lost."""

from presence.background import sweep as handler

__all__ = ["handler"]
