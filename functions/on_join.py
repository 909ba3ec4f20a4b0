"""`join`: a connection takes part in a chat session."""

from presence.entrypoint import action

handler = action("join")
