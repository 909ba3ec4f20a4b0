"""`typing`: somebody types; relayed, never stored."""

from presence.entrypoint import action

handler = action("typing")
