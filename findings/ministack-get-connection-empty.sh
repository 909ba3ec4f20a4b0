#!/usr/bin/env bash
# boto3 reads nothing of what MiniStack says about a WebSocket connection.
#
# Versions   ministack 1.5.33, boto3 1.43.106, websockets 17.4
# Input      A WebSocket API with a function that answers a frame with the id of its connection, one
#            client that has asked for it, and `get_connection` of boto3's `apigatewaymanagementapi`.
# Expected   `ConnectedAt`, `LastActiveAt` and `Identity`, as the API Reference gives them
#            (GetConnection: `connectedAt`, `lastActiveAt` and `identity` in the JSON body).
# What       MiniStack answers 200 with a body in which the names begin with a capital letter and
# happens    the times are whole seconds. botocore looks for the names of the service model, which
#            begin with a small one, finds none of them and returns an answer without any field.
#            There is no error.
# Why it     A presence backend that asks API Gateway when a peer was last active works on AWS, and
# matters    here takes each peer for one of which nothing is known. A test with a default for the
#            missing field passes and has tested nothing.
#
# Seen       boto3: no field
#            HTTP: ConnectedAt, Identity, LastActiveAt; whole seconds
# Takes half a minute. Needs Python 3.10 or later.
set -euo pipefail

folder=$(mktemp -d)
server=
clean_up() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap clean_up EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    ministack==1.5.33 boto3==1.43.106 websockets==17.4

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# Nothing of the user's own environment, and no listener beyond this machine.
clean=(
    env -i PATH="$PATH" HOME="$folder" TMPDIR="$folder" BIND_HOST=127.0.0.1 GATEWAY_PORT="$port"
    STATE_DIR="$folder/state" S3_DATA_DIR="$folder/s3" SFTP_ENABLED=0 IOT_MTLS_ENABLED=0
    AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=eu-central-1
)

"${clean[@]}" "$folder/venv/bin/python" -m ministack >"$folder/log.txt" 2>&1 &
server=$!

cat >"$folder/ask.py" <<'PYTHON'
import io
import json
import sys
import time
import urllib.request
import zipfile

import boto3
from websockets.sync.client import connect

PORT = sys.argv[1]
ENDPOINT = f"http://127.0.0.1:{PORT}"
FIELDS = ["ConnectedAt", "Identity", "LastActiveAt"]
HANDLER = """
def handler(event, context):
    return {"statusCode": 200, "body": event["requestContext"]["connectionId"]}
"""


def await_healthy():
    for _ in range(300):
        try:
            return urllib.request.urlopen(f"{ENDPOINT}/_ministack/health", timeout=1).close()
        except OSError:
            time.sleep(0.1)
    sys.exit("MiniStack did not start.")


def create_function():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.py", HANDLER)
    return boto3.client("lambda", endpoint_url=ENDPOINT).create_function(
        FunctionName="names",
        Runtime=f"python3.{sys.version_info.minor}",
        Handler="index.handler",
        Role="arn:aws:iam::000000000000:role/any",
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]


def create_api(arn):
    """Create a WebSocket API whose every frame goes to the function; return its address."""
    gateway = boto3.client("apigatewayv2", endpoint_url=ENDPOINT)
    api = gateway.create_api(
        Name="api", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
    )["ApiId"]
    path = f"arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/{arn}/invocations"
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=path
    )["IntegrationId"]
    gateway.create_route(
        ApiId=api,
        RouteKey="$default",
        Target=f"integrations/{integration}",
        RouteResponseSelectionExpression="$default",
    )
    gateway.create_stage(ApiId=api, StageName="live", AutoDeploy=True)
    return f"127.0.0.1:{PORT}/_aws/execute-api/{api}/live"


await_healthy()
address = create_api(create_function())
bodies = []
management = boto3.client("apigatewaymanagementapi", endpoint_url=f"http://{address}")
management.meta.events.register(
    "before-parse.apigatewaymanagementapi.GetConnection",
    lambda response_dict, **_: bodies.append(json.loads(response_dict["body"])),
)
with connect(f"ws://{address}") as socket:
    socket.send("{}")
    answer = management.get_connection(ConnectionId=socket.recv())

read = sorted(set(answer) - {"ResponseMetadata"})
(body,) = bodies
is_whole = isinstance(body.get("ConnectedAt"), int)
print(f"boto3: {', '.join(read) or 'no field'}")
print(f"HTTP: {', '.join(sorted(body))}{'; whole seconds' if is_whole else ''}")
if read:
    sys.exit("CHANGED: boto3 reads some of the answer")
if sorted(body) != FIELDS or not is_whole:
    sys.exit("CHANGED: the body is another one")
print("As described.")
PYTHON
"${clean[@]}" "$folder/venv/bin/python" "$folder/ask.py" "$port"
