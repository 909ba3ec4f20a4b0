"""The schemas of docs/ as tests read them, and what is wrong with a value by their measure."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeAlias

import yaml
from jsonschema import Draft7Validator, ValidationError
from jsonschema.validators import extend

from tests.docs.markdown import ROOT

Node: TypeAlias = dict[str, Any]


def load(name: str) -> Node:
    document: Node = yaml.safe_load((ROOT / "docs" / name).read_text("utf-8"))
    return document


ASYNCAPI, OPENAPI = load("asyncapi.yaml"), load("openapi.yaml")
SCHEMAS: dict[str, Node] = ASYNCAPI["components"]["schemas"]
MESSAGES: dict[str, Node] = ASYNCAPI["components"]["messages"]


def nodes(value: Any) -> Iterator[Node]:
    """Every object in a document, however deep."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from nodes(item)


def at(reference: str, document: Node) -> Any:
    """What a reference leads to; one from openapi.yaml may lead to the other document."""
    file, _, pointer = reference.partition("#/")
    found: Any = {"": document, "asyncapi.yaml": ASYNCAPI}[file]
    for name in pointer.split("/"):
        found = found[name.replace("~1", "/").replace("~0", "~")]
    return found


def resolved(node: Node, document: Node = ASYNCAPI) -> Node:
    """The node, or what it refers to in the end."""
    while "$ref" in node:
        node, document = at(node["$ref"], document), ASYNCAPI
    return node


# ── values ─────────────────────────────────────────────────────────────────────────────────


def faults(reference: str, value: Any) -> list[str]:
    """What is wrong with a value, as the schema at this place of asyncapi.yaml says."""
    errors = _validator(reference).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in errors]


def message_faults(name: str | None, frame: Node) -> list[str]:
    """What is wrong with a frame of this action or type."""
    if name not in MESSAGES:
        return [f"there is no message {name!r}: {frame}"]
    return faults(f"#/components/messages/{name}/payload", frame)


def answer_faults(method: str, path: str, status: int, body: Any) -> list[str]:
    """What is wrong with an answer of the HTTP API; API Gateway's own are not looked at."""
    route = _route(method, path)
    if route is None or (isinstance(body, dict) and body.keys() == {"message"}):
        return []
    answers = route["responses"]
    answer = resolved(answers.get(str(status), answers["default"]), OPENAPI)
    if "content" not in answer:
        return [] if body is None else [f"{method} {path} answers {status} with {body}"]
    schema = answer["content"]["application/json"]["schema"]["$ref"]
    return faults(schema.removeprefix("asyncapi.yaml"), body)


def _route(method: str, path: str) -> Node | None:
    """As API Gateway chooses it: the path without variables first."""
    path = path.partition("?")[0] or "/"
    for template in sorted(OPENAPI["paths"], key=lambda it: it.count("{")):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            route: Node | None = OPENAPI["paths"][template].get(method.lower())
            if route is not None:
                return route
    return None


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """In ECMA 262 `$` is the very end; for Python it is also before a newline there."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_Validator = extend(Draft7Validator, {"pattern": _pattern})


@cache
def _validator(reference: str) -> Any:
    return _Validator({"$ref": reference, "components": ASYNCAPI["components"]})
