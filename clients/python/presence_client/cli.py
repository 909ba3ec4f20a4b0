"""The command `presence`: be a user, watch the others, ask who is there; no browser needed."""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from presence_client import tokens
from presence_client.errors import ClientError, ConnectionOver, Refused
from presence_client.models import Connected, Disconnected, Presence, Problem

if TYPE_CHECKING:
    from presence_client.api import Api
    from presence_client.client import Client

Greet: TypeAlias = Callable[[Connected], Awaitable[None]]

STATUSES = ("online", "away", "busy", "dnd", "invisible")
#: Sees all users, and is seen by none.
_WATCHER = "presence.watch"
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_SHAPES = {"online": "●", "offline": "○"}
_COLOURS = {"online": 32, "away": 33, "busy": 31, "dnd": 31, "offline": 90}
_NO_STACK = "No stack is running here: run `make up` first, or name one with --api-url."


class Failure(Exception):
    """A sentence for the person at the keyboard, and the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code.

    0 done, 1 refused or failed, 2 not a command or no stack, 130 ended with Ctrl-C.
    """
    _prepare(sys.stdout)
    options = parser().parse_args(arguments)
    try:
        code: int = options.do(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `presence watch | head -1`: what is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Failure, ClientError) as error:
        print(_sentence(error), file=sys.stderr)
        return error.code if isinstance(error, Failure) else 1
    return code


def _run(command: Callable[[argparse.Namespace], Coroutine[Any, Any, int]]) -> Callable[..., int]:
    def run(options: argparse.Namespace) -> int:
        import asyncio

        return asyncio.run(command(options))

    return run


def _sentence(error: Exception) -> str:
    if isinstance(error, Refused):
        hint = " Give one with --token." if error.status == 401 else ""  # noqa: PLR2004
        return f"{error.code}: {error}{hint}"
    if isinstance(error, ConnectionOver):
        return f"The server closed the connection: {error.reason}."
    return str(error)


# ── which stack ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Target:
    """A stack, and the one token there is; None on the local stack, which gets any user's."""

    api_url: str
    given: str | None = None
    home: Path | None = None

    def token(self, user_id: str) -> str | Callable[[], str] | None:
        if self.given or self.home is None:
            return self.given
        return partial(tokens.mint, tokens.secret(self.home), user_id)

    def api(self) -> "Api":
        from presence_client.api import Api

        return Api(self.api_url, self.token(_WATCHER))

    def client(self, user_id: str, device: str | None = None) -> "Client":
        from presence_client.client import Client

        token = self.token(user_id)
        if token is None:
            raise Failure("not-authenticated: There is no token. Give one with --token.")
        expected = None if user_id == _WATCHER else user_id
        return Client(self.api_url, token, user_id=expected, device=device)


def _home() -> Path:
    """The folder of the local stack: of this folder, one above it, or the command's checkout."""
    if named := os.environ.get("PRESENCE_HOME"):
        return Path(named).resolve()
    here = Path.cwd()
    found = [it / ".presence" for it in (here, *here.parents, Path(sys.prefix).parent)]
    return next((it for it in found if it.is_dir()), found[0])


def _target(options: argparse.Namespace) -> Target:
    if options.api_url:
        return Target(options.api_url, options.token)
    home = _home()
    try:
        told = json.loads((home / "stack.json").read_text())
        os.kill(told["pid"], 0)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise Failure(_NO_STACK, code=2) from error
    return Target(told["httpUrl"], options.token, home)


# ── commands that answer and end ───────────────────────────────────────────────────────────


def _token(options: argparse.Namespace) -> int:
    names = (options.user, options.scope, options.ttl, options.chat_session)
    try:
        print(tokens.mint(tokens.secret(_home()), *names))
    except ValueError as error:
        raise Failure(str(error), code=2) from error
    return 0


def _check_token(options: argparse.Namespace) -> int:
    text = sys.stdin.read().strip() if options.jwt == "-" else options.jwt
    verdict = tokens.check(text, tokens.secret(_home()), int(time.time() * 1000))
    print(f"refused: {verdict.code}" if verdict.code else "accepted")
    for reason in verdict.reasons:
        print(f"  {reason}")
    for name, value in {**verdict.header, **verdict.claims}.items():
        print(f"  {name:<14}{_claim(name, value)}")
    return 1 if verdict.code else 0


def _claim(name: str, value: object) -> str:
    text = _plain(value if isinstance(value, str) else json.dumps(value))
    if name in {"exp", "iat", "nbf"} and type(value) is int:
        with suppress(ValueError, OverflowError, OSError):
            at = datetime.fromtimestamp(value, UTC).astimezone()
            return f"{text}  {at:%Y-%m-%d %H:%M:%S}, {_relative(value * 1000)}"
    return text


async def _status(options: argparse.Namespace) -> int:
    async with _target(options).api() as api:
        _print_all(await api.statuses(options.user), as_json=options.json)
    return 0


async def _online(options: argparse.Namespace) -> int:
    async with _target(options).api() as api:
        found = [presence async for presence in api.all_online()]
    _print_all(found, as_json=options.json)
    if not (found or options.json):
        print("Nobody is online. `presence join ada` changes that.", file=sys.stderr)
    return 0


# ── commands that stay ─────────────────────────────────────────────────────────────────────


async def _join(options: argparse.Namespace) -> int:
    async with _target(options).client(options.user, options.device) as client:

        async def greet(connected: Connected) -> None:
            print(f"{_clock()} connected as {options.user}, {connected.online_count} online")
            if options.status or options.text:
                await client.status(options.status or "online", options.text)

        return await _stay(client, greet, _print_change)


