"""`$default`: the aliases that cannot be route keys, and everything that is no action."""

from presence.entrypoint import action

handler = action("$default")
