"""`authenticate`: a token says whose connection this is, or goes on to be."""

from presence.entrypoint import action

handler = action("authenticate")
