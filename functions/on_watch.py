"""`watch`: a connection hears of these users, too."""

from presence.entrypoint import action

handler = action("watch")
