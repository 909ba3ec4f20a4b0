"""A day: who is at which device when, and what they do there. Its form is in bench/README.md."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

#: What people do: (milliseconds from the day's start, number of the client, name, what).
Act: TypeAlias = tuple[int, int, str, tuple[Any, ...]]

SECOND, MINUTE = 1_000, 60_000
#: A person in the foreground touches the device this often.
TOUCH = 60 * SECOND
#: A connection is handed over before it is two hours old: a day that is cut to less has none.
SHORTEST = 120 * MINUTE
#: After the last act: grace periods end, leases expire, the sweep sees it.
TAIL = 4 * MINUTE


class DayError(Exception):
    """A file of a day says what the meter does not know."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some time in one manner.

    Attributes:
        minutes: how long.
        screen: visible or hidden.
        shows_list: the list of online users is on the screen.
        acts: what is done once, each with `at`, from 0 to 1 of the stretch.
        every: what is done again and again, each with `seconds`.
    """

    minutes: float
    screen: str = "visible"
    shows_list: bool = False
    acts: Sequence[Mapping[str, Any]] = ()
    every: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Device:
    name: str
    stretches: Sequence[Stretch]


@dataclass(frozen=True, slots=True)
class Group:
    """People who do the same.

    Attributes:
        spread: they arrive one after the other within so many minutes.
        watches: how many others of the group each of them has on the screen as contacts.
        rooms: chat sessions that each joins; `{}` in a name is the person's number.
        served_by: a group, of which one joins the first room of each of these people.
    """

    name: str
    count: int
    devices: Sequence[Device]
    spread: float = 1
    watches: int = 0
    rooms: Sequence[str] = ()
    served_by: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """One device of one person."""

    number: int
    user_id: str
    device: Device
    group: Group
    starts: int


@dataclass(frozen=True, slots=True)
class Day:
    """What a file says.

    Attributes:
        cut: none, or two numbers: the day is played twice, so many times shorter.
        parameters: of the template.
        variants: parameters with which the day is played once more.
        scale_users, scale_days: what the bill is for.
    """

    name: str
    title: str
    groups: Sequence[Group]
    cut: Sequence[float] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    variants: Sequence[Mapping[str, Any]] = ()
    token_hours: float = 24
    scale_users: int = 10_000
    scale_days: int = 30

    @property
    def people(self) -> int:
        return sum(it.count for it in self.groups)


def read_day(path: Path) -> Day:
    """Raise a DayError for what is not known."""
    found = yaml.safe_load(path.read_text("utf-8"))
    try:
        groups = [_group(it) for it in found.pop("people")]
        day = Day(name=path.stem, groups=groups, **found)
    except (TypeError, KeyError) as error:
        raise DayError(f"{path.name}: {error}") from error
    if day.cut and length(day, max(day.cut)) < SHORTEST:
        raise DayError(f"{path.name}: less than two hours are left of a day that is cut so often")
    return day


def _group(found: dict[str, Any]) -> Group:
    devices = [_device(it) for it in found.pop("devices")]
    return Group(devices=devices, **found)


def _device(found: Mapping[str, Any]) -> Device:
    stretches = [Stretch(**it) for it in found["stretches"]] * found.get("times", 1)
    return Device(found["name"], stretches)


# ── the script ─────────────────────────────────────────────────────────────────────────────


def clients(day: Day, cut: float = 1) -> Sequence[Client]:
    """All devices; those of one person start a second after another."""
    found: list[Client] = []
    for group in day.groups:
        spread = group.spread * MINUTE if group.spread <= 1 else group.spread * MINUTE / cut
        for person in range(group.count):
            starts = round(spread * person / group.count)
            user_id = f"00000000-{group.name[:4]:x>4}-4000-8000-{person:012}"
            for number, device in enumerate(group.devices):
                found.append(Client(len(found), user_id, device, group, starts + number * SECOND))
    return found


def script(all_clients: Sequence[Client], cut: float = 1) -> Sequence[Act]:
    """Everything that is done, in its order."""
    acts = [act for it in all_clients for act in _life(it, cut)]
    acts += [act for it in all_clients for act in _contacts(it, all_clients)]
    acts += [act for it in all_clients for act in _service(it, all_clients, cut)]
    return sorted(acts, key=lambda act: act[0])


def length(day: Day, cut: float = 1) -> int:
    """Milliseconds until all have gone and nothing of them is left to do, in whole minutes."""
    lasts = (it.starts + _stay(it.device, cut) for it in clients(day, cut))
    return -(-max(lasts) // MINUTE) * MINUTE + TAIL


def _stay(device: Device, cut: float) -> int:
    return sum(round(it.minutes * MINUTE / cut) for it in device.stretches)


def _life(client: Client, cut: float) -> Iterator[Act]:
    yield client.starts, client.number, "start", ()
    for room in client.group.rooms:
        yield client.starts + SECOND, client.number, "join", (_room(room, client),)
    at = client.starts + 2 * SECOND
    for stretch in client.device.stretches:
        end = at + round(stretch.minutes * MINUTE / cut)
        for when, name, what in _stretch(stretch, at, end, client):
            yield when, client.number, name, what
        at = end
    yield at, client.number, "stop", ()


def _room(name: str, client: Client) -> str:
    return name.replace("{}", str(client.number))


def _stretch(
    stretch: Stretch, start: int, end: int, client: Client
) -> Iterator[tuple[int, str, tuple[Any, ...]]]:
    yield start, stretch.screen, ()
    yield start, "list", (stretch.shows_list,)
    for act in stretch.acts:
        at = start + round((end - start) * act["at"]) + client.number * 137
        yield from _done(act, at, client)
    if stretch.screen == "visible":
        yield from ((at, "touch", ()) for at in range(start + TOUCH, end, TOUCH))
    for act in stretch.every:
        step = round(act["seconds"] * SECOND)
        for at in range(start + step // 2 + client.number * 137, end, step):
            yield from _done(act, at, client)


def _done(
    act: Mapping[str, Any], at: int, client: Client
) -> Iterator[tuple[int, str, tuple[Any, ...]]]:
    """One act of the file as what the client is told."""
    room = _room(client.group.rooms[0], client) if client.group.rooms else ""
    match act:
        case {"status": status}:
            yield at, "status", (status,)
        case {"say": text}:
            yield at, "type", (room,)
            yield at + 2 * SECOND, "type", (room,)
            yield at + 4 * SECOND, "say", ([room, text],)
        case {"network": "offline" | "silent" as kind, "lasts": seconds}:
            yield at, kind, ()
            yield at + round(seconds * SECOND), "online", ()
        case _:
            raise DayError(f"the meter does not know how to do {dict(act)}")


def _contacts(client: Client, all_clients: Sequence[Client]) -> Iterator[Act]:
    """The next ones of the group."""
    others = list(dict.fromkeys(it.user_id for it in all_clients if it.group is client.group))
    at = others.index(client.user_id)
    wanted = (others[at + 1 :] + others[:at])[: client.group.watches]
    if wanted:
        yield client.starts + SECOND, client.number, "watch", (wanted,)


def _service(client: Client, all_clients: Sequence[Client], cut: float) -> Iterator[Act]:
    if not client.group.served_by:
        return
    served_by = [it for it in all_clients if it.group.name == client.group.served_by]
    one, room = served_by[client.number % len(served_by)], _room(client.group.rooms[0], client)
    yield client.starts + 20 * SECOND, one.number, "join", (room,)
    yield client.starts + _stay(client.device, cut), one.number, "leave", (room,)
