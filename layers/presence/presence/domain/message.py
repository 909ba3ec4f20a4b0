"""A message that was sent into a chat session."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """`content` is any JSON but null; `client_id` is the sender's own name of the message.

    `message_id` sorts by time as text. `sent_at` is in epoch milliseconds.
    """

    session_id: str
    message_id: str
    sender_id: str
    content: object
    sent_at: int
    client_id: str | None = None
