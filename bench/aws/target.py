"""The stack that is measured: its URLs, its parameters, and tokens that it lets in."""

import os
import shlex
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from local.aws import KEY
from local.stack import Settings, running
from presence_client import tokens

#: Where the secret of HS256 tokens is looked for.
SECRET_VARIABLE = "PRESENCE_TOKEN_SECRET"  # noqa: S105  a name
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class TargetError(Exception):
    """What the command line says is no stack that can be measured; the message says why."""


class ForeignHost(TargetError):
    """Traffic would go to a host that was not given."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts that traffic may go to."""

    names: frozenset[str]

    @classmethod
    def of(cls, urls: Iterable[str]) -> "Hosts":
        return cls(frozenset(host for url in urls if (host := _host(url))))

    def require(self, url: str) -> None:
        """Refuse a URL of any other host.

        Raises:
            ForeignHost: it is another one.
        """
        if _host(url) not in self.names:
            raise ForeignHost(f"{_host(url)} is not among the hosts given: {', '.join(self)}")

    def __iter__(self) -> Any:  # noqa: ANN401  an iterator of names
        return iter(sorted(self.names))


@dataclass(frozen=True, slots=True)
class Target:
    """A deployed stack.

    Attributes:
        web_socket_url: what clients connect to.
        callback_url: of the management API (`…/@connections/…`).
        api_id: of the WebSocket API, as CloudWatch knows it.
        token: makes a token of a user.
        parameters: of the template, as far as they are known.
        log_group: of the function behind the WebSocket API; empty if not known.
        function: its name; empty if not known.
        endpoint_url: where CloudWatch, Logs and CloudFormation are; None for those of the region.
        region: None as boto3 finds it.
        keys: key id and secret; None as boto3 finds them.
    """

    web_socket_url: str
    callback_url: str
    api_id: str
    token: Callable[[str], str]
    parameters: Mapping[str, str] = field(default_factory=dict)
    log_group: str = ""
    function: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    keys: tuple[str, str] | None = None

    def check(self) -> None:
        """A local stack must not be looked up at AWS.

        Raises:
            TargetError: its URLs are of this machine, and no endpoint is given for the metrics.
        """
        mine = {_host(self.web_socket_url), _host(self.callback_url)}
        here = {it for it in mine if it in _LOOPBACK or it.endswith(".localhost")}
        if here and self.endpoint_url is None:
            raise TargetError("These URLs are of this machine: name its AWS with --endpoint-url.")

    @property
    def grace_seconds(self) -> float | None:
        """How long the stack waits before it says that a user has left; None if not known."""
        found = self.parameters.get("GraceSeconds")
        return None if found is None else float(found)

    def told(self) -> dict[str, Any]:
        """For the record: no token, no secret."""
        names = ("web_socket_url", "callback_url", "api_id", "endpoint_url", "region")
        return {name: getattr(self, name) for name in names} | {"parameters": dict(self.parameters)}


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


# ── where it comes from ────────────────────────────────────────────────────────────────────


def from_stack(stack: Mapping[str, Any], resources: Mapping[str, str]) -> dict[str, Any]:
    """Fields of a target.

    Args:
        stack: as CloudFormation describes it.
        resources: physical ids by logical id.
    """
    outputs = {it["OutputKey"]: it["OutputValue"] for it in stack.get("Outputs", ())}
    try:
        return {
            "web_socket_url": outputs["WebSocketUrl"],
            "callback_url": outputs["CallbackUrl"],
            "api_id": outputs["WebSocketApiId"],
            "parameters": parameters_of(stack),
            "log_group": resources.get("WebSocketLog", ""),
            "function": resources.get("WebSocketFunction", ""),
        }
    except KeyError as missing:
        raise TargetError(
            f"The stack has no output {missing}: is it one of this template?"
        ) from None


def parameters_of(stack: Mapping[str, Any]) -> dict[str, str]:
    return {it["ParameterKey"]: it["ParameterValue"] for it in stack.get("Parameters", ())}


def from_local(settings: Settings) -> dict[str, Any]:
    """Fields of a target: the local stack that runs in this home.

    Raises:
        TargetError: none runs.
    """
    told = running(settings)
    if told is None:
        raise TargetError("No local stack is running: `make up` starts one.")
    secret, rules = tokens.secret(settings.home), tokens.Rules.of(told["tokenParameters"])
    return {
        "web_socket_url": told["webSocketUrl"],
        "callback_url": told["callbackUrl"],
        "api_id": told["webSocketApiId"],
        "token": lambda user_id: tokens.mint(secret, user_id, rules=rules),
        "function": told["functions"]["WebSocketFunction"],
        "endpoint_url": told["endpointUrl"],
        "region": told["region"],
        "keys": (KEY, KEY),
    }


def tokens_from(command: str | None, parameters: Mapping[str, str]) -> Callable[[str], str]:
    """Tokens of a command, in which `{user}` stands for the user id, or of a secret.

    Raises:
        TargetError: neither is given.
    """
    if command:
        return lambda user_id: _run(command, user_id)
    secret = os.environ.get(SECRET_VARIABLE, "").strip()
    if not secret:
        raise TargetError(f"No tokens: set {SECRET_VARIABLE}, or give --token-command.")
    rules = tokens.Rules.of(parameters)
    return lambda user_id: tokens.mint(secret, user_id, rules=rules)


def _run(command: str, user_id: str) -> str:
    words = [it.replace("{user}", user_id) for it in shlex.split(command)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return done.stdout.strip()
