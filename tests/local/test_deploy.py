from pathlib import Path
from typing import Any

import pytest

from local.build import architecture, runtime
from local.deploy import for_local_aws, functions_of, parameters_of, routes_of
from local.stack import Settings, StackError

TEMPLATE: dict[str, Any] = {
    "Globals": {"Function": {"Layers": [{"Ref": "L"}], "Environment": {"Variables": {"A": "b"}}}},
    "Parameters": {"StageName": {"Default": "live"}, "GraceSeconds": {}, "WebSocketUrl": {}},
    "Resources": {
        "PresenceLayer": {"Type": "AWS::Serverless::LayerVersion", "Properties": {}},
        "WebSocketApi": {"Type": "AWS::Serverless::WebSocketApi", "Properties": {}},
        "PingRouteResponse": {"Type": "AWS::ApiGatewayV2::RouteResponse", "Properties": {}},
        "DeliverFunction": {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "Policies": [{"Statement": [{"Action": "sqs:SendMessage"}, {"Fn::If": ["C"]}]}],
                "Events": {"Due": {"Properties": {"BatchSize": 1, "ScalingConfig": {"Ref": "C"}}}},
            },
        },
    },
}


def test_the_local_copy_leaves_out_what_the_local_aws_lacks() -> None:
    copy = for_local_aws(TEMPLATE, "/built/layer")
    assert set(copy["Resources"]) == {"WebSocketApi", "DeliverFunction"}
    events = copy["Resources"]["DeliverFunction"]["Properties"]["Events"]
    assert events == {"Due": {"Properties": {"BatchSize": 1}}}
    statement = copy["Resources"]["DeliverFunction"]["Properties"]["Policies"][0]["Statement"][0]
    assert statement == {"Action": ["sqs:SendMessage", "sqs:SendMessageBatch"]}
    assert copy["Resources"]["WebSocketApi"]["Properties"]["Tags"]["ms-custom-id"]
    function = copy["Globals"]["Function"]
    assert "Layers" not in function
    assert function["Environment"]["Variables"]["A"] == "b"
    assert function["Environment"]["Variables"]["PYTHONPATH"].endswith(":/built/layer")


def test_the_functions_are_those_of_the_template() -> None:
    assert functions_of(TEMPLATE) == ["DeliverFunction"]


def test_the_template_itself_stays_as_it_is() -> None:
    for_local_aws(TEMPLATE, "/built/layer")
    assert "PingRouteResponse" in TEMPLATE["Resources"]
    assert "Layers" in TEMPLATE["Globals"]["Function"]


def test_the_parameters_name_the_local_urls_and_the_interpreter_that_runs(tmp_path: Path) -> None:
    found = parameters_of(Settings(home=tmp_path, aws_port=4567), TEMPLATE)
    assert found["WebSocketUrl"].startswith("ws://localhost:4567/")
    assert found["CallbackUrl"].startswith("http://127.0.0.1:4567/")
    assert found["WebSocketUrl"].endswith("/live")
    assert (found["PythonRuntime"], found["Architecture"]) == (runtime(), architecture())
    assert found["GlobalPresence"] == found["PublicReads"] == "true"


def test_what_the_user_sets_wins(tmp_path: Path) -> None:
    wanted = {"GraceSeconds": "2", "StageName": "blue"}
    found = parameters_of(Settings(home=tmp_path, overrides=wanted), TEMPLATE)
    assert found["GraceSeconds"] == "2"
    assert found["CallbackUrl"].endswith("/blue")


def test_a_parameter_that_the_template_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"'GracePeriod'.*GraceSeconds"):
        parameters_of(Settings(home=tmp_path, overrides={"GracePeriod": "2"}), TEMPLATE)


def test_routes_are_read_from_the_document_that_sam_writes() -> None:
    uri = "arn:${AWS::Partition}:apigateway:r:lambda:path/functions/${HttpFunction.Arn}/invocations"
    operation = {"x-amazon-apigateway-integration": {"uri": {"Fn::Sub": uri}}}
    body = {"paths": {"/a/{b}": {"get": operation, "put": operation}}}
    assert list(routes_of(body)) == [("GET /a/{b}", "HttpFunction"), ("PUT /a/{b}", "HttpFunction")]
