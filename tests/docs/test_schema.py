"""docs/asyncapi.yaml, docs/openapi.yaml and the tables of protocol.md say what the code does."""

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from local import typescript
from presence import limits
from presence.domain import disclosure, user
from presence.domain.errors import InvalidMessage, PresenceError
from presence.entrypoints import http as http_api
from presence.entrypoints.websocket import error_frame
from presence.limits import MAX_INTEGER
from presence.protocol import frames
from presence.protocol.requests import ACTIONS, ALIASES, is_id, parse
from presence.protocol.strict_json import encode, parse_object
from tests.docs.markdown import ROOT, blocks, code, table
from tests.docs.schema import (
    ASYNCAPI,
    MESSAGES,
    OPENAPI,
    SCHEMAS,
    Node,
    answer_faults,
    at,
    faults,
    message_faults,
    nodes,
    resolved,
)
from tests.template.test_template import FUNCTIONS

NOW = 1_800_000_000_000
PRESENCE = user.Presence("ada", user.Status.BUSY, NOW, NOW, "here")
TEXT = (ROOT / "docs" / "protocol.md").read_text("utf-8")


def only_code(cell: str) -> str:
    (found,) = code(cell)
    return found


ROWS = {only_code(row["Action"]): row for row in table(TEXT, "Action", "Alias")}
TYPES = {only_code(row["Type"]): row["Fields"] for row in table(TEXT, "Type", "Fields")}
(LINES,) = blocks(TEXT, "jsonl")
FRAMES = {frame["action"]: frame for frame in map(json.loads, LINES.splitlines())}
CHANNEL = ASYNCAPI["channels"]["connection"]["messages"]
OPERATIONS: dict[str, Node] = ASYNCAPI["operations"]
RECEIVED = {name: it for name, it in OPERATIONS.items() if it["action"] == "receive"}
DOCUMENTS = pytest.mark.parametrize("document", [ASYNCAPI, OPENAPI], ids=["asyncapi", "openapi"])
#: A frame of every action and alias, as protocol.md has them.
EXAMPLES: dict[str, Node] = FRAMES | {
    name: {**FRAMES[alias.action], "action": name} for name, alias in ALIASES.items()
}


def references(document: Node) -> list[str]:
    return [it["$ref"] for it in nodes(document) if "$ref" in it]


def fields(schema: Node) -> set[str]:
    """Their names, with a `?` behind those that may be missing, as the pages write them."""
    required = schema.get("required", [])
    return {name if name in required else f"{name}?" for name in schema["properties"]}


def names(messages: Iterable[Node]) -> list[str]:
    """The names of messages that an operation refers to, by way of its channel."""
    return [resolved(it)["name"] for it in messages]


def payload(name: str) -> Node:
    return resolved(MESSAGES[name]["payload"])


# ── the documents themselves ───────────────────────────────────────────────────────────────


@DOCUMENTS
def test_every_reference_leads_somewhere(document: Node) -> None:
    assert all(at(it, document) for it in references(document))


@DOCUMENTS
def test_nothing_stands_beside_a_reference_because_it_would_be_ignored(document: Node) -> None:
    assert [it for it in nodes(document) if "$ref" in it and len(it) > 1] == []


def test_every_message_has_its_own_name_and_is_in_the_channel() -> None:
    assert {name: it["name"] for name, it in MESSAGES.items()} == {it: it for it in MESSAGES}
    assert {it: {"$ref": f"#/components/messages/{it}"} for it in MESSAGES} == CHANNEL


def test_every_message_is_used_by_an_operation() -> None:
    used = {
        name
        for it in OPERATIONS.values()
        for name in names([*it["messages"], *it.get("reply", {}).get("messages", [])])
    }

    assert used == MESSAGES.keys()


def test_every_schema_is_used() -> None:
    used = {
        re.sub(r".*#/components/schemas/(\w+).*", r"\1", it)
        for it in references(ASYNCAPI) + references(OPENAPI)
    }

    assert SCHEMAS.keys() - used == {"ClientFrame", "ServerFrame"}


