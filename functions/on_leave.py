"""`leave`: a connection has had enough of a chat session."""

from presence.entrypoint import action

handler = action("leave")
