"""Fan-out payloads: the content for each viewer, as values that can wait in a queue.

A queued payload may be delivered late, to connections that came since: so presences are read again
at delivery, membership frames carry `asOf`, and messages carry an id.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, TypeAlias, TypeVar

from presence import limits
from presence.domain.user import Presence, Status, User
from presence.protocol.frames import presence, presence_text, status_change_texts
from presence.protocol.strict_json import Json, Object

Entry = TypeVar("Entry")


class ByViewer(Protocol):
    """Something to send that differs for some viewers; None stands for all the others."""

    @property
    def special_viewers(self) -> frozenset[str]: ...

    def content_for(self, viewer_id: str | None) -> Hashable:
        """What a viewer may see, as a value: equal content makes equal frames."""
        ...

    def frames(self, content: Any) -> Sequence[str]: ...  # noqa: ANN401  what `content_for` gave


@dataclass(frozen=True, slots=True)
class PresenceByViewer:
    """The presence of one user that each viewer is sent; None means that nothing is sent."""

    user_id: str
    usual: Presence | None
    special: Mapping[str, Presence | None] = field(default_factory=dict)

    def seen_by(self, viewer_id: str | None) -> Presence | None:
        return self.usual if viewer_id is None else self.special.get(viewer_id, self.usual)

    @property
    def is_news(self) -> bool:
        """Whether any viewer is sent something."""
        return self.usual is not None or any(self.special.values())

    def without_own_devices(self) -> "PresenceByViewer":
        """The same for all viewers but the user, whose connections are sent it directly."""
        return replace(self, special={**self.special, self.user_id: None})

    def as_of(self, user: User) -> "PresenceByViewer":
        """The same news with the content of *user*: later subscribers know nothing newer."""

        def news(then: Presence | None, viewer_id: str | None) -> Presence | None:
            if then is None:
                return None
            if not user.revision:  # erased: clients that hold the old state take no older version
                return Presence(user.user_id, Status.OFFLINE, None, then.version)
            return user.seen_by(viewer_id)

        names = self.special.keys() | user.special_viewers
        special = {name: news(self.seen_by(name), name) for name in names}
        return PresenceByViewer(self.user_id, news(self.usual, None), special)


#: Entries of a list that differ for a viewer from what all the others see, by their position.
Differences: TypeAlias = tuple[tuple[int, Entry], ...]


def with_differences(usual: Sequence[Entry], differences: Differences[Entry]) -> Sequence[Entry]:
    entries = list(usual)
    for position, entry in differences:
        entries[position] = entry
    return entries


@dataclass(frozen=True)
class PresencePayload:
    """Presence changes of several users."""

    views: Sequence[PresenceByViewer]

    def without(self, user_ids: Collection[str]) -> "PresencePayload":
        return PresencePayload([it for it in self.views if it.user_id not in user_ids])

    @property
    def special_viewers(self) -> frozenset[str]:
        return frozenset(self._special)

    @cached_property
    def _special(self) -> Mapping[str, Differences[Presence | None]]:
        found: defaultdict[str, list[tuple[int, Presence | None]]] = defaultdict(list)
        for position, view in enumerate(self.views):
            for name, seen in view.special.items():
                if seen != view.usual:
                    found[name].append((position, seen))
        return {name: tuple(differences) for name, differences in found.items()}

    def content_for(self, viewer_id: str | None) -> Differences[Presence | None]:
        return self._special.get(viewer_id or "", ())

    @cached_property
    def _usual(self) -> Sequence[str | None]:
        return [_text(view.usual) for view in self.views]

    def frames(self, content: Differences[Presence | None]) -> Sequence[str]:
        differences = tuple((position, _text(seen)) for position, seen in content)
        texts = with_differences(self._usual, differences)
        return tuple(status_change_texts([it for it in texts if it is not None]))


def _text(seen: Presence | None) -> str | None:
    return None if seen is None else presence_text(seen)


@dataclass(frozen=True, slots=True)
class FramesPayload:
    """The same frames for all, except for `special` viewers; `said_at` is in epoch milliseconds."""

    usual: Sequence[str]
    special: Mapping[str, Sequence[str]] = field(default_factory=dict)
    said_at: int = field(kw_only=True)

    def without(self, user_ids: Collection[str]) -> "FramesPayload":
        """Frames are for subscribers who may hear all of them."""
        del user_ids
        return self

    def is_too_late(self, now: int) -> bool:
        """Whether recipients might not have been subscribed when it was said.

        Frames do not name their recipients, and no row says when a subscription began.
        """
        return now - self.said_at > limits.TOO_LATE_MILLISECONDS

    @property
    def special_viewers(self) -> frozenset[str]:
        return frozenset(self.special)

    def content_for(self, viewer_id: str | None) -> tuple[str, ...]:
        return tuple(self.usual if viewer_id is None else self.special.get(viewer_id, self.usual))

    def frames(self, content: tuple[str, ...]) -> Sequence[str]:
        return content


Payload: TypeAlias = PresencePayload | FramesPayload


# ── in the queue ───────────────────────────────────────────────────────────────────────────


def for_jobs(payload: Payload, budget: int) -> Sequence[Payload] | None:
    """The payload in parts of *budget* bytes each; None for frames that are too large for a job.

    The news of one user is never too large, however many viewers are special: a job has no texts.
    """
    match payload:
        case FramesPayload():
            return [payload] if size_of(to_json(payload)) <= budget else None
        case PresencePayload(views):
            return list(_packed(views, budget))


def _packed(views: Iterable[PresenceByViewer], budget: int) -> Iterator[PresencePayload]:
    some, size = list[PresenceByViewer](), 0
    for view in views:
        weight = size_of(_view_to_json(view))
        if some and size + weight > budget:
            yield PresencePayload(some)
            some, size = [], 0
        some.append(view)
        size += weight
    if some:
        yield PresencePayload(some)


def size_of(value: Json) -> int:
    """Bytes of the value in a message: ASCII, with a separator behind it."""
    return len(json.dumps(value)) + 2


def to_json(payload: Payload) -> Object:
    match payload:
        case PresencePayload(views):
            return {"views": [_view_to_json(view) for view in views]}
        case FramesPayload(usual, special, said_at=said_at):
            alike: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
            for viewer_id, frames in special.items():
                alike[tuple(frames)].append(viewer_id)
            groups = [{"viewers": names, "frames": list(it)} for it, names in alike.items()]
            return {"frames": list(usual), "special": groups, "saidAt": said_at}


def from_json(value: Object) -> Payload:
    if "views" in value:
        return PresencePayload([_view_from_json(it) for it in value["views"]])
    special = {name: it["frames"] for it in value["special"] for name in it["viewers"]}
    return FramesPayload(value["frames"], special, said_at=value["saidAt"])


def _view_to_json(view: PresenceByViewer) -> Object:
    return {
        "userId": view.user_id,
        "usual": _to_json(view.usual),
        "special": {name: _to_json(it) for name, it in view.special.items() if it is not None},
        "silent": [name for name, it in view.special.items() if it is None],
    }


def _view_from_json(value: Object) -> PresenceByViewer:
    special = {name: _from_json(it) for name, it in value["special"].items()}
    special |= dict.fromkeys(value["silent"])
    return PresenceByViewer(value["userId"], _from_json(value["usual"]), special)


def _to_json(value: Presence | None) -> Json:
    """What says that there is news for a viewer; `as_of` reads its content again."""
    return None if value is None else presence(replace(value, text=None))


def _from_json(value: Json) -> Presence | None:
    if value is None:
        return None
    return Presence(
        value["userId"],
        Status(value["status"]),
        value["lastSeen"],
        value["version"],
    )
