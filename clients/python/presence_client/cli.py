"""The command `presence`: be a user, watch the others, ask who is there; no browser needed."""

import argparse
import json
import os
import re
import shlex
import sys
import time
import tomllib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from presence_client import explanations, token_check, tokens
from presence_client.errors import ClientError, ConnectionOver, Refused
from presence_client.explanations import relative
from presence_client.models import Connected, Disconnected, Presence, Problem
from presence_client.token_check import Keys

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
_ADMIN = "presence:admin"
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

    def token(self, user_id: str, scope: str | None = None) -> str | Callable[[], str] | None:
        if self.given or self.home is None:
            return self.given
        secret, rules = tokens.secret(self.home), _local_rules(self.home)
        return partial(tokens.mint, secret, user_id, scope, rules=rules)

    def api(self, scope: str | None = None) -> "Api":
        from presence_client.api import Api

        return Api(self.api_url, self.token(_WATCHER, scope))

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
        print(tokens.mint(tokens.secret(_home()), *names, rules=_local_rules(_home())))
    except ValueError as error:
        raise Failure(str(error), code=2) from error
    return 0


def _check_token(options: argparse.Namespace) -> int:
    """Say what the local stack says, or the one that the options describe."""
    text = sys.stdin.read().strip() if options.jwt == "-" else options.jwt
    rules, keys, now = _rules(options), _keys(options), int(time.time() * 1000)
    verdict = token_check.check(text, rules, keys, now)
    print(f"refused: {verdict.code}" if verdict.code else "accepted")
    for line in (*verdict.reasons, *_advice(text, rules, keys, now, verdict.claims)):
        print(f"  {_plain(line)}")
    for name, value in {**verdict.header, **verdict.claims}.items():
        print(f"  {_plain(name):<14}{_claim(name, value)}")
    return 1 if verdict.code else 0


def _advice(
    text: str, rules: tokens.Rules, keys: Keys, now: int, claims: token_check.Claims
) -> Iterator[str]:
    yield from token_check.notes(claims, rules)
    if wanted := token_check.letting_in(text, rules, keys, now):
        pairs = " ".join(f"{name}={shlex.quote(value)}" for name, value in wanted.items())
        yield f"With these parameters a stack would let it in: {pairs}"
    if keys is None:
        yield "Its signature was not checked: name the keys with --jwks or --secret-file."


#: Options of check-token, and the template's parameters that they stand for.
_PARAMETERS = {
    "issuer": "TokenIssuer",
    "audience": "TokenAudience",
    "user_claim": "TokenUserClaim",
    "audience_claims": "TokenAudienceClaims",
    "use": "TokenUse",
    "claim_prefix": "TokenClaimPrefix",
}


def _asked(options: argparse.Namespace) -> dict[str, str]:
    asked = {parameter: getattr(options, name) for name, parameter in _PARAMETERS.items()}
    return {parameter: value for parameter, value in asked.items() if value is not None}


def _rules(options: argparse.Namespace) -> tokens.Rules:
    stack = _stage(options.stage) if options.stage else _local_parameters(_home())
    return tokens.Rules.of({**stack, **_asked(options)})


def _keys(options: argparse.Namespace) -> Keys:
    """The keys of the options; those of the local stack, if the options describe no other."""
    if options.jwks:
        return token_check.KeySet(_key_set(options.jwks))
    if options.secret_file:
        return token_check.Secrets([it for it in _read(options.secret_file).splitlines() if it])
    is_local = not (options.stage or _asked(options))
    return token_check.Secrets([tokens.secret(_home())]) if is_local else None


def _stage(name: str) -> dict[str, str]:
    """The parameters of a stage in the samconfig.toml of this folder."""
    try:
        stages = tomllib.loads(_read("samconfig.toml"))
        pairs = stages[name]["deploy"]["parameters"]["parameter_overrides"]
    except (LookupError, tomllib.TOMLDecodeError) as error:
        message = f"samconfig.toml has no parameter_overrides of the stage {name}."
        raise Failure(message, code=2) from error
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def _key_set(place: str) -> dict[str, Any]:
    try:
        found = json.loads(_fetched(place) if "://" in place else _read(place))
        return {"keys": list(found["keys"])}
    except (ValueError, LookupError, TypeError) as error:
        raise Failure(f"{place} is no key set (JWKS).", code=2) from error


def _fetched(url: str) -> str:
    import httpx

    try:
        return httpx.get(url).raise_for_status().text
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Failure(f"{url} cannot be read ({error}).", code=2) from error


