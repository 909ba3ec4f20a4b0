"""The aggregates, in the Users table: compare-and-swap, and a renewal that needs none."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import reduce as fold
from operator import and_
from typing import Any

from pynamodb.attributes import Attribute
from pynamodb.connection import Connection as Client
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from presence.adapters.dynamodb.connections import connection_update
from presence.adapters.dynamodb.online_index import shard_of
from presence.adapters.dynamodb.subscriptions import places_for, row_changes, subscription_changes
from presence.adapters.dynamodb.tables import (
    ConditionFailed,
    FloorItem,
    Item,
    Operation,
    TransactionRefused,
    UserItem,
    instant,
    plain,
    update_of,
    write,
)
from presence.adapters.dynamodb.topics import Shards
from presence.chunks import chunked
from presence.domain.connection import ConnectionChange
from presence.domain.disclosure import Disclosure, Rules
from presence.domain.errors import RateLimited, Unavailable
from presence.domain.rate_limit import Arrivals, Charge, Take
from presence.domain.standing import Standing
from presence.domain.user import (
    Choice,
    EarlierChoice,
    Farewell,
    FrozenView,
    Lease,
    Returned,
    Scene,
    Status,
    User,
)
from presence.limits import (
    CONFLICT_ATTEMPTS,
    MANY_CHANGES,
    MAX_BATCH_READ,
    MAX_OPERATIONS,
    RETENTION_SECONDS,
    USERS_TOGETHER,
)
from presence.ports import Pinged, Renewal, TooManyRows, UserChange, WriteConflict


class DynamoDBUsers:
    """`is_global`: every connection subscribes to all users (the stack's `GlobalPresence`)."""

    def __init__(
        self,
        client: Client,
        *,
        is_global: bool,
        shards: Shards | None = None,
        rules: Rules = Rules(),  # noqa: B008  frozen
    ) -> None:
        self._client = client
        self._is_global = is_global
        self._shards = shards or Shards()
        self._rules = rules

    def read(self, user_id: str, *, consistent: bool = False) -> User:
        try:
            return _user(UserItem.get(user_id, consistent_read=consistent), self._rules)
        except UserItem.DoesNotExist:
            return User(user_id, rules=self._rules)

    def read_many(
        self, user_ids: Collection[str], *, consistent: bool = False
    ) -> Mapping[str, User]:
        return users_of(user_ids, consistent=consistent, rules=self._rules)

    def save(
        self,
        before: User,
        after: User,
        now: int,
        *,
        announce: bool,
        connection_change: ConnectionChange | None = None,
    ) -> bool:
        swap = _swap(before, after, now, announce=announce)
        others = [*row_changes(before, after)]
        if connection_change is not None:
            places = places_for(connection_change, after, self._shards, is_global=self._is_global)
            others += [
                {"Update": connection_update(connection_change, after, places)},
                *subscription_changes(connection_change, after, places),
            ]
        if not others:
            self._save_alone(swap, replace(after, revision=before.revision + 1))
            return True
        return self._save_together(swap, others)

    def _save_alone(self, swap: Operation, saved: User) -> None:
        try:
            write(self._client, "UpdateItem", swap)
        except ConditionFailed as error:
            current = _user_in(error.item, self._rules)
            if not (error.is_repeated and current == saved):
                raise WriteConflict(current) from error

    def _save_together(self, swap: Operation, others: Sequence[Operation]) -> bool:
        operations = [{"Update": swap}, *others]
        if len(operations) > MAX_OPERATIONS:
            raise TooManyRows
        try:
            write(self._client, "TransactWriteItems", {"TransactItems": operations})
        except TransactionRefused as error:
            user, *rest = error.items
            if any(item is not None for item in rest):
                return False
            raise WriteConflict(_user_in(user, self._rules)) from error
        return True

    def save_all(self, changes: Sequence[UserChange], now: int) -> Collection[str]:
        if len(changes) < MANY_CHANGES:  # a transaction costs twice as much
            return self._save_each(changes, now)
        refused = list[str]()
        for some, operations in _together(changes, now):
            try:
                write(self._client, "TransactWriteItems", {"TransactItems": operations})
            except (TransactionRefused, Unavailable):
                refused += self._save_each(some, now)
        return refused

    def _save_each(self, changes: Iterable[UserChange], now: int) -> list[str]:
        return [it.after.user_id for it in changes if not self._is_saved(it, now)]

    def _is_saved(self, it: UserChange, now: int) -> bool:
        try:
            return self.save(it.before, it.after, now, announce=it.announce)
        except (WriteConflict, Unavailable):
            return False

    def renew(
        self,
        user_id: str,
        connection_id: str,
        lease: Lease,
        *,
        is_active: bool | None,
        heard_by: int,
    ) -> Pinged:
        pinged = self._renew(user_id, connection_id, lease, is_active, heard_by)
        if pinged.is_done or pinged.user is None:
            return pinged
        current = pinged.user.leases.get(connection_id)
        if current is None:
            return pinged
        shorter = current.within_token(lease)
        takes = current.takes_ping(shorter, is_active=is_active, heard_by=heard_by)
        if shorter == lease or not takes:
            return pinged
        return self._renew(user_id, connection_id, shorter, is_active, heard_by)

    def _renew(
        self,
        user_id: str,
        connection_id: str,
        lease: Lease,
        is_active: bool | None,
        heard_by: int,
    ) -> Pinged:
        path = UserItem.leases[connection_id]
        condition = path["seen_at"] <= heard_by  # false for a lease that does not exist
        if is_active is not None:
            condition &= path["active"] == is_active
        actions = [*_renewing(path, lease), UserItem.changed.remove()]
        update = update_of(UserItem(user_id), actions, condition & _takes(path, lease))
        try:
            item = write(self._client, "UpdateItem", update | {"ReturnValues": "ALL_NEW"})
        except ConditionFailed as error:
            user = user_in_image(error.item, user_id, self._rules)
            current = user.leases.get(connection_id)
            is_same = current is not None and _times(current) == _times(lease)
            return Pinged(is_done=error.is_repeated and is_same, user=user)
        return Pinged(
            is_done=True,
            user=None if _is_plain(item) else user_in_image(item, user_id, self._rules),
        )

    def floor(self) -> int:
        try:
            return int(FloorItem.get(FloorItem.KEY, consistent_read=True).version)
        except FloorItem.DoesNotExist:
            return 0

    def raise_floor(self, version: int) -> None:
        is_greater = FloorItem.version.does_not_exist() | (FloorItem.version < version)
        update = update_of(FloorItem(FloorItem.KEY), [FloorItem.version.set(version)], is_greater)
        with suppress(ConditionFailed):
            write(self._client, "UpdateItem", update)

    def act(self, user_id: str, connection_id: str, lease: Lease, charge: Charge) -> Renewal:
        # At first as if all limits were at rest; a refusal says, at no extra read, how they are.
        known, user = Arrivals(), User(user_id, rules=self._rules)
        renews, usual = True, lease
        for _ in range(CONFLICT_ATTEMPTS):
            update = _acting(user_id, connection_id, lease if renews else None, charge, known)
            try:
                item = write(self._client, "UpdateItem", update | {"ReturnValues": "ALL_NEW"})
            except ConditionFailed as error:
                user = user_in_image(error.item, user_id, self._rules)
            else:
                return Renewal(user_in_image(item, user_id, self._rules), is_done=True)
            current = user.leases.get(connection_id)
            if current is None:
                break
            known = user.arrivals(connection_id)
            known.after(charge)
            lease = current.renewed_by(usual)
            renews = current.takes(lease)
        return Renewal(user, is_done=False)

    def charge(self, user_id: str, charge: Charge) -> bool:
        arrival = 0
        for _ in range(CONFLICT_ATTEMPTS):
            action, allows = _taking(UserItem.arrival, charge.user, arrival)
            actions, is_stored = [action, UserItem.changed.remove()], UserItem.revision.exists()
            try:
                write(
                    self._client,
                    "UpdateItem",
                    update_of(UserItem(user_id), actions, allows & is_stored),
                )
            except ConditionFailed as error:
                if error.item is None:
                    return False
                arrival = user_in_image(error.item, user_id, self._rules).arrival
                charge.user.of(arrival)
            else:
                return True
        raise RateLimited("Send one request after the other.", retry_after_seconds=1)

    def mark_probed(self, user_id: str, now: int, if_before: int) -> User | None:
        is_due = UserItem.probed_at.does_not_exist() | (UserItem.probed_at <= if_before)
        actions = [UserItem.probed_at.set(now), UserItem.changed.remove()]
        update = update_of(UserItem(user_id), actions, is_due & UserItem.revision.exists())
        try:
            item = write(self._client, "UpdateItem", update | {"ReturnValues": "ALL_NEW"})
        except ConditionFailed as error:
            was_done = error.was_done({"probed_at": {"N": str(now)}})
            return _user_in(error.item, self._rules) if was_done else None
        return _user_in(item, self._rules)

    def forget(self, user: User) -> None:
        same = UserItem.user_id.does_not_exist() | (UserItem.revision == user.revision)
        try:
            write(
                self._client,
                "DeleteItem",
                UserItem(user.user_id).get_delete_kwargs_from_instance(condition=same),
            )
        except ConditionFailed as error:
            raise WriteConflict(_user_in(error.item, self._rules)) from error


def users_of(
    user_ids: Collection[str], *, consistent: bool, rules: Rules | None = None
) -> Mapping[str, User]:
    """As `Users.read_many`."""
    rules = rules or Rules()
    users = {user_id: User(user_id, rules=rules) for user_id in user_ids}
    for batch in chunked(list(users), MAX_BATCH_READ):
        # PynamoDB asks again for the keys that DynamoDB left unprocessed.
        found = UserItem.batch_get(batch, consistent_read=consistent)
        users |= {item.user_id: _user(item, rules) for item in found}
    return users


def _swap(before: User, after: User, now: int, *, announce: bool) -> Operation:
    fields: Sequence[tuple[Attribute[Any], Any]] = [
        (UserItem.revision, before.revision + 1),
        *_presence_fields(after),
        *_views_fields(after),
        (UserItem.sessions, _sessions_item(after) or None),
        (UserItem.devices, _masks(after.leases, _devices) or None),
        (UserItem.changed, True if announce else None),
        (UserItem.online_shard, shard_of(after.user_id) if after.is_listed else None),
        (UserItem.ttl, _ttl(after, now)),
    ]
    set_or_remove = (
        attribute.remove() if value is None else attribute.set(value) for attribute, value in fields
    )
    actions = [*set_or_remove, *_lease_actions(before, after)]
    if after.arrival != before.arrival:
        actions.append(UserItem.arrival.set(after.arrival))
    return update_of(UserItem(after.user_id), actions, _unchanged(before, after))


def _presence_fields(after: User) -> Sequence[tuple[Attribute[Any], Any]]:
    return [
        (UserItem.version, after.version),
        (UserItem.own_version, after.own_version),
        (UserItem.choice, after.choice.value),
        (UserItem.text, after.text),
        (UserItem.data, after.data),
        (UserItem.until, after.until),
        (UserItem.status, after.status.value),
        (UserItem.grace_until, after.grace_until),
        (UserItem.last_seen, after.last_seen),
        (UserItem.earlier, _earlier_items(after.earlier)),
        (UserItem.chosen_at, after.chosen_at or None),
        (UserItem.active_at, after.active_at or None),
        (UserItem.disclosure, _unusual(after.disclosure)),
    ]


def _views_fields(after: User) -> Sequence[tuple[Attribute[Any], Any]]:
    """What some viewers see instead, and what tokens and chat sessions are refused."""
    scenes, farewell = _scenes(after), after.farewell
    views = {name: _view_item(it, scenes) for name, it in after.blocked.items()}
    return [
        (UserItem.farewell, farewell and _farewell_item(farewell, scenes)),
        (
            UserItem.returned,
            {name: _returned_item(it) for name, it in after.returned.items()} or None,
        ),
        (UserItem.blocked, views or None),
        (UserItem.not_before, after.standing.not_before or None),
        (UserItem.revoked, dict(after.standing.revoked) or None),
        (UserItem.barred, dict.fromkeys(sorted(after.standing.barred), 1) or None),
        (UserItem.has_blocked, after.has_blocked or None),
    ]


def _together(
    changes: Iterable[UserChange], now: int
) -> Iterator[tuple[Sequence[UserChange], Sequence[Operation]]]:
    """Changes that one transaction takes, and its operations."""
    some, operations = list[UserChange](), list[Operation]()
    for it in changes:
        swap = _swap(it.before, it.after, now, announce=it.announce)
        own = [{"Update": swap}, *row_changes(it.before, it.after)]
        if some and (len(some) == USERS_TOGETHER or len(operations) + len(own) > MAX_OPERATIONS):
            yield some, operations
            some, operations = [], []
        some.append(it)
        operations += own
    if some:
        yield some, operations


def _ttl(user: User, now: int) -> int | None:
    """None for a user who hides anything: expiry must not show the user again.

    Neither must it let a user in who is barred. What is revoked ends long before that.
    """
    choices = {user.choice, *(it.choice for it in user.earlier)}
    hides = user.blocked or Choice.INVISIBLE in choices or _unusual(user.disclosure)
    if hides or user.standing.barred:
        return None
    until = user.standing.matters_until()
    is_erased = until and user == user.erased()
    return (until or 0) // 1000 if is_erased else now // 1000 + RETENTION_SECONDS


def _lease_actions(before: User, after: User) -> Iterator[Action]:
    """Only the leases that differ: the others may be renewed at the same time."""
    if before.revision == 0:  # there is no map yet in which to set a lease
        yield UserItem.leases.set({name: _lease_item(it) for name, it in after.leases.items()})
        return
    for name in before.leases.keys() | after.leases.keys():
        lease = after.leases.get(name)
        if lease is None:
            yield UserItem.leases[name].remove()
        elif lease != before.leases.get(name):
            yield UserItem.leases[name].set(_lease_item(lease))


def _unchanged(before: User, after: User) -> Condition:
    """The revision is the same, and so is each lease that is touched, and its rate limit.

    Renewals and charges do not raise the revision. A frame may move only `seen_at`: a lease that
    ends with its token ends then whatever comes.
    """
    if before.revision == 0:
        return UserItem.user_id.does_not_exist()
    touched = [
        (UserItem.leases[name]["expires_at"] == lease.expires_at)
        & (UserItem.leases[name]["seen_at"] == lease.seen_at)
        & _is_at(UserItem.leases[name]["arrival"], lease.arrival)
        for name, lease in before.leases.items()
        if after.leases.get(name) != lease
    ]
    if after.arrival != before.arrival:
        touched.append(_is_at(UserItem.arrival, before.arrival))
    return fold(and_, touched, UserItem.revision == before.revision)


# ── rate limits ────────────────────────────────────────────────────────────────────────────


def _is_at(arrival: Any, instant: int) -> Condition:  # noqa: ANN401  an attribute, or a path in a map
    same: Condition = arrival == instant
    return same if instant else same | arrival.does_not_exist()


def _taking(arrival: Any, take: Take, known: int) -> tuple[Action, Condition]:  # noqa: ANN401
    """One of the two writes of `Take.of`; *known* says which one to try."""
    if known >= take.now:
        # Not ADD, which takes no path into a map.
        return arrival.set(arrival + take.cost), arrival.between(take.now, take.latest)
    return arrival.set(take.restart), arrival.does_not_exist() | (arrival < take.now)


def _acting(
    user_id: str, connection_id: str, lease: Lease | None, charge: Charge, known: Arrivals
) -> Operation:
    path = UserItem.leases[connection_id]
    user, user_allows = _taking(UserItem.arrival, charge.user, known.user)
    own, own_allows = _taking(path["arrival"], charge.connection, known.connection)
    actions, condition = [user, own, UserItem.changed.remove()], path.exists()
    condition &= user_allows & own_allows
    if lease is not None:
        condition &= _takes(path, lease)
        actions += _renewing(path, lease)
    return update_of(UserItem(user_id), actions, condition)


def _takes(path: Any, lease: Lease) -> Condition:  # noqa: ANN401
    """As `Lease.takes`, of a lease that lasts as long."""
    ends_by, lasts = path["ends_by"], path["lasts"]
    is_later = path["expires_at"] <= lease.expires_at
    is_same = lasts.does_not_exist() if lease.lasts is None else lasts == lease.lasts
    is_in_time = ends_by.does_not_exist() | (ends_by >= lease.expires_at)
    takes: Condition = is_later & is_same & is_in_time
    return takes


def _renewing(path: Any, lease: Lease) -> Sequence[Action]:  # noqa: ANN401
    return [path["expires_at"].set(lease.expires_at), path["seen_at"].set(lease.seen_at)]


def _is_plain(image: Item) -> bool:
    """Whether a ping that is done has nothing more to look at; see `Pinged`."""
    is_alone = len(image["leases"]["M"]) == 1
    return is_alone and not image.keys() & {"not_before", "revoked"}


def _times(lease: Lease) -> tuple[int, int]:
    return lease.expires_at, lease.seen_at


def _lease_item(lease: Lease) -> Item:
    item: Item = {
        "expires_at": lease.expires_at,
        "seen_at": lease.seen_at,
        "active": lease.is_active,
    }
    if lease.ends_by is not None:
        item["ends_by"] = lease.ends_by
    if lease.arrival:
        item["arrival"] = lease.arrival
    if lease.lasts is not None:
        item["lasts"] = lease.lasts
    return item


def _masks(
    leases: Mapping[str, Lease], names_of: Callable[[Lease], Collection[str]]
) -> dict[str, int]:
    """Each name once: bit n is set if the n-th lease has it, in the order of their ids.

    Each write of the user that adds or removes a lease writes them, and a renewal does not.
    """
    masks: dict[str, int] = {}
    for number, connection_id in enumerate(sorted(leases)):
        for name in names_of(leases[connection_id]):
            masks[name] = masks.get(name, 0) | 1 << number
    return masks


def _devices(lease: Lease) -> Collection[str]:
    return () if lease.device is None else (lease.device,)


def _named(masks: Mapping[str, int], number: int) -> frozenset[str]:
    return frozenset(name for name, mask in masks.items() if mask >> number & 1)


def _leases(item: UserItem) -> dict[str, Lease]:
    leases, devices = plain(item.leases), item.devices or {}
    sessions = (item.sessions or {}).get("joined", {})
    return {
        name: _lease(leases[name], next(iter(_named(devices, n)), None), _named(sessions, n))
        for n, name in enumerate(sorted(leases))
    }


def _lease(item: Item, device: str | None, sessions: frozenset[str]) -> Lease:
    return Lease(
        int(item["expires_at"]),
        int(item["seen_at"]),
        device,
        bool(item["active"]),
        sessions,
        instant(item.get("ends_by")),
        int(item.get("arrival", 0)),
        instant(item.get("lasts")),
    )


def _view_item(view: FrozenView, scenes: Mapping[Scene, int]) -> Item:
    item = {
        "version": view.version,
        "last_seen": view.last_seen,
        "farewell": view.farewell and _farewell_item(view.farewell, scenes),
        "disclosure": _unusual(view.disclosure),
    }
    return _known(item)


def _view(item: Item, scenes: Mapping[str, Item]) -> FrozenView:
    farewell = _farewell(item.get("farewell"), scenes)
    disclosure = Disclosure(item.get("disclosure", Disclosure.EXACT))
    return FrozenView(instant(item.get("last_seen")), int(item["version"]), farewell, disclosure)


# ── chat sessions, and what is seen of a user who hides ────────────────────────────────────


def _scenes(user: User) -> Mapping[Scene, int]:
    """Each scene, with its number."""
    return {scene: n for n, scene in enumerate(dict.fromkeys(it.scene for it in user.farewells))}


def _sessions_item(user: User) -> Item:
    """All that names chat sessions: compressed together, each name takes its bytes once."""
    scenes = {str(number): _scene_item(it) for it, number in _scenes(user).items()}
    item = {
        "joined": _masks(user.leases, lambda it: it.sessions) or None,
        "leaving": dict(user.pending_leaves) or None,
        "scenes": scenes or None,
    }
    return _known(item)


def _scene_item(scene: Scene) -> Item:
    status, text, data, sessions = scene
    said = {"status": status.value, "text": text, "data": data}
    return _known({**said, "sessions": dict(sessions) or None})


def _farewell_item(it: Farewell, scenes: Mapping[Scene, int]) -> Item:
    return {"until": it.until, "scene": str(scenes[it.scene])}


def _farewell(item: Item | None, scenes: Mapping[str, Item]) -> Farewell | None:
    if not item:
        return None
    until, scene = int(item["until"]), scenes[item["scene"]]
    sessions = {name: until if at is None else at for name, at in scene.get("sessions", {}).items()}
    status, text, data = Status(scene["status"]), scene.get("text"), scene.get("data")
    return Farewell(until, status, text, sessions, data)


def _returned_item(it: Returned) -> Item:
    return _known({"ahead": it.ahead, "last_seen": it.last_seen})


def _earlier_items(earlier: Sequence[EarlierChoice]) -> Item | None:
    items = [{"choice": it.choice.value, "text": it.text, "until": it.until} for it in earlier]
    return {str(number): _known(item) for number, item in enumerate(items)} or None


def _earlier(items: Item) -> tuple[EarlierChoice, ...]:
    ordered = (items[name] for name in sorted(items, key=int))
    return tuple(
        EarlierChoice(Choice(it["choice"]), it.get("text"), instant(it.get("until")))
        for it in ordered
    )


def _known(item: Item) -> Item:
    return {name: value for name, value in item.items() if value is not None}


def _unusual(disclosure: Disclosure) -> str | None:
    return None if disclosure is Disclosure.EXACT else disclosure.value


def user_in_image(image: Item | None, user_id: str, rules: Rules) -> User:
    """The user in a stream record's image or a refused write's item; an unknown user for None."""
    return _user_in(image, rules) or User(user_id, rules=rules)


def _user_in(item: Item | None, rules: Rules) -> User | None:
    return _user(UserItem.from_raw_data(item), rules) if item else None


def _user(item: UserItem, rules: Rules) -> User:
    sessions = item.sessions or {}
    scenes = sessions.get("scenes", {})
    return User(
        user_id=item.user_id,
        revision=int(item.revision),
        version=int(item.version),
        own_version=int(item.own_version),
        leases=_leases(item),
        choice=Choice(item.choice or Choice.ONLINE),
        text=item.text,
        data=item.data,
        until=instant(item.until),
        status=Status(item.status or Status.OFFLINE),
        grace_until=instant(item.grace_until),
        pending_leaves=sessions.get("leaving", {}),
        last_seen=instant(item.last_seen),
        earlier=_earlier(item.earlier or {}),
        chosen_at=instant(item.chosen_at) or 0,
        farewell=_farewell(item.farewell, scenes),
        active_at=instant(item.active_at) or 0,
        disclosure=Disclosure(item.disclosure or Disclosure.EXACT),
        returned={name: _returned(it) for name, it in (item.returned or {}).items()},
        blocked={name: _view(it, scenes) for name, it in (item.blocked or {}).items()},
        standing=_standing(item),
        rules=rules,
        arrival=int(item.arrival or 0),
        probed_at=instant(item.probed_at) or 0,
        has_blocked=bool(item.has_blocked),
    )


def _returned(item: Item) -> Returned:
    return Returned(int(item["ahead"]), instant(item.get("last_seen")))


def _standing(item: UserItem) -> Standing:
    return Standing(int(item.not_before or 0), item.revoked or {}, frozenset(item.barred or ()))
