"""Where a stack lives and how it ends; its local AWS serves frames side by side."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.sync.client import connect

from local.aws import client, local_aws
from local.build import runtime
from local.stack import ROOT, Settings, StackError, overrides, publish, running, settings
from tests.stack import free_ports


def test_a_stack_has_the_usual_place_and_ports() -> None:
    found = settings({})
    assert found.home == ROOT / ".presence"
    assert found.demo_url == "http://localhost:4000"
    assert found.endpoint_url == "http://127.0.0.1:4566"


def test_the_environment_puts_a_second_stack_beside_the_first(tmp_path: Path) -> None:
    found = settings(
        {"PRESENCE_HOME": str(tmp_path), "PRESENCE_PORT": "4001", "PRESENCE_AWS_PORT": "4567"}
    )
    assert (found.home, found.port, found.aws_port) == (tmp_path, 4001, 4567)


def test_the_command_line_wins_over_the_environment() -> None:
    environment = {"PRESENCE_SET": "GraceSeconds=2 TickSeconds=5"}
    found = settings(environment, sets=["GraceSeconds=3"])
    assert found.overrides == {"GraceSeconds": "3", "TickSeconds": "5"}


def test_a_value_may_hold_an_equals_sign() -> None:
    assert overrides(["TokenIssuer=https://a/?b=c"]) == {"TokenIssuer": "https://a/?b=c"}


@pytest.mark.parametrize("pair", ["GraceSeconds", "=2", ""])
def test_a_pair_without_name_or_value_is_refused(pair: str) -> None:
    with pytest.raises(StackError, match="GraceSeconds=2"):
        overrides([pair])


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "٤"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(StackError, match="PRESENCE_PORT"):
        settings({"PRESENCE_PORT": port})


def test_a_stack_runs_as_long_as_its_process(tmp_path: Path) -> None:
    here = Settings(home=tmp_path)
    assert running(here) is None
    publish(here, {"pid": os.getpid(), "demoUrl": "http://localhost:4000"})
    assert running(here) == json.loads(here.stack_file.read_text())


def test_a_stack_whose_process_has_gone_does_not_run(tmp_path: Path) -> None:
    here = Settings(home=tmp_path)
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    publish(here, {"pid": child})
    assert running(here) is None


OWNER = """
import os, sys, time
from pathlib import Path
from tests.stack import guarded

with guarded(["sh", "-c", "echo $$; exec sleep 60"], os.environ, Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_a_fixture_started_ends_with_its_process(tmp_path: Path, how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        deadline = time.monotonic() + 30
        log = tmp_path / "run.log"
        while not (told := log.read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.05)
        owner.send_signal(how)

    while is_alive(int(told)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(int(told))


LOCAL_AWS = """
import sys, time
from pathlib import Path
from local.aws import local_aws
from local.stack import Settings

with local_aws(Settings(home=Path(sys.argv[1]), aws_port=int(sys.argv[2]))) as process:
    print(process.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_the_local_aws_ends_with_a_stack_that_is_killed(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-c", LOCAL_AWS, str(tmp_path), str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        aws = int(owner.stdout.readline())
        owner.kill()

    deadline = time.monotonic() + 30
    while is_alive(aws) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(aws)


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


# ── the local AWS ────────────────────────────────────────────────────────────────────────────────


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
