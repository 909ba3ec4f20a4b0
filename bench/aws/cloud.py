"""AWS around the stack: the management API, CloudWatch, logs, CloudFormation.

Credentials and the region are found as boto3 finds them. Every request is looked at before it is
sent: it goes to a host that was given, or to the region's own endpoint of a service.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from bench.aws.ledger import Ledger
from bench.aws.target import Hosts, Target

Client: TypeAlias = Any
#: What the management API answered: 200, 410, 429, or another status; 0 for no answer.
Status: TypeAlias = int
Metric: TypeAlias = Literal["MessageCount", "ConnectCount"]
_AT_ONCE = 32
_PERIOD_SECONDS = 60
_REPORT = re.compile(r"(Billed Duration|Init Duration|(?<!d )(?<!t )Duration): ([\d.]+) ms")


@dataclass(frozen=True, slots=True)
class Report:
    """One invocation as Lambda reports it, in milliseconds; `init` is None for a warm one."""

    at: float
    duration: float
    billed: float
    init: float | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """What GET @connections answered, and `lastActiveAt` in seconds since the epoch."""

    status: Status
    last_active: float | None = None


class Cloud:
    """Requests to AWS from threads, at most 32 at once."""

    def __init__(self, target: Target, ledger: Ledger) -> None:
        self._target, self._ledger = target, ledger
        self._pool = ThreadPoolExecutor(max_workers=_AT_ONCE)
        self._session = _session(target)
        self._gateway = self._client("apigatewaymanagementapi", target.callback_url)
        self._metrics = self._client("cloudwatch", target.endpoint_url)
        self._logs = self._client("logs", target.endpoint_url)
        self._apis = self._client("apigatewayv2", target.endpoint_url)
        clients = (self._gateway, self._metrics, self._logs, self._apis)
        self.hosts = Hosts.of(
            [target.web_socket_url, *(str(it.meta.endpoint_url) for it in clients)]
        )
        for client in clients:
            client.meta.events.register("before-send", self._guard)

    def _client(self, service: str, url: str | None) -> Client:
        return _client(self._session, service, url)

    def _guard(self, request: Any, **_: Any) -> None:  # noqa: ANN401  botocore calls it
        self.hosts.require(request.url)

    async def look(self, connection_id: str) -> Looked:
        """GET @connections."""
        self._ledger.note("get")
        status, found = await self._ask("get_connection", ConnectionId=connection_id)
        at = found.get("LastActiveAt")
        return Looked(status, at.timestamp() if isinstance(at, datetime) else None)

    async def post(self, connection_id: str, text: str) -> Status:
        self._ledger.note("post")
        data = {"ConnectionId": connection_id, "Data": text.encode()}
        return (await self._ask("post_to_connection", **data))[0]

    async def _ask(self, operation: str, **names: Any) -> tuple[Status, dict[str, Any]]:  # noqa: ANN401
        try:
            answer = await self._away(getattr(self._gateway, operation), **names)
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"]), {}
        except BotoCoreError:
            return 0, {}
        return HTTPStatus.OK, answer

    async def metric(self, name: Metric, start: float, end: float) -> float | None:
        """The sum of whole minutes; None if there is no data point, or no CloudWatch."""
        dimension = {"Name": "ApiId", "Value": self._target.api_id}
        points = await self._points("AWS/ApiGateway", name, dimension, start, end)
        return sum(float(it["Sum"]) for it in points) if points else None

    async def answering(self) -> frozenset[str] | None:
        """The routes that answer with what their function returns; None if that cannot be read."""
        try:
            found = await self._away(self._apis.get_routes, ApiId=self._target.api_id)
        except (ClientError, BotoCoreError):
            return None
        return frozenset(
            it["RouteKey"] for it in found["Items"] if it.get("RouteResponseSelectionExpression")
        )

    async def durations(self, start: float, end: float) -> tuple[float, float] | None:
        """Lambda's own metric of the function: mean and maximum in ms; None without a figure."""
        dimension = {"Name": "FunctionName", "Value": self._target.function}
        points = await self._points("AWS/Lambda", "Duration", dimension, start, end)
        count = sum(it["SampleCount"] for it in points)
        if not count:
            return None
        return sum(it["Sum"] for it in points) / count, max(it["Maximum"] for it in points)

    async def _points(
        self, namespace: str, name: str, dimension: dict[str, str], start: float, end: float
    ) -> Sequence[dict[str, Any]]:
        query = {
            "Namespace": namespace,
            "MetricName": name,
            "Dimensions": [dimension],
            "StartTime": datetime.fromtimestamp(start, UTC),
            "EndTime": datetime.fromtimestamp(end, UTC),
            "Period": _PERIOD_SECONDS,
            "Statistics": ["Sum", "Maximum", "SampleCount"],
        }
        try:
            found = await self._away(self._metrics.get_metric_statistics, **query)
        except (ClientError, BotoCoreError):
            return []
        points: Sequence[dict[str, Any]] = found.get("Datapoints", ())
        return points

    async def reports(self, start: float, end: float) -> Sequence[Report]:
        """What Lambda reported of the WebSocket function; empty if it does not, or in no log."""
        if not self._target.log_group:
            return []
        try:
            found: Sequence[Report] = await self._away(self._read_reports, start, end)
        except (ClientError, BotoCoreError):
            return []
        return found

    def _read_reports(self, start: float, end: float) -> list[Report]:
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=self._target.log_group,
            startTime=int(start * 1000),
            endTime=int(end * 1000),
            filterPattern='?"REPORT RequestId" ?"platform.report"',
        )
        lines = [it for page in pages for it in page["events"]]
        found = (report_of(it["timestamp"] / 1000, it["message"]) for it in lines)
        return [it for it in found if it is not None]

    async def _away(self, call: Any, *arguments: Any, **names: Any) -> Any:  # noqa: ANN401
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: call(*arguments, **names))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def report_of(at: float, line: str) -> Report | None:
    """A REPORT line of either log format; None if it is another one."""
    if line.startswith("{"):
        record = json.loads(line)
        if record.get("type") != "platform.report":
            return None
        told = record["record"]["metrics"]
        init = told.get("initDurationMs")
        return Report(at, told["durationMs"], told["billedDurationMs"], init)
    told = {name: float(value) for name, value in _REPORT.findall(line)}
    if not line.startswith("REPORT") or "Duration" not in told:
        return None
    return Report(at, told["Duration"], told["Billed Duration"], told.get("Init Duration"))


