"""The command `presence`: be a user, watch the others, ask who is there; no browser needed."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

from local import tokens
from local.client import (
    Answer,
    ClientError,
    ConnectionOver,
    Frame,
    PresenceClient,
    Refused,
    backoff,
    call,
)
from local.stack import StackError, running, settings

STATUSES = ("online", "away", "busy", "dnd", "invisible")
#: Sees everything, is seen by nobody.
_WATCHER = "presence.watch"
_API = "/api/user-status"
_PAGE = 100
# A connection that lasted this long, in seconds, was a good one: the next wait is a short one.
_STABLE_SECONDS = 5.0
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_SHAPES = {"online": "●", "offline": "○"}
_COLOURS = {"online": 32, "away": 33, "busy": 31, "dnd": 31, "offline": 90}
_FOR_GOOD = frozenset({"token-invalid", "token-expired", "forbidden", "invalid-message"})
_NO_RETURN = frozenset({"kicked", "replaced"})
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
    wanted = _parser().parse_args(arguments)
    try:
        code: int = wanted.do(wanted)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `presence watch | head -1`: what is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Failure as failure:
        _note(str(failure))
        return failure.code
    except (ClientError, StackError) as error:
        _note(str(error))
        return 1
    return code


# ── what to talk to ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Target:
    """A stack: how to reach it, and how to get a token for it.

    Attributes:
        api_url: the base that `/api/user-status` is appended to.
        given: the one token there is; None on the local stack, where any user's is made.
    """

    api_url: str
    web_socket_url: str
    given: str | None = None
    secret: str = field(default="", repr=False)

    @property
    def is_local(self) -> bool:
        """Whether this is the stack of this checkout."""
        return bool(self.secret)

    def token(self, user_id: str) -> str:
        """Return a token of this user, or the one there is."""
        return self.given or tokens.mint(self.secret, user_id)

    def ask(self, method: str, path: str, body: object = None, *, user_id: str = _WATCHER) -> Any:  # noqa: ANN401 - any JSON
        """Call a route of the HTTP API as this user and return the JSON of its answer.

        Raises:
            Failure: it answered with an error.
            CannotConnect: it did not answer.
        """
        token = self.token(user_id) if self.is_local or self.given else None
        return _accepted(call(method, f"{self.api_url}{_API}{path}", token=token, body=body))


def _accepted(answer: Answer) -> Any:  # noqa: ANN401
    if answer.status < 400:  # noqa: PLR2004 - errors begin there, RFC 9110 §15
        return answer.json
    told = answer.json.get("error") if isinstance(answer.json, dict) else None
    if not isinstance(told, dict):
        raise Failure(f"The stack answered with {answer.status}; is the URL that of a stack?")
    hint = " Give one with --token." if answer.status == 401 else ""  # noqa: PLR2004
    raise Failure(f"{told.get('code')}: {told.get('message')}{hint}")


def _target(wanted: argparse.Namespace) -> Target:
    if wanted.api_url:
        url, token = wanted.api_url.rstrip("/"), wanted.token
        config = Target(url, "", token).ask("GET", "/config")
        if not (isinstance(config, dict) and "webSocketUrl" in config):
            raise Failure(f"{url}{_API}/config is not the configuration of a stack.")
        return Target(url, config["webSocketUrl"], token)
    here = settings()
    told = running(here)
    if told is None:
        raise Failure(_NO_STACK, code=2)
    secret = tokens.secret(here.home)
    return Target(told["httpUrl"], told["webSocketUrl"], wanted.token, secret)


# ── commands that answer and end ───────────────────────────────────────────────────────────


def _token(wanted: argparse.Namespace) -> int:
    secret = tokens.secret(settings().home)
    sessions = wanted.chat_session
    try:
        print(tokens.mint(secret, wanted.user, wanted.scope, wanted.ttl, sessions))
    except ValueError as error:
        raise Failure(str(error), code=2) from error
    return 0


def _check_token(wanted: argparse.Namespace) -> int:
    told = sys.stdin.read().strip() if wanted.jwt == "-" else wanted.jwt
    verdict = tokens.check(told, tokens.secret(settings().home), int(time.time() * 1000))
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


def _status(wanted: argparse.Namespace) -> int:
    target = _target(wanted)
    found = [
        presence
        for some in _pieces(wanted.user)
        for presence in target.ask("POST", "/batch", {"userIds": some})["users"]
    ]
    _print_all(found, as_json=wanted.json)
    return 0


def _online(wanted: argparse.Namespace) -> int:
    target = _target(wanted)
    found = list(_everybody(target))
    _print_all(found, as_json=wanted.json)
    if not (found or wanted.json):
        _note("Nobody is online. `presence join ada` changes that.")
    return 0


def _everybody(target: Target) -> Iterator[Frame]:
    path: str | None = f"/online?limit={_PAGE}"
    while path:
        page = target.ask("GET", path)
        yield from page["users"]
        path = page["cursor"] and f"/online?limit={_PAGE}&cursor={page['cursor']}"


def _pieces(users: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(users), _PAGE):
        yield users[start : start + _PAGE]


# ── commands that stay ─────────────────────────────────────────────────────────────────────


def _join(wanted: argparse.Namespace) -> int:
    known = Known()
    chosen: Frame = {"status": wanted.status or "online", "text": wanted.text}

    async def greet(client: PresenceClient) -> None:
        welcome = client.welcome
        print(f"{_clock()} connected as {wanted.user}, {welcome['onlineCount']} online")
        if wanted.status or wanted.text:
            await client.request("status", **chosen)
        for presence in known.news(await _list_online(client)):
            _print_change(presence)

    return _stay(Visit(_target(wanted), wanted.user, wanted.device, greet, known, _print_change))


def _watch(wanted: argparse.Namespace) -> int:
    target, known = _target(wanted), Known()
    user = wanted.user or _WATCHER

    def tell(presence: Frame) -> None:
        if presence["userId"] != _WATCHER:
            print(json.dumps(presence)) if wanted.json else _print_change(presence)

    async def greet(client: PresenceClient) -> None:
        for presence in known.news(await _as_of_now(client, target, known)):
            tell(presence)

    if user == _WATCHER and not target.given:
        target.ask("PUT", "", {"status": "invisible"})
    return _stay(Visit(target, user, None, greet, known, tell, notes=sys.stderr))


async def _as_of_now(client: PresenceClient, target: Target, known: Known) -> list[Frame]:
    """Return who is online, and what became of those who were when the link was lost."""
    found = await _list_online(client)
    left = sorted(known.online() - {presence["userId"] for presence in found})
    for some in _pieces(left):
        body = {"userIds": some}
        found += (await asyncio.to_thread(target.ask, "POST", "/batch", body))["users"]
    return found


class Known:
    """What a client holds about the others: of each, the presence with the highest version."""

    def __init__(self) -> None:
        self._held: dict[str, Frame] = {}

    def news(self, presences: Iterable[Frame]) -> Iterator[Frame]:
        """Take these in and yield those that were news."""
        for presence in presences:
            held = self._held.get(presence["userId"])
            if held is None or presence["version"] > held["version"]:
                self._held[presence["userId"]] = presence
                yield presence

    def online(self) -> set[str]:
        """Return the ids of those who are online, as far as is known."""
        return {user for user, presence in self._held.items() if presence["isOnline"]}


@dataclass(frozen=True, slots=True)
class Visit:
    """One user's stay on a stack, over as many connections as it takes."""

    target: Target
    user: str
    device: str | None
    greet: Callable[[PresenceClient], Awaitable[None]]
    known: Known
    tell: Callable[[Frame], None]
    notes: TextIO | None = None

    async def stay(self) -> None:
        """Hold a connection, and come back after losing it, until that is refused for good.

        Raises:
            Refused: the token or the user is not welcome here, now or later.
            Failure: the server said not to come back.
        """
        attempt = 0
        while True:
            started = time.monotonic()
            why, least = await self._attempt()
            if time.monotonic() - started > _STABLE_SECONDS:
                attempt = 0
            wait = max(least, backoff(attempt))
            print(f"{_clock()} {why} Trying again in {wait:.1f} s", file=self.notes)
            await asyncio.sleep(wait)
            attempt += 1

    async def _attempt(self) -> tuple[str, float]:
        """Return why there is no connection any more, and how long to keep away at least."""
        try:
            return str(await self._once()), 0.0
        except Refused as error:
            if error.code in _FOR_GOOD:
                raise
            return f"{error.code}: {error}", error.retry_after_seconds or 0.0
        except ClientError as error:
            return str(error), 0.0

    async def _once(self) -> ConnectionOver:
        """Stay as long as one connection lasts; return why it ended."""
        async with PresenceClient.connect(self.target.web_socket_url) as client:
            token = self.target.token(self.user)
            user = None if self.user == _WATCHER else self.user
            await client.authenticate(token, device=self.device, user_id=user)
            await self.greet(client)
            async for frame in client:
                self._hear(frame)
            return self._accept(client.over)

    def _accept(self, over: ConnectionOver | None) -> ConnectionOver:
        over = over or ConnectionOver(None)
        if over.reason in _NO_RETURN or (over.reason == "token-expired" and self.target.given):
            raise Failure(f"The server closed the connection: {over.reason}.")
        return over

    def _hear(self, frame: Frame) -> None:
        for presence in self.known.news(frame.get("changes", ())):
            self.tell(presence)
        if frame.get("type") == "error":
            print(f"{_clock()} {frame.get('code')}: {frame.get('message')}", file=self.notes)


