"""Properties of template.yaml that a deployment would not complain about, but its users would."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from presence.entrypoints.websocket import ONE_WAY
from presence.limits import MAX_HEARTBEAT_SECONDS
from presence.metrics import METRICS
from presence.protocol.requests import ACTIONS
from tests.domain.test_messages import BATCH
from tests.tables import SCHEMAS

ROOT = Path(__file__).resolve().parents[2]
SILENT = {"$connect", "$disconnect", *ONE_WAY}


class _CloudFormation(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, read as the long ones."""


def _function(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {tag if tag == "Ref" else f"Fn::{tag}": value}


_CloudFormation.add_multi_constructor("!", _function)


def _load() -> dict[str, Any]:
    text = (ROOT / "template.yaml").read_text()
    template: dict[str, Any] = yaml.load(text, Loader=_CloudFormation)  # noqa: S506 - a SafeLoader
    return template


TEMPLATE = _load()
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: r["Properties"] for name, r in RESOURCES.items() if r["Type"] == kind}


FUNCTIONS = of_type("AWS::Serverless::Function")
ROUTES = RESOURCES["WebSocketApi"]["Properties"]["Routes"]


def statements(function: str) -> Iterator[dict[str, Any]]:
    for policy in FUNCTIONS[function]["Policies"]:
        for statement in policy["Statement"]:
            yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def actions(function: str) -> set[str]:
    return {it for statement in statements(function) for it in as_list(statement["Action"])}


def seconds(function: str) -> int:
    default: int = TEMPLATE["Globals"]["Function"]["Timeout"]
    return int(FUNCTIONS[function].get("Timeout", default))


def test_every_function_has_its_file_and_every_file_its_function() -> None:
    handlers = {properties["Handler"] for properties in FUNCTIONS.values()}
    files = {path.stem for path in (ROOT / "functions").glob("*.py")} - {"__init__"}
    assert handlers == {f"{name}.handler" for name in files}


def test_no_function_hides_a_module_of_python() -> None:
    """Lambda puts the folder of the functions before Python's own: `http.py` breaks botocore."""
    files = {path.stem for path in (ROOT / "functions").glob("*.py")}
    assert files & sys.stdlib_module_names == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_has_a_log_group_that_forgets(function: str) -> None:
    group = FUNCTIONS[function]["LoggingConfig"]["LogGroup"]["Ref"]
    assert RESOURCES[group]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert group == f"{function.removesuffix('Function')}Log"


