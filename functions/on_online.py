"""`online`: who is online, a page at a time."""

from presence.entrypoint import action

handler = action("online")
