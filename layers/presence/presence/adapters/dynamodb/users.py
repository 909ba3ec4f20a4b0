"""The aggregates, in the Users table: compare-and-swap, and a renewal that needs none."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from presence.domain.errors import Unavailable
from presence.domain.standing import Standing
from presence.domain.user import (
    Choice,
    EarlierChoice,
    Farewell,
    FrozenView,
    Lease,
    Returned,
    Status,
    User,
)
from presence.limits import (
    MANY_CHANGES,
    MAX_BATCH_READ,
    MAX_OPERATIONS,
    RETENTION_SECONDS,
    USERS_TOGETHER,
)
from presence.ports import Renewal, TooManyRows, UserChange, WriteConflict


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
        users = {user_id: User(user_id, rules=self._rules) for user_id in user_ids}
        for batch in chunked(list(users), MAX_BATCH_READ):
            # PynamoDB asks again for the keys that DynamoDB left unprocessed.
            found = UserItem.batch_get(batch, consistent_read=consistent)
            users |= {item.user_id: _user(item, self._rules) for item in found}
        return users

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
        if_before: int,
    ) -> Renewal:
        path = UserItem.leases[connection_id]
        condition = path["expires_at"] <= if_before  # false for a lease that does not exist
        if is_active is not None:
            condition &= path["active"] == is_active
        # An item of before this rule has no such end.
        ends_by = path["ends_by"]
        condition &= ends_by.does_not_exist() | (ends_by >= lease.expires_at)
        actions = [
            path["expires_at"].set(lease.expires_at),
            path["seen_at"].set(lease.seen_at),
            UserItem.changed.remove(),
        ]
        update = update_of(UserItem(user_id), actions, condition)
        try:
            item = write(self._client, "UpdateItem", update | {"ReturnValues": "ALL_NEW"})
        except ConditionFailed as error:
            user = user_in_image(error.item, user_id, self._rules)
            current = user.leases.get(connection_id)
            is_same = current is not None and _times(current) == _times(lease)
            return Renewal(user, is_done=error.is_repeated and is_same)
        return Renewal(user_in_image(item, user_id, self._rules), is_done=True)

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


def _swap(before: User, after: User, now: int, *, announce: bool) -> Operation:
    fields: Sequence[tuple[Attribute[Any], Any]] = [
        (UserItem.revision, before.revision + 1),
        (UserItem.version, after.version),
        (UserItem.own_version, after.own_version),
        (UserItem.choice, after.choice.value),
        (UserItem.text, after.text),
        (UserItem.until, after.until),
        (UserItem.status, after.status.value),
        (UserItem.grace_until, after.grace_until),
        (UserItem.pending_leaves, dict(after.pending_leaves) or None),
        (UserItem.last_seen, after.last_seen),
        (UserItem.earlier, _earlier_items(after.earlier)),
        (UserItem.chosen_at, after.chosen_at or None),
        (UserItem.farewell, after.farewell and _farewell_item(after.farewell)),
        (UserItem.active_at, after.active_at or None),
        (UserItem.disclosure, _unusual(after.disclosure)),
        (
            UserItem.returned,
            {name: _returned_item(it) for name, it in after.returned.items()} or None,
        ),
        (UserItem.blocked, {name: _view_item(it) for name, it in after.blocked.items()} or None),
        (UserItem.not_before, after.standing.not_before or None),
        (UserItem.revoked, dict(after.standing.revoked) or None),
        (UserItem.barred, set(after.standing.barred) or None),
        (UserItem.changed, True if announce else None),
        (UserItem.online_shard, shard_of(after.user_id) if after.is_listed else None),
        (UserItem.ttl, _ttl(after, now)),
    ]
    set_or_remove = (
        attribute.remove() if value is None else attribute.set(value) for attribute, value in fields
    )
    actions = [*set_or_remove, *_lease_actions(before, after)]
    return update_of(UserItem(after.user_id), actions, _unchanged(before, after))


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
    """The revision is the same, and so is the end of every lease that the write touches.

    Renewals do not raise the revision.
    """
    if before.revision == 0:
        return UserItem.user_id.does_not_exist()
    touched = (
        UserItem.leases[name]["expires_at"] == lease.expires_at
        for name, lease in before.leases.items()
        if after.leases.get(name) != lease
    )
    return fold(and_, touched, UserItem.revision == before.revision)


def _times(lease: Lease) -> tuple[int, int]:
    return lease.expires_at, lease.seen_at


def _lease_item(lease: Lease) -> Item:
    item: Item = {
        "expires_at": lease.expires_at,
        "seen_at": lease.seen_at,
        "active": lease.is_active,
    }
    if lease.device is not None:
        item["device"] = lease.device
    if lease.sessions:
        item["sessions"] = sorted(lease.sessions)
    if lease.ends_by is not None:
        item["ends_by"] = lease.ends_by
    return item


def _lease(item: Item) -> Lease:
    return Lease(
        int(item["expires_at"]),
        int(item["seen_at"]),
        item.get("device"),
        bool(item["active"]),
        frozenset(item.get("sessions", ())),
        instant(item.get("ends_by")),
    )


def _view_item(view: FrozenView) -> Item:
    item = {
        "version": view.version,
        "last_seen": view.last_seen,
        "farewell": view.farewell and _farewell_item(view.farewell),
        "disclosure": _unusual(view.disclosure),
    }
    return _known(item)


def _view(item: Item) -> FrozenView:
    farewell = _farewell(item.get("farewell"))
    disclosure = Disclosure(item.get("disclosure", Disclosure.EXACT))
    return FrozenView(instant(item.get("last_seen")), int(item["version"]), farewell, disclosure)


def _farewell_item(it: Farewell) -> Item:
    sessions = dict(it.sessions) or None
    item = {"until": it.until, "status": it.status.value, "text": it.text, "sessions": sessions}
    return _known(item)


def _farewell(item: Item | None) -> Farewell | None:
    if not item:
        return None
    sessions = {name: int(until) for name, until in item.get("sessions", {}).items()}
    return Farewell(int(item["until"]), Status(item["status"]), item.get("text"), sessions)


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
    returned = (item.returned or {}).items()
    return User(
        user_id=item.user_id,
        revision=int(item.revision),
        version=int(item.version),
        own_version=int(item.own_version),
        leases={name: _lease(it) for name, it in plain(item.leases).items()},
        choice=Choice(item.choice or Choice.ONLINE),
        text=item.text,
        until=instant(item.until),
        status=Status(item.status or Status.OFFLINE),
        grace_until=instant(item.grace_until),
        pending_leaves={name: int(it) for name, it in (item.pending_leaves or {}).items()},
        last_seen=instant(item.last_seen),
        earlier=_earlier(item.earlier or {}),
        chosen_at=instant(item.chosen_at) or 0,
        farewell=_farewell(item.farewell),
        active_at=instant(item.active_at) or 0,
        disclosure=Disclosure(item.disclosure or Disclosure.EXACT),
        returned={
            name: Returned(int(it["ahead"]), instant(it.get("last_seen"))) for name, it in returned
        },
        blocked={name: _view(it) for name, it in (item.blocked or {}).items()},
        standing=Standing(
            int(item.not_before or 0),
            item.revoked or {},
            frozenset(item.barred or ()),
        ),
        rules=rules,
    )
