"""What the client may weigh: bytes of `gzip -9` after minifying, React not counted."""

from typing import Final

KIB: Final = 1024
#: Each comes on top of the one before; but `tabs` comes on top of the core, and `styles` alone.
LIMITS: Final = {
    "core": 14.0 * KIB,
    "hooks": 2.7 * KIB,
    "components": 4.5 * KIB,
    "tabs": 8.5 * KIB,
    "styles": 1.5 * KIB,
}
