"""Each alarm of the template rings on the deployed stack, by what it watches.

A minute of an alarm lasts one second or three here (`pace`). What the local AWS has no metric of,
or no way to cause, is put in CloudWatch by hand: then it is shown that the alarm looks there.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from local.watching import Watcher
from presence.metrics import METRICS
from presence_client.errors import ClientError
from tests.conversation import Conversation, story
from tests.stack import RunningStack
from tests.template.test_template import ALARMS

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: An environment writes what it has counted in the next invocation after a minute.
WRITTEN_SECONDS = 60
#: Until a line is put in CloudWatch, and one minute at the pace.
PUT_SECONDS = 10


def watcher(stack: RunningStack, pace: float) -> Watcher:
    return Watcher(stack.aws("cloudwatch"), stack.aws("sqs"), since=0, pace=pace)


def by_resource(states: dict[str, str]) -> dict[str, str]:
    """By the name in the template: the local AWS puts it between the stack's and one of its own."""
    return {name.split("-")[1]: state for name, state in states.items()}


async def until(told: Callable[[], bool], within: float, meanwhile: Callable[[], object]) -> None:
    deadline = time.monotonic() + within
    while not told():
        assert time.monotonic() < deadline
        meanwhile()
        await asyncio.sleep(1)


async def authenticate_in_vain(stack: RunningStack) -> None:
    async with Conversation.connect(stack.url) as eve:
        with suppress(ClientError):
            await eve.request("authenticate", token="x.y.z")


@pytest.fixture(scope="module", autouse=True)
def failures(deployed: RunningStack) -> Iterator[float]:
    """A user who cannot be read, and tokens that nobody signed; when that was (monotonic)."""
    table, dynamodb = deployed.told["tables"]["Users"], deployed.aws("dynamodb")
    broken = {"user_id": {"S": "broken"}, "revision": {"N": "1"}, "leases": {"S": "?"}}
    dynamodb.put_item(TableName=table, Item=broken)
    for _ in range(12):
        assert deployed.call("GET /users/broken", user_id="ada").status == 500
    for _ in range(36):  # of all environments that serve sockets, some have enough of them
        asyncio.run(authenticate_in_vain(deployed))
    yield time.monotonic()
    dynamodb.delete_item(TableName=table, Key={"user_id": broken["user_id"]})


class Sweeps:
    """Sweeps by hand, and the alarms of the sweep, a minute of which has three seconds."""

    def __init__(self, stack: RunningStack) -> None:
        self._lambda = stack.aws("lambda")
        self._name = stack.told["functions"]["SweepFunction"]
        self._watcher = watcher(stack, 20)

    def sweep(self) -> None:
        self._lambda.invoke(FunctionName=self._name, Payload=b"{}")

    def state(self, alarm: str) -> str:
        return by_resource(self._watcher.states(time.time()))[alarm]


@story
async def test_the_dead_mans_switch_rings_when_no_sweep_runs(deployed: RunningStack) -> None:
    sweeps = Sweeps(deployed)
    await until(lambda: sweeps.state("SweepMissing") == "OK", 20, sweeps.sweep)
    await until(lambda: sweeps.state("SweepMissing") == "ALARM", 30, lambda: None)
    await until(lambda: sweeps.state("SweepMissing") == "OK", 20, sweeps.sweep)


@story
async def test_a_sweep_that_fails_rings(deployed: RunningStack) -> None:
    sweeps, table = Sweeps(deployed), deployed.told["tables"]["Users"]
    assert sweeps.state("SweepFails") == "OK"
    unreadable = {"user_id": {"S": "unreadable"}, "online_shard": {"N": "0"}, "leases": {"S": "?"}}
    deployed.aws("dynamodb").put_item(TableName=table, Item=unreadable)
    try:
        await until(lambda: sweeps.state("SweepFails") == "ALARM", 30, sweeps.sweep)
        # All others were looked at: nothing is missing.
        assert sweeps.state("SweepMissing") == "OK"
    finally:
        deployed.aws("dynamodb").delete_item(
            TableName=table, Key={"user_id": unreadable["user_id"]}
        )


