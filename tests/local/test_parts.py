"""The smaller parts of the local stack."""

import gzip
import json
import socket
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import boto3
import jwt
import pytest
from moto import mock_aws
from websockets.http11 import Request
from websockets.http11 import Response as WebSocketResponse
from websockets.sync.server import ServerConnection, serve

from local import run, tables
from local.aws import environment, require_free
from local.build import architecture, fingerprint, pack, runtime
from local.deploy import Deployed, for_local_aws, functions_of, parameters_of, routes_of
from local.layer import SERVICES, shrink
from local.server import cors, is_ours, is_shared, may_ask
from local.stack import REGION, ROOT, Settings, StackError
from local.warm import _ACTIONS, _EVENTS, answers, call_route
from tests.template.test_template import FUNCTIONS, ROUTES

# ── aws ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_local_aws_listens_to_this_machine_only_and_checks_permissions(tmp_path: Path) -> None:
    found = environment(Settings(home=tmp_path, aws_port=4567), tmp_path, {})
    assert found["BIND_HOST"] == "127.0.0.1"
    assert found["GATEWAY_PORT"] == "4567"
    assert found["AUTH"] == "true"


def test_functions_do_not_see_what_the_person_has_in_the_environment(tmp_path: Path) -> None:
    inherited = {
        "AWS_PROFILE": "prod",
        "AWS_SESSION_TOKEN": "real",
        "PYTHONPATH": "/x",
        "PATH": "/",
    }
    found = environment(Settings(home=tmp_path), tmp_path, inherited)
    assert found["PATH"] == "/"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "PYTHONPATH"} & found.keys()


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} is in use.*PRESENCE_PORT={port + 1}"):
            require_free(port, "PRESENCE_PORT")
    require_free(port, "PRESENCE_PORT")


# ── build ─────────────────────────────────────────────────────────────────────────────────────────


def _folder(root: Path) -> Path:
    (root / "inner" / "__pycache__").mkdir(parents=True)
    (root / "one.py").write_text("1")
    (root / "inner" / "two.py").write_text("2")
    (root / "inner" / "__pycache__" / "two.pyc").write_bytes(b"machine")
    return root


def test_the_same_files_make_the_same_zip_and_no_caches_are_in_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    pack(_folder(tmp_path / "a"), first)
    pack(_folder(tmp_path / "b"), second)
    assert first.read_bytes() == second.read_bytes()
    assert zipfile.ZipFile(first).namelist() == ["inner/two.py", "one.py"]


def test_a_fingerprint_changes_with_the_files_and_with_the_interpreter() -> None:
    files = [ROOT / "template.yaml", ROOT / "samconfig.toml"]
    known = fingerprint(files, salt="python3.11")
    assert fingerprint(reversed(files), salt="python3.11") == known
    assert fingerprint(files, salt="python3.12") != known
    assert fingerprint(files[:1], salt="python3.11") != known


# ── deploy ────────────────────────────────────────────────────────────────────────────────────────


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


def test_what_the_person_sets_wins(tmp_path: Path) -> None:
    wanted = {"GraceSeconds": "2", "StageName": "blue"}
    found = parameters_of(Settings(home=tmp_path, overrides=wanted), TEMPLATE)
    assert found["GraceSeconds"] == "2"
    assert found["CallbackUrl"].endswith("/blue")


def test_development_tokens_are_as_the_parameters_ask_for(tmp_path: Path) -> None:
    asked = {"TokenIssuer": "https://a.test", "TokenUserClaim": "oid", "GraceSeconds": "2"}
    token = run._mint(Settings(home=tmp_path, overrides=asked))("auth0|ada", None, None)
    claims = jwt.decode(token, options={"verify_signature": False})

    assert (claims["iss"], claims["oid"]) == ("https://a.test", "auth0|ada")


def test_a_parameter_that_the_template_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"'GracePeriod'.*GraceSeconds"):
        parameters_of(Settings(home=tmp_path, overrides={"GracePeriod": "2"}), TEMPLATE)


def test_routes_are_read_from_the_document_that_sam_writes() -> None:
    uri = "arn:${AWS::Partition}:apigateway:r:lambda:path/functions/${HttpFunction.Arn}/invocations"
    operation = {"x-amazon-apigateway-integration": {"uri": {"Fn::Sub": uri}}}
    body = {"paths": {"/a/{b}": {"get": operation, "put": operation}}}
    assert list(routes_of(body)) == [("GET /a/{b}", "HttpFunction"), ("PUT /a/{b}", "HttpFunction")]


# ── keep ──────────────────────────────────────────────────────────────────────────────────────────


KEYS = {"Connections": "connection_id", "Users": "user_id", "Subscriptions": "topic"}


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    with mock_aws():
        dynamodb = boto3.client("dynamodb", region_name=REGION)
        for name, key in KEYS.items():
            dynamodb.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        monkeypatch.setattr(tables, "client", lambda *_: dynamodb)
        yield Deployed("ws://w", "http://h", {f"{name}Table": name for name in KEYS}, {})


def test_items_come_back_as_they_were(tmp_path: Path, deployed: Deployed) -> None:
    here = Settings(home=tmp_path)
    dynamodb = boto3.client("dynamodb", region_name=REGION)
    stored = [{"user_id": {"S": f"u{n}"}, "raw": {"B": b"\0\xff"}} for n in range(60)]
    for item in stored:
        dynamodb.put_item(TableName="Users", Item=item)
    tables.save(here, deployed)
    for item in stored:
        dynamodb.delete_item(TableName="Users", Key={"user_id": item["user_id"]})

    assert tables.load(here, deployed) == 60
    back = dynamodb.scan(TableName="Users")["Items"]
    assert sorted(map(str, back)) == sorted(map(str, stored))