async def _watch(options: argparse.Namespace) -> int:
    target, user = _target(options), options.user or _WATCHER

    def show(presence: Presence) -> None:
        if presence.user_id != _WATCHER:
            print(json.dumps(presence.to_json())) if options.json else _print_change(presence)

    if user == _WATCHER and not target.given:
        async with target.api() as api:
            await api.set_status("invisible")
    async with target.client(user) as client:
        return await _stay(client, None, show, notes=sys.stderr)


async def _stay(
    client: "Client",
    greet: Greet | None,
    show: Callable[[Presence], None],
    notes: TextIO | None = None,
) -> int:
    await client.api.config()  # fails at once where there is no stack
    async for event in client:
        match event:
            case Connected():
                await _begin(client, greet, event)
            case Disconnected():
                wait = f"Trying again in {event.retry_in_seconds:.1f} s"
                print(f"{_clock()} {event.reason} {wait}", file=notes)
            case Presence():
                show(event)
            case Problem():
                print(f"{_clock()} {event.code}: {event.message}", file=notes)
    return 0


async def _begin(client: "Client", greet: Greet | None, connected: Connected) -> None:
    try:
        if greet:
            await greet(connected)
        await client.online()
    except Refused as refused:
        if not refused.is_retryable:
            raise
    except ClientError:
        return  # the next connection begins again


# ── what a person reads ────────────────────────────────────────────────────────────────────


def _prepare(stream: TextIO) -> None:
    """A line is seen when it is printed, also by the next program in a pipe."""
    with suppress(AttributeError, ValueError):
        stream.reconfigure(line_buffering=True, errors="replace")  # type: ignore[attr-defined]


def _print_all(presences: Sequence[Presence], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([presence.to_json() for presence in presences], indent=2))
        return
    width = max((len(presence.user_id) for presence in presences), default=0)
    for presence in presences:
        print(_line(presence, width))


def _print_change(presence: Presence) -> None:
    print(_clock(), _line(presence, 12, seen=False))


def _line(presence: Presence, width: int, *, seen: bool = True) -> str:
    parts = [_shape(presence.status), f"{presence.user_id:<{width}}", f"{presence.status:<8}"]
    if seen and not presence.is_online:
        last = presence.last_seen
        parts.append("never seen" if last is None else f"last seen {_relative(last)}")
    if presence.text:
        parts.append(_plain(presence.text))
    return " ".join(parts).rstrip()


def _shape(status: str) -> str:
    shape = _SHAPES.get(status, "◐")
    colour = _COLOURS.get(status)
    if colour is None or not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return shape
    return f"\x1b[{colour}m{shape}\x1b[0m"


def _plain(text: str) -> str:
    """Another user wrote this: it must not reach the terminal as a command to it."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _relative(milliseconds: int) -> str:
    """How far a time is from now: `3 min ago`, `in 12 h`."""
    seconds = milliseconds / 1000 - time.time()
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        # Half a second short of 12 hours is still 12 hours.
        if abs(seconds) + 0.5 >= size:
            amount = f"{int((abs(seconds) + 0.5) // size)} {unit}"
            return f"in {amount}" if seconds > 0 else f"{amount} ago"
    return "now"


# ── what a person types ────────────────────────────────────────────────────────────────────


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(-?\d{1,9})([smh]?)", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError("write it as 90, 15m or 2h")
    return int(match[1]) * _UNITS[match[2]]


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="presence", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_token_commands(commands)
    _add_questions(commands)
    _add_visits(commands)
    return top


def _add_token_commands(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    token = commands.add_parser("token", help="print a development token")
    token.add_argument("user")
    token.add_argument("--scope", help="such as 'presence:admin presence:publish'")
    ttl = "90, 15m or 2h (12h); --ttl=-1m has expired already"
    token.add_argument("--ttl", type=_seconds, help=ttl)
    sessions = "the only session it may join, or a prefix ending in *; may be repeated"
    token.add_argument("--chat-session", action="append", metavar="ID", help=sessions)
    token.set_defaults(do=_token)
    check = commands.add_parser("check-token", help="say why the server would refuse a token")
    check.add_argument("jwt", metavar="TOKEN", help="a JWT, or - for the standard input")
    check.set_defaults(do=_check_token)


def _add_questions(commands: Any) -> None:  # noqa: ANN401
    status = commands.add_parser("status", help="who is there, of these", parents=[_where()])
    status.add_argument("user", nargs="+")
    status.set_defaults(do=_run(_status))
    online = commands.add_parser("online", help="all who are there", parents=[_where()])
    online.set_defaults(do=_run(_online))
    for command in (status, online):
        command.add_argument("--json", action="store_true", help="presences, as on the wire")


def _add_visits(commands: Any) -> None:  # noqa: ANN401
    watch = commands.add_parser("watch", help="one line for each change", parents=[_where()])
    watch.add_argument("--as", dest="user", metavar="USER", help="(unseen by the others)")
    watch.add_argument("--json", action="store_true", help="one presence a line, as on the wire")
    watch.set_defaults(do=_run(_watch))
    join = commands.add_parser("join", help="be there until Ctrl-C", parents=[_where()])
    join.add_argument("user")
    join.add_argument("--device", metavar="D", help="what to call this connection")
    join.add_argument("--status", choices=STATUSES)
    join.add_argument("--text", help="at most 140 characters")
    join.set_defaults(do=_run(_join))


def _where() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    for name, metavar, variable, what in (
        ("--api-url", "URL", "PRESENCE_API_URL", "a deployed stack"),
        ("--token", "JWT", "PRESENCE_TOKEN", "who you are there"),
    ):
        default = os.environ.get(variable)
        options.add_argument(name, metavar=metavar, default=default, help=f"{what} (${variable})")
    return options


if __name__ == "__main__":
    sys.exit(main())