# ── before there is a target ───────────────────────────────────────────────────────────────


def describe(
    name: str, endpoint_url: str | None, region: str | None, keys: tuple[str, str] | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """A stack as CloudFormation describes it, and the physical ids of its resources."""
    session = boto3.Session(region_name=region, **_named(keys))
    client = _client(session, "cloudformation", endpoint_url)
    stack = client.describe_stacks(StackName=name)["Stacks"][0]
    pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
    return stack, dict(_ids(pages))


def _ids(pages: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401  botocore's
    for page in pages:
        for it in page["StackResourceSummaries"]:
            yield it["LogicalResourceId"], it.get("PhysicalResourceId", "")


def _session(target: Target) -> Any:  # noqa: ANN401  boto3 makes it as it runs
    return boto3.Session(region_name=target.region, **_named(target.keys))


def _named(keys: tuple[str, str] | None) -> dict[str, str]:
    if keys is None:
        return {}
    return {"aws_access_key_id": keys[0], "aws_secret_access_key": keys[1]}


def _client(session: Any, service: str, url: str | None) -> Client:  # noqa: ANN401
    config = Config(
        retries={"total_max_attempts": 1},  # each answer counts
        max_pool_connections=_AT_ONCE,
        connect_timeout=10,
        read_timeout=30,
        proxies={},
    )
    return session.client(service, endpoint_url=url, config=config)
