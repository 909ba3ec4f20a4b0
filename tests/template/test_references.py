"""Every reference of the translated template leads somewhere.

`sam validate --lint` passes a reference to a resource that the SAM translator does not make, such
as the route of an action that the WebSocket API lacks; a deployment fails on it.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.template.test_template import as_list

ROOT = Path(__file__).resolve().parents[2]
TRANSLATE = Path(__file__).with_name("translate.py")
#: `${Users.Arn}`, but not `${!Literal}`.
VARIABLE = re.compile(r"\$\{([^!}]+)\}")


def translated(path: Path) -> dict[str, Any]:
    """The template as CloudFormation gets it."""
    done = subprocess.run(
        [ROOT / ".venv-sam" / "bin" / "python", "-P", TRANSLATE, path],
        env=os.environ | {"AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    template: dict[str, Any] = json.loads(done.stdout)
    return template


def dangling(template: dict[str, Any]) -> set[str]:
    """The names that the template refers to and does not have."""
    resources, conditions = set(template["Resources"]), set(template.get("Conditions", ()))
    values = resources | set(template.get("Parameters", ()))
    known = {"value": values, "resource": resources, "condition": conditions}
    return {
        name
        for kind, name in references(template)
        if name not in known[kind] and not name.startswith("AWS::")
    }


def references(node: Any) -> Iterator[tuple[str, str]]:
    """The kind and the name of each reference."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from named(key, value)
            yield from references(value)


def named(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """The references of one key, without those inside of its value."""
    match key, value:
        case "Ref", str(name):
            yield "value", name
        case ("Condition", str(name)) | ("Fn::If", [str(name), *_]):
            yield "condition", name
        case "DependsOn", names:
            yield from (("resource", name) for name in as_list(names))
        case "Fn::GetAtt", attribute:
            yield "resource", as_list(attribute)[0].partition(".")[0]
        case "Fn::Sub", text:
            yield from variables(*as_list(text))


def variables(
    text: str, own: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[tuple[str, str]]:
    """The references of `Fn::Sub`, without the variables that it brings itself."""
    for name in set(VARIABLE.findall(text)) - own.keys():
        yield ("resource" if "." in name else "value"), name.partition(".")[0]


def test_every_reference_of_the_template_leads_somewhere() -> None:
    assert dangling(translated(ROOT / "template.yaml")) == set()


def test_a_reference_to_a_route_that_sam_does_not_make_is_found(tmp_path: Path) -> None:
    text = (ROOT / "template.yaml").read_text()
    wrong = tmp_path / "template.yaml"
    wrong.write_text(text.replace("RouteId: !Ref WebSocketApiPingRoute", "RouteId: !Ref PingRoute"))

    assert dangling(translated(wrong)) == {"PingRoute"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"Ref": "Gone"},
        {"Fn::GetAtt": ["Gone", "Arn"]},
        {"Fn::GetAtt": "Gone.Arn"},
        {"Fn::GetAtt": ["Known", "Arn"], "DependsOn": "Gone"},
        {"DependsOn": ["Known", "Gone"]},
        {"Fn::Sub": "${AWS::StackName}-${Known}-${Gone}"},
        {"Fn::Sub": ["${own}-${Gone.Arn}", {"own": {"Ref": "Known"}}]},
        {"Fn::Sub": ["${own}", {"own": {"Ref": "Gone"}}]},
        {"Fn::If": ["Gone", {"Ref": "Known"}, {"Ref": "AWS::NoValue"}]},
        {"Condition": "Gone"},
    ],
    ids=str,
)
def test_each_kind_of_reference_is_resolved(wrong: Any) -> None:
    template = {
        "Conditions": {"HasKnown": {}},
        "Resources": {"Known": {"Condition": "HasKnown", "Properties": [wrong, "${!Literal}"]}},
    }

    assert dangling(template) == {"Gone"}
