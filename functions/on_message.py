"""`message`: relayed to every member of a chat session; never stored."""

from presence.entrypoint import action

handler = action("message")
