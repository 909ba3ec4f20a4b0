"""Deploys the built template to the local AWS and bridges what that lacks.

Every bridge says when it can be deleted. They are needed with MiniStack 1.5.33.
"""

from __future__ import annotations

import copy
import json
import os
import time
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local.aws import client
from local.build import BUCKET, Artifacts, architecture, runtime
from local.stack import ROOT, Settings, StackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STACK = "presence"
SECRET_PARAMETER = "/presence/local/token-secret"  # noqa: S105 - a name, not a secret
_SEND = "sqs:SendMessage"
_WEBSOCKET_API_ID = "presence-ws"
_TEMPLATE_KEY = "template.json"
# Holds what the workers import at their start; see sitecustomize.py there.
_WORKER = ROOT / "local" / "worker"


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deployment is reached by."""

    web_socket_url: str
    http_url: str
    outputs: Mapping[str, str]
    functions: Mapping[str, str]

    @property
    def tables(self) -> dict[str, str]:
        """The names of the tables, by their names in the template."""
        return {name: self.outputs[f"{name}Table"] for name in _TABLES}


_TABLES = ("Connections", "Users", "Subscriptions")


def deploy(settings: Settings, artifacts: Artifacts, secret: str) -> Deployed:
    """Create the stack on an empty local AWS.

    Args:
        settings: the ports, and what differs from the template's defaults.
        artifacts: what `build` returned.
        secret: what development tokens are signed with.

    Raises:
        StackError: a resource could not be created; the message names it and says why.
    """
    endpoint = settings.endpoint_url
    client("ssm", endpoint).put_parameter(
        Name=SECRET_PARAMETER, Value=secret, Type="SecureString", Overwrite=True
    )
    _upload(endpoint, artifacts)
    parameters = parameters_of(settings, artifacts.template)
    _create_stack(endpoint, parameters)
    resources = _resources(endpoint)
    _import_routes(endpoint, resources)
    _import_cors(endpoint, resources, artifacts.template, parameters)
    return _describe(settings, resources, functions_of(artifacts.template))


def for_local_aws(template: Mapping[str, Any], imports: str) -> dict[str, Any]:
    """Return the local copy of the built template; `imports` stands in for the layer."""
    changed = copy.deepcopy(dict(template))
    resources = changed["Resources"]
    # Bridge: MiniStack refuses this type, and sends the returned body anyway. Delete when its
    # CloudFormation knows AWS::ApiGatewayV2::RouteResponse.
    for name in _of_type(template, "AWS::ApiGatewayV2::RouteResponse"):
        del resources[name]
    # Bridge: MiniStack refuses these types. Delete when its CloudFormation knows them; locally,
    # Logs Insights has no lines to ask for, and nothing is billed.
    for kind in ("AWS::Logs::QueryDefinition", "AWS::Budgets::Budget"):
        for name in _of_type(template, kind):
            del resources[name]
    # Bridge: an API gets a random id, and its callback URL is needed before it exists (on AWS the
    # host name resolves; here it does not). Delete when *.execute-api.localhost resolves for the
    # functions and for clients outside browsers.
    api = resources["WebSocketApi"]["Properties"]
    api["Tags"] = {**api.get("Tags", {}), "ms-custom-id": _WEBSOCKET_API_ID}
    for resource in resources.values():
        _bridge(resource.get("Properties", {}))
    # Bridge: MiniStack unpacks the layer anew for every function (9 s in all, 50 MB each). The
    # functions import it from where it was built. Delete when a layer is unpacked once.
    del resources["PresenceLayer"]
    function = changed["Globals"]["Function"]
    del function["Layers"]
    path = os.pathsep.join((str(_WORKER), imports))
    function["Environment"]["Variables"]["PYTHONPATH"] = path
    return changed


def functions_of(template: Mapping[str, Any]) -> list[str]:
    """Return the logical ids of the template's functions."""
    return _of_type(template, "AWS::Serverless::Function")


def _of_type(template: Mapping[str, Any], kind: str) -> list[str]:
    return [name for name, it in template["Resources"].items() if it["Type"] == kind]


def _bridge(properties: dict[str, Any]) -> None:
    """Change what the local AWS reads otherwise in one function."""
    # Bridge: on AWS the permission to send a message is the one to send ten at a time. Delete when
    # MiniStack asks for sqs:SendMessage where SendMessageBatch is called.
    for policy in properties.get("Policies", ()):
        for statement in policy["Statement"]:
            if statement.get("Action") == _SEND:
                statement["Action"] = [_SEND, f"{_SEND}Batch"]
    # Bridge: MiniStack takes a number that is a parameter as text, and then polls no queue at all.
    # Delete when its CloudFormation converts MaximumConcurrency.
    for event in properties.get("Events", {}).values():
        event["Properties"].pop("ScalingConfig", None)


