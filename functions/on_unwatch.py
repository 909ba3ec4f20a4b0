"""`unwatch`: a connection hears of these users no longer."""

from presence.entrypoint import action

handler = action("unwatch")
