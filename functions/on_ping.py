"""`ping`: the client is still there, and perhaps somebody is at the device."""

from presence.entrypoint import action

handler = action("ping")