def test_nothing_kept_is_nothing_loaded(tmp_path: Path, deployed: Deployed) -> None:
    assert tables.load(Settings(home=tmp_path), deployed) == 0


# ── warm ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_function_is_called_and_every_route_of_the_socket() -> None:
    assert _EVENTS.keys() == FUNCTIONS.keys() - {"WebSocketFunction"}
    assert {*_ACTIONS} - {"unknown"} == {route for route in ROUTES if not route.startswith("$")}


@pytest.mark.parametrize(
    ("answer", "works"),
    [
        ('{"type": "error", "code": "not-authenticated"}', True),
        ('{"message": "Internal server error"}', False),
        ("No module named 'presence'", False),
        ("[]", False),
        (b"\xff", False),
    ],
)
def test_only_a_frame_of_the_protocol_counts_as_an_answer(
    answer: str | bytes,
    works: bool,
) -> None:
    assert answers(answer) is works


class Refusing:
    """A WebSocket server that refuses so many handshakes, and then answers each frame."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.server = serve(self._answer, "127.0.0.1", 0, process_request=self._refuse)
        self.url = f"ws://127.0.0.1:{self.server.socket.getsockname()[1]}"

    def _refuse(self, connection: ServerConnection, _request: Request) -> WebSocketResponse | None:
        self.refusals -= 1
        return connection.respond(HTTPStatus.FORBIDDEN, "") if self.refusals >= 0 else None

    @staticmethod
    def _answer(connection: ServerConnection) -> None:
        connection.recv()
        connection.send('{"type": "error"}')


@contextmanager
def refusing(refusals: int) -> Iterator[Refusing]:
    it = Refusing(refusals)
    thread = threading.Thread(target=it.server.serve_forever)
    thread.start()
    try:
        yield it
    finally:
        it.server.shutdown()
        thread.join()


@pytest.mark.fault("One handshake that is refused beside many cold starts ends `make run`.")
def test_a_route_whose_connection_is_refused_is_called_again() -> None:
    with refusing(2) as server:
        call_route(server.url, "ping", seconds=30)
    assert server.refusals < 0


def test_a_route_that_never_answers_is_told_with_its_last_answer() -> None:
    with refusing(1_000) as server, pytest.raises(StackError, match=r"the route ping.*403"):
        call_route(server.url, "ping", seconds=1)


# ── origins ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("host", ["localhost", "localhost:4000", "127.0.0.1:4000", "LOCALHOST"])
def test_it_answers_to_the_names_of_this_machine(host: str) -> None:
    assert is_ours(host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            None,
            "",
            "evil.example",
            "localhost.evil.example:4000",
            "[::1",
            "127.0.0.1@evil.example",
        ),
        *(
            "evil.example@localhost",
            "localhost/x",
            "localhost:4000\n",
            "localhost:",
            "localhost:\u0661",
        ),
    ],
)
def test_it_answers_to_no_other_name(host: str | None) -> None:
    assert not is_ours(host)


@pytest.mark.parametrize(
    "origin",
    [
        *("http://localhost:5173", "http://127.0.0.1:3000", "http://[::1]:8080"),
        *("http://localhost", "https://localhost:5173"),
    ],
)
def test_pages_of_this_machine_may_ask(origin: str) -> None:
    assert may_ask(origin)
    assert cors(origin)["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "*", "file://", "https://evil.example", "http://localhost.evil.example"),
        *("http://evil.localhost", "http://localhost:5173.evil.example", "http://127.0.0.2"),
        *("http://localhost@evil.example", "http://localhost:5173/", "http://192.168.0.10:5173"),
        *("http://LOCALHOST", "http://localhost\n", "ftp://localhost", "http://[::2]"),
    ],
)
def test_pages_from_elsewhere_may_not(origin: str) -> None:
    assert not may_ask(origin)
    assert cors(origin) == {"Vary": "Origin"}


def test_the_api_and_tokens_are_shared_and_nothing_else_is() -> None:
    assert is_shared("/api/user-status/online")
    assert is_shared("/dev/token")
    for path in ("/", "/dev/stack", "/dev/tables", "/dev/token/x", "/api", "/apis", ""):
        assert not is_shared(path)


# ── the shrunk layer ─────────────────────────────────────────────────────────────────────────────


MODEL = {
    "documentation": "<p>Long.</p>",
    "shapes": {
        "Part": {
            "type": "structure",
            "documentation": "<p>Long.</p>",
            "members": {"documentation": {"shape": "Text", "documentation": "<p>Long.</p>"}},
        }
    },
}
ENDPOINTS = {"partitions": [{"partition": "aws", "services": {"sqs": {"a": 1}, "s3": {"b": 2}}}]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """botocore's data as it comes, after it was shrunk."""
    data = tmp_path / "botocore" / "data"
    for service in (*SERVICES, "s3", "ec2"):
        write(data / service / "2012-11-05" / "service-2.json.gz", MODEL)
    write(data / "endpoints.json", ENDPOINTS)
    write(data / "partitions.json", {"kept": True})
    shrink(tmp_path)
    return data


def write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content).encode()
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def test_only_services_that_presence_calls_are_left(data: Path) -> None:
    assert {path.name for path in data.iterdir() if path.is_dir()} == SERVICES
    (partition,) = read(data / "endpoints.json")["partitions"]
    assert partition == {"partition": "aws", "services": {"sqs": {"a": 1}}}
    assert read(data / "partitions.json") == {"kept": True}


def test_texts_are_left_out_and_members_of_that_name_are_not(data: Path) -> None:
    members = {"documentation": {"shape": "Text"}}
    (model,) = (data / "sqs" / "2012-11-05").iterdir()
    assert model.name == "service-2.json"  # unpacked, too
    assert read(model) == {"shapes": {"Part": {"type": "structure", "members": members}}}
