"""The demo page as somebody uses it: found by names and roles, the way a screen reader tells it."""

import json
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, Response, expect


class Side:
    """One of the two people on a page."""

    def __init__(self, page: Page, user: str) -> None:
        self.page = page
        self.user = user
        self.pane = page.get_by_role("region", name=user[0].upper() + user[1:], exact=True)
        self.link = self.pane.get_by_role("status")
        self.own = self.pane.locator("[data-own]")
        self.stale = self.pane.get_by_text("as it was when the link was lost")
        self.text = self.pane.get_by_role("textbox", name="What are you up to?")
        self.message = self.pane.get_by_role("textbox", name="Message")
        self.member_count = self.pane.locator("[data-member-count]")
        self.typing = self.pane.locator("[data-typing]")

    def online(self, user: str) -> Locator:
        """The row of somebody who is there."""
        return self._row("Online", user)

    def gone(self, user: str) -> Locator:
        """The row of somebody who has gone while we looked."""
        return self._row("Went offline", user)

    def watched(self, user: str) -> Locator:
        """The row of somebody who is watched."""
        return self._row("Watching", user)

    def member(self, user: str) -> Locator:
        return self._row("Members", user)

    def said(self, text: str) -> Locator:
        """The messages of the chat that say *text*."""
        return self._row("Messages", text)

    def send(self, text: str) -> None:
        self.message.fill(text)
        self.press("Send")

    def watch(self, user: str) -> None:
        self.pane.get_by_role("textbox", name="User id").fill(user)
        self.press("Watch")

    def tab(self, number: int) -> Locator:
        return self._row("Tabs", f"Tab {number}")

    def frames(self, text: str) -> Locator:
        """The frames in the wire log that say *text*."""
        return self._row("Frames", text)

    def frame(self, text: str) -> Any:
        """Open the only frame in the wire log that says *text*, and read it."""
        self.frames(text).locator("summary").click()
        return json.loads(self.frames(text).locator("pre").inner_text())

    def heading(self, text: str) -> Locator:
        return self.pane.get_by_role("heading", name=text, exact=True)

    def choice(self, status: str) -> Locator:
        return self.pane.get_by_role("radio", name=status, exact=True)

    def choose(self, status: str) -> None:
        self.choice(status).check()

    def say(self, text: str) -> None:
        self.text.fill(text)
        self.press("Tell others")

    def press(self, button: str, tab: int | None = None) -> None:
        within = self.pane if tab is None else self.tab(tab)
        within.get_by_role("button", name=button, exact=True).click()

    def _row(self, name: str, text: str) -> Locator:
        rows = self.pane.get_by_role("list", name=name, exact=True).get_by_role("listitem")
        return rows.filter(has_text=text)


class Demo:
    """Opens windows that know nothing of each other, and notes what goes wrong in them."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.url = url
        self.faults: list[str] = []
        self.pages: list[Page] = []
        self._browser = browser
        self._mark = uuid.uuid4().hex[:8]
        self.session = f"lobby-{self._mark}"

    def name(self, person: str) -> str:
        """A user id that no other test has."""
        return f"{person}-{self._mark}"

    def open(
        self, left: str = "ada", right: str = "grace", *, url: str | None = None, **window: Any
    ) -> tuple[Side, Side]:
        """Open a window, wait until both of its people are connected, and return them."""
        page = self._browser.new_context(**window).new_page()
        self.pages.append(page)
        self._watch(page)
        users = self.name(left), self.name(right)
        asked = {"left": users[0], "right": users[1], "session": self.session}
        page.goto(f"{url or self.url}?{urlencode(asked)}")
        sides = Side(page, users[0]), Side(page, users[1])
        for side in sides:
            expect(side.link).to_have_text("Live")
            expect(side.frames("online-users-list")).to_have_count(1)
            expect(side.frames("chat-session-joined")).to_have_count(1)
            expect(side.pane).to_have_attribute("data-blocks", "known")
        return sides

    def forgive(self, text: str) -> None:
        """Forget the faults so far that name *text*: the test has caused them."""
        self.faults = [fault for fault in self.faults if text not in fault]

    def close(self) -> None:
        """Close all windows; nothing may have gone wrong in them."""
        for page in self.pages:
            page.title()  # whatever the browser has to report comes before the answer
        faults = "\n".join(self.faults)
        for page in self.pages:
            page.context.close()
        assert not faults, faults

    def _watch(self, page: Page) -> None:
        def console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.faults.append(f"{message.type}: {message.text} ({message.location})")

        def failed(request: Request) -> None:
            fault = f"{request.method} {request.url}: {request.failure}"
            # A page that is left asks no more.
            self.faults += [] if request.failure == "net::ERR_ABORTED" else [fault]

        def answered(response: Response) -> None:
            if not response.ok:
                self.faults.append(f"{response.request.method} {response.url}: {response.status}")

        page.on("console", console)
        page.on("pageerror", lambda error: self.faults.append(f"thrown: {error}"))
        page.on("requestfailed", failed)
        page.on("response", answered)


def contrast(text: Locator) -> float:
    """The contrast of a text with what is behind it, as WCAG 2 counts it."""
    ink, ground, opacity = text.evaluate(_LOOKS)
    seen = [opacity * i + (1 - opacity) * g for i, g in zip(ink, ground, strict=True)]
    darker, lighter = sorted((_luminance(seen), _luminance(ground)))
    return (lighter + 0.05) / (darker + 0.05)


_LOOKS = """(element) => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const all = [];
  for (let one = element; one; one = one.parentElement) all.push(getComputedStyle(one));
  const ground = all.map((one) => channels(one.backgroundColor)).find(([, , , alpha = 1]) => alpha);
  const opacity = all.reduce((product, one) => product * one.opacity, 1);
  return [channels(all[0].color).slice(0, 3), ground.slice(0, 3), opacity];
}"""


def _luminance(colour: Iterable[float]) -> float:
    parts = (part / 255 for part in colour)
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