@pytest.mark.parametrize("validator", [Draft7Validator, Draft202012Validator])
def test_every_schema_is_one_in_either_dialect(validator: Any) -> None:
    for schema in (*SCHEMAS.values(), *(it["payload"] for it in MESSAGES.values())):
        validator.check_schema(schema)


def test_the_openapi_document_is_one() -> None:
    uri = (ROOT / "docs" / "openapi.yaml").as_uri()

    OpenAPIV31SpecValidator(OPENAPI, base_uri=uri).validate()


def test_unknown_fields_are_tolerated_everywhere() -> None:
    strict = {"additionalProperties", "unevaluatedProperties", "maxProperties"}

    assert [it for it in nodes(ASYNCAPI) if strict & it.keys()] == []


def test_the_types_of_the_client_are_made_from_it() -> None:
    made_now = typescript.typescript(ASYNCAPI)

    assert typescript.TYPES.read_text("utf-8") == made_now, "run `python -m local types`"


# ── actions ────────────────────────────────────────────────────────────────────────────────


def test_every_action_is_an_operation_and_its_aliases_are_messages_of_it() -> None:
    said = {name: names(it["messages"]) for name, it in RECEIVED.items()}

    assert said == {
        action: [action, *(it for it, alias in ALIASES.items() if alias.action == action)]
        for action in ACTIONS
    }


@pytest.mark.parametrize("action", ROWS)
def test_an_action_has_the_fields_that_are_named(action: str) -> None:
    assert fields(payload(action)) == {"action", "id?", *code(ROWS[action]["Fields"])}


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_has_the_fields_that_it_does_not_stand_for(name: str) -> None:
    alias = ALIASES[name]

    known = fields(payload(alias.action)) - alias.fields.keys()
    needed = {alias.needs} if alias.needs else set()
    others = {it for it in known if it.removesuffix("?") not in needed}
    assert fields(payload(name)) == others | needed


def test_the_frames_of_a_client_are_those_of_the_actions() -> None:
    said = [resolved(it) for it in SCHEMAS["ClientFrame"]["oneOf"]]

    assert said == [payload(action) for action in ACTIONS]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_as_the_schema_says(name: str) -> None:
    assert message_faults(name, EXAMPLES[name]) == []


@pytest.mark.parametrize(
    ("name", "field"),
    [(name, it) for name in EXAMPLES for it in payload(name)["required"] if it != "action"],
)
def test_what_is_missing_is_missed_by_the_schema_and_by_the_parser(name: str, field: str) -> None:
    frame = {key: it for key, it in EXAMPLES[name].items() if key != field}

    assert message_faults(name, frame) == [f"$: '{field}' is a required property"]
    with pytest.raises(InvalidMessage):
        parse(frame, NOW)


SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"

#: At, beside and beyond every limit, and of every kind.
EDGES: list[Any] = [
    *(None, True, False, 0, 1, 50, 100, 101, -1, 0.5, NOW + 1, MAX_INTEGER, {}, {"a": [None]}),
    *("", "a", "ada", "a\n", "a b", "ä", "Az_-9", "a=", "x" * 128, "x" * 129, "x" * 256, "x" * 257),
    *("😀" * 140, "x" * 140, "x" * 141, "x" * 6144, "x" * 6145, "\u2028", "\u2029", "\u2065"),
    *("\x01", "\x1f", " ", "~", "\x7f", "\x9f", "\xa0", "\u200d", "\u200e", "\u200f", "\u202a"),
    *("\u061c", "\u200b", "\u200c", "\u2060", "\u206f", "\ufeff", "\ufff9", "\U000e0041", SCOTLAND),
    *("\U0001f3f4", SCOTLAND + SCOTLAND, SCOTLAND[:-1], SCOTLAND[1:], "\U0001f3f4\U000e007f"),
    *("\u202e", "\u202f", "\u2066", "\u2069", "online", "busy", "offline", "Busy", "true", "50"),
    *([], ["ada"], ["ada", "ada"], ["x"] * 100, ["x"] * 101, ["ada", None], ["a b"], [["ada"]]),
]
NAMES = st.text(st.characters(codec="ascii", exclude_characters="\x00"), max_size=4)
#: JSON that the strict reader takes, but for numbers like 1.0: to JSON Schema they are integers.
STRICT = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda it: not it.is_integer())
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
MISSING = object()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_schema_draws_every_limit_where_the_parser_does(name: str) -> None:
    for field in EXAMPLES[name].keys() - {"action"} | {"id"}:
        for value in EDGES:
            frame = EXAMPLES[name] | {field: value}
            if is_decidable(frame):
                assert (message_faults(name, frame) == []) == is_understood(frame), frame


