"""What becomes of posts, at an endpoint of this machine and in the fake alike."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import unquote

import pytest
from botocore.session import Session

from presence.adapters.gateway import ManagementAPI, ManagementGateway, engine_of
from presence.adapters.posting.engine import Patience
from presence.ports import Delivery, Gateway, Post
from tests.endpoint import Answer, Endpoint, serving
from tests.fakes import FakeGateway

pytestmark = pytest.mark.contract

TAB, PHONE, WATCH, DESK = "L0SM9cOFvHcCIhw=", "VNRXVFJOywMF3-Q=", "MZ-0ccOFvHc_Ihw=", "a/b+c="


@dataclass(frozen=True)
class Clients:
    gateway: Gateway
    #: Whose connections are gone, busy, and never take a post.
    are: Callable[[Sequence[str], Sequence[str], Sequence[str]], None]
    #: Every text that was taken, by connection.
    heard: Callable[[], dict[str, list[str]]]


def fakes() -> Clients:
    gateway = FakeGateway()

    def are(gone: Sequence[str], busy: Sequence[str], refusing: Sequence[str]) -> None:
        gateway.gone, gateway.busy, gateway.refusing = set(gone), set(busy), set(refusing)

    return Clients(gateway, are, lambda: gateway.heard)


@pytest.fixture
def real() -> Iterator[Clients]:
    session = Session()
    session.set_config_variable("region", "eu-central-1")
    session.set_credentials("testing", "testing")

    def no_client() -> ManagementAPI:
        raise AssertionError("posts need no client")

    with serving(Endpoint()) as endpoint:
        patience = Patience(timeout=10, tries=1)
        with closing(engine_of(session, f"{endpoint.url}/live", patience)) as engine:
            gateway = ManagementGateway(engine, no_client)
            yield Clients(gateway, lambda *who: _answer(endpoint, *who), lambda: _heard(endpoint))


def _answer(
    endpoint: Endpoint, gone: Sequence[str], busy: Sequence[str], refusing: Sequence[str]
) -> None:
    statuses = {410: gone, 429: busy, 413: refusing}
    endpoint.answers = {
        name.replace("=", "%3D"): Answer(status)
        for status, names in statuses.items()
        for name in names
    }


def _heard(endpoint: Endpoint) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for asked in endpoint.asked:
        name = asked.path.rpartition("/")[2]
        if name not in endpoint.answers:
            found.setdefault(unquote(name), []).append(asked.body.decode())
    return found


@pytest.fixture(params=["fake", "real"])
def clients(request: pytest.FixtureRequest) -> Clients:
    if request.param == "fake":
        return fakes()
    found: Clients = request.getfixturevalue("real")
    return found


def test_connections_in_no_list_received_every_text(clients: Clients) -> None:
    delivery = clients.gateway.post([Post("one 🌞", [TAB, PHONE, DESK]), Post("two", [TAB])])

    heard = {name: sorted(texts) for name, texts in clients.heard().items()}
    assert delivery == Delivery()
    assert heard == {TAB: ["one 🌞", "two"], PHONE: ["one 🌞"], DESK: ["one 🌞"]}


def test_connections_that_missed_a_text_are_in_one_list_once(clients: Clients) -> None:
    clients.are([TAB], [PHONE], [WATCH])

    posts = [Post("one", [TAB, PHONE, WATCH, DESK]), Post("two", [WATCH, PHONE, TAB])]
    delivery = clients.gateway.post(posts)

    assert delivery == Delivery(gone=(TAB,), again=(PHONE,), refused=(WATCH,))
    assert clients.heard() == {DESK: ["one"]}


def test_the_lists_are_in_the_order_of_the_posts(clients: Clients) -> None:
    names = [f"{number:0>14}=" for number in range(50)]
    clients.are(names, [], [])

    delivery = clients.gateway.post([Post("one", names)])

    assert delivery.gone == tuple(names)


def test_nothing_is_done_with_no_posts(clients: Clients) -> None:
    assert clients.gateway.post([]) == clients.gateway.post([Post("one", [])]) == Delivery()
    assert clients.heard() == {}
