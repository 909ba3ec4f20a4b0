"""JSON from and to clients, read more strictly than Python's `json` does.

Python accepts more than JSON, and lets the last of two equal keys win. What passes here is JSON to
every other parser, with the same meaning.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeAlias

from presence.domain.errors import InvalidMessage, PayloadTooLarge
from presence.limits import MAX_DEPTH, MAX_INTEGER, MAX_MESSAGE_BYTES

Json: TypeAlias = Any
Object: TypeAlias = Mapping[str, Json]


def parse_object(text: str, *, limit: int = MAX_MESSAGE_BYTES) -> Object:
    """The JSON object in *text*, read strictly.

    Raises:
        PayloadTooLarge: more than *limit* bytes of UTF-8.
        InvalidMessage: not JSON, not an object, a key twice, NaN, a number that other parsers
            would round, text that is not Unicode, or nesting beyond MAX_DEPTH.
    """
    # surrogatepass: a lone surrogate has no UTF-8; it is refused below, for a better reason.
    if len(text.encode("utf-8", "surrogatepass")) > limit:
        raise PayloadTooLarge(f"Send at most {limit} bytes.")
    value = _object(text, _exact_integer, _finite)
    _check(value, MAX_DEPTH)
    return value


def parse_token_part(text: str) -> Object:
    """The header or the claims of a token: an object in which every name stands once.

    Claims that we do not read are not ours to judge: a number may be 2^60, or what else JSON says.

    Raises:
        InvalidMessage: not JSON, not an object, a key twice, or NaN.
    """
    return _object(text, _any_integer, float)


def _object(
    text: str, parse_int: Callable[[str], Json], parse_float: Callable[[str], Json]
) -> dict[str, Json]:
    try:
        value = json.loads(
            text,
            object_pairs_hook=_no_key_twice,
            parse_constant=_no_constant,
            parse_int=parse_int,
            parse_float=parse_float,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidMessage("Send one JSON object.") from error
    if not isinstance(value, dict):
        raise InvalidMessage("Send one JSON object.")
    return value


def named(text: str, names: Collection[str]) -> Object:
    """What an object that was refused says under these *names*, as far as that can be read.

    A name that comes twice has to say the same each time. Numbers are not read, nor is text that
    is no JSON at all, or nested beyond what Python's parser takes.
    """

    def kept(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for name, value in pairs:
            if name in names:
                found[name] = value if found.setdefault(name, value) == value else None
        return found

    try:
        value = json.loads(text, object_pairs_hook=kept, parse_int=_unread, parse_float=_unread)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _unread(_digits: str) -> None:
    """Thousands of digits cost time, and are more than `int` takes."""


def _no_key_twice(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise InvalidMessage("Name every field once.")
    return value


def _no_constant(name: str) -> Json:
    raise InvalidMessage(f"{name} is not JSON.")


def _exact_integer(digits: str) -> int:
    # By length first: for thousands of digits, `int` raises an error of its own.
    number = int(digits) if len(digits) <= len(str(-MAX_INTEGER)) else MAX_INTEGER + 1
    if abs(number) > MAX_INTEGER:
        raise InvalidMessage("Send integers up to 2^53 - 1, greater ones as text.")
    return number


def _any_integer(digits: str) -> float:
    # `int` raises an error of its own for thousands of digits.
    return int(digits) if len(digits) <= len(str(-(2**64))) else float(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise InvalidMessage("Send numbers that a double can hold.")
    return number


def _check(value: Json, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if depth == 0:
            raise InvalidMessage(f"Nest at most {MAX_DEPTH} levels.")
        for item in _within(value):
            _check(item, depth - 1)


def _within(value: dict[str, Json] | list[Json]) -> Iterable[Json]:
    return [*value.keys(), *value.values()] if isinstance(value, dict) else value


def _check_text(text: str) -> None:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidMessage("Send text as Unicode, without NUL and lone surrogates.")


def encode(value: Json) -> str:
    """JSON that any parser takes; a NaN raises ValueError here rather than in every browser."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
