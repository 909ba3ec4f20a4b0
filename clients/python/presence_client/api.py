"""The HTTP API: what a back end asks and tells.

async with Api("https://….execute-api.eu-central-1.amazonaws.com", token) as api:
    await api.publish("lobby", {"text": "The build is green."})
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import httpx

from presence_client.errors import CannotConnect, Code, Misconfigured, NotAnswered, Refused
from presence_client.models import (
    Choice,
    Config,
    Disclosure,
    MembersPage,
    Message,
    OnlineCount,
    OnlinePage,
    Presence,
    parse,
)
from presence_client.network import ANSWER_SECONDS, Token, fresh, is_for_good, is_loopback

BASE = "/api/user-status"
#: As many users as one request may name, and one page may hold.
PAGE = 100
_WITHOUT_TOKEN = {"/config", "/health"}
#: What API Gateway answers by itself has no code.
_CODES: dict[int, Code] = {
    401: "not-authenticated",
    403: "forbidden",
    404: "not-found",
    413: "payload-too-large",
    429: "rate-limited",
    503: "unavailable",
}


class Api:
    """The routes of one stack, as the token's user.

    Every call raises `Refused` when the stack answers with an error, `NotAnswered` when it takes
    longer than `within` seconds, and `CannotConnect` when it cannot be reached: `Misconfigured` if
    waiting does not mend that, `NoToken` if the callable gave none.
    """

    def __init__(
        self,
        api_url: str,
        token: Token | None = None,
        *,
        within: float = ANSWER_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = api_url.rstrip("/") + BASE
        self._token = token
        self._within = within
        # A connection that does not open is given up before the call is: nothing was asked then.
        timeout = httpx.Timeout(within, connect=0.9 * within)
        self._http = httpx.AsyncClient(
            timeout=timeout, transport=transport, trust_env=not is_loopback(api_url)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    # ── presence ────────────────────────────────────────────────────────────────────────────

    async def status(self, user_id: str, *, verify: bool = False) -> Presence:
        """With *verify*, with `heard_at`: if that is old the user is asked, so read again."""
        asked = {"verify": "true"} if verify else {}
        return parse(Presence, await self._call("GET", f"/users/{_id(user_id)}", **asked))

    async def statuses(self, user_ids: Sequence[str]) -> list[Presence]:
        """The presences of any number of users, in this order."""
        found: list[Presence] = []
        for start in range(0, len(user_ids), PAGE):
            body = {"userIds": list(user_ids[start : start + PAGE])}
            found += parse(OnlinePage, await self._call("POST", "/batch", body)).users
        return found

    async def online(self, limit: int | None = None, cursor: str | None = None) -> OnlinePage:
        """One page of the users that the caller sees online."""
        return parse(OnlinePage, await self._call("GET", "/online", limit=limit, cursor=cursor))

    async def all_online(self) -> AsyncIterator[Presence]:
        page = await self.online(PAGE)
        while True:
            for presence in page.users:
                yield presence
            if page.cursor is None:
                return
            page = await self.online(PAGE, page.cursor)

    async def count_online(self) -> OnlineCount:
        return parse(OnlineCount, await self._call("GET", "/online/count"))

    async def set_status(
        self,
        status: Choice,
        text: str | None = None,
        until: int | None = None,
        *,
        show_last_seen: Disclosure | None = None,
    ) -> Presence:
        """Choose a status, until an instant in epoch milliseconds; brings no user online."""
        body = {"status": status, "text": text, "until": until, "showLastSeen": show_last_seen}
        return parse(Presence, await self._call("PUT", "", body))

    async def mark_seen(self) -> int:
        """Mark the caller as seen now; returns when that was, in epoch milliseconds."""
        return int((await self._call("PUT", "/last-seen"))["lastSeen"])

    # ── blocking and removal ────────────────────────────────────────────────────────────────

    async def blocked(self) -> list[str]:
        """The users that the caller hides from."""
        return list((await self._call("GET", "/blocked"))["userIds"])

    async def is_blocked(self, user_id: str) -> bool:
        return bool((await self._call("GET", f"/blocked/{_id(user_id)}"))["blocked"])

    async def block(self, user_id: str) -> None:
        await self._call("PUT", f"/blocked/{_id(user_id)}")

    async def unblock(self, user_id: str) -> None:
        await self._call("DELETE", f"/blocked/{_id(user_id)}")

    async def kick(self, user_id: str) -> None:
        """Close all connections of a user; needs `presence:admin`."""
        await self._call("DELETE", f"/users/{_id(user_id)}/connections")

    async def explain(self, user_id: str, viewer_id: str | None = None) -> Mapping[str, Any]:
        """Why a user is shown as they are, and to one viewer; needs `presence:admin`.

        The fields are those of `Explanation` in docs/asyncapi.yaml: `reason`, `because`, `seen`,
        `connections` and others.
        """
        path = f"/users/{_id(user_id)}/explain"
        found: Mapping[str, Any] = await self._call("GET", path, viewerId=viewer_id)
        return found

    async def revoke(
        self, user_id: str, *, token_id: str | None = None, not_before: int | None = None
    ) -> None:
        """Refuse tokens of a user from now on, and close what they opened; needs `presence:admin`.

        One token by its `jti`, or all that were issued before an instant in epoch milliseconds, by
        default before now.
        """
        said = {"tokenId": token_id, "notBefore": not_before}
        body = {name: value for name, value in said.items() if value is not None}
        await self._call("POST", f"/users/{_id(user_id)}/revocations", body)

    async def erase(self, user_id: str) -> None:
        """Delete all that is stored about the caller; of another user with `presence:admin`.

        Where many watch the user, it is refused as `unavailable` until it was asked for often
        enough: each call leaves less to the next.
        """
        await self._call("DELETE", f"/users/{_id(user_id)}")

    # ── chat sessions ───────────────────────────────────────────────────────────────────────

    async def members(
        self, chat_session_id: str, limit: int | None = None, cursor: str | None = None
    ) -> MembersPage:
        """One page of the members of a chat session."""
        path = f"/chat-sessions/{_id(chat_session_id)}/members"
        return parse(MembersPage, await self._call("GET", path, limit=limit, cursor=cursor))

    async def remove_member(self, chat_session_id: str, user_id: str) -> None:
        """Take a user out of a chat session until `allow_member`; needs `presence:admin`."""
        await self._call("DELETE", _member(chat_session_id, user_id))

    async def allow_member(self, chat_session_id: str, user_id: str) -> None:
        """Let a user who was removed join again; needs `presence:admin`."""
        await self._call("PUT", _member(chat_session_id, user_id))

    async def publish(
        self, chat_session_id: str, content: object, client_id: str | None = None
    ) -> Message:
        """Send a message to a chat session; needs `presence:publish`, and no membership.

        Sent again within ten minutes under the same `client_id`, it is the same message.
        """
        path = f"/chat-sessions/{_id(chat_session_id)}/messages"
        named = {} if client_id is None else {"clientId": client_id}
        return parse(Message, await self._call("POST", path, {"content": content, **named}))

    # ── the stack ───────────────────────────────────────────────────────────────────────────

    async def config(self) -> Config:
        """What a client has to know of the stack; needs no token.

        Raises:
            Misconfigured: there is no stack at this URL.
        """
        try:
            found = await self._call("GET", "/config")
        except Refused as refused:
            if refused.status is None or not is_for_good(refused.status):
                raise
            raise Misconfigured("api-url-invalid", f"{self.url}: {refused}") from refused
        if not (isinstance(found, dict) and "webSocketUrl" in found):
            message = f"{self.url}/config is not the configuration of a stack."
            raise Misconfigured("api-url-invalid", message)
        return parse(Config, found)

    async def health(self) -> None:
        """Returns while the stack's table answers; needs no token."""
        await self._call("GET", "/health")

    async def _call(self, method: str, path: str, body: object = None, **query: Any) -> Any:  # noqa: ANN401 - JSON
        if not self.url.startswith(("http://", "https://")):
            message = f"{self.url} is no URL of a stack; one begins with https:// or http://."
            raise Misconfigured("api-url-invalid", message)
        headers = {}
        if self._token is not None and path not in _WITHOUT_TOKEN:
            headers["Authorization"] = f"Bearer {await fresh(self._token)}"
        params = {k: v for k, v in query.items() if v is not None}
        asked = {"json": body, "params": params, "headers": headers}
        answer = await self._answered(method, self.url + path, **asked)
        content = _json(answer)
        if answer.is_success:
            return content
        raise _refusal(answer, content)

    async def _answered(self, method: str, url: str, **asked: Any) -> httpx.Response:  # noqa: ANN401
        try:
            # httpx counts anew with each piece that comes.
            async with asyncio.timeout(self._within):
                return await self._http.request(method, url, **asked)
        except (httpx.ReadTimeout, TimeoutError) as error:
            raise NotAnswered(f"{url} does not answer in time.") from error
        except httpx.InvalidURL as error:
            raise Misconfigured("api-url-invalid", f"{url} is no URL ({error}).") from error
        except httpx.TransportError as error:
            raise CannotConnect(f"{url} does not answer ({error}).") from error


def _json(answer: httpx.Response) -> Any:  # noqa: ANN401
    try:
        return answer.json()
    except ValueError:
        return None


def _refusal(answer: httpx.Response, content: Any) -> Refused:  # noqa: ANN401
    told = content.get("error") if isinstance(content, dict) else None
    status, wait = answer.status_code, answer.headers.get("Retry-After", "")
    if not isinstance(told, dict):
        told = {"message": f"The stack answered with {status}; is the URL that of a stack?"}
    code = told.get("code") or _CODES.get(status, "internal")
    # The protocol writes seconds, never a date (RFC 9110 §10.2.3).
    seconds = float(wait) if wait.isdecimal() else None
    return Refused(code, str(told.get("message")), seconds, status)


def _member(chat_session_id: str, user_id: str) -> str:
    return f"/chat-sessions/{_id(chat_session_id)}/members/{_id(user_id)}"


def _id(text: str) -> str:
    return quote(text, safe="")
