"""`status`: the user chooses what others see."""

from presence.entrypoint import action

handler = action("status")