def _stay(visit: Visit) -> int:
    try:
        asyncio.run(visit.stay())
    except Refused as error:
        raise Failure(f"{error.code}: {error}") from error
    return 0


async def _list_online(client: PresenceClient) -> list[Frame]:
    found: list[Frame] = []
    cursor: str | None = None
    while True:
        page = await client.request("online", limit=_PAGE, cursor=cursor)
        found += page["users"]
        cursor = page["cursor"]
        if not cursor:
            return found


# ── what a person reads ────────────────────────────────────────────────────────────────────


def _prepare(stream: TextIO) -> None:
    """A line is seen when it is printed, also by the next program in a pipe."""
    with suppress(AttributeError, ValueError):
        stream.reconfigure(line_buffering=True, errors="replace")  # type: ignore[attr-defined]


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _print_all(presences: Sequence[Frame], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(list(presences), indent=2))
        return
    width = max((len(presence["userId"]) for presence in presences), default=0)
    for presence in presences:
        print(_line(presence, width))


def _print_change(presence: Frame) -> None:
    print(_clock(), _line(presence, 12, seen=False))


def _line(presence: Frame, width: int, *, seen: bool = True) -> str:
    status = presence["status"]
    parts = [_shape(status), f"{presence['userId']:<{width}}", f"{status:<8}"]
    if seen and not presence["isOnline"]:
        last = presence["lastSeen"]
        parts.append("never seen" if last is None else f"last seen {_relative(last)}")
    if presence.get("text"):
        parts.append(_plain(presence["text"]))
    return " ".join(parts).rstrip()


