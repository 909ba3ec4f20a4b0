"""What a local stack is: where it lives, which ports it takes, and how others find it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
_LARGEST_PORT = 65_535


class StackError(Exception):
    """An error that the user of the command can put right; the message says how."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where one local stack lives and what differs from the template's defaults.

    Several stacks run side by side when each has its own `home`, `port` and `aws_port`.
    """

    home: Path
    port: int = 4000
    aws_port: int = 4566
    overrides: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False

    @property
    def stack_file(self) -> Path:
        """What a running stack tells others about itself."""
        return self.home / "stack.json"

    @property
    def sam_file(self) -> Path:
        """The variables of the functions, for `sam local … --env-vars`."""
        return self.home / "sam-local.json"

    @property
    def lock_file(self) -> Path:
        """Held by the process of the stack, whose number is in it."""
        return self.home / "lock"

    @property
    def log_file(self) -> Path:
        """What a stack in the background prints."""
        return self.home / "run.log"

    @property
    def functions_log(self) -> Path:
        """What the functions print, one JSON object a line."""
        return self.home / "functions.log"

    @property
    def kept_file(self) -> Path:
        """The stored items that `--keep` carries from one run to the next."""
        return self.home / "kept.json"

    @property
    def endpoint_url(self) -> str:
        """The local AWS, as boto3 and the functions reach it."""
        return f"http://127.0.0.1:{self.aws_port}"

    @property
    def demo_url(self) -> str:
        """The demo page and the development server."""
        return f"http://localhost:{self.port}"


def settings(
    environment: Mapping[str, str] = os.environ,
    *,
    sets: Iterable[str] = (),
    keep: bool = False,
) -> Settings:
    """Read the settings of this stack.

    Args:
        environment: `PRESENCE_HOME`, `PRESENCE_PORT`, `PRESENCE_AWS_PORT`, and `PRESENCE_SET`
            (template parameters, separated by blanks, such as `GraceSeconds=2`).
        sets: more template parameters; they win over `PRESENCE_SET`.
        keep: carry the stored items over from the last run and to the next.

    Raises:
        StackError: a value cannot be read.
    """
    named = environment.get("PRESENCE_HOME") or ".presence"
    return Settings(
        home=(ROOT / named).resolve(),
        port=_port(environment, "PRESENCE_PORT", 4000),
        aws_port=_port(environment, "PRESENCE_AWS_PORT", 4566),
        overrides=overrides([*environment.get("PRESENCE_SET", "").split(), *sets]),
        keep=keep,
    )


def overrides(pairs: Iterable[str]) -> dict[str, str]:
    """Split `Name=value` pairs; a later one wins.

    Raises:
        StackError: a pair has no name or no equals sign.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            message = f"'{pair}' does not name a template parameter; write it as GraceSeconds=2."
            raise StackError(message)
        found[name] = value
    return found


def running(settings: Settings) -> dict[str, Any] | None:
    """Return what stack.json says, or None when no stack runs in this home."""
    try:
        told: dict[str, Any] = json.loads(settings.stack_file.read_text())
        os.kill(told["pid"], 0)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return told


def publish(settings: Settings, told: Mapping[str, Any]) -> None:
    """Write stack.json in one step, so that no reader sees half of it."""
    fresh = settings.stack_file.with_suffix(".new")
    fresh.write_text(json.dumps(told, indent=2) + "\n")
    fresh.replace(settings.stack_file)


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name) or str(default)
    if not (value.isascii() and value.isdecimal() and 0 < int(value) <= _LARGEST_PORT):
        message = f"{name} is '{value}'; set it to a port number such as {default}."
        raise StackError(message)
    return int(value)
