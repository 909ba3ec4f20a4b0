"""web/README.md names what the package exports: hooks, components, functions of the client."""

import re

from tests.docs.markdown import CLIENT, ROOT, code, table

TEXT = CLIENT.read_text("utf-8")
REACT = ROOT / "web" / "src" / "react"


def exported() -> set[str]:
    """The names of hooks and components that `./react` exports."""
    index = (REACT / "index.ts").read_text("utf-8")
    found: set[str] = set()
    for names, stars in re.findall(r"export (?:\{([^}]*)\}|(\*)) from", index):
        found |= {it.strip() for it in names.split(",") if it.strip() and "type " not in it}
        assert names or stars
    for file in re.findall(r'export \* from "\./([\w/-]+)\.js"', index):
        (path,) = REACT.glob(f"{file}.ts*")
        found |= set(
            re.findall(r"^export (?:function|const) (\w+)", path.read_text(), re.MULTILINE)
        )
    return found


def named(*columns: str) -> set[str]:
    rows = table(TEXT, *columns)
    return {it.partition("(")[0] for row in rows for it in code(row[columns[0]])}


def test_every_hook_and_component_is_named() -> None:
    described = named("Hook") | named("Component")

    assert described == {it for it in exported() if re.match(r"use[A-Z]|[A-Z]", it)}


def test_every_function_of_the_client_is_named() -> None:
    api = (ROOT / "web" / "src" / "api.ts").read_text("utf-8")
    (body,) = re.findall(
        r"^export interface PresenceClient \{\n(.*?)^\}", api, re.MULTILINE | re.DOTALL
    )
    members = set(re.findall(r"^  (?:readonly )?(\w+)[:(<]", body, re.MULTILINE)) - {"options"}
    rows = re.findall(r"^\| (`[^|]*) \|", TEXT.partition("## The core")[2], re.MULTILINE)
    shown = {re.split(r"\W", it)[0] for row in rows for it in code(row)}

    assert members <= shown
