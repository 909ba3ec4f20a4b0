"""A build's template.yaml: its functions, routes, queues, tables, and what they are told."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Node: TypeAlias = Any
#: What stands for an account and a region.
PSEUDO = {
    "AWS::Region": "eu-central-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "presence",
    "AWS::NoValue": None,
}
_NAMED = re.compile(r"\$\{([^}!]+)\}")


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, read as the long ones."""


def _short(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Node]:
    read: dict[type, Any] = {
        yaml.ScalarNode: loader.construct_scalar,
        yaml.SequenceNode: lambda it: loader.construct_sequence(it, deep=True),
        yaml.MappingNode: lambda it: loader.construct_mapping(it, deep=True),
    }
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": read[type(node)](node)}


_Loader.add_multi_constructor("!", _short)


class UnknownTemplate(Exception):
    """The template has something that the meter cannot run."""


@dataclass(frozen=True, slots=True)
class Function:
    """One Lambda function; `events` are those of the template, resolved."""

    name: str
    handler: str
    memory: int
    is_quiet: bool
    events: Mapping[str, Mapping[str, Node]]

    def sources(self, kind: str) -> Iterator[Mapping[str, Node]]:
        for event in self.events.values():
            if event["Type"] == kind:
                yield event.get("Properties", {})


@dataclass(frozen=True)
class Template:
    """A template with values for its parameters; a resource is known by its logical id."""

    document: Mapping[str, Node]
    parameters: Mapping[str, str]

    @classmethod
    def read(cls, path: Path, parameters: Mapping[str, object]) -> "Template":
        document = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # noqa: S506  a SafeLoader
        defaults = {
            name: it["Default"] for name, it in document["Parameters"].items() if "Default" in it
        }
        known = {it: value for it, value in parameters.items() if it in document["Parameters"]}
        return cls(document, {name: str(it) for name, it in {**defaults, **known}.items()})

    # ── values ─────────────────────────────────────────────────────────────────────────

    def value(self, node: Node) -> Node:
        """What a node comes to: its functions are worked out."""
        match node:
            case {**one} if len(one) == 1:
                [(name, given)] = dict(one).items()
                if name in _FUNCTIONS:
                    return _FUNCTIONS[str(name)](self, given)
                return {name: self.value(given)}
            case {**many}:
                values = {name: self.value(it) for name, it in many.items()}
                return {name: it for name, it in values.items() if it is not None}
            case [*items]:
                return [it for item in items if (it := self.value(item)) is not None]
        return node

    def named(self, name: str) -> Node:
        return PSEUDO[name] if name in PSEUDO else self.parameters.get(name, name)

    def sub(self, text: Node) -> str:
        text = text if isinstance(text, str) else text[0]
        return _NAMED.sub(lambda it: str(self.named(it[1])), text)

    def attribute(self, given: Node) -> str:
        """Of a resource: its logical id stands for all its attributes."""
        return str(given if isinstance(given, str) else given[0]).partition(".")[0]

    def chosen(self, given: Node) -> Node:
        condition, yes, no = given
        return self.value(yes if self.holds({"Condition": condition}) else no)

    def joined(self, given: Node) -> str:
        parts = self.value(given[1])
        return str(given[0]).join(parts if isinstance(parts, list) else [parts])

    def holds(self, condition: Node) -> bool:
        [(name, given)] = condition.items()
        if name == "Condition":
            return self.holds(self.document["Conditions"][given])
        if name == "Fn::Equals":
            first, second = map(self.value, given)
            return str(first) == str(second)
        parts = [self.holds(it) for it in given]
        return {"Fn::Not": not parts[0], "Fn::And": all(parts), "Fn::Or": any(parts)}[name]

    # ── resources ──────────────────────────────────────────────────────────────────────

    def of_type(self, *kinds: str) -> dict[str, Mapping[str, Node]]:
        """The properties of the resources that are made, by logical id."""
        return {
            name: self.value(it.get("Properties", {}))
            for name, it in self.document["Resources"].items()
            if it["Type"] in kinds and ("Condition" not in it or self.holds(_condition(it)))
        }

    @cached_property
    def functions(self) -> Mapping[str, Function]:
        shared = self.value(self.document["Globals"]["Function"])
        found = self.of_type("AWS::Serverless::Function")
        return {name: _function(name, shared, own) for name, own in found.items()}

    def environment(self, function: str) -> dict[str, str]:
        shared = self.value(self.document["Globals"]["Function"])
        own = self.of_type("AWS::Serverless::Function")[function]
        sources = (shared, own)
        return {
            name: str(it)
            for source in sources
            for name, it in source.get("Environment", {}).get("Variables", {}).items()
        }

    @cached_property
    def routes(self) -> Mapping[str, str]:
        """The function of each route of the WebSocket API."""
        [api] = self.of_type("AWS::Serverless::WebSocketApi").values()
        return {key: str(route["FunctionArn"]) for key, route in api["Routes"].items()}

    @cached_property
    def answering(self) -> frozenset[str]:
        """The routes whose client gets what the function returns: those with a RouteResponse."""
        ids = {it["RouteId"] for it in self.of_type("AWS::ApiGatewayV2::RouteResponse").values()}
        [api] = self.of_type("AWS::Serverless::WebSocketApi")
        return frozenset(
            key for key in self.routes if f"{api}{key.lstrip('$').capitalize()}Route" in ids
        )

    @cached_property
    def access_log(self) -> str:
        """The format of the HTTP API's access log."""
        for api in self.of_type("AWS::Serverless::HttpApi").values():
            return str(api.get("AccessLogSettings", {}).get("Format", ""))
        return ""


def _condition(resource: Mapping[str, Node]) -> Node:
    return {"Condition": resource["Condition"]}


def _function(name: str, shared: Mapping[str, Node], own: Mapping[str, Node]) -> Function:
    logging = {**shared.get("LoggingConfig", {}), **own.get("LoggingConfig", {})}
    is_quiet = logging.get("LogFormat") == "JSON" and logging.get("SystemLogLevel") == "WARN"
    memory = int(own.get("MemorySize", shared.get("MemorySize", 128)))
    return Function(name, own["Handler"], memory, is_quiet, own.get("Events", {}))


_FUNCTIONS: Mapping[str, Any] = {
    "Ref": Template.named,
    "Fn::Sub": Template.sub,
    "Fn::GetAtt": Template.attribute,
    "Fn::If": Template.chosen,
    "Fn::Join": Template.joined,
}
