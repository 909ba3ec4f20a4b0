"""Who may ask the development server: its own names, and web pages of this machine."""

from __future__ import annotations

import re

_HOST = re.compile(r"(localhost|127\.0\.0\.1)(:\d{1,5})?", re.ASCII | re.IGNORECASE)
_PAGE = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.ASCII)
_SHARED = ("/api/", "/dev/token")


def is_ours(host: str | None) -> bool:
    """Tell whether a Host header names the loopback interface."""
    return host is not None and _HOST.fullmatch(host) is not None


def is_shared(path: str) -> bool:
    """Tell whether pages of other origins on this machine may ask for a path."""
    return path.startswith(_SHARED[0]) or path == _SHARED[1]


def may_ask(origin: str | None) -> bool:
    """Tell whether a request with this Origin may be answered where pages share.

    A page on another port of this machine may: it is what its developer is writing. No page from
    elsewhere may, nor a file or a sandbox (`null`). No Origin is the page's own, or no browser.
    """
    return origin is None or _PAGE.fullmatch(origin) is not None


def cors(origin: str | None) -> dict[str, str]:
    """Return what an answer carries so that the page of this origin may read it."""
    if origin is None or not may_ask(origin):
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "etag, retry-after",
        "Vary": "Origin",
    }


#: What a preflight is told besides; the methods and headers are those of template.yaml.
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "authorization, content-type, if-none-match",
    "Access-Control-Max-Age": "600",
}
