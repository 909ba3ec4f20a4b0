"""One build and one day in a process of its own, which turns the clock and imports the build.

    python -m bench.bill.run '{"build": FOLDER, "module": FILE, "day": FILE, "cut": 1}'

It prints one line of JSON: what the day used, and what a minute of a stack with no user uses.
"""

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.bill.counting import combined
from bench.bill.days import (
    MINUTE,
    Day,
    Device,
    Group,
    Stretch,
    clients,
    length,
    read_day,
    script,
)
from bench.bill.endpoints import Endpoints, management_api
from bench.bill.functions import Clock, Functions, Log
from bench.bill.stage import NoStage, Stage, stage
from bench.bill.template import Template
from bench.bill.world import AUDIENCE, ISSUER, World

SECRET = "of-the-bench-only-and-as-long-as-it-has-to-be"  # noqa: S105
SECRET_NAME = "/presence/bench/token-secret"  # noqa: S105
#: How long a stack with no user is played for what a minute of it uses.
IDLE_MINUTES = 20

_BIT_OF_ALL = Stretch(
    1, shows_list=True, acts=[{"at": 0.2, "status": "busy"}, {"at": 0.4, "say": "hello"}]
)
#: Imports and first clients are not part of a day: two users do a bit of everything before it.
WARM_UP = Day(
    "warm-up",
    "",
    [Group("warm", 2, [Device("laptop", [_BIT_OF_ALL])], watches=1, rooms=["warm"])],
)


@dataclass
class Build:
    """A build that is loaded into this process."""

    functions: Functions
    clock: Clock
    #: Holds the one world that the management API serves.
    worlds: list[World]

    def played(self, on: Stage, day: Day, cut: float) -> dict[str, float]:
        """What a day used that is so many times shorter."""
        world = self._new_world(day.token_hours)
        people = clients(day, cut)
        world.play(on, people, script(people, cut), length(day, cut))
        return self._taken()

    def idle(self) -> dict[str, float]:
        """What a minute of a stack with no user used."""
        world = self._new_world(1)
        world.play(NoStage(), [], [], IDLE_MINUTES * MINUTE)
        return combined([(1 / IDLE_MINUTES, self._taken())])

    def _new_world(self, token_hours: float) -> World:
        self.worlds[:] = [World(self.functions, self.clock, SECRET, token_hours)]
        return self.worlds[0]

    def _taken(self) -> dict[str, float]:
        amounts: dict[str, float] = {**self.functions.amounts}
        self.functions.amounts.clear()
        return amounts


def parameters(day: Day, callback_url: str) -> dict[str, Any]:
    chosen = {
        "TokenIssuer": ISSUER,
        "TokenAudience": AUDIENCE,
        "TokenSecretParameter": SECRET_NAME,
        "CallbackUrl": callback_url,
    }
    return {**chosen, **day.parameters}


def load(folder: Path, day: Day, stack: ExitStack) -> Build:
    """Import a build: the working directory of Lambda is its functions, the layer is beside."""
    for part in ("layers/presence", "functions"):
        sys.path.insert(0, str(folder / part))
    worlds: list[World] = []
    url = stack.enter_context(
        management_api(lambda *it: worlds[0].on_post(*it))  # noqa: PLW0108  there is no world yet
    )
    template = Template.read(folder / "template.yaml", parameters(day, url))
    for name in template.functions:
        os.environ |= template.environment(name)
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    os.environ |= {**keys, "AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1"}
    endpoints, log = Endpoints(SECRET), Log()
    stack.enter_context(endpoints.attached())
    sys.stdout = log  # what a function prints goes to CloudWatch
    functions = Functions(template, endpoints, log)
    functions.load()
    return Build(functions, Clock.started(), worlds)


def run(folder: Path, module: Path, day: Day, cut: float) -> dict[str, Any]:
    with ExitStack() as everything:
        build = load(folder, day, everything)
        build.played(everything.enter_context(stage(module)), WARM_UP, 1)
        build.functions.metrics.clear()
        idle = build.idle()
        idle_metrics = sorted(build.functions.metrics)
        used = build.played(everything.enter_context(stage(module)), day, cut)
        return {
            "used": used,
            "idle_minute": idle,
            "minutes": length(day, cut) / MINUTE,
            "metrics": sorted(build.functions.metrics),
            "idle_metrics": idle_metrics,
            "alarms": len(build.functions.template.of_type("AWS::CloudWatch::Alarm")),
            "dashboards": len(build.functions.template.of_type("AWS::CloudWatch::Dashboard")),
            "failures": build.functions.failures,
        }


def main() -> None:
    asked = json.loads(sys.argv[1])
    printed = sys.stdout
    folder, module = Path(asked["build"]), Path(asked["module"])
    day = read_day(Path(asked["day"]))
    day = replace(day, parameters={**day.parameters, **asked.get("parameters", {})})
    found = run(folder, module, day, asked["cut"])
    sys.stdout = printed
    print(json.dumps(found))


if __name__ == "__main__":
    main()
