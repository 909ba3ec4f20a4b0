"""The local AWS serves frames of different connections side by side, as AWS does."""

import io
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.sync.client import connect

from local.aws import client, local_aws
from local.build import runtime
from local.stack import Settings
from tests.stack import free_ports

FRAMES = 6
TRUST = """{"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}
}]}"""
#: Answers how many frames are being served, once all are or after ten seconds.
HANDLER = f"""
import os, time, uuid
from pathlib import Path

FOLDER = Path(os.environ["FOLDER"])

def handler(event, context):
    if event["requestContext"]["eventType"] != "MESSAGE":
        return {{"statusCode": 200}}
    (FOLDER / uuid.uuid4().hex).touch()
    until = time.monotonic() + 10
    while len(list(FOLDER.iterdir())) < {FRAMES} and time.monotonic() < until:
        time.sleep(0.02)
    return {{"statusCode": 200, "body": str(len(list(FOLDER.iterdir())))}}
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A WebSocket API with one function behind its routes."""
    (port,) = free_ports(1)
    settings = Settings(home=tmp_path, aws_port=port)
    with local_aws(settings):
        function = create_function(settings.endpoint_url, tmp_path / "frames")
        api = create_api(settings.endpoint_url, function)
        yield f"ws://localhost:{settings.aws_port}/_aws/execute-api/{api}/live"


def create_function(endpoint: str, folder: Path) -> str:
    folder.mkdir()
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("slow.py", HANDLER)
    role = client("iam", endpoint).create_role(RoleName="slow", AssumeRolePolicyDocument=TRUST)
    answer = client("lambda", endpoint).create_function(
        FunctionName="slow",
        Runtime=runtime(),
        Role=role["Role"]["Arn"],
        Handler="slow.handler",
        Timeout=30,
        Code={"ZipFile": code.getvalue()},
        Environment={"Variables": {"FOLDER": str(folder)}},
    )
    return str(answer["FunctionArn"])


def create_api(endpoint: str, function: str) -> str:
    gateway = client("apigatewayv2", endpoint)
    api: str = gateway.create_api(
        Name="slow", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
    )["ApiId"]
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function
    )
    target = f"integrations/{integration['IntegrationId']}"
    gateway.create_route(ApiId=api, RouteKey="$default", Target=target)
    gateway.create_stage(ApiId=api, StageName="live")
    return api


def ask(url: str) -> str:
    with connect(url, open_timeout=30) as connection:
        connection.send("{}")
        return str(connection.recv(timeout=60))


def test_frames_of_different_connections_are_served_side_by_side(url: str) -> None:
    with ThreadPoolExecutor(FRAMES) as pool:
        served = list(pool.map(ask, [url] * FRAMES))

    assert served == [str(FRAMES)] * FRAMES
