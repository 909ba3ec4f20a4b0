"""For `sam local`: the variables of the functions, as the local stack has them (docs/sam.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.aws import client

if TYPE_CHECKING:
    from local.deploy import Deployed
    from local.stack import Settings

#: What the copy of the template for the local AWS adds: paths of this machine.
_OF_THIS_MACHINE = frozenset({"PYTHONPATH"})


def variables(deployed: Deployed, settings: Settings) -> dict[str, dict[str, str]]:
    """Return what `--env-vars` takes: for each function of the template its variables."""
    functions = client("lambda", settings.endpoint_url)

    def of(name: str) -> dict[str, str]:
        told = functions.get_function_configuration(FunctionName=name)
        found: dict[str, str] = told["Environment"]["Variables"]
        return {name: it for name, it in found.items() if name not in _OF_THIS_MACHINE}

    return {logical: of(name) for logical, name in deployed.functions.items()}