def _shape(status: str) -> str:
    shape = _SHAPES.get(status, "◐")
    colour = _COLOURS.get(status)
    if colour is None or not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return shape
    return f"\x1b[{colour}m{shape}\x1b[0m"


def _plain(text: str) -> str:
    """Somebody else wrote this: it must not reach the terminal as a command to it."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _relative(milliseconds: int) -> str:
    """Say how far a time is from now: `3 min ago`, `in 12 h`."""
    seconds = milliseconds / 1000 - time.time()
    amount = _amount(abs(seconds))
    if amount is None:
        return "now"
    return f"in {amount}" if seconds > 0 else f"{amount} ago"


def _amount(seconds: float) -> str | None:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        # Half a second short of 12 hours is still 12 hours.
        if seconds + 0.5 >= size:
            return f"{int((seconds + 0.5) // size)} {unit}"
    return None


# ── what a person types ────────────────────────────────────────────────────────────────────


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(-?\d{1,9})([smh]?)", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError("write it as 90, 15m or 2h")
    return int(match[1]) * _UNITS[match[2]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="presence", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_token_commands(commands)
    _add_questions(commands)
    _add_visits(commands)
    return parser


def _add_token_commands(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    token = commands.add_parser("token", help="print a development token")
    token.add_argument("user")
    token.add_argument("--scope", help="such as 'presence:admin presence:publish'")
    token.add_argument(
        "--ttl", type=_seconds, help="90, 15m or 2h (12h); --ttl=-1m has expired already"
    )
    token.add_argument(
        "--chat-session",
        action="append",
        metavar="ID",
        help="the only session it may join, or a prefix ending in *; may be repeated",
    )
    token.set_defaults(do=_token)
    check = commands.add_parser("check-token", help="say why the server would refuse a token")
    check.add_argument("jwt", metavar="TOKEN", help="a JWT, or - for the standard input")
    check.set_defaults(do=_check_token)


def _add_questions(commands: Any) -> None:  # noqa: ANN401
    status = commands.add_parser("status", help="who is there, of these", parents=[_where()])
    status.add_argument("user", nargs="+")
    status.set_defaults(do=_status)
    online = commands.add_parser("online", help="everybody who is there", parents=[_where()])
    online.set_defaults(do=_online)
    for command in (status, online):
        command.add_argument("--json", action="store_true", help="presences, as on the wire")


def _add_visits(commands: Any) -> None:  # noqa: ANN401
    watch = commands.add_parser("watch", help="one line for each change", parents=[_where()])
    watch.add_argument("--as", dest="user", metavar="USER", help="(unseen by the others)")
    watch.add_argument("--json", action="store_true", help="one presence a line, as on the wire")
    watch.set_defaults(do=_watch)
    join = commands.add_parser("join", help="be there until Ctrl-C", parents=[_where()])
    join.add_argument("user")
    join.add_argument("--device", metavar="D", help="what to call this connection")
    join.add_argument("--status", choices=STATUSES)
    join.add_argument("--text", help="at most 140 characters")
    join.set_defaults(do=_join)


def _where() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    url, token = os.environ.get("PRESENCE_API_URL"), os.environ.get("PRESENCE_TOKEN")
    options.add_argument(
        "--api-url", metavar="URL", default=url, help="a deployed stack ($PRESENCE_API_URL)"
    )
    options.add_argument(
        "--token", metavar="JWT", default=token, help="who you are there ($PRESENCE_TOKEN)"
    )
    return options


if __name__ == "__main__":
    sys.exit(main())
