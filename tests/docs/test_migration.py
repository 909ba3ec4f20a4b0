"""docs/migrating-from-socket-io.md leaves no event out, and names no frame that is none."""

import re

from presence.protocol.requests import ACTIONS, ALIASES
from tests.docs.markdown import ROOT, code, table
from tests.docs.test_protocol import TYPES
from tests.docs.test_readme import only_code

TEXT = (ROOT / "docs" / "migrating-from-socket-io.md").read_text("utf-8")
SENT = {only_code(row["`socket.emit`"]): row for row in table(TEXT, "`socket.emit`", "Frame")}
HEARD = {only_code(row["`socket.on`"]): row for row in table(TEXT, "`socket.on`", "Frame")}
#: What the source document's server said.
EVENTS = {
    "authentication-success",
    "authentication-error",
    "user-status-change",
    "online-users-list",
    "user-typing",
    "new-message",
}


def test_every_event_of_a_client_has_its_frame() -> None:
    assert SENT.keys() == {"authenticate", "ping", *ALIASES}
    for event, row in SENT.items():
        (frame,) = code(row["Frame"])
        (action,) = re.findall(r'action: "(\w+)"', frame)
        assert action == (ALIASES[event].action if event in ALIASES else event)


def test_every_event_of_the_server_is_a_frame() -> None:
    assert HEARD.keys() == EVENTS
    assert set(TYPES) >= EVENTS


def test_what_is_new_is_named() -> None:
    (paragraph,) = re.findall(r"^New, with nothing like it before: .*$", TEXT, re.MULTILINE)
    new = set(code(paragraph))

    assert {it for it in new if it in TYPES} == set(TYPES) - EVENTS
    emitted = {"authenticate", "ping", *(it.action for it in ALIASES.values())}
    assert {it for it in new if it in ACTIONS} == set(ACTIONS) - emitted
