"""The recipe for limits per address: valid, and in front of both APIs."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.template.test_template import _CloudFormation

ROOT = Path(__file__).resolve().parents[2]
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
