"""The SAM CLI by hand beside a running local stack, as docs/sam.md says."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.aws import KEY
from local.stack import REGION, ROOT
from tests.docs.markdown import table
from tests.stack import RunningStack
from tests.template.test_template import FUNCTIONS

SAM = ROOT / ".venv-sam" / "bin"
PAGE = (ROOT / "docs" / "sam.md").read_text("utf-8")
#: How an answer begins: of what the caller is told, or of what comes back to its queue.
ANSWERS = {
    "WebSocketFunction": '{"statusCode": 200',
    "HttpFunction": '{"statusCode": 401',
    "AnnounceFunction": '{"batchItemFailures": []}',
    "DeliverFunction": '{"batchItemFailures": []}',
    "TimerFunction": '{"batchItemFailures": []}',
    "SweepFunction": "{}",
}
#: As `sam local invoke` does before it asks for Docker.
READ = """
import json, sys
from samcli.commands.local.lib.local_lambda import LocalLambdaRunner
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

values = json.load(open(sys.argv[1]))
stacks, _ = SamLocalStackProvider.get_stacks("template.yaml")
provider = SamFunctionProvider(stacks)
runner = LocalLambdaRunner(None, provider, ".", ".", env_vars_values=values)
print(json.dumps({it.name: runner._make_env_vars(it).resolve() for it in provider.get_all()}))
"""


def sam(stack: RunningStack, *arguments: str, program: str = "sam") -> str:
    """What the SAM CLI prints beside this stack."""
    environment = os.environ | {
        "AWS_ENDPOINT_URL": stack.told["endpointUrl"],
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "SAM_CLI_TELEMETRY": "0",
    }
    done = subprocess.run(
        [SAM / program, *arguments],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def calls() -> Sequence[tuple[str, str]]:
    """The events of the page, each with its function."""
    return [
        (event.strip(" `"), row["Function"].strip("`"))
        for row in table(PAGE, "Event", "Function")
        for event in row["Event"].split(",")
    ]


def test_the_page_has_every_event_and_every_function() -> None:
    events = {path.stem for path in (ROOT / "events").glob("*.json")} - {"frames"}
    assert {event for event, _ in calls()} == events
    assert {function for _, function in calls()} == FUNCTIONS.keys() == ANSWERS.keys()


@pytest.mark.slow
def test_each_event_is_answered_by_its_deployed_function(private: RunningStack) -> None:
    def answer(call: tuple[str, str]) -> bool:
        event, function = call
        file = f"events/{event}.json"
        said = sam(
            private, "remote", "invoke", function, "--stack-name", "presence", "--event-file", file
        )
        return ANSWERS[function] in said

    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(calls(), pool.map(answer, calls()), strict=True))
    assert answers == dict.fromkeys(calls(), True)


@pytest.mark.slow
def test_it_lists_what_is_deployed_and_shows_what_was_logged(private: RunningStack) -> None:
    stack = ("--stack-name", "presence")
    private.call("GET /blocked")  # without a token: a line in the log
    listed = json.loads(sam(private, "list", "stack-outputs", *stack, "--output", "json"))
    outputs = {it["OutputKey"]: it["OutputValue"] for it in listed}
    resources = json.loads(sam(private, "list", "resources", *stack, "--output", "json"))

    assert outputs["UsersTable"] == private.told["tables"]["Users"]
    assert {*FUNCTIONS} <= {it["LogicalResourceId"] for it in resources}
    assert "not-authenticated" in sam(private, "logs", *stack, "--name", "HttpFunction")


@pytest.mark.slow
def test_the_sam_cli_gives_functions_in_containers_the_variables_of_the_stack(
    private: RunningStack,
) -> None:
    file = private.home / "sam-local.json"
    wanted: Mapping[str, Mapping[str, str]] = json.loads(file.read_text())
    found: Mapping[str, Any] = json.loads(sam(private, "-c", READ, str(file), program="python"))

    assert wanted.keys() == FUNCTIONS.keys()
    for name, variables in wanted.items():
        assert variables.items() <= found[name].items()
        assert variables["AWS_ENDPOINT_URL"] == private.told["endpointUrl"]