@pytest.mark.parametrize("name", EXAMPLES)
@settings(max_examples=40)
@given(data=st.data())
def test_the_schema_accepts_what_the_parser_accepts_and_nothing_else(
    name: str, data: st.DataObject
) -> None:
    known = st.sampled_from([*EXAMPLES[name], "id"]).filter(lambda it: it != "action")
    values = st.sampled_from(EDGES) | STRICT | st.just(MISSING)
    changes = data.draw(st.dictionaries(known | NAMES, values, max_size=3))
    changed = EXAMPLES[name] | changes | {"action": name}
    frame = {key: it for key, it in changed.items() if it is not MISSING}
    assume(is_decidable(frame))

    assert (message_faults(name, frame) == []) == is_understood(frame)


def is_decidable(frame: Node) -> bool:
    """No schema knows what time it is, nor how many bytes a value takes."""
    until, content = frame.get("until"), frame.get("content")
    is_past = isinstance(until, int) and 0 <= until <= NOW
    return not is_past and len(encode(content).encode()) <= limits.MAX_CONTENT_BYTES


def is_understood(frame: Node) -> bool:
    try:
        parse(parse_object(json.dumps(frame), limit=1_000_000), NOW)
    except InvalidMessage:
        return False
    return True


def test_the_limits_are_those_of_the_code() -> None:
    told = [
        SCHEMAS["Text"]["maxLength"],
        SCHEMAS["UserIds"]["maxItems"],
        SCHEMAS["Online"]["properties"]["limit"]["maximum"],
        SCHEMAS["Authenticate"]["properties"]["token"]["maxLength"],
        SCHEMAS["Instant"]["maximum"],
    ]

    assert told == [
        limits.MAX_TEXT_LENGTH,
        limits.MAX_PAGE,
        limits.MAX_PAGE,
        limits.MAX_TOKEN_LENGTH,
        MAX_INTEGER,
    ]


# ── what a client is told ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", TYPES)
def test_a_frame_has_the_fields_that_are_named(kind: str) -> None:
    named = {it for it in code(TYPES[kind]) if re.fullmatch(r"[a-zA-Z]+\??", it)}

    assert fields(payload(kind)) == {"type", *named}


def test_the_frames_of_the_server_are_those_that_are_named() -> None:
    told = [resolved(it) for it in SCHEMAS["ServerFrame"]["oneOf"]]

    assert told == [payload(kind) for kind in TYPES]
    assert [it["properties"]["type"]["const"] for it in told] == list(TYPES)
    assert MESSAGES.keys() == {*ACTIONS, *ALIASES, *TYPES}


def made() -> dict[str, dict[str, Any]]:
    """Frames of those types that one function makes."""
    told = json.loads(next(frames.status_change_frames([PRESENCE])))
    joined = [frames.presence_text(PRESENCE)]
    members = frames.members_change_frames("lobby", joined, ["eve"], 1, NOW, is_sampled=True)
    moved = json.loads(next(members))
    typing = frames.user_typing("lobby", "ada", is_typing=True, expires_at=NOW)
    over = frames.closing("kicked", 5)
    return {frame["type"]: frame for frame in (told, moved, typing, over)}


def subclasses(error: type[PresenceError]) -> set[type[PresenceError]]:
    return {error}.union(*(subclasses(each) for each in error.__subclasses__()))


@pytest.mark.parametrize("kind", made())
def test_a_frame_that_the_code_makes_is_as_the_schema_says(kind: str) -> None:
    assert message_faults(kind, made()[kind]) == []
    assert faults("#/components/schemas/ServerFrame", made()[kind]) == []