def parameters_of(settings: Settings, template: Mapping[str, Any]) -> dict[str, str]:
    """Return the template parameters of a local stack: samconfig's, ours, the user's.

    Raises:
        StackError: the user named a parameter that the template does not have.
    """
    known = template["Parameters"]
    for name in settings.overrides:
        if name not in known:
            message = f"The template has no parameter '{name}'; it has {', '.join(sorted(known))}."
            raise StackError(message)
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    pairs = config["local"]["deploy"]["parameters"]["parameter_overrides"]
    chosen = dict(pair.split("=", 1) for pair in pairs) | {
        "EndpointUrl": settings.endpoint_url,
        "PythonRuntime": runtime(),
        "Architecture": architecture(),
    }
    chosen |= settings.overrides
    stage = chosen.get("StageName", known["StageName"]["Default"])
    path = f"_aws/execute-api/{_WEBSOCKET_API_ID}/{stage}"
    urls = {
        "WebSocketUrl": f"ws://localhost:{settings.aws_port}/{path}",
        "CallbackUrl": f"{settings.endpoint_url}/{path}",
    }
    return urls | chosen


def _upload(endpoint: str, artifacts: Artifacts) -> None:
    s3 = client("s3", endpoint)
    s3.create_bucket(Bucket=BUCKET)
    for archive in artifacts.archives:
        s3.put_object(Bucket=BUCKET, Key=archive.name, Body=archive.read_bytes())
    template = json.dumps(for_local_aws(artifacts.template, artifacts.imports))
    s3.put_object(Bucket=BUCKET, Key=_TEMPLATE_KEY, Body=template.encode())


def _create_stack(endpoint: str, parameters: Mapping[str, str]) -> None:
    cloudformation = client("cloudformation", endpoint)
    try:
        cloudformation.create_stack(
            StackName=STACK,
            TemplateURL=f"{endpoint}/{BUCKET}/{_TEMPLATE_KEY}",
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            OnFailure="DO_NOTHING",
        )
    except ClientError as error:
        # A parameter out of its range, a rule of the template: the answer says which.
        raise StackError(error.response["Error"]["Message"]) from error
    while (status := _status(cloudformation)) == "CREATE_IN_PROGRESS":
        time.sleep(0.1)
    if status != "CREATE_COMPLETE":
        raise StackError(_failure(cloudformation, status))


def _status(cloudformation: Any) -> str:  # noqa: ANN401
    stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    return str(stack["StackStatus"])


def _failure(cloudformation: Any, status: str) -> str:  # noqa: ANN401
    """Name the resource that failed first; the others follow from it."""
    events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    if not failed:
        return f"The deployment ended as {status}."
    first = min(failed, key=lambda event: event["Timestamp"])
    reason = first.get("ResourceStatusReason", "no reason given")
    return f"The deployment failed at {first['LogicalResourceId']}: {reason}"


def _import_routes(endpoint: str, resources: Mapping[str, str]) -> None:
    """Create the routes of the HTTP API.

    Bridge: SAM hands an HTTP API over as an OpenAPI document, which MiniStack does not import.
    Delete when its AWS::ApiGatewayV2::Api reads `Body`.
    """
    gateway = client("apigatewayv2", endpoint)
    api = resources["HttpApi"]
    body = _processed(endpoint)["Resources"]["HttpApi"]["Properties"]["Body"]
    for route_key, function in routes_of(body):
        integration = gateway.create_integration(
            ApiId=api,
            IntegrationType="AWS_PROXY",
            IntegrationUri=resources[function],
            PayloadFormatVersion="2.0",
        )
        target = f"integrations/{integration['IntegrationId']}"
        gateway.create_route(ApiId=api, RouteKey=route_key, Target=target)


def _import_cors(
    endpoint: str,
    resources: Mapping[str, str],
    template: Mapping[str, Any],
    parameters: Mapping[str, str],
) -> None:
    """Tell the HTTP API its CORS; the bridge of `_import_routes`, for another part of `Body`."""
    origins = parameters.get("AllowedOrigins", template["Parameters"]["AllowedOrigins"]["Default"])
    cors = template["Resources"]["HttpApi"]["Properties"]["CorsConfiguration"]
    client("apigatewayv2", endpoint).update_api(
        ApiId=resources["HttpApi"], CorsConfiguration=cors | {"AllowOrigins": origins.split(",")}
    )


def routes_of(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each route of an OpenAPI document as SAM writes it, with its function's logical id."""
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
            function = uri.split("${")[-1].split(".Arn}")[0]
            yield f"{method.upper()} {path}", function


def _processed(endpoint: str) -> dict[str, Any]:
    answer = client("cloudformation", endpoint).get_template(
        StackName=STACK, TemplateStage="Processed"
    )["TemplateBody"]
    template: dict[str, Any] = json.loads(answer) if isinstance(answer, str) else answer
    return template


def _resources(endpoint: str) -> dict[str, str]:
    """Return the physical id of each logical id."""
    pages = client("cloudformation", endpoint).get_paginator("list_stack_resources")
    found = pages.paginate(StackName=STACK).search("StackResourceSummaries[]")
    return {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in found}


def _describe(
    settings: Settings, resources: Mapping[str, str], functions: Iterable[str]
) -> Deployed:
    endpoint = settings.endpoint_url
    stack = client("cloudformation", endpoint).describe_stacks(StackName=STACK)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return Deployed(
        web_socket_url=outputs["WebSocketUrl"],
        http_url=f"{endpoint}/_aws/execute-api/{outputs['HttpApiId']}",
        outputs=outputs,
        functions={name: resources[name] for name in functions},
    )
