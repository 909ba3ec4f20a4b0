"""From the stream to the clients: coalesce, find the audience, one frame per connection."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from presence.domain.errors import Unavailable
from presence.domain.messages import status_change_frames
from presence.domain.user import Presence, User
from presence.ports import Delivery, Gateway, Post, Roster, Subscriptions
from presence.use_cases.connections import Lifecycle


@dataclass(frozen=True, slots=True)
class Record:
    """One change of one user, as the stream tells it; some are known to come again."""

    before: User
    after: User
    comes_again: bool = False


Changes: TypeAlias = Mapping[str, Presence]


@dataclass(frozen=True, slots=True)
class Announcements:
    subscriptions: Subscriptions
    roster: Roster
    gateway: Gateway
    lifecycle: Lifecycle
    is_global: bool

    def announce(self, records: Sequence[Record], now: int) -> Delivery:
        """Tell everybody who should know. May be repeated: clients drop versions they hold.

        Raises:
            Unavailable: API Gateway took less than was sent; the stream has to come again.
        """
        delivery = self._tell(newest(records), now)
        if delivery.throttled:
            raise Unavailable(f"{len(delivery.throttled)} posts were throttled.")
        self._count(records)
        return delivery

    def _tell(self, changed: Sequence[User], now: int) -> Delivery:
        if not changed:
            return Delivery()
        delivery = self.gateway.post(self._posts(changed))
        for connection_id in delivery.gone:
            self.lifecycle.lost(connection_id, now)
        return delivery

    def _count(self, records: Iterable[Record]) -> None:
        """Counts drift with records that come twice; the sweep counts anew every minute."""
        difference = sum(
            record.after.presence.is_online - record.before.presence.is_online
            for record in records
            if not record.comes_again
        )
        if difference:
            self.roster.add(difference)

    def _posts(self, changed: Sequence[User]) -> Iterable[Post]:
        everything = {user.user_id: user.presence for user in changed}
        audience: dict[str, Changes] = {}
        for user in changed:
            for connection_id in user.leases:
                own = {**audience.get(connection_id, {}), user.user_id: user.presence}
                audience[connection_id] = own
        if self.is_global:
            for page in self.subscriptions.everyone():
                audience |= dict.fromkeys(page, everything)
        return _grouped(audience)


def newest(records: Iterable[Record]) -> list[User]:
    """Every user of whom there is news, once, as of the last record.

    Also whoever is back where the first record found them: a record may have come before, alone,
    and whoever heard it would wait for ever for its opposite (I8).
    """
    last: dict[str, User] = {}
    for record in records:
        after = record.after
        is_news = after.presence.says_more_than(record.before.presence)
        if is_news and after.version > last.get(after.user_id, record.before).version:
            last[after.user_id] = after
    return list(last.values())


def _grouped(audience: Mapping[str, Changes]) -> Iterable[Post]:
    """Whoever hears the same gets the same text, encoded once."""
    alike: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for connection_id, changes in audience.items():
        alike[tuple(changes)].append(connection_id)
    for connection_ids in alike.values():
        for text in status_change_frames(audience[connection_ids[0]].values()):
            yield Post(text, connection_ids)
