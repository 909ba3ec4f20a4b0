"""Measures what AWS does not document, on a stack that is deployed already.

    python -m bench.aws --stack NAME
    python -m bench.aws --local --quick

Tokens are made with the secret in PRESENCE_TOKEN_SECRET, or by --token-command. An hour for all;
with --quick some minutes, which find fewer answers. The record is written to
.presence/bench/aws/aws.json.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from time import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bench.aws import (
    billed,
    disconnects,
    empty_answers,
    get_connection,
    half_open,
    idle,
    last_active,
    latency,
)
from bench.aws.answers import Answer, unknown
from bench.aws.cloud import Cloud, describe
from bench.aws.ledger import Ledger
from bench.aws.stage import FULL, QUICK, Pace, Stage
from bench.aws.target import Target, TargetError, from_local, from_stack, tokens_from
from bench.printing import RECORDS, print_note, print_table
from local.deploy import STACK
from local.stack import settings


@dataclass(frozen=True, slots=True)
class Experiment:
    observe: Callable[[Stage], Awaitable[Any]]
    evaluate: Callable[[Any], Iterable[Answer]]


EXPERIMENTS: Mapping[str, Experiment] = {
    "empty-answers": Experiment(empty_answers.observe, empty_answers.evaluate),
    "get-connection": Experiment(get_connection.observe, get_connection.evaluate),
    "last-active": Experiment(last_active.observe, last_active.evaluate),
    "half-open": Experiment(half_open.observe, half_open.evaluate),
    "idle": Experiment(idle.observe, idle.evaluate),
    "disconnects": Experiment(disconnects.observe, disconnects.evaluate),
    "billed": Experiment(billed.observe, billed.evaluate),
    "latency": Experiment(latency.observe, latency.evaluate),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What one experiment saw (None if it failed), and what it says."""

    name: str
    observed: Any
    answers: Sequence[Answer]


async def run(
    target: Target,
    pace: Pace,
    names: Sequence[str],
    reach: Callable[[Target, Ledger], Cloud] = Cloud,
) -> dict[str, Any]:
    """All experiments side by side; the record of the run."""
    ledger, started = Ledger(), time()
    cloud = reach(target, ledger)
    stage = Stage(target, cloud, ledger, pace, secrets.token_hex(4))
    print_note(f"Traffic goes to: {', '.join(cloud.hosts)}.")
    try:
        results = await asyncio.gather(*(_one(it, stage) for it in names))
        connects = await cloud.metric("ConnectCount", started - started % 60, time() + 60)
    finally:
        cloud.close()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time() - started),
        "target": target.told(),
        "pace": asdict(pace),
        "counts": ledger.between(0, time() + 1),
        "connect_count": connects,
        "experiments": [asdict(it) for it in results],
    }


async def _one(name: str, stage: Stage) -> Result:
    """Observe and evaluate; what goes wrong is the answer, and ends no other experiment."""
    experiment = EXPERIMENTS[name]
    try:
        observed = await experiment.observe(stage)
    except Exception as error:  # noqa: BLE001  an hour of others must not be lost
        return Result(name, None, [unknown(name, f"It failed: {type(error).__name__}: {error}")])
    sys.stderr.write(f"{name}: done after {time() - stage.started:.0f} s\n")
    return Result(name, observed, list(experiment.evaluate(observed)))


# ── what is printed ────────────────────────────────────────────────────────────────────────


def show(record: Mapping[str, Any]) -> None:
    for it in record["experiments"]:
        rows = [(answer["question"], answer["found"]) for answer in it["answers"]]
        print_table(it["name"], ("", "found"), rows)
        for answer in it["answers"]:
            print_note(f"{answer['question']} {answer['because']}")
    answers = [answer for it in record["experiments"] for answer in it["answers"]]
    changes = list(dict.fromkeys(it["change"] for it in answers if it["change"]))
    print_note("What to change:" if changes else "Nothing to change.")
    for change in changes:
        print_note(f"- {change}")
    print_note(_others(record))


def _others(record: Mapping[str, Any]) -> str:
    """Whether other clients were there, which would be in the counts."""
    ours, all_of_them = record["counts"].get("connect", 0), record["connect_count"]
    if all_of_them is None:
        return f"{ours} sockets were opened; CloudWatch has no ConnectCount of this API."
    return f"{ours} sockets were opened; CloudWatch has a ConnectCount of {all_of_them:,.0f}."


def write(record: Mapping[str, Any]) -> None:
    folder = RECORDS / "aws"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, ensure_ascii=False, indent=1, default=_plain)
    (folder / "aws.json").write_text(f"{text}\n", "utf-8")


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} is nothing for a record")


# ── the command line ───────────────────────────────────────────────────────────────────────


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.aws", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--stack", metavar="NAME", help="a CloudFormation stack of this template")
    which.add_argument("--local", action="store_true", help="the local stack of this checkout")
    which.add_argument("--web-socket-url", metavar="URL", help="with --callback-url and --api-id")
    parser.add_argument("--callback-url", metavar="URL", help="of the management API")
    parser.add_argument("--api-id", metavar="ID", help="of the WebSocket API, for CloudWatch")
    parser.add_argument("--endpoint-url", metavar="URL", help="CloudWatch, Logs, CloudFormation")
    parser.add_argument("--region", help="as boto3 finds it if left out")
    parser.add_argument("--token-command", metavar="COMMAND", help="prints a token of {user}")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=_SET)
    parser.add_argument("--only", action="append", choices=EXPERIMENTS, help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="minutes instead of an hour")
    return parser.parse_args(words)


_SET = "a parameter of the template, such as GraceSeconds=0, where no stack says it"


def target_of(asked: argparse.Namespace) -> Target:
    """Where to measure.

    Raises:
        TargetError: what was asked for is not there, or not enough was said.
    """
    told = _told(asked)
    said = dict(it.split("=", 1) for it in asked.set)
    told["parameters"] = {**told.get("parameters", {}), **said}
    told.setdefault("endpoint_url", asked.endpoint_url)
    told.setdefault("region", asked.region)
    if "token" not in told or asked.token_command:
        told["token"] = tokens_from(asked.token_command, told["parameters"])
    target = Target(**told)
    target.check()
    return target


def _told(asked: argparse.Namespace) -> dict[str, Any]:
    if asked.stack:
        return from_stack(*describe(asked.stack, asked.endpoint_url, asked.region, None))
    if asked.local:
        local = from_local(settings(os.environ))
        there = describe(STACK, local["endpoint_url"], local["region"], local["keys"])
        return {**from_stack(*there), **local}
    if not (asked.callback_url and asked.api_id):
        raise TargetError("--web-socket-url needs --callback-url and --api-id.")
    names = ("web_socket_url", "callback_url", "api_id")
    return {name: getattr(asked, name) for name in names}


def main() -> int:
    asked = arguments()
    try:
        target = target_of(asked)
        found = asyncio.run(
            run(target, QUICK if asked.quick else FULL, asked.only or [*EXPERIMENTS])
        )
    except (TargetError, ClientError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        return 1
    write(found)
    show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
