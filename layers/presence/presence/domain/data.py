"""Data of a user: any JSON object, kept as compact JSON, so that it is compared as text.

Its names are sorted, so that the same object is the same text. None is no data, as NO_DATA is.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from presence.domain.errors import PayloadTooLarge
from presence.limits import MAX_DATA_BYTES

Object: TypeAlias = Mapping[str, Any]
NO_DATA = "{}"


def compact(value: Object) -> str:
    """The object as it is kept.

    Raises:
        PayloadTooLarge: it takes more than MAX_DATA_BYTES.
    """
    text = _encoded(value)
    if len(text.encode()) > MAX_DATA_BYTES:
        raise PayloadTooLarge(f"Keep data within {MAX_DATA_BYTES} bytes of JSON.")
    return text


def patch(value: Object) -> str:
    """A patch as it is kept; one that takes much away may take more than the data itself."""
    return _encoded(value)


def _encoded(value: Object) -> str:
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
    )


def value_of(data: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {} if data is None else json.loads(data)
    return found


def patched(data: str | None, changes: str) -> str:
    """The data after a merge patch (RFC 7396): null takes a name away, objects are merged.

    Raises:
        PayloadTooLarge: see `compact`.
    """
    return compact(_merged(value_of(data), value_of(changes)))


def _merged(target: object, changes: Object) -> dict[str, Any]:
    merged: dict[str, Any] = dict(target) if isinstance(target, dict) else {}
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value) if isinstance(value, dict) else value
    return merged
