"""From diffs and recipients to a list of (recipients, payload). Pure, without I/O."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from presence.fanout.diffs import MembershipDiff, UserDiff
from presence.fanout.payloads import ByViewer, Payload, PresencePayload
from presence.fanout.recipients import Few, Recipients, Sampled, TooMany
from presence.ports import EVERYONE, Subscriber, Topic


@dataclass(frozen=True, slots=True)
class ToFew:
    """To be posted at once."""

    subscribers: Sequence[Subscriber]
    payload: ByViewer


@dataclass(frozen=True, slots=True)
class ToMany:
    """To be posted by jobs, one for each shard of the topic."""

    topic: Topic
    shards: int
    payload: Payload


Send: TypeAlias = ToFew | ToMany
_Source: TypeAlias = tuple[Iterable[Subscriber], Sequence[UserDiff]]


def changes_by_topic(
    diffs: Iterable[UserDiff], *, is_global: bool
) -> Mapping[Topic, Sequence[UserDiff]]:
    """For each topic whose subscribers may have to be sent presence changes, these changes.

    The topics of a user are the user's watchers and chat sessions; or everyone, who include them.
    """
    found: defaultdict[Topic, list[UserDiff]] = defaultdict(list)
    for diff in diffs:
        sessions = (Topic("session", session_id) for session_id in sorted(diff.sessions))
        own = (EVERYONE,) if is_global else (Topic("user", diff.user.user_id), *sessions)
        for topic in own if diff.presence.is_news else ():
            found[topic].append(diff)
    return found


def plan(
    diffs: Iterable[UserDiff],
    by_topic: Mapping[Topic, Sequence[UserDiff]],
    memberships: Iterable[MembershipDiff],
    found: Mapping[Topic, Recipients],
    unseen: Collection[tuple[str, str]] = (),
) -> Sequence[Send]:
    """What is sent to which recipients; *found* has each topic of the changes.

    *unseen* are connections, and the users that they must not be told of.
    """
    jobs = list[Send]()
    sources: list[_Source] = [(diff.devices, [diff]) for diff in diffs if diff.presence.is_news]
    for topic, changes in by_topic.items():
        match found[topic]:
            case Few(subscribers):
                sources += _sources(subscribers, changes, unseen)
            case TooMany(shards):
                views = (it.presence.without_own_devices() for it in changes)
                if others := [it for it in views if it.is_news]:
                    jobs.append(ToMany(topic, shards, PresencePayload(others)))
            case Sampled():
                pass  # the members of a large room are sent its ticks
    moves = (_membership_send(it, found[Topic("session", it.session_id)]) for it in memberships)
    return [*jobs, *_to_few(sources), *moves]


def _sources(
    subscribers: Sequence[Subscriber],
    changes: Sequence[UserDiff],
    unseen: Collection[tuple[str, str]],
) -> Iterator[_Source]:
    if not unseen:
        yield subscribers, changes
        return
    for it in changes:
        name = it.user.user_id
        yield [one for one in subscribers if (one.connection_id, name) not in unseen], [it]


def _membership_send(diff: MembershipDiff, found: Recipients) -> Send:
    match found:
        case Few(subscribers):
            return ToFew(subscribers, diff)
        case TooMany(shards) | Sampled(shards):
            return ToMany(Topic("session", diff.session_id), shards, diff.as_frames())


def _to_few(sources: Sequence[_Source]) -> Iterable[ToFew]:
    """One send for all subscribers that are sent the same changes; each subscriber once."""
    # Topics of the same changes count as one: users may share many chat sessions.
    different: dict[tuple[str, ...], Sequence[UserDiff]] = {}
    listed: defaultdict[Subscriber, dict[tuple[str, ...], None]] = defaultdict(dict)
    for subscribers, changes in sources:
        names = tuple(it.user.user_id for it in changes)
        different[names] = changes
        for subscriber in subscribers:
            listed[subscriber][names] = None
    alike: defaultdict[tuple[tuple[str, ...], ...], list[Subscriber]] = defaultdict(list)
    for subscriber, some_names in listed.items():
        alike[tuple(some_names)].append(subscriber)
    sends: dict[frozenset[str], tuple[list[Subscriber], PresencePayload]] = {}
    for sent, some in alike.items():
        views = {it.user.user_id: it.presence for names in sent for it in different[names]}
        payload = PresencePayload(list(views.values()))
        sends.setdefault(frozenset(views), ([], payload))[0].extend(some)
    return (ToFew(subscribers, payload) for subscribers, payload in sends.values())
