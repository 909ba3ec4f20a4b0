"""docs/protocol.md is what the code does: actions, fields, frames, codes, limits and routes."""

import ast
import json
import re
from typing import Any

import pytest

from presence import http_api
from presence.adapters.dynamodb import subscriptions
from presence.domain import connection, errors, frames, requests, strict_json, user
from presence.domain.requests import ACTIONS, ALIASES, parse
from tests.docs.markdown import ROOT, blocks, code, table
from tests.docs.test_readme import only_code, routes
from tests.template.test_template import ROUTES

TEXT = (ROOT / "docs" / "protocol.md").read_text("utf-8")
LAYER = ROOT / "layers" / "presence" / "presence"
NOW = 1_800_000_000_000
ROWS = {only_code(row["Action"]): row for row in table(TEXT, "Action", "Alias")}
(EXAMPLES,) = blocks(TEXT, "jsonl")
FRAMES = {frame["action"]: frame for frame in map(json.loads, EXAMPLES.splitlines())}
TYPES = {only_code(row["Type"]): row["Fields"] for row in table(TEXT, "Type", "Fields")}
PRESENCE = user.Presence("ada", user.Status.BUSY, NOW, NOW, "here")


def is_optional(name: str) -> bool:
    return name.endswith("?")


def texts(pattern: str) -> set[str]:
    """What a pattern finds in the modules of the layer."""
    return {
        found for file in LAYER.rglob("*.py") for found in re.findall(pattern, file.read_text())
    }


def paragraph(start: str) -> str:
    (found,) = (line for line in TEXT.splitlines() if line.startswith(start))
    return found


# ── what a client sends ────────────────────────────────────────────────────────────────────


def test_every_action_is_named_and_is_a_route() -> None:
    assert list(ROWS) == list(ACTIONS)
    assert {name for name in ROUTES if not name.startswith("$")} == set(ROWS)


def test_every_alias_is_named_with_its_action() -> None:
    named = {alias: name for name, row in ROWS.items() for alias in code(row["Alias"])}

    assert named == {alias: it.action for alias, it in ALIASES.items()}


@pytest.mark.parametrize("name", ROWS)
def test_an_example_has_the_fields_of_its_action_and_is_understood(name: str) -> None:
    fields = {field.rstrip("?") for field in code(ROWS[name]["Fields"])}

    assert FRAMES[name].keys() - {"action", "id"} == fields
    assert parse(FRAMES[name], NOW).action == name


@pytest.mark.parametrize(
    ("name", "field"), [(name, it) for name, row in ROWS.items() for it in code(row["Fields"])]
)
def test_a_field_is_as_optional_as_it_says(name: str, field: str) -> None:
    frame = {key: it for key, it in FRAMES[name].items() if key != field.rstrip("?")}

    if is_optional(field):
        parse(frame, NOW)
        parse({**frame, field.rstrip("?"): None}, NOW)
    else:
        with pytest.raises(errors.InvalidMessage):
            parse(frame, NOW)


def test_every_status_that_can_be_chosen_is_named() -> None:
    named = code(paragraph("**`status`** is").partition(".")[0])

    assert [it for it in named if it != "status"] == [it.value for it in user.Choice]


# ── what it is told ────────────────────────────────────────────────────────────────────────


def test_every_type_of_frame_is_named() -> None:
    sent = texts(r'"type": "([a-z-]+)"') | texts(r'frame\["type"\] = "([a-z-]+)"')

    assert sorted(TYPES) == sorted(sent)


def test_every_answer_and_every_announcement_is_a_type() -> None:
    columns = ("Answer to the sender", "Others hear")
    named = {it for row in ROWS.values() for column in columns for it in code(row[column])}

    assert named - {"id", "active"} <= set(TYPES)


def made() -> dict[str, dict[str, Any]]:
    """Frames of those types that one function makes."""
    told = json.loads(next(frames.status_change_frames([PRESENCE])))
    members = frames.members_change_frames("lobby", [PRESENCE], ["eve"], 1, NOW, is_sampled=True)
    moved = json.loads(next(members))
    typing = frames.user_typing("lobby", "ada", is_typing=True, expires_at=NOW)
    over = frames.closing("kicked", 5)
    return {frame["type"]: frame for frame in (told, moved, typing, over)}