@pytest.mark.parametrize("body", [{}, {"id": "1"}, {"action": "ping", "id": "1"}], ids=str)
@pytest.mark.parametrize("seconds", [None, 1])
def test_a_refusal_is_as_the_schema_says(body: Node, seconds: int | None) -> None:
    for error in subclasses(PresenceError):
        refusal = error("Try again.", retry_after_seconds=seconds)
        later = error_frame({**body, "action": "authenticate"}, refusal)

        assert message_faults("error", error_frame(body, refusal)) == []
        assert message_faults("authentication-error", later) == []


@pytest.mark.parametrize("value", [{"isOnline": False}, {"status": "offline"}, {"status": "here"}])
def test_a_presence_does_not_contradict_itself(value: Node) -> None:
    (presence,) = made()["user-status-change"]["changes"]

    assert faults("#/components/schemas/Presence", presence) == []
    assert faults("#/components/schemas/Presence", presence | value) != []


def test_the_words_are_those_of_the_code() -> None:
    words = {name: it["enum"] for name, it in SCHEMAS.items() if "enum" in it}
    codes = {only_code(row["Code"]): int(row["HTTP"]) for row in table(TEXT, "Code", "HTTP")}

    assert words.keys() == {"Status", "Choice", "Disclosure", "ErrorCode", "ClosingReason"}
    assert set(words["Status"]) == {it.value for it in user.Status}
    assert words["Choice"] == [it.value for it in user.Choice]
    assert words["Disclosure"] == [it.value for it in disclosure.Disclosure]
    assert words["ErrorCode"] == list(codes)
    assert codes == {error.code: status for error, status in http_api.STATUS_CODES.items()}


# ── HTTP ───────────────────────────────────────────────────────────────────────────────────

ROUTED: dict[str, Node] = {
    f"{method.upper()} {path}": operation
    for path, item in OPENAPI["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
}


def test_every_route_is_described() -> None:
    events = [it["Properties"] for it in FUNCTIONS["HttpFunction"]["Events"].values()]
    paths = {(it["Method"], it["Path"].removeprefix("/api/user-status") or "/") for it in events}

    assert set(ROUTED) == {f"{method} {path}" for method, path in paths}


#: What the operators of a stack ask; an application's tests have none.
OF_OPERATORS = {"GET /users/{userId}/explain"}


def test_the_test_double_has_every_route_of_an_application() -> None:
    source = (ROOT / "web" / "src" / "testing" / "routes.ts").read_text("utf-8")

    assert set(re.findall(r'^  \["([A-Z]+ /\S*)", ', source, re.MULTILINE)) == (
        set(ROUTED) - OF_OPERATORS
    )


def test_a_published_message_is_a_new_message_without_what_is_of_sockets() -> None:
    frame, answer = SCHEMAS["NewMessage"], SCHEMAS["PublishedMessage"]

    assert fields(answer) == fields(frame) - {"type", "id?"}


def test_a_problem_has_a_code_of_its_status() -> None:
    body = {"error": {"code": "not-found", "message": "There is no such route."}}

    assert answer_faults("GET", "/ada", http_api.STATUS_CODES[PresenceError], body) == []
    assert answer_faults("GET", "/ada", 200, body) != []


# ── ids ────────────────────────────────────────────────────────────────────────────────────


def test_the_schema_and_the_test_double_have_the_ids_of_the_server() -> None:
    source = (ROOT / "web" / "src" / "testing" / "requests.ts").read_text("utf-8")
    (of_double,) = re.findall(r"^const ID = /(.+)/;$", source, re.MULTILINE)
    of_schema = SCHEMAS["Id"]["pattern"]
    samples = [chr(code) for code in range(0x80)] + [".", "..", "...", "a", "\u0430", "a\n", ".a"]

    for pattern in (of_double, of_schema):
        assert [it for it in samples if is_ecma_match(pattern, it)] == list(filter(is_id, samples))
    assert "{1,128}" in of_double


def is_ecma_match(pattern: str, text: str) -> bool:
    """As ECMA 262 reads it: `$` is the very end, and `[` needs no backslash in a set."""
    python = pattern.replace("$)", r"\Z)").removesuffix("$").replace("A-Z[", r"A-Z\[")
    return re.fullmatch(python, text, re.ASCII) is not None
