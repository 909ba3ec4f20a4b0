"""What many connections are told, as values that travel from who decides it to who tells it.

It says for every viewer what they may know. Who tells it may be late, to people who have come
since: so `PresencePayload` are told as of then, and who came into a chat session or left it is
told with its `asOf`. A message is as new as it is: it has its id.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from presence.domain.user import Presence, Status, User
from presence.protocol.frames import presence, status_change_frames
from presence.protocol.strict_json import Json, Object


@dataclass(frozen=True, slots=True)
class View:
    """What there is to tell of one user; nearly all viewers see the same, and None is nothing."""

    usual: Presence | None
    special: Mapping[str, Presence | None] = field(default_factory=dict)

    def seen_by(self, viewer_id: str) -> Presence | None:
        return self.special.get(viewer_id, self.usual)

    @property
    def is_news(self) -> bool:
        """For anybody."""
        return self.usual is not None or any(self.special.values())

    @property
    def user_id(self) -> str:
        """Of whom there is news."""
        return next(it.user_id for it in (self.usual, *self.special.values()) if it is not None)

    def as_of(self, user: User) -> "View":
        """The same news as it is by now: who has come since knows nothing newer (F54, I8)."""

        def told(then: Presence | None, viewer_id: str | None) -> Presence | None:
            if then is None:
                return None
            if not user.revision:  # erased: whoever holds what it was takes no older version
                return Presence(user.user_id, Status.OFFLINE, None, then.version)
            return user.seen_by(viewer_id)

        names = self.special.keys() | user.blocked.keys()
        special = {name: told(self.seen_by(name), name) for name in names}
        return View(told(self.usual, None), special)


@dataclass(frozen=True, slots=True)
class PresencePayload:
    """Changes of users."""

    views: Sequence[View]

    def texts(self, viewer_id: str | None) -> Sequence[str]:
        """The frames for a viewer; None is anybody who sees what all see."""
        seen = (it.usual if viewer_id is None else it.seen_by(viewer_id) for it in self.views)
        return tuple(status_change_frames(it for it in seen if it is not None))

    @property
    def special_viewers(self) -> frozenset[str]:
        return frozenset().union(*(view.special for view in self.views))


#: The queue has repeated by then what it repeats: whatever is older was given up once.
TOO_LATE_MILLISECONDS = 15 * 60_000


@dataclass(frozen=True, slots=True)
class FramesPayload:
    """The same texts for all, but for certain viewers.

    `said_at` is the instant in epoch milliseconds; None if nobody noted it.
    """

    usual: Sequence[str]
    special: Mapping[str, Sequence[str]] = field(default_factory=dict)
    said_at: int | None = None

    def is_too_late(self, now: int) -> bool:
        """Whether those who hear it might not have been there: texts do not say for whom they were.

        When a connection began to listen is written nowhere, so all are treated alike.
        """
        return self.said_at is not None and now - self.said_at > TOO_LATE_MILLISECONDS

    def texts(self, viewer_id: str | None) -> Sequence[str]:
        return self.usual if viewer_id is None else self.special.get(viewer_id, self.usual)

    @property
    def special_viewers(self) -> frozenset[str]:
        return frozenset(self.special)


Payload: TypeAlias = PresencePayload | FramesPayload


class Tellable(Protocol):
    """What differs between viewers only for some."""

    @property
    def special_viewers(self) -> frozenset[str]: ...

    def texts(self, viewer_id: str | None) -> Sequence[str]: ...


def shared_out(news: Tellable, viewers: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """By text, the connections to tell it to; *viewers* are connections and whose they are."""
    special, usual = news.special_viewers, news.texts(None)
    found: dict[str, Sequence[str]] = {}
    told: defaultdict[str, list[str]] = defaultdict(list)
    for connection_id, user_id in viewers:
        texts = usual
        if user_id in special:
            if user_id not in found:
                found[user_id] = news.texts(user_id)
            texts = found[user_id]
        for text in texts:
            told[text].append(connection_id)
    return told


# ── as JSON ────────────────────────────────────────────────────────────────────────────────


def packed(views: Iterable[View], room: int) -> tuple[Sequence[PresencePayload], Sequence[View]]:
    """The views in as few parts as are below *room* bytes each, and those that fit into none."""
    parts, left = list[PresencePayload](), list[View]()
    some, size = list[View](), 0
    for view in views:
        weight = size_of(_view_to_json(view))
        if weight > room:
            left.append(view)
            continue
        if size + weight > room:
            parts.append(PresencePayload(some))
            some, size = [], 0
        some.append(view)
        size += weight
    return [*parts, PresencePayload(some)] if some else parts, left


def size_of(value: Json) -> int:
    """Bytes of the value in a message: ASCII, with a separator behind it."""
    return len(json.dumps(value)) + 2


def to_json(news: Payload) -> Object:
    match news:
        case PresencePayload(views):
            return {"views": [_view_to_json(view) for view in views]}
        case FramesPayload(usual, special, said_at):
            alike: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
            for viewer_id, texts in special.items():
                alike[tuple(texts)].append(viewer_id)
            groups = [{"viewers": names, "texts": list(it)} for it, names in alike.items()]
            return {"texts": list(usual), "special": groups, "saidAt": said_at}


def from_json(value: Object) -> Payload:
    if "views" in value:
        return PresencePayload([_view_from_json(it) for it in value["views"]])
    special = {name: it["texts"] for it in value["special"] for name in it["viewers"]}
    return FramesPayload(value["texts"], special, value["saidAt"])


def _view_to_json(view: View) -> Object:
    return {
        "usual": _to_json(view.usual),
        "special": {name: _to_json(it) for name, it in view.special.items() if it is not None},
        "silent": [name for name, it in view.special.items() if it is None],
    }


def _view_from_json(value: Object) -> View:
    special = {name: _from_json(it) for name, it in value["special"].items()}
    return View(_from_json(value["usual"]), {**special, **dict.fromkeys(value["silent"])})


def _to_json(value: Presence | None) -> Json:
    return None if value is None else presence(value)


def _from_json(value: Json) -> Presence | None:
    if value is None:
        return None
    return Presence(
        value["userId"],
        Status(value["status"]),
        value["lastSeen"],
        value["version"],
        value.get("text"),
    )