@pytest.mark.parametrize("name", made())
def test_a_frame_has_the_fields_that_are_named(name: str) -> None:
    fields = {it.rstrip("?") for it in code(TYPES[name]) if re.fullmatch(r"[a-zA-Z]+\??", it)}

    assert made()[name].keys() - {"type"} == fields


def answers() -> dict[str, set[str]]:
    """The fields of the frames that are written out in the code, by type."""
    found: dict[str, set[str]] = {}
    for file in LAYER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Dict):
                keys = [it.value for it in node.keys if isinstance(it, ast.Constant)]
                fields = dict(zip(map(str, keys), node.values, strict=False))
                if "**counted(" in ast.unparse(node):
                    fields["asOf"] = node
                if isinstance(kind := fields.pop("type", None), ast.Constant):
                    found[str(kind.value)] = set(fields)
    return found


@pytest.mark.parametrize("name", sorted(answers()))
def test_an_answer_has_the_fields_that_are_named(name: str) -> None:
    named = set(code(TYPES[name].partition("; the server")[0].partition(": stop")[0]))
    written = answers()[name]

    assert written <= {field.rstrip("?") for field in named}
    assert {it for it in named if not is_optional(it)} - {"id"} <= written


def test_a_presence_has_the_fields_that_are_named() -> None:
    fields = code(paragraph("`{userId, status"))[0].strip("{}").split(", ")

    assert [field.rstrip("?") for field in fields] == list(frames.presence(PRESENCE))


def test_every_status_that_can_be_seen_is_named() -> None:
    sentence = paragraph("`{userId, status").partition("`status` is ")[2].partition(";")[0]

    assert set(code(sentence)) == {it.value for it in user.Status}


def test_every_reason_of_a_closing_is_named() -> None:
    line = paragraph("Reasons of `closing`").partition("Reserved")[0]
    said = texts(r'hang_up\([^()]*"([a-z-]+)"\)') | texts(r'reason = "([a-z-]+)"')

    assert set(code(line)) - {"closing"} == said


# ── limits and errors ──────────────────────────────────────────────────────────────────────

LIMITS = {
    "connections of a user": user.MAX_CONNECTIONS,
    "chat sessions of a user, over all connections": user.MAX_SESSIONS,
    "watched users of a connection": subscriptions.MAX_WATCHED,
    "users that a user blocks": user.MAX_BLOCKED,
    "ids in `userIds`, and `limit`": requests.MAX_PAGE,
    "characters of `text`": requests.MAX_TEXT_LENGTH,
    "bytes of a frame": strict_json.MAX_MESSAGE_BYTES,
    "bytes of an HTTP body": http_api.MAX_BODY_BYTES,
    "bytes of `content`": requests.MAX_CONTENT_BYTES,
    "characters of `token`": requests.MAX_TOKEN_LENGTH,
    "actions of a connection at once, then one a second": connection.BURST,
}


def test_every_limit_is_the_one_of_the_code() -> None:
    rows = table(TEXT, "Limit", "Of")

    assert {row["Of"]: int(row["Limit"].replace(",", "")) for row in rows} == LIMITS
    assert {code(row["Beyond it"])[0] for row in rows} <= set(codes())


def codes() -> dict[str, int]:
    return {only_code(row["Code"]): int(row["HTTP"]) for row in table(TEXT, "Code", "HTTP")}


def test_every_error_code_is_named_with_its_status() -> None:
    assert codes() == {error.code: status for error, status in http_api.STATUS_CODES.items()}


# ── routes and tokens ──────────────────────────────────────────────────────────────────────


def test_every_route_is_named() -> None:
    assert sorted(only_code(row["Route"]) for row in table(TEXT, "Route", "Who")) == routes()


def test_the_sections_that_the_code_cites_are_there() -> None:
    cited = texts(r"docs/protocol\.md §(\d)")
    numbered = re.findall(r"^## (\d)\. ", TEXT, re.MULTILINE)

    assert numbered == ["1", "2", "3"]
    assert cited <= set(numbered)


def test_every_scope_is_named() -> None:
    (row,) = (row for row in table(TEXT, "Claim") if row["Claim"] == "`scope`")

    assert set(code(row[""])) == {http_api.ADMIN, http_api.PUBLISH}