def _read(file: str) -> str:
    try:
        return Path(file).read_text("utf-8")
    except OSError as error:
        raise Failure(f"{file} cannot be read ({error.strerror}).", code=2) from error


def _local_rules(home: Path) -> tokens.Rules:
    return tokens.Rules.of(_local_parameters(home))


def _local_parameters(home: Path) -> dict[str, str]:
    """What the local stack was started with, as far as it differs from the usual."""
    with suppress(OSError, ValueError):
        return dict(json.loads((home / "stack.json").read_text()).get("tokenParameters", {}))
    return {}


def _claim(name: str, value: object) -> str:
    text = _plain(value if isinstance(value, str) else json.dumps(value))
    if name in {"exp", "iat", "nbf"} and type(value) is int:
        with suppress(ValueError, OverflowError, OSError):
            at = datetime.fromtimestamp(value, UTC).astimezone()
            return f"{text}  {at:%Y-%m-%d %H:%M:%S}, {relative(value * 1000)}"
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


async def _explain(options: argparse.Namespace) -> int:
    async with _target(options).api(_ADMIN) as api:
        found = await api.explain(options.user, options.viewer)
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    for line in explanations.lines(found):
        print(_plain(line))
    return 0


async def _revoke(options: argparse.Namespace) -> int:
    async with _target(options).api(_ADMIN) as api:
        await api.revoke(options.user, token_id=options.token_id)
    if options.token_id is None:
        print(f"Tokens of {options.user} that were issued before now are refused.")
    else:
        print(f"The token {options.token_id!r} of {options.user} is refused.")
    return 0


async def _remove(options: argparse.Namespace) -> int:
    user, session = options.user, options.session
    async with _target(options).api(_ADMIN) as api:
        await api.remove_member(session, user)
    print(f"{user} is out of {session} until `presence allow {user} {session}`.")
    return 0


async def _allow(options: argparse.Namespace) -> int:
    async with _target(options).api(_ADMIN) as api:
        await api.allow_member(options.session, options.user)
    print(f"{options.user} may join {options.session} again.")
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
        parts.append("never seen" if last is None else f"last seen {relative(last)}")
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
    _add_removal(commands)
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
    _add_check(commands)


def _add_check(commands: Any) -> None:  # noqa: ANN401
    what = "say whether a stack lets a token in; if not, which parameter or claim has to change"
    check = commands.add_parser("check-token", help=what, description=what)
    check.add_argument("jwt", metavar="TOKEN", help="a JWT, or - for the standard input")
    stage = "with the parameters of this stage in samconfig.toml"
    check.add_argument("--stage", metavar="NAME", help=stage)
    for name, parameter in _PARAMETERS.items():
        check.add_argument(f"--{name.replace('_', '-')}", metavar="TEXT", help=parameter)
    jwks = "a key set, to check the signature with"
    check.add_argument("--jwks", metavar="FILE|URL", help=jwks)
    secret = "a file with the secret, to check the signature with"  # noqa: S105
    check.add_argument("--secret-file", metavar="FILE", help=secret)
    check.set_defaults(do=_check_token)


def _add_questions(commands: Any) -> None:  # noqa: ANN401
    status = commands.add_parser("status", help="who is there, of these", parents=[_where()])
    status.add_argument("user", nargs="+")
    status.set_defaults(do=_run(_status))
    online = commands.add_parser("online", help="all who are there", parents=[_where()])
    online.set_defaults(do=_run(_online))
    why = f"why a user is shown as they are; needs {_ADMIN}"
    explain = commands.add_parser("explain", help=why, parents=[_where()])
    explain.add_argument("user")
    explain.add_argument("--viewer", metavar="USER", help="and what this user sees")
    explain.set_defaults(do=_run(_explain))
    for command in (status, online, explain):
        command.add_argument("--json", action="store_true", help="as on the wire")


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


def _add_removal(commands: Any) -> None:  # noqa: ANN401
    what = f"refuse a user's tokens so far; needs {_ADMIN}"
    revoke = commands.add_parser("revoke", help=what, parents=[_where()])
    revoke.add_argument("user")
    revoke.add_argument("--token-id", metavar="JTI", help="only the token with this claim jti")
    revoke.set_defaults(do=_run(_revoke))
    out = f"take a user out of a chat session; needs {_ADMIN}"
    remove = commands.add_parser("remove", help=out, parents=[_where()])
    remove.set_defaults(do=_run(_remove))
    again = f"let a user who was removed join again; needs {_ADMIN}"
    allow = commands.add_parser("allow", help=again, parents=[_where()])
    allow.set_defaults(do=_run(_allow))
    for command in (remove, allow):
        command.add_argument("user")
        command.add_argument("session")


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
