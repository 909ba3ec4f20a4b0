"""From stream records to the sinks: read the users once, and let each sink react."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from presence.deadline import HasTime, always, in_time
from presence.fanout.diffs import Record, parts_of, told_anew, user_diffs
from presence.fanout.sinks import Sink
from presence.ports import OnlineIndex, Users


@dataclass(frozen=True, slots=True)
class Announced:
    """`figures` are for the log line; `failures` are the errors of sinks, by their names.

    `records` is how many were announced, from the first on, before time ran out.
    """

    records: int
    figures: Mapping[str, int]
    failures: Mapping[str, Exception]


@dataclass(frozen=True, slots=True)
class Announcer:
    users: Users
    online_index: OnlineIndex
    sinks: Sequence[Sink]

    def announce(
        self, records: Sequence[Record], has_time: HasTime = always, *, until: int | None = None
    ) -> Announced:
        """Let the sinks know, while there is time for another part of the records.

        An exception of the first sink, the sockets, repeats the batch.
        """
        done, figures = 0, Counter[str]()
        failures = dict[str, Exception]()
        for some in in_time(parts_of(records), has_time):
            announced = self._announce(some, until)
            done += announced.records
            figures.update(announced.figures)
            failures |= announced.failures
        return Announced(done, figures, failures)

    def _announce(self, records: Sequence[Record], until: int | None) -> Announced:
        user_ids = {it.after.user_id for it in records}
        diffs = user_diffs(records, self.users.read_many(user_ids, consistent=True))
        sockets, *others = self.sinks
        figures = dict(sockets.publish(diffs, until=until))
        self._count(records)
        failures = dict[str, Exception]()
        for sink in others:
            try:
                figures |= sink.publish(diffs, until=until)
            except Exception as error:  # noqa: BLE001  a sink may be anything
                failures[type(sink).__name__] = error
        return Announced(len(records), figures, failures)

    def tell(self, user_id: str, version: int, now: int) -> None:
        """Tell of a change that was held, unless another one came after it, which tells itself."""
        user = self.users.read(user_id, consistent=True)
        if user.version == version and user.presence.is_online:
            self.sinks[0].publish([told_anew(user, now)], until=None)

    def _count(self, records: Sequence[Record]) -> None:
        """Counts drift with records that come twice; the sweep counts anew every minute."""
        difference = sum(
            record.after.presence.is_online - record.before.presence.is_online
            for record in records
            if not record.comes_again
        )
        if difference:
            self.online_index.add(difference)