def test_lambda_itself_logs_no_invocation_that_went_well() -> None:
    shared = TEMPLATE["Globals"]["Function"]["LoggingConfig"]
    assert (shared["LogFormat"], shared["SystemLogLevel"]) == ("JSON", "WARN")


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARN", "ERROR"])
def test_lambda_lets_the_lines_of_metrics_through(level: str) -> None:
    """It takes them for INFO, because they have no level ("Log-level filtering")."""
    shared = TEMPLATE["Globals"]["Function"]
    condition, debug, other = shared["LoggingConfig"]["ApplicationLogLevel"]["Fn::If"]
    assert TEMPLATE["Conditions"][condition] == {"Fn::Equals": [{"Ref": "LogLevel"}, "DEBUG"]}
    chosen = debug if level == "DEBUG" else other
    assert chosen in ("DEBUG", "INFO")
    # The functions have the level that was chosen, and drop what is below.
    assert shared["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == {"Ref": "LogLevel"}


def test_the_levels_are_those_that_lambda_and_the_logger_know() -> None:
    levels = set(TEMPLATE["Parameters"]["LogLevel"]["AllowedValues"])
    # "Log and monitor Lambda functions": TRACE, DEBUG, INFO, WARN, ERROR, FATAL
    assert levels == {"DEBUG", "INFO", "WARN", "ERROR"}
    assert levels <= logging.getLevelNamesMapping().keys()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_may_do_more_than_it_names(function: str) -> None:
    assert not {action for action in actions(function) if "*" in action}
    # An operator restores blocks with it.
    assert "dynamodb:Scan" not in actions(function) or function == "SweepFunction"
    assert not [s for s in statements(function) if s["Resource"] == "*"]


@pytest.mark.fault("Lambda takes a job that puts the next one for an endless loop.")
def test_a_function_that_puts_messages_on_its_own_queue_may_go_on_doing_so() -> None:
    """Else Lambda ends it after some 16 times: a large audience is told in part."""
    own_queue = {
        (function, source["Properties"]["Queue"]["Fn::GetAtt"])
        for function, properties in FUNCTIONS.items()
        for source in properties.get("Events", {}).values()
        if source["Type"] == "SQS"
    }
    putting = {
        (function, resource["Fn::GetAtt"])
        for function in FUNCTIONS
        for statement in statements(function)
        if "sqs:SendMessage" in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }
    allowed = {name for name, it in FUNCTIONS.items() if it.get("RecursiveLoop") == "Allow"}

    assert allowed == {function for function, _ in own_queue & putting}
    assert allowed == {"DeliverFunction", "TimerFunction"}
    made = translated(ROOT / "template.yaml")["Resources"]
    assert {made[it]["Properties"]["RecursiveLoop"] for it in allowed} == {"Allow"}


def test_only_those_that_verify_tokens_read_the_secret() -> None:
    readers = {function for function in FUNCTIONS if "ssm:GetParameter" in actions(function)}
    assert readers == {"WebSocketFunction", "HttpFunction"}


def test_functions_reach_connections_of_their_own_stage_only() -> None:
    reaching = [
        (function, resource["Fn::Sub"])
        for function in FUNCTIONS
        for statement in statements(function)
        if "execute-api:ManageConnections" in statement["Action"]
        for resource in as_list(statement["Resource"])
    ]
    assert {function for function, _ in reaching} == FUNCTIONS.keys() - {"SweepFunction"}
    assert not [arn for _, arn in reaching if "${WebSocketApi}/${StageName}/" not in arn]


def test_both_apis_are_named_after_the_stack() -> None:
    names = [RESOURCES[api]["Properties"]["Name"]["Fn::Sub"] for api in ("WebSocketApi", "HttpApi")]
    assert names == ["${AWS::StackName}-websocket", "${AWS::StackName}-http"]


def test_one_function_serves_all_routes_of_the_socket() -> None:
    functions = {route["FunctionArn"]["Fn::GetAtt"] for route in ROUTES.values()}
    assert functions == {"WebSocketFunction.Arn"}
    assert ROUTES.keys() == SILENT | ACTIONS.keys() | {"$default"}


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_that_answers_has_its_route_response(route: str) -> None:
    generated = f"WebSocketApi{route.removeprefix('$').capitalize()}Route"
    responses = of_type("AWS::ApiGatewayV2::RouteResponse").values()
    answered = {response["RouteId"]["Ref"] for response in responses}
    expression = ROUTES[route].get("RouteResponseSelectionExpression")
    assert (generated in answered) == (route not in SILENT)
    assert expression == (None if route in SILENT else "$default")
    assert all(response["RouteResponseKey"] == "$default" for response in responses)


@pytest.mark.fault("A function starts slowly, or not at all.")
@pytest.mark.parametrize("route", ROUTES)
def test_functions_of_routes_end_before_api_gateway_gives_up(route: str) -> None:
    function, _ = ROUTES[route]["FunctionArn"]["Fn::GetAtt"].split(".")
    assert seconds(function) <= 29


def test_the_sweep_runs_once_a_minute() -> None:
    (schedule,) = FUNCTIONS["SweepFunction"]["Events"].values()

    assert schedule["Properties"]["Schedule"] == "rate(1 minute)"


@pytest.mark.fault("What TTL removes is taken for a departure.")
def test_the_stream_tells_only_changes_and_gives_up_on_poison() -> None:
    mapping = FUNCTIONS["AnnounceFunction"]["Events"]["Changes"]["Properties"]
    (wanted,) = mapping["FilterCriteria"]["Filters"]
    assert wanted == {"Pattern": '{"dynamodb":{"NewImage":{"changed":{"BOOL":[true]}}}}'}
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert 0 < mapping["MaximumRetryAttempts"] < 100
    assert 60 <= mapping["MaximumRecordAgeInSeconds"] <= 86_400
    assert mapping["DestinationConfig"]["OnFailure"]["Type"] == "SQS"
    users = RESOURCES["Users"]["Properties"]
    assert users["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_a_batch_of_changes_fits_the_frames_that_tell_it() -> None:
    """The tests of the frames let so many come and go at once."""
    assert FUNCTIONS["AnnounceFunction"]["Events"]["Changes"]["Properties"]["BatchSize"] == BATCH


@pytest.mark.fault("SQS hands a message out twice.")
@pytest.mark.parametrize(
    ("name", "function"), [("Timers", "TimerFunction"), ("Deliveries", "DeliverFunction")]
)
def test_a_message_is_not_handed_out_twice_while_it_is_worked_on(name: str, function: str) -> None:
    queue = RESOURCES[name]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * seconds(function)
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": f"{name}DeadLetter.Arn"}
    mapping = FUNCTIONS[function]["Events"]["Due"]["Properties"]
    assert mapping["Queue"] == {"Fn::GetAtt": f"{name}.Arn"}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


@pytest.mark.fault("No more functions may run at once.")
def test_so_many_work_at_once_and_what_is_beyond_waits_in_the_queue() -> None:
    """A reserved concurrency would refuse it instead, five times until it is given up."""
    limits = {
        name: event["Properties"].get("ScalingConfig", {}).get("MaximumConcurrency")
        for name, function in FUNCTIONS.items()
        for event in function.get("Events", {}).values()
        if event["Type"] == "SQS"
    }
    assert limits == {
        "DeliverFunction": {"Ref": "DeliveryConcurrency"},
        "TimerFunction": {"Ref": "TimerConcurrency"},
    }
    for limit in limits.values():
        parameter = TEMPLATE["Parameters"][limit["Ref"]]
        assert (parameter["MinValue"], parameter["MaxValue"]) == (2, 1000)
    assert not any("ReservedConcurrentExecutions" in it for it in FUNCTIONS.values())


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_what_waits_is_encrypted(queue: str) -> None:
    assert RESOURCES[queue]["Properties"]["SqsManagedSseEnabled"] is True


@pytest.mark.fault("A message lies in a dead-letter queue for days.")
@pytest.mark.parametrize("queue", [it for it in of_type("AWS::SQS::Queue") if "Dead" in it])
def test_each_dead_letter_queue_has_an_alarm(queue: str) -> None:
    watched = [
        dimension["Value"]
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        for dimension in alarm.get("Dimensions", ())
    ]
    assert {"Fn::GetAtt": f"{queue}.QueueName"} in watched


@pytest.mark.parametrize(
    ("metric", "function"), [("IteratorAge", "AnnounceFunction"), ("Errors", "SweepFunction")]
)
def test_an_alarm_tells_of_failures_without_a_dead_letter_queue(metric: str, function: str) -> None:
    watched = [
        (alarm["MetricName"], dimension["Value"])
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        for dimension in alarm.get("Dimensions", ())
    ]
    assert (metric, {"Ref": function}) in watched


# ── what is watched ──────────────────────────────────────────────────────────────────────────────

ALARMS = of_type("AWS::CloudWatch::Alarm")
OWN = {"Ref": "AWS::StackName"}
#: What a metric filter makes, beside the metrics that functions write.
FILTERED = {
    made["MetricName"]
    for it in of_type("AWS::Logs::MetricFilter").values()
    for made in it["MetricTransformations"]
}


def dashboard() -> dict[str, Any]:
    text = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    body: dict[str, Any] = json.loads(text)
    return body


def shown() -> Iterator[tuple[str, ...]]:
    """Namespace, name and dimensions of each metric that the dashboard shows."""
    for widget in dashboard()["widgets"]:
        for metric in widget["properties"].get("metrics", ()):
            words = tuple(it for it in metric if isinstance(it, str))
            if words:  # else it is an expression
                yield words


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_notifies_the_topic_and_says_what_it_means(name: str) -> None:
    alarm = ALARMS[name]
    topic = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    assert alarm["AlarmActions"] == topic
    assert alarm["AlarmDescription"].endswith(".")
    assert alarm["TreatMissingData"] == ("breaching" if name == "SweepMissing" else "notBreaching")
    # Metric math would be billed for each metric in it, and the local AWS knows none.
    assert "Metrics" not in alarm


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_watches_a_metric_that_is_written(name: str) -> None:
    alarm = ALARMS[name]
    dimensions = {it["Name"]: it["Value"] for it in alarm.get("Dimensions", ())}
    if alarm["Namespace"] != OWN:
        assert alarm["Namespace"].startswith("AWS/")
        assert dimensions
    elif alarm["MetricName"] in FILTERED:
        assert dimensions == {}
    else:
        assert alarm["MetricName"] in {it.name for it in METRICS}
        assert dimensions == {"service": "presence"}


@pytest.mark.fault("The schedule of the sweep is disabled, or the function may not run.")
def test_a_sweep_that_does_not_run_is_an_alarm() -> None:
    alarm = ALARMS["SweepMissing"]
    (schedule,) = FUNCTIONS["SweepFunction"]["Events"].values()
    assert schedule["Properties"]["Schedule"] == "rate(1 minute)"
    assert (alarm["MetricName"], alarm["Statistic"]) == ("SweepCoverage", "SampleCount")
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    # A sweep at the end of one minute and one at the beginning of the next but one are no gap.
    assert (alarm["Period"], alarm["EvaluationPeriods"]) == (60, 3)


def test_each_alarm_has_its_line_in_the_runbook() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    section = page[page.index("\n## Alarms\n") : page.index("\n### When the sweep has too")]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", section, re.MULTILINE)
    assert [name for name, *_ in rows] == [*ALARMS]
    for name, *cells in rows:
        assert all(len(cell) > len("the same") - 1 for cell in cells), name
    queries = {
        it["Name"]["Fn::Sub"].rpartition("/")[2]
        for it in of_type("AWS::Logs::QueryDefinition").values()
    }
    assert set(re.findall(r"saved query \*([^*]+)\*", section)) <= queries


def test_functions_write_their_metrics_where_alarms_look() -> None:
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["POWERTOOLS_METRICS_NAMESPACE"] == OWN
    assert variables["POWERTOOLS_SERVICE_NAME"] == "presence"


def test_the_dashboard_shows_every_metric_of_ours_and_every_alarm() -> None:
    own = {it[1] for it in shown() if it[0] == "${AWS::StackName}"}
    assert own == {it.name for it in METRICS} | FILTERED
    (alarms,) = [it for it in dashboard()["widgets"] if it["type"] == "alarm"]
    assert {*alarms["properties"]["alarms"]} == {f"${{{name}.Arn}}" for name in ALARMS}


def test_the_dashboard_shows_metrics_as_they_are_written_and_read() -> None:
    for namespace, name, *dimensions in shown():
        if namespace == "${AWS::StackName}":
            assert dimensions == ([] if name in FILTERED else ["service", "presence"])
        else:
            assert namespace.startswith("AWS/")
            assert len(dimensions) % 2 == 0
    ids = [
        options["id"]
        for widget in dashboard()["widgets"]
        for metric in widget["properties"].get("metrics", ())
        for options in metric[-1:]
        if "id" in options
    ]
    assert len({*ids}) == len(ids)


def test_saved_queries_read_groups_of_functions_and_their_names_begin_with_the_stack() -> None:
    groups = {f"{name.removesuffix('Function')}Log" for name in FUNCTIONS}
    queries = of_type("AWS::Logs::QueryDefinition").values()
    assert len(queries) >= 4
    for query in queries:
        assert {it["Ref"] for it in query["LogGroupNames"]} <= groups
        assert query["Name"]["Fn::Sub"].startswith("${AWS::StackName}/")


def test_a_budget_is_told_where_alarms_are() -> None:
    budget = RESOURCES["Budget"]
    assert budget["Condition"] == "HasBudget"
    assert TEMPLATE["Parameters"]["MonthlyBudget"]["Default"] == 0
    told = budget["Properties"]["NotificationsWithSubscribers"]
    for it in told:
        assert it["Subscribers"] == [
            {"SubscriptionType": "SNS", "Address": {"Ref": "AlarmTopicArn"}}
        ]
    assert {it["Notification"]["NotificationType"] for it in told} == {"ACTUAL", "FORECASTED"}
    (assertion,) = TEMPLATE["Rules"]["BudgetIsTold"]["Assertions"]
    assert "AlarmTopicArn" in str(assertion["Assert"])


def test_functions_are_traced_only_if_that_is_chosen() -> None:
    assert TEMPLATE["Globals"]["Function"]["Tracing"] == {"Ref": "Tracing"}
    assert TEMPLATE["Parameters"]["Tracing"]["Default"] == "PassThrough"


def test_the_template_can_be_read() -> None:
    """A thousand lines at most."""
    assert len((ROOT / "template.yaml").read_text().splitlines()) <= 1_000


@pytest.mark.parametrize("table", ["Users", "Subscriptions"])
def test_a_table_that_hides_users_is_protected_and_outlives_its_stack(table: str) -> None:
    properties = RESOURCES[table]["Properties"]
    backups = properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
    assert RESOURCES[table]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert RESOURCES[table]["UpdateReplacePolicy"] == "Retain"
    assert properties["DeletionProtectionEnabled"] == {"Fn::If": ["ProtectsTables", True, False]}
    assert backups == {"Fn::If": ["KeepsBackups", True, False]}
    for parameter in ("ProtectTables", "PointInTimeRecovery"):
        assert TEMPLATE["Parameters"][parameter]["Default"] == "true"


@pytest.mark.parametrize("table", of_type("AWS::DynamoDB::Table"))
def test_tables_are_on_demand_encrypted_and_forget(table: str) -> None:
    properties = RESOURCES[table]["Properties"]
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["SSESpecification"] == {"SSEEnabled": True}
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema["TableName"])
def test_tests_have_the_tables_of_the_template(schema: dict[str, Any]) -> None:
    properties = RESOURCES[schema["TableName"]]["Properties"]
    indexes = schema.get("GlobalSecondaryIndexes")
    stream = schema.get("StreamSpecification", {}).get("StreamViewType")
    assert properties["KeySchema"] == schema["KeySchema"]
    assert properties["AttributeDefinitions"] == schema["AttributeDefinitions"]
    assert properties.get("GlobalSecondaryIndexes") == indexes
    assert properties.get("StreamSpecification", {}).get("StreamViewType") == stream


def test_the_index_of_who_is_online_holds_keys_only() -> None:
    (index,) = RESOURCES["Users"]["Properties"]["GlobalSecondaryIndexes"]
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}


