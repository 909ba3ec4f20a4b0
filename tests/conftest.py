"""What every test may use: one instant, and a world of fakes around the real use cases."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from local.bootstrap import NoNodeError
from tests.stack import RunningStack, running_stack
from tests.tools import NotInstalledError, Tools, lacking
from tests.world import World


def pytest_configure() -> None:
    """No test depends on how fast the machine is, nor on how it was started.

    A shell starts what runs in its background with Ctrl-C ignored, and children inherit that.
    """
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


#: A stack takes longer to start than most of its tests take: each is started once in a group.
STACKS = frozenset({"deployed", "private", "guarded"})
#: The tests of the browser are too many for one worker: those of these files have stacks of their
#: own, and each half lasts as long as the other.
HALF = frozenset({"test_demo.py", "test_life_of_a_page.py"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`, all tests of a stack go to one worker, and others by their file.

    A test that says itself what its group is (`xdist_group`) is long and needs nothing of its file.
    What lasts longest comes first, so `--no-loadscope-reorder`: at the end, the workers have short
    tests to share.
    """
    items.sort(key=_rank)
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(_group(item)))


def _rank(item: pytest.Item) -> int:
    """Browsers and stacks are waited for longest, then what is marked as slow."""
    if item.path.parent.name == "browser":
        return 0
    if item.path.parent.name == "e2e" or item.get_closest_marker("e2e"):
        return 1
    return 2 if item.get_closest_marker("slow") else 3


def _group(item: pytest.Item) -> str:
    used, folder = _stacks_of(item), item.path.parent.name
    if not used:
        return item.location[0]
    half = " (half)" if folder == "browser" and item.path.name in HALF else ""
    return f"{used[0]} for {folder}{half}"


def _stacks_of(item: pytest.Item) -> list[str]:
    return sorted(STACKS & {*getattr(item, "fixturenames", ())})


@pytest.fixture
def world() -> World:
    return World()


#: Short enough to wait for, and in the relations that the settings demand. No tab is hidden here.
SHORT: dict[str, Any] = {
    "BrowserClients": "false",
    "HeartbeatSeconds": 4,
    "BackgroundHeartbeatSeconds": 8,
    "GraceSeconds": 3,
    "AuthenticationSeconds": 3,
    "AuthenticationFailuresAlarm": 5,
}


#: Where frames are old soon, and leases are longer than any test.
ATTENTIVE: dict[str, Any] = SHORT | {
    "HeartbeatSeconds": 60,
    "BackgroundHeartbeatSeconds": 60,
    "AuthenticationSeconds": 20,
    "FreshSeconds": 2,
    "ProbeSeconds": 4,
    "GlobalPresence": "false",
}


#: How long a connection counts with the first of these heartbeats.
LEASE = 6


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The template deployed to a local AWS, with short durations and `GlobalPresence`."""
    with running_stack(tmp_path_factory.mktemp("deployed"), SHORT) as stack:
        yield stack


@pytest.fixture(scope="session")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Without `GlobalPresence`: recipients are members and watchers only. Connections are short."""
    parameters = SHORT | {"GlobalPresence": "false", "MaxConnectionSeconds": 20}
    with running_stack(tmp_path_factory.mktemp("private"), parameters) as stack:
        yield stack


#: The only web page that may connect to `guarded`.
ORIGIN = "https://app.example.com"


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """As in production: the template's own durations, tokens for everything, one origin."""
    parameters = {"PublicReads": "false", "AllowedOrigins": ORIGIN}
    with running_stack(tmp_path_factory.mktemp("guarded"), parameters) as stack:
        yield stack


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The tools of web/, or the reason why they are not there."""
    try:
        return Tools()
    except (NoNodeError, NotInstalledError) as missing:
        lacking(str(missing))
