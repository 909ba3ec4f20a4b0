"""The README names what there is: actions, routes, parameters, error codes, targets, commands."""

import os
import re
import subprocess
from typing import Any

from presence.domain.errors import PresenceError
from presence.domain.requests import ACTIONS, ALIASES
from presence_client.cli import parser
from tests.docs.markdown import README, ROOT, blocks, code, pages, table
from tests.template.test_template import FUNCTIONS, TEMPLATE

TEXT = README.read_text("utf-8")
BASE = "/api/user-status"


def only_code(cell: str) -> str:
    (found,) = code(cell)
    return found


def subclasses(error: type[PresenceError]) -> set[type[PresenceError]]:
    return {error}.union(*(subclasses(each) for each in error.__subclasses__()))


def test_the_protocol_table_names_every_action() -> None:
    assert [only_code(row["Action"]) for row in table(TEXT, "Action", "Alias")] == list(ACTIONS)


def test_the_protocol_table_names_every_alias_with_its_action() -> None:
    rows = table(TEXT, "Action", "Alias")
    named = {alias: only_code(row["Action"]) for row in rows for alias in code(row["Alias"])}

    assert named == {alias: it.action for alias, it in ALIASES.items()}


def test_every_error_code_is_named() -> None:
    (paragraph,) = re.findall(r"^\*\*Errors\*\* .*$", TEXT, re.MULTILINE)
    named = set(code(paragraph.partition("Codes")[2]))

    assert named == {error.code for error in subclasses(PresenceError)}


def test_the_route_table_names_every_route() -> None:
    assert sorted(only_code(row["Route"]) for row in table(TEXT, "Route", "Try it")) == routes()


def routes() -> list[str]:
    """The routes of the template, in the order of their names."""
    events = FUNCTIONS["UserStatus"]["Events"].values()
    return sorted({f"{it['Properties']['Method']} {path_of(it['Properties'])}" for it in events})


def path_of(event: dict[str, Any]) -> str:
    """Below the base; the base itself is `/`, with and without the slash."""
    path: str = event["Path"]
    assert path.startswith(BASE)
    return path.removeprefix(BASE) or "/"


def test_the_parameter_table_names_every_parameter_and_its_default() -> None:
    rows = table(TEXT, "Parameter", "Default")
    named = {only_code(row["Parameter"]): row["Default"] for row in rows}

    assert named == {name: default_of(it) for name, it in TEMPLATE["Parameters"].items()}
    assert list(named) == list(TEMPLATE["Parameters"])


def default_of(parameter: dict[str, Any]) -> str:
    if "Default" not in parameter:
        return "required"
    default = str(parameter["Default"])
    return f"`{default}`" if default else "empty"


def targets() -> list[str]:
    return re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_the_target_table_names_every_target() -> None:
    rows = table(TEXT, "Target")

    assert sorted(only_code(row["Target"]) for row in rows) == sorted(
        f"make {it}" for it in targets()
    )


def test_make_help_lists_every_target() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    answer = subprocess.run(
        ["make", "--no-print-directory", "help"],  # noqa: S607 - whichever make there is
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert sorted(re.findall(r"^  make (\w+) +\S", answer, re.MULTILINE)) == sorted(targets())


def commands(program: str) -> set[str]:
    """The first word after *program*, wherever a page tells the reader to type it."""
    found = set()
    for page in pages():
        text = page.read_text("utf-8")
        for typed in [*code(text), *blocks(text, "console"), *blocks(text, "sh")]:
            found |= set(re.findall(rf"(?:^|[ $(/]){program} ([a-z][a-z-]*)", typed, re.MULTILINE))
    return found


def test_every_target_that_a_page_names_exists() -> None:
    assert commands("make") <= set(targets())


def test_every_command_that_a_page_names_exists() -> None:
    (choices,) = (action.choices for action in parser()._actions if action.choices)
    known = set(choices)

    assert commands("presence") <= known
    assert known <= commands("presence")