def test_access_logs_hold_no_query_string_and_no_path() -> None:
    text = (ROOT / "template.yaml").read_text()
    logged = set(re.findall(r"\$context\.[A-Za-z.]+", text))
    assert logged
    assert not [name for name in logged if "query" in name.lower() or name.endswith(".path")]


def test_nothing_local_is_deployed() -> None:
    code = {TEMPLATE["Globals"]["Function"]["CodeUri"]}
    code |= {layer["ContentUri"] for layer in of_type("AWS::Serverless::LayerVersion").values()}
    assert code == {"functions/", "layers/presence"}
    uses_local = re.compile(r"^(from|import) local\b", re.MULTILINE)
    deployed = [path for folder in code for path in (ROOT / folder).rglob("*.py")]
    assert not [path for path in deployed if uses_local.search(path.read_text())]


@pytest.mark.fault("Work goes on when a function has returned, and is frozen.")
def test_nothing_goes_on_when_a_function_has_returned() -> None:
    """Lambda freezes what still runs then, and may never thaw it.

    A pool of threads in a `with` has ended when its block has.
    """
    modules = "threading|concurrent|multiprocessing|asyncio"
    goes_on = re.compile(rf"^\s*(from|import) ({modules})\b", re.MULTILINE)
    pool = re.compile(r"^from concurrent.futures import ThreadPoolExecutor$", re.MULTILINE)
    folders = ROOT / "functions", ROOT / "layers" / "presence" / "presence"
    codes = [path.read_text() for folder in folders for path in folder.rglob("*.py")]
    bounded = [
        code
        for code in codes
        if code.count("ThreadPoolExecutor(") == code.count("with ThreadPoolExecutor(") > 0
    ]
    assert codes
    assert not [it for it in codes if goes_on.search(pool.sub("", it) if it in bounded else it)]


