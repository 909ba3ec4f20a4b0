"""What every test may use: one instant, and a world of fakes around the real use cases."""

import signal
from collections.abc import Iterator
from pathlib import Path
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


#: A stack takes longer to start than most of its tests take: each is started once.
STACKS = frozenset({"deployed", "private", "guarded"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`, all tests of a stack go to one worker, and others by their file.

    The tests of the browser have a stack of their own, for they last as long as all others. What
    lasts longest comes first: at the end, the workers have short tests to share.
    """
    items.sort(key=lambda item: not _stacks_of(item))
    for item in items:
        used, file = _stacks_of(item), item.location[0]
        group = f"{used[0]} for {Path(file).parent}" if used else file
        item.add_marker(pytest.mark.xdist_group(group))


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
