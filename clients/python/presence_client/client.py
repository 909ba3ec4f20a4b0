"""A user's presence over as many connections as it takes.

async with Client("http://localhost:4000", token, device="desk") as ada:
    await ada.join("lobby")
    async for event in ada:
        print(event)
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Never, Self, TypeAlias

from presence_client.api import PAGE, Api
from presence_client.connection import Connection
from presence_client.errors import ClientError, ConnectionOver, Misconfigured, NoToken, Refused
from presence_client.joins import MOST, Joins, outcomes
from presence_client.models import (
    Choice,
    Connected,
    Disclosure,
    Disconnected,
    Event,
    Frame,
    MembersChanged,
    MembersPage,
    Message,
    OnlinePage,
    Presence,
    Problem,
    Typing,
    parse,
)
from presence_client.network import ANSWER_SECONDS, Token, backoff, fresh
from presence_client.state import ChatSession, Presences

#: After a connection that lasted this long, in seconds, the next wait is a short one.
_STABLE_SECONDS = 5.0
#: A token is renewed this long before it ends, or after three quarters of a shorter life.
_AHEAD_SECONDS, _SOONEST_SECONDS = 60.0, 5.0
#: So many events wait for an iterator; then the oldest is dropped.
_MOST_EVENTS = 10_000
#: A choice that is sent sooner needs no time: clocks differ.
_WAITED_SECONDS = 1.0
#: A user whose answer is awaited is asked for again so many seconds after the first time, and at
#: last when the probe is over.
_AGAIN_SECONDS = (0.7, 2.0)
_NO_RETURN = frozenset({"kicked", "replaced"})

Step: TypeAlias = Callable[[Connection], Awaitable[None]]


class Client:
    """One user, connected until the block ends.

    A lost connection is opened again after a random wait. What was joined, watched and listed is
    then joined, watched and listed again, and `presences` and `chat_sessions` are right again.
    A request waits for a connection; one that is lost with its connection raises
    `ConnectionOver` and is not repeated.

    Iterate for events. The iterator, and every request, raises `Refused` when the token or the
    user is refused for good, `Misconfigured` when what it was given never worked and cannot, and
    `ConnectionOver` when the server says not to come back. While there is no token, requests raise
    `NoToken` and a `Problem` tells of it; the next attempt asks for one again.

    Attributes:
        api: the HTTP API as the same user.
        presences: of each user that was told of, the newest presence.
        chat_sessions: those that are joined.
    """

    def __init__(
        self,
        api_url: str,
        token: Token,
        *,
        user_id: str | None = None,
        device: str | None = None,
        active: bool | None = None,
        within: float = ANSWER_SECONDS,
    ) -> None:
        """Name the stack by *api_url*, the base URL of its HTTP API, and the user by a token.

        A callable token may be async; it is called for each connection and each HTTP request, and
        again before a token ends. With `user_id` the server compares. Each answer may take `within`
        seconds; `device` and `active` are those of the action `authenticate`.
        """
        self.api = Api(api_url, token, within=within)
        self.presences = Presences()
        self.chat_sessions: dict[str, ChatSession] = {}
        self._token = token
        self._user_id, self._device, self._active = user_id, device, active
        self._within = within
        self._watched: set[str] = set()
        self._lists_online = False
        self._connection: Connection | None = None
        self._has_worked = False
        #: What keeps it from connecting, and waiting may not mend.
        self._hindrance: ClientError | None = None
        self._settled = asyncio.Event()  # connected, hindered, or over for good
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(_MOST_EVENTS)
        self._steps: asyncio.Queue[Step] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(self._end)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.api.close()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events, until the block ends."""
        while (event := await self._events.get()) is not None:
            yield event
        self._events.put_nowait(None)  # for the next iterator
        if not self._running.cancelled():
            self._running.result()  # raises

    # ── requests ────────────────────────────────────────────────────────────────────────────

    async def status(
        self,
        status: Choice,
        text: str | None = None,
        until: int | None = None,
        *,
        show_last_seen: Disclosure | None = None,
    ) -> None:
        """Choose a status, until an instant in epoch milliseconds, and what others learn of you.

        A choice that had to wait for a connection gives way to a newer one of another device.
        """
        chosen = time.monotonic()
        connection = await self._connected()
        waited = time.monotonic() - chosen
        chosen_at = connection.welcome["serverTime"] - round(1000 * waited)
        await connection.request(
            "status",
            status=status,
            text=text,
            until=until,
            chosenAt=chosen_at if waited > _WAITED_SECONDS else None,
            showLastSeen=show_last_seen,
        )

    async def set_active(self, *, active: bool) -> None:
        """Say whether a person is at the device."""
        self._active = active
        connection = await self._connected()
        connection.active = active
        await connection.check()

    async def online(self) -> list[Presence]:
        """The users who are online, in `presences` too; listed again after each reconnect."""
        self._lists_online = True
        await self._list(await self._connected())
        return [presence for presence in self.presences.values() if presence.is_online]

    async def join(self, chat_session_id: str) -> ChatSession:
        """Take part in a chat session; it is joined again after each reconnect."""
        connection, is_new = await self._connected(), chat_session_id not in self.chat_sessions
        try:
            return await self._enter(chat_session_id, connection)
        except ClientError:
            if is_new:
                self.chat_sessions.pop(chat_session_id, None)
            raise

    async def leave(self, chat_session_id: str | None = None) -> None:
        """Leave a chat session; or, with none, leave on purpose: others are told at once.

        The latter ends the client, as the end of its block does.
        """
        self.chat_sessions.pop(chat_session_id or "", None)
        await self._ask("leave", chatSessionId=chat_session_id)
        if chat_session_id is None:
            self._running.cancel()

    async def typing(self, chat_session_id: str, *, typing: bool = True) -> None:
        await self._ask("typing", chatSessionId=chat_session_id, typing=typing)

    async def message(
        self, chat_session_id: str, content: object, client_id: str | None = None
    ) -> Message:
        names = {"chatSessionId": chat_session_id, "clientId": client_id}
        return parse(Message, await self._ask("message", content=content, **names))

    async def watch(self, *user_ids: str) -> None:
        """Hear of these users; they are watched again after each reconnect."""
        connection = await self._connected()
        for some in _pages(user_ids):
            await self._watch(some, connection)
            self._watched.update(some)

    async def unwatch(self, *user_ids: str) -> None:
        self._watched.difference_update(user_ids)
        for some in _pages(user_ids):
            await self._ask("unwatch", userIds=some)

    async def verify(self, *user_ids: str) -> list[Presence]:
        """Whether these users are there now, in the order asked, 10 at most; with `heard_at`.

        A user who was not heard of late is asked; without an answer the user is offline in 12 s.
        """
        started = time.monotonic()
        answer = await self._ask("verify", userIds=user_ids)
        found = {it["userId"]: it for it in answer["users"]}
        for seconds in (*_AGAIN_SECONDS, answer["probeSeconds"] + 1):
            if answer["awaited"]:
                await asyncio.sleep(max(0.0, started + seconds - time.monotonic()))
                answer = await self._ask("verify", userIds=answer["awaited"])
                found |= {it["userId"]: it for it in answer["users"]}
        self._take(parse(Presence, {**it, "heardAt": None}) for it in found.values())
        return [parse(Presence, found[user_id]) for user_id in user_ids]

    async def _ask(self, action: str, **fields: object) -> Frame:
        return await (await self._connected()).request(action, within=None, **fields)

    async def _connected(self) -> Connection:
        while self._connection is None:
            if self._running.cancelled():
                raise ConnectionOver(None)
            if self._running.done():
                self._running.result()  # raises
            if self._hindrance:
                raise self._hindrance
            await self._settled.wait()
        return self._connection

    # ── connections ─────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        attempt = 0
        while True:
            started = time.monotonic()
            why, least = await self._attempt()
            if time.monotonic() - started > _STABLE_SECONDS:
                attempt = 0
            wait = max(least, backoff(attempt))
            self._tell(Disconnected(reason=why, retry_in_seconds=wait))
            await asyncio.sleep(wait)
            attempt += 1
            if self._hindrance:
                self._hindrance = None
                self._settled.clear()

    async def _attempt(self) -> tuple[str, float]:
        """Return why there is no connection any more, and how long to keep away at least.

        Raises:
            ClientError: there is no use in another attempt.
        """
        is_text = isinstance(self._token, str)
        try:
            await self._visit()
        except Refused as error:
            if not (error.is_retryable or error.code == "not-authenticated"):
                raise
            return f"{error.code}: {error}", error.retry_after_seconds or 0.0
        except ConnectionOver as over:
            if over.reason in _NO_RETURN or (is_text and over.reason == "token-expired"):
                raise
            return str(over), 0.0
        except ClientError as error:
            self._weigh(error)
            return str(error), 0.0

    def _weigh(self, error: ClientError) -> None:
        """Raise what has never worked and cannot; tell requests that wait of what may not pass."""
        if not isinstance(error, Misconfigured | NoToken):
            return
        if isinstance(error, Misconfigured) and not self._has_worked:
            raise error
        self._hindrance = error
        self._settled.set()
        self._tell(Problem(code=error.code, message=str(error)))

    async def _visit(self) -> Never:
        """Stay as long as one connection lasts; raises why it ended."""
        url, token = (await self.api.config()).web_socket_url, await fresh(self._token)
        async with Connection.connect(url, active=self._active, within=self._within) as connection:
            await self._authenticate(connection, token, [*self.chat_sessions][:MOST])
            self._begin(connection)
            work = [asyncio.create_task(it(connection)) for it in (self._work, self._renew)]
            try:
                async for frame in connection:
                    self._hear(frame)
            finally:
                self._connection = None
                self._settled.clear()
                for task in work:
                    task.cancel()
                _raise_faults(await asyncio.gather(*work, return_exceptions=True))
        raise connection.over or ConnectionOver(None)

    async def _authenticate(
        self, connection: Connection, token: str, chat_session_ids: list[str] | None = None
    ) -> None:
        names = {"device": self._device, "user_id": self._user_id}
        await connection.authenticate(token, chat_session_ids=chat_session_ids, **names)

    def _begin(self, connection: Connection) -> None:
        connected = parse(Connected, connection.welcome)
        self._connection = connection
        self._has_worked = True
        self._tell(connected)
        self.presences.doubt()
        self._steps = asyncio.Queue()
        self._joins = Joins(connection)
        for step in self._steps_back(outcomes(connection.welcome)):
            self._steps.put_nowait(step)
        if connected.presence:
            self._take([connected.presence])
        self._settled.set()

    def _steps_back(self, joined: Mapping[str, Frame | Refused]) -> Iterator[Step]:
        """What a new connection has to ask, so that what is held is right again."""
        for chat_session_id in list(self.chat_sessions):
            if step := self._step_into(chat_session_id, joined.get(chat_session_id)):
                yield step
        for some in _pages(self._watched):
            yield partial(self._watch, some)
        if self._lists_online:
            yield self._list
        yield self._read_doubtful

    def _step_into(self, chat_session_id: str, told: Frame | Refused | None) -> Step | None:
        """What has to be asked yet of a chat session, after what the welcome says of it."""
        if told is None or (isinstance(told, Refused) and told.is_retryable):
            return partial(self._enter_again, chat_session_id)
        if isinstance(told, Refused):
            self._forget(chat_session_id, told)
            return None
        rest = self._entered(chat_session_id, told)
        return None if rest is None else partial(self._load, chat_session_id, rest)

    async def _work(self, connection: Connection) -> None:
        while True:
            await self._insist(await self._steps.get(), connection)

    async def _insist(self, step: Step, connection: Connection) -> None:
        """Take a step, again and again until it is served or refused for good."""
        for attempt in itertools.count():
            try:
                await step(connection)
            except ClientError as error:
                if connection.over or self._gives_up(error):
                    return
                await asyncio.sleep(max(error.retry_after_seconds or 0, backoff(attempt)))
            else:
                return

    def _gives_up(self, error: ClientError) -> bool:
        """Tell of what may not pass; whether another try is of no use."""
        is_refused = isinstance(error, Refused) and not error.is_retryable
        if isinstance(error, Refused) and not is_refused:
            return False
        if isinstance(error, Refused | Misconfigured | NoToken):
            self._tell(Problem(code=error.code, message=str(error)))
        return is_refused

    async def _renew(self, connection: Connection) -> None:
        """Renew the token before it ends; until then the old one is good."""
        while callable(self._token):
            terms = connection.welcome
            left = (terms["tokenExpiresAt"] - terms["serverTime"]) / 1000
            await asyncio.sleep(max(left - min(_AHEAD_SECONDS, left / 4), _SOONEST_SECONDS))
            await self._insist(self._renew_once, connection)

    async def _renew_once(self, connection: Connection) -> None:
        await self._authenticate(connection, await fresh(self._token))
        # What the fresh token does not allow any more is refused.
        for chat_session_id in self.chat_sessions.keys() - connection.welcome["chatSessions"]:
            self._steps.put_nowait(partial(self._enter_again, chat_session_id))

    # ── steps ───────────────────────────────────────────────────────────────────────────────

    async def _enter_again(self, chat_session_id: str, connection: Connection) -> None:
        """Join again, unless it was left; a session that is refused for good is forgotten."""
        if chat_session_id not in self.chat_sessions:
            return
        try:
            await self._enter(chat_session_id, connection)
        except Refused as refused:
            if refused.is_retryable:
                raise
            self._forget(chat_session_id, refused)

    def _forget(self, chat_session_id: str, why: Refused) -> None:
        self.chat_sessions.pop(chat_session_id, None)
        self._tell(Problem(code=why.code, message=str(why), chat_session_id=chat_session_id))

    async def _enter(self, chat_session_id: str, connection: Connection) -> ChatSession:
        # It is there before the answer is: what is told next may be heard first.
        session = self.chat_sessions.setdefault(chat_session_id, ChatSession(chat_session_id))
        rest = self._entered(chat_session_id, await self._joins.enter(chat_session_id))
        if rest is not None:
            await self._load(chat_session_id, rest, connection)
        return session

    def _entered(self, chat_session_id: str, told: Frame) -> str | None:
        """Take what is told of a chat session that was joined; where its other members begin."""
        session = self.chat_sessions.setdefault(chat_session_id, ChatSession(chat_session_id))
        page = parse(MembersPage, {"members": [], **told})
        session.enter(page)
        self._take(page.members)
        if session.sampled:
            return None
        # Without members there was no space for the first one.
        return page.cursor if "members" in told else ""

    async def _load(self, chat_session_id: str, cursor: str, _connection: Connection) -> None:
        session = self.chat_sessions.get(chat_session_id)
        following: str | None = cursor
        while session and following is not None and not session.sampled:
            page = await self.api.members(chat_session_id, PAGE, following or None)
            session.add(page)
            self._take(page.members)
            following = page.cursor

    async def _watch(self, user_ids: list[str], connection: Connection) -> None:
        answer = await connection.request("watch", userIds=user_ids)
        self._take(parse(Presence, it) for it in answer["users"])

    async def _list(self, connection: Connection) -> None:
        page: OnlinePage | None = None
        while page is None or page.cursor:
            cursor = page and page.cursor
            answer = await connection.request("online", limit=PAGE, cursor=cursor)
            page = parse(OnlinePage, answer)
            self._take(page.users)

    async def _read_doubtful(self, _connection: Connection) -> None:
        """Read users that the new connection was told nothing about."""
        self._take(await self.api.statuses(sorted(self.presences.doubtful)))

    # ── events ──────────────────────────────────────────────────────────────────────────────

    def _hear(self, frame: Frame) -> None:
        match frame.get("type"):
            case "user-status-change":
                self._take(parse(Presence, it) for it in frame["changes"])
            case "chat-session-members":
                self._move(parse(MembersChanged, frame))
            case "new-message":
                self._tell(parse(Message, frame))
            case "user-typing":
                self._tell(parse(Typing, frame))
            case "error":
                self._tell(parse(Problem, frame))

    def _move(self, frame: MembersChanged) -> None:
        session = self.chat_sessions.get(frame.chat_session_id)
        if session and session.move(frame):
            self._steps.put_nowait(partial(self._enter_again, frame.chat_session_id))
        self._take(frame.joined)
        self._tell(frame)

    def _take(self, presences: Iterable[Presence]) -> None:
        for presence in self.presences.take(presences):
            self._tell(presence)

    def _tell(self, event: Event | None) -> None:
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(event)

    def _end(self, _running: asyncio.Task[None]) -> None:
        self._settled.set()
        self._tell(None)


def _raise_faults(results: Iterable[object]) -> None:
    """A cancelled task is none; what else ended one is a fault of ours or of the server."""
    for result in results:
        if isinstance(result, Exception):
            raise result


def _pages(user_ids: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(user_ids)
    for start in range(0, len(ordered), PAGE):
        yield ordered[start : start + PAGE]
