#!/usr/bin/env bash
# MiniStack runs the WebSocket events of one function one after the other, whatever the connection.
#
# Versions   ministack 1.5.33, boto3 1.43.106, websockets 17.4
# Input      A function that takes 0.4 s, behind the $default route of a WebSocket API. Four
#            connections send one frame each at the same moment.
# Expected   Four invocations at the same time, as on AWS, where each runs in an environment of its
#            own. MiniStack does so too when the same function is invoked through the Lambda API.
# What       The four invocations follow one another, though four workers of the function are warm
# happens    and idle.
# Why it     On this local AWS the delays of a presence backend grow with the number of clients, and
# matters    two frames for one function never race for an item of DynamoDB. Many WebSocket clients
#            alone therefore test neither its latency nor its conditional writes.
#
# Seen       Lambda API: up to 4 of 4 invocations at the same time
#            WebSocket API: up to 1 of 4 invocations at the same time
# Takes about a minute. Needs Python 3.10 or later.
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

cat >"$folder/overlap.py" <<'PYTHON'
import asyncio
import io
import json
import sys
import time
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor

import boto3
import websockets

PORT = sys.argv[1]
ENDPOINT = f"http://127.0.0.1:{PORT}"
TIMES = 4
HANDLER = """
import time

def handler(event, context):
    start = time.time()
    time.sleep(0.4)
    return {"statusCode": 200, "body": f"{start} {time.time()}"}
"""


def await_healthy():
    for _ in range(300):
        try:
            return urllib.request.urlopen(f"{ENDPOINT}/_ministack/health", timeout=1).close()
        except OSError:
            time.sleep(0.1)
    sys.exit("MiniStack did not start.")


def create(aws_lambda, gateway):
    """Create the function and an API whose every frame goes to it; return the API's id."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.py", HANDLER)
    arn = aws_lambda.create_function(
        FunctionName="slow",
        Runtime=f"python3.{sys.version_info.minor}",
        Handler="index.handler",
        Role="arn:aws:iam::000000000000:role/any",
        Code={"ZipFile": archive.getvalue()},
        Timeout=30,
    )["FunctionArn"]
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
    return api


def invoke(aws_lambda):
    """Invoke the function several times at once; return when each started and ended."""
    def once(_):
        return json.loads(aws_lambda.invoke(FunctionName="slow")["Payload"].read())["body"]

    with ThreadPoolExecutor(TIMES) as threads:
        return list(threads.map(once, range(TIMES)))


async def send(api):
    """Send a frame on several connections at once; return when each was at work."""
    url = f"ws://127.0.0.1:{PORT}/_aws/execute-api/{api}/live"
    connections = [await websockets.connect(url) for _ in range(TIMES)]
    await asyncio.gather(*[connection.send("{}") for connection in connections])
    answers = await asyncio.gather(*[connection.recv() for connection in connections])
    await asyncio.gather(*[connection.close() for connection in connections])
    return answers


def at_once(answers):
    """Return the largest number of invocations that ran at the same time."""
    spans = [tuple(map(float, answer.split())) for answer in answers]
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


await_healthy()
aws_lambda = boto3.client("lambda", endpoint_url=ENDPOINT)
api = create(aws_lambda, boto3.client("apigatewayv2", endpoint_url=ENDPOINT))
invoke(aws_lambda)  # starts the workers
direct = at_once(invoke(aws_lambda))
print(f"Lambda API: up to {direct} of {TIMES} invocations at the same time")
frames = at_once(asyncio.run(send(api)))
print(f"WebSocket API: up to {frames} of {TIMES} invocations at the same time")
if direct == 1:
    sys.exit("CHANGED: direct invocations do not overlap either")
if frames != 1:
    sys.exit("CHANGED: the WebSocket events of one function overlap")
print("As described.")
PYTHON
"${clean[@]}" "$folder/venv/bin/python" "$folder/overlap.py" "$port"