def test_every_parameter_says_what_it_is_for() -> None:
    for name, parameter in TEMPLATE["Parameters"].items():
        assert parameter.get("Description"), name
    grouped = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in grouped for name in group["Parameters"]]
    assert sorted(shown) == sorted(TEMPLATE["Parameters"])


def test_the_layer_is_compiled_by_the_interpreter_that_runs_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert f"\nRUNTIME ?= {TEMPLATE['Parameters']['PythonRuntime']['Default']}\n" in makefile


def test_exactly_one_kind_of_token_is_asked_for() -> None:
    (assertion,) = TEMPLATE["Rules"]["OneKindOfToken"]["Assertions"]
    asked = re.findall(r"'Ref': '(\w+)'", str(assertion["Assert"]))
    assert sorted(asked) == sorted(["TokenJwksUrl", "TokenSecretParameter"] * 2)


@pytest.mark.fault("API Gateway cuts a connection that was silent for ten minutes.")
def test_no_heartbeat_is_slower_than_the_gateway_waits() -> None:
    parameters = TEMPLATE["Parameters"]
    slowest = [parameters[name] for name in ("HeartbeatSeconds", "BackgroundHeartbeatSeconds")]
    assert [it["MaxValue"] for it in slowest] == [MAX_HEARTBEAT_SECONDS] * 2
    assert slowest[0]["Default"] <= slowest[1]["Default"]


