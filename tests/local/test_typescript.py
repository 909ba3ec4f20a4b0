import re
import sys
from pathlib import Path
from typing import Any

import pytest

from local import typescript
from local.__main__ import main

HEAD = "// Made from docs/asyncapi.yaml by `python -m local types`: do not edit.\n"
ID = {"type": "string", "maxLength": 128}
SHADE = {"enum": ["light", "dark"]}


def made(**schemas: Any) -> str:
    """What is made of these schemas, below the head and an empty line."""
    text = typescript.typescript({"components": {"schemas": schemas}})
    assert text.startswith(HEAD + "\n")
    return text.removeprefix(HEAD + "\n")


def field(schema: Any, *, required: bool = False, **others: Any) -> str:
    """How a field of this schema is written."""
    names = ["field"] if required else []
    text = made(Frame={"properties": {"field": schema}, "required": names}, **others)
    (line,) = re.findall(r"^  (.*field.*);$", text, re.MULTILINE)
    return str(line)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string", "pattern": "^a"}, "string"),
        ({"type": "integer", "minimum": 1}, "number"),
        ({"type": "number"}, "number"),
        ({"type": "boolean"}, "boolean"),
        ({"type": ["integer", "null"]}, "number | null"),
        ({"const": "ack"}, '"ack"'),
        ({"const": 1}, "1"),
        (SHADE, '"light" | "dark"'),
        ({"$ref": "#/components/schemas/Id"}, "string"),
        ({"$ref": "#/components/schemas/Shade"}, "Shade"),
        ({"$ref": "#/components/schemas/Thing/properties/shade"}, "Shade"),
        ({"allOf": [{"$ref": "#/components/schemas/Id"}]}, "string"),
        ({"anyOf": [{"$ref": "#/components/schemas/Id"}, {"type": "null"}]}, "string | null"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Shade"}}, "readonly Shade[]"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "readonly (string | null)[]"),
        ({"not": {"type": "null"}}, "unknown"),
        ({}, "unknown"),
        (
            {"type": "object", "properties": {"a": ID, "b": SHADE}, "required": ["a"]},
            '{ readonly a: string; readonly b?: "light" | "dark" }',
        ),
    ],
)
def test_a_schema_is_written_as_what_it_allows(schema: Any, kind: str) -> None:
    thing = {"properties": {"shade": {"$ref": "#/components/schemas/Shade"}}}

    line = field(schema, required=True, Id=ID, Shade=SHADE, Thing=thing)

    assert line == f"readonly field: {kind}"


def test_a_field_that_may_be_missing_is_not_null_besides() -> None:
    assert field({"type": ["boolean", "null"]}) == "readonly field?: boolean"


def test_what_only_narrows_a_text_has_no_name() -> None:
    assert made(Id=ID, Shade=SHADE) == 'export type Shade = "light" | "dark";\n'


def test_a_union_that_is_too_long_for_a_line_has_a_line_for_each() -> None:
    words = [letter * 24 for letter in "abcd"]

    lines = made(Word={"enum": words}).splitlines()

    assert lines == [
        "export type Word =",
        *(f'  | "{it}"' for it in words[:3]),
        f'  | "{words[3]}";',
    ]


@pytest.mark.parametrize(("length", "lines"), [(91, 1), (92, 3)])
def test_a_description_is_a_comment_of_one_line_if_it_fits(length: int, lines: int) -> None:
    shade = made(Frame={"properties": {"field": {"description": "d" * length}}})

    assert len(re.findall(r"^  (?:/\*\*| \*).*$", shade, re.MULTILINE)) == lines


def test_the_types_are_formatted() -> None:
    lines = typescript.TYPES.read_text("utf-8").splitlines()

    assert [line for line in lines if len(line) > 100 or line != line.rstrip()] == []


def test_the_command_writes_the_file_the_same_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = typescript.TYPES.read_text("utf-8")
    monkeypatch.setattr(typescript, "TYPES", tmp_path / "protocol.ts")
    monkeypatch.setattr("local.__main__.ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["local", "types"])

    assert main() == 0

    assert (tmp_path / "protocol.ts").read_text("utf-8") == there
    assert capsys.readouterr().out == "made protocol.ts\n"
