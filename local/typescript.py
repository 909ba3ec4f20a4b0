"""The types of the client in TypeScript, made from docs/asyncapi.yaml without Node.

An object, an enumeration and a union are exported under the name of their schema, in the order of
the document. What only narrows a text, a number or a list is written as that.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from local.stack import ROOT

Schema: TypeAlias = dict[str, Any]

SCHEMAS = ROOT / "docs" / "asyncapi.yaml"
TYPES = ROOT / "web" / "src" / "protocol.ts"
_HEAD = "// Made from docs/asyncapi.yaml by `python -m local types`: do not edit.\n"
_WIDTH = 100  # that of web/biome.json
_NAMES = "#/components/schemas/"
_PRIMITIVES = {
    "boolean": "boolean",
    "integer": "number",
    "null": "null",
    "number": "number",
    "string": "string",
}


def write() -> Path:
    """Write the types and return their file."""
    TYPES.write_text(typescript(yaml.safe_load(SCHEMAS.read_text("utf-8"))), "utf-8")
    return TYPES


def typescript(document: Schema) -> str:
    """Return the module with the types of an AsyncAPI document, formatted as biome does."""
    schemas = document["components"]["schemas"]
    named = {name: it for name, it in schemas.items() if _is_exported(it)}
    parts = ("\n".join(_export(document, name, it)) for name, it in named.items())
    return "\n\n".join([_HEAD.strip(), *parts]) + "\n"


def _is_exported(schema: Schema) -> bool:
    is_named = bool(schema.keys() & {"properties", "enum", "oneOf"})
    return is_named and bool(schema.get("x-client", True))


def _export(document: Schema, name: str, schema: Schema) -> Iterator[str]:
    yield from _comment(schema)
    if "properties" in schema:
        yield f"export interface {name} {{"
        yield from _fields(document, schema)
        yield "}"
        return
    kinds = _union(document, schema)
    line = f"export type {name} = {' | '.join(kinds)};"
    if len(line) <= _WIDTH:
        yield line
    else:
        yield f"export type {name} ="
        yield from (f"  | {kind}" for kind in kinds[:-1])
        yield f"  | {kinds[-1]};"


def _fields(document: Schema, schema: Schema) -> Iterator[str]:
    for name, value in schema["properties"].items():
        yield from _comment(value, "  ")
        yield f"  {_field(document, schema, name)};"


def _field(document: Schema, schema: Schema, name: str) -> str:
    """A field that may be missing is not null besides: it means the same on the wire."""
    kinds = _union(document, schema["properties"][name])
    if name in schema.get("required", ()):
        return f"readonly {name}: {' | '.join(kinds)}"
    return f"readonly {name}?: {' | '.join(it for it in kinds if it != 'null')}"


def _union(document: Schema, schema: Schema) -> list[str]:  # noqa: C901, PLR0911  one case per kind
    """The kinds of values that a schema allows."""
    match schema:
        case {"$ref": reference}:
            target = _at(document, reference)
            is_name = reference.startswith(_NAMES) and _is_exported(target)
            return [reference.removeprefix(_NAMES)] if is_name else _union(document, target)
        case {"const": value}:
            return [json.dumps(value)]
        case {"enum": values}:
            return [json.dumps(value) for value in values]
        case {"anyOf": parts} | {"oneOf": parts} | {"allOf": [_] as parts}:
            return [kind for part in parts for kind in _union(document, part)]
        case {"type": "array", "items": item}:
            return [f"readonly {_item(document, item)}[]"]
        case {"type": "object", "properties": fields}:
            return [f"{{ {'; '.join(_field(document, schema, name) for name in fields)} }}"]
        case {"type": kind}:
            return [_PRIMITIVES[it] for it in (kind if isinstance(kind, list) else [kind])]
    return ["unknown"]


def _item(document: Schema, schema: Schema) -> str:
    kinds = _union(document, schema)
    return kinds[0] if len(kinds) == 1 else f"({' | '.join(kinds)})"


def _at(document: Schema, reference: str) -> Schema:
    found = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def _comment(schema: Schema, indent: str = "") -> Iterator[str]:
    text = schema.get("description", "").strip()
    if not text:
        return
    if len(line := f"{indent}/** {text} */") <= _WIDTH:
        yield line
        return
    yield f"{indent}/**"
    room = _WIDTH - len(f"{indent} * ")
    for part in textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False):
        yield f"{indent} * {part}"
    yield f"{indent} */"