# ── every reference of the translated template leads somewhere ───────────────────────────────────
#
# `sam validate --lint` passes a reference to a resource that the SAM translator does not make, such
# as the route of an action that the WebSocket API lacks; a deployment fails on it.


TRANSLATE = Path(__file__).with_name("translate.py")
#: `${Users.Arn}`, but not `${!Literal}`.
VARIABLE = re.compile(r"\$\{([^!}]+)\}")


def translated(path: Path) -> dict[str, Any]:
    """The template as CloudFormation gets it."""
    done = subprocess.run(
        [ROOT / ".venv-sam" / "bin" / "python", "-P", TRANSLATE, path],
        env=os.environ | {"AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    template: dict[str, Any] = json.loads(done.stdout)
    return template


def dangling(template: dict[str, Any]) -> set[str]:
    """The names that the template refers to and does not have."""
    resources, conditions = set(template["Resources"]), set(template.get("Conditions", ()))
    values = resources | set(template.get("Parameters", ()))
    known = {"value": values, "resource": resources, "condition": conditions}
    return {
        name
        for kind, name in references(template)
        if name not in known[kind] and not name.startswith("AWS::")
    }


def references(node: Any) -> Iterator[tuple[str, str]]:
    """The kind and the name of each reference."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from named(key, value)
            yield from references(value)


def named(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """The references of one key, without those inside of its value."""
    match key, value:
        case "Ref", str(name):
            yield "value", name
        case ("Condition", str(name)) | ("Fn::If", [str(name), *_]):
            yield "condition", name
        case "DependsOn", names:
            yield from (("resource", name) for name in as_list(names))
        case "Fn::GetAtt", attribute:
            yield "resource", as_list(attribute)[0].partition(".")[0]
        case "Fn::Sub", text:
            yield from variables(*as_list(text))


def variables(
    text: str, own: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[tuple[str, str]]:
    """The references of `Fn::Sub`, without the variables that it brings itself."""
    for name in set(VARIABLE.findall(text)) - own.keys():
        yield ("resource" if "." in name else "value"), name.partition(".")[0]


def test_every_reference_of_the_template_leads_somewhere() -> None:
    assert dangling(translated(ROOT / "template.yaml")) == set()


def test_a_reference_to_a_route_that_sam_does_not_make_is_found(tmp_path: Path) -> None:
    text = (ROOT / "template.yaml").read_text()
    wrong = tmp_path / "template.yaml"
    wrong.write_text(text.replace("!Ref WebSocketApiCheckRoute", "!Ref CheckRoute"))

    assert dangling(translated(wrong)) == {"CheckRoute"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"Ref": "Gone"},
        {"Fn::GetAtt": ["Gone", "Arn"]},
        {"Fn::GetAtt": "Gone.Arn"},
        {"Fn::GetAtt": ["Known", "Arn"], "DependsOn": "Gone"},
        {"DependsOn": ["Known", "Gone"]},
        {"Fn::Sub": "${AWS::StackName}-${Known}-${Gone}"},
        {"Fn::Sub": ["${own}-${Gone.Arn}", {"own": {"Ref": "Known"}}]},
        {"Fn::Sub": ["${own}", {"own": {"Ref": "Gone"}}]},
        {"Fn::If": ["Gone", {"Ref": "Known"}, {"Ref": "AWS::NoValue"}]},
        {"Condition": "Gone"},
    ],
    ids=str,
)
def test_each_kind_of_reference_is_resolved(wrong: Any) -> None:
    template = {
        "Conditions": {"HasKnown": {}},
        "Resources": {"Known": {"Condition": "HasKnown", "Properties": [wrong, "${!Literal}"]}},
    }

    assert dangling(template) == {"Gone"}


# ── the recipe for limits per address: valid, and in front of both APIs ──────────────────────────

RECIPE = ROOT / "deploy" / "waf.yaml"


def test_the_recipe_is_valid() -> None:
    lint = ROOT / ".venv-sam" / "bin" / "cfn-lint"
    command = [str(lint), str(RECIPE), "--regions", "us-east-1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_each_way_in_counts_by_address_and_nothing_is_cached() -> None:
    recipe: dict[str, Any] = yaml.load(RECIPE.read_text(), Loader=_CloudFormation)  # noqa: S506
    resources = recipe["Resources"]
    rules = [
        it["Statement"]["RateBasedStatement"]
        for it in resources["AccessList"]["Properties"]["Rules"]
    ]
    ways = resources["Distribution"]["Properties"]["DistributionConfig"]
    behaviors = [ways["DefaultCacheBehavior"], *ways["CacheBehaviors"]]

    assert {it["AggregateKeyType"] for it in rules} == {"IP"}
    assert any("ScopeDownStatement" not in it for it in rules)
    assert {it["TargetOriginId"] for it in behaviors} == {it["Id"] for it in ways["Origins"]}
    assert {it["CachePolicyId"] for it in behaviors} == {"4135ea2d-6df8-44a3-9df3-4be5a84d39ad"}
