"""What the nemesis does to a running stack; every fault ends by itself, undone."""

import json
import math
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import BotoCoreError, ClientError

from local.deploy import STACK
from local.tables import plain
from proof.nemesis.history import OFFLINE, Rules
from tests.stack import RunningStack

#: After a failure the local AWS lets a stream, and a queue, rest for a second, and a worker that
#: was killed, or has nothing to do, takes about as long to start again.
RECOVERY = 3.0


@dataclass
class Scheduler:
    """Calls the sweep as EventBridge does, but in seconds: its own rule is switched off.

    The schedule of a rule has whole minutes, so that few deaths would fit into a run.
    """

    stack: RunningStack
    every: float
    is_stopped: Event = field(default_factory=Event)
    is_over: Event = field(default_factory=Event)

    def run(self) -> None:
        events = self.stack.aws("events")
        for rule in events.list_rules()["Rules"]:
            events.disable_rule(Name=rule["Name"])
        while not self.is_over.wait(self.every):
            if not self.is_stopped.is_set():
                self.sweep()

    def sweep(self) -> None:
        functions = self.stack.aws("lambda")
        name = self.stack.told["functions"]["SweepFunction"]
        functions.invoke(FunctionName=name, InvocationType="Event", Payload="{}")


@dataclass
class Nemesis:
    """One fault for each name of `STACK_FAULTS`."""

    stack: RunningStack
    scheduler: Scheduler

    def do(self, fault: str, seconds: float, number: int) -> None:
        """Do it, and return when it is undone and has no more effect."""
        {
            "route": self._without_route,
            "sweep": self._without_sweep,
            "stream": self._without_stream,
            "workers": self._kill_workers,
            "redeploy": self._redeploy,
            "two-sweeps": self._sweep_twice,
        }[fault](seconds, number)

    def _without_route(self, seconds: float, _: int) -> None:
        gateway, api = self.stack.aws("apigatewayv2"), self.stack.told["webSocketApiId"]
        routes = gateway.get_routes(ApiId=api)["Items"]
        (route,) = [it for it in routes if it["RouteKey"] == "$disconnect"]
        gateway.delete_route(ApiId=api, RouteId=route["RouteId"])
        time.sleep(seconds)
        gateway.create_route(ApiId=api, RouteKey="$disconnect", Target=route["Target"])

    def _without_sweep(self, seconds: float, _: int) -> None:
        self.scheduler.is_stopped.set()
        time.sleep(seconds)
        self.scheduler.is_stopped.clear()
        time.sleep(self.scheduler.every)  # until the first sweep

    def _without_stream(self, seconds: float, _: int) -> None:
        functions = self.stack.aws("lambda")
        name = self.stack.told["functions"]["AnnounceFunction"]
        (mapping,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        time.sleep(seconds)
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
        time.sleep(RECOVERY)

    def _kill_workers(self, _: float, number: int) -> None:
        """Some of them, or now and then all."""
        dice = random.Random(number)  # noqa: S311  to be repeated, not to be secret
        pids = workers(self.stack)
        count = len(pids) if dice.random() < 0.3 else dice.randint(1, max(1, len(pids) // 3))
        for pid in dice.sample(pids, min(count, len(pids))):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(RECOVERY + self.scheduler.every)

    def _redeploy(self, *_: float) -> None:
        """Update the stack as `sam deploy` does; another log level changes every function."""
        cloudformation = self.stack.aws("cloudformation")
        known = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["Parameters"]
        values = {it["ParameterKey"]: it["ParameterValue"] for it in known}
        values["LogLevel"] = "WARN" if values["LogLevel"] == "INFO" else "INFO"
        cloudformation.update_stack(
            StackName=STACK,
            UsePreviousTemplate=True,
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value} for name, value in values.items()
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        while (status := _status(cloudformation)) == "UPDATE_IN_PROGRESS":
            time.sleep(0.1)
        if status != "UPDATE_COMPLETE":
            raise RuntimeError(f"the stack is {status}")
        time.sleep(RECOVERY + self.scheduler.every)

    def _sweep_twice(self, *_: float) -> None:
        name = self.stack.told["functions"]["SweepFunction"]

        def sweep(_: int) -> None:
            with suppress(ClientError, BotoCoreError):  # another fault may have killed its worker
                self.stack.aws("lambda").invoke(FunctionName=name, Payload="{}")

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(sweep, range(2)))


def _status(cloudformation: Any) -> str:
    return str(cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"])


def workers(stack: RunningStack) -> list[int]:
    """The processes of this stack's functions: children of its own local AWS."""
    parent = (stack.home / "aws.pid").read_text()
    command = ["ps", "-ax", "-o", "pid=,ppid=,command="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    fields = [line.split(maxsplit=2) for line in listed.splitlines()]
    return sorted(
        int(pid) for pid, ppid, command in fields if ppid == parent and "_worker.py" in command
    )


def set_visibility(stack: RunningStack, seconds: int) -> None:
    """What a function did not finish comes again after so long: minutes, in the template."""
    queues = stack.aws("sqs")
    for name in ("timerQueueUrl", "deliveryQueueUrl"):
        queues.set_queue_attributes(
            QueueUrl=stack.told[name], Attributes={"VisibilityTimeout": str(seconds)}
        )


def crashes(stack: RunningStack) -> list[float]:
    """When, in epoch seconds, the local AWS says that it dropped a socket by a fault of its own.

    MiniStack 1.5.33 does so when a worker dies while it starts. API Gateway says `Internal server
    error` on the socket then, and keeps it.
    """
    lines = (stack.home / "aws.log").read_text("utf-8", "replace").splitlines()
    found = [line for line in lines if line.endswith("Error in WebSocket dispatch")]
    return [time.mktime(time.strptime(line[:19], "%Y-%m-%d %H:%M:%S")) for line in found]


def dead_letters(stack: RunningStack) -> list[str]:
    queues = stack.aws("sqs")
    names = ["ApproximateNumberOfMessages"]
    found = []
    for name in (
        "timerDeadLetterQueueUrl",
        "deliveryDeadLetterQueueUrl",
        "changeDeadLetterQueueUrl",
    ):
        counts = queues.get_queue_attributes(QueueUrl=stack.told[name], AttributeNames=names)
        count = int(counts["Attributes"][names[0]])
        found += [f"{count} messages in {name}"] if count else []
    return found


def traces(stack: RunningStack) -> list[str]:
    """What should not be stored when all users have left, as the tables have it."""
    database, names = stack.aws("dynamodb"), stack.told["tables"]
    is_trace: Mapping[str, Callable[[dict[str, Any]], bool]] = {
        "Users": _is_here,
        "Connections": _is_open,
        "Subscriptions": bool,
    }
    return [
        f"in {table}: {json.dumps(item)}"
        for table, name in names.items()
        for item in _items(database, name)
        if is_trace[table](item)
    ]


def _items(database: Any, table: str) -> Iterator[dict[str, Any]]:
    value = TypeDeserializer().deserialize
    for page in database.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            yield {name: plain(value(it)) for name, it in item.items()}


def _is_here(item: dict[str, Any]) -> bool:
    """A user who is not offline, or a count that is not nought."""
    marks = ("leases", "grace_until", "sessions", "online_shard", "online")
    return any(item.get(name) for name in marks) or item.get("status", OFFLINE) != OFFLINE


def _is_open(item: dict[str, Any]) -> bool:
    """A connection record that is not closed, or a watch list; closed records stay until TTL."""
    return item.get("state") != "closed"


# ── the plan, from a seed ────────────────────────────────────────────────────────────────────────


#: What is done to the stack: how often (once in so many seconds), and for how long at most.
STACK_FAULTS = {
    "route": (70.0, 15.0),  # the route $disconnect is deleted
    "sweep": (60.0, 20.0),  # no sweep runs
    "stream": (180.0, 60.0),  # the stream has no consumer
    "workers": (25.0, 0.0),  # Lambda workers are killed
    "redeploy": (80.0, 0.0),
    "two-sweeps": (30.0, 0.0),  # two sweeps at once
}
#: What is done to the process of a device, and how often.
DEVICE_FAULTS = {
    "kill": 5.0,  # kill -9; another one comes later
    "pause": 8.0,  # SIGSTOP, and SIGCONT before or after its lease has run out
    "pause-kill": 12.0,  # SIGSTOP, and then kill -9
    "revoke": 20.0,  # the tokens of its user are revoked; a fresh one comes later
    "remove": 15.0,  # its user is taken out of the chat session, and let in again later
}
#: These change the same API, one after the other.
_ONE_LANE = ("route", "redeploy")


@dataclass(frozen=True, slots=True)
class Step:
    """`number` chooses among devices or workers; `seconds` is how long it lasts."""

    at: float
    fault: str
    seconds: float = 0.0
    number: int = 0


def plan(seed: int, seconds: float, rules: Rules) -> list[Step]:
    """All steps of a run, in order; every kind of fault is there at least once."""
    dice = random.Random(seed)  # noqa: S311  to be repeated, not to be secret
    steps = [*_of_stack(dice, seconds), *_of_devices(dice, seconds, rules)]
    return sorted(steps, key=lambda it: it.at)


def _of_stack(dice: random.Random, seconds: float) -> Iterator[Step]:
    lanes = [[name] for name in STACK_FAULTS if name not in _ONE_LANE]
    for names in ([*_ONE_LANE], *lanes):
        kinds = [name for name in names for _ in range(_count(seconds, STACK_FAULTS[name][0]))]
        dice.shuffle(kinds)
        yield from _lane(dice, seconds, kinds)


def _lane(dice: random.Random, seconds: float, kinds: Sequence[str]) -> Iterator[Step]:
    """One after the other, each somewhere in its own part of the run, and over before the next."""
    share = seconds / len(kinds)
    for number, kind in enumerate(kinds):
        lasts = min(STACK_FAULTS[kind][1], 0.6 * share)
        at = number * share + dice.uniform(0.05, 0.3) * share
        yield Step(at, kind, lasts, dice.randrange(1_000_000))


def _of_devices(dice: random.Random, seconds: float, rules: Rules) -> Iterator[Step]:
    long = rules.lease + rules.sweep + 4
    # Every other one is long, or fewer of those that are very long: a run that is short has one of
    # each, and in none are most devices gone.
    every, short = 2 * math.ceil(long / 20), min(rules.lease, 10)
    for kind, period in DEVICE_FAULTS.items():
        for number in range(_count(seconds, period)):
            is_long = (number + dice.randrange(2) * (kind == "kill")) % every == 0
            lasts = dice.uniform(long, long + 4) if is_long else dice.uniform(1, short)
            at = dice.uniform(0.05 * seconds, max(0.1 * seconds, seconds - lasts))
            yield Step(at, kind, lasts, dice.randrange(1_000_000))


def _count(seconds: float, period: float) -> int:
    return max(1, round(seconds / period))