@story
async def test_a_message_in_a_dead_letter_queue_rings(deployed: RunningStack) -> None:
    sqs, watch = deployed.aws("sqs"), watcher(deployed, 60)
    url = deployed.told["changeDeadLetterQueueUrl"]
    rung = set[str]()

    def look() -> bool:
        watch.measure_queues()
        states = by_resource(watch.states(time.time()))
        rung.update(it for it, state in states.items() if it.endswith("Failed") and state != "OK")
        return bool(rung)

    assert not look()
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"for": "an alarm"}))
    try:
        await until(look, 20, lambda: None)
    finally:
        sqs.purge_queue(QueueUrl=url)
    assert rung == {"ChangesFailed"}


@story
async def test_failing_routes_and_authentications_ring(
    deployed: RunningStack, failures: float
) -> None:
    """What happened before the other tests is written by now, or soon."""
    watch, wanted = watcher(deployed, 60), {"RoutesFail", "AuthenticationsFail"}
    rung = set[str]()

    def look() -> bool:
        states = by_resource(watch.states(time.time()))
        rung.update(name for name in wanted if states[name] == "ALARM")
        return rung == wanted

    while not look():
        assert time.monotonic() < failures + WRITTEN_SECONDS + PUT_SECONDS + 20, rung
        deployed.call("GET /users/broken", user_id="ada")
        await authenticate_in_vain(deployed)


def test_every_alarm_looks_where_its_metric_is(deployed: RunningStack) -> None:
    cloudwatch, watch, now = deployed.aws("cloudwatch"), watcher(deployed, 1), time.time()
    alarms = {
        it["AlarmName"].split("-")[1]: it
        for it in cloudwatch.describe_alarms(MaxRecords=100)["MetricAlarms"]
    }
    assert alarms.keys() == ALARMS.keys()
    # Those that ring for too little; the first of them rings for nothing at all.
    few = {name for name, it in alarms.items() if it["ComparisonOperator"] == "LessThanThreshold"}
    assert few == {"SweepMissing", "SweepOutOfTime", "SweepCoversLittle"}
    for name in alarms.keys() - {"SweepMissing"}:
        _put(cloudwatch, alarms[name], now)
    found = by_resource(watch.states(now))
    assert {name for name, state in found.items() if state == "ALARM"} >= alarms.keys() - {
        "SweepMissing"
    }


def _put(cloudwatch: Any, alarm: dict[str, Any], now: float) -> None:
    """What is beyond the threshold of an alarm, in all minutes that it looks at."""
    beyond = -1 if alarm["ComparisonOperator"] == "LessThanThreshold" else 1
    minutes = alarm["Period"] // 60 * alarm["EvaluationPeriods"]
    cloudwatch.put_metric_data(
        Namespace=alarm["Namespace"],
        MetricData=[
            {
                "MetricName": alarm["MetricName"],
                "Dimensions": alarm["Dimensions"],
                "Timestamp": now // 60 * 60 - 60 * minute - 30,
                "Value": alarm["Threshold"] + beyond,
            }
            for minute in range(minutes)
        ],
    )


def test_the_dashboard_is_there(deployed: RunningStack) -> None:
    body = deployed.aws("cloudwatch").get_dashboard(DashboardName="presence")["DashboardBody"]
    widgets = json.loads(body)["widgets"]
    assert "${" not in body
    assert len(widgets) > 10


@story
async def test_what_functions_write_is_a_metric(deployed: RunningStack) -> None:
    cloudwatch = deployed.aws("cloudwatch")
    service = [{"Name": "service", "Value": "presence"}]

    def names() -> set[str]:
        found = cloudwatch.list_metrics(Namespace="presence", Dimensions=service)["Metrics"]
        return {it["MetricName"] for it in found}

    wanted = {"OpenConnections", "OnlineUsers", "SweepCoverage", "Refusals"}
    await until(lambda: names() >= wanted, 90, lambda: None)
    assert names() <= {it.name for it in METRICS}
