"""The demo page as a person uses it: found by names and roles, as a screen reader tells it."""

import json
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, Response, expect


class Side:
    """One of the people on a page; of their devices, the one that is looked at."""

    def __init__(self, page: Page, user: str) -> None:
        self.page = page
        self.user = user
        self.name = user[0].upper() + user[1:]
        self.pane = page.get_by_role("region", name=self.name, exact=True)
        self.link = self.pane.get_by_role("status", name=f"Link of {self.name}")
        self.own = self.pane.locator("[data-own]")
        self.stale = self._seen(self.pane.get_by_text("as it was when the link was lost"))
        self.text = self.pane.get_by_role("textbox", name="What are you up to?")
        self.message = self.pane.get_by_role("textbox", name="Message", exact=True)
        self.complaint = self.pane.locator(".presence-picker [role=status]")
        self.member_count = self._seen(self.pane.locator("[data-member-count]"))
        self.typing = self._seen(self.pane.locator(".presence-typing [role=status]"))
        self.lease = self.pane.locator(".lease")

    def expect_connected(self) -> None:
        """Wait until all is known that is asked for at the beginning."""
        expect(self.link).to_have_text("Live")
        expect(self.frames("online-users-list")).to_have_count(1)
        expect(self.frames("authentication-success")).to_have_count(1)
        expect(self.pane).to_have_attribute("data-blocks", "known")

    def online(self, user: str) -> Locator:
        """The row of a user who is online."""
        people = self.pane.get_by_role("region", name=f"Online, as {self.name} sees it")
        return people.get_by_role("listitem").filter(has_text=user)

    def gone(self, user: str) -> Locator:
        """The row of a user who went offline while the page was open."""
        return self._row("Went offline", user)

    def watched(self, user: str) -> Locator:
        """The row of a user who is watched."""
        return self._row("Watching", user)

    def member(self, user: str) -> Locator:
        return self._row("Members", user)

    def said(self, text: str) -> Locator:
        """The messages of the chat that say *text*."""
        return self.pane.get_by_role("log").get_by_role("listitem").filter(has_text=text)

    def send(self, text: str) -> None:
        self.message.fill(text)
        self.press("Send")

    def watch(self, user: str) -> None:
        self.pane.get_by_role("textbox", name="User id").fill(user)
        self.press("Watch")

    def join(self, session: str) -> None:
        self.pane.get_by_role("textbox", name="Chat session").fill(session)
        self.press("Join")

    def device(self, name: str) -> Locator:
        """What the list of devices has about one of them."""
        return self._row("Devices", name)

    def close(self, *names: str) -> None:
        for name in names:
            self.press(f"Close {name}")

    def network(self, condition: str, device: str = "Tab 1") -> None:
        """Break the network of the device that is looked at, or repair it ("Works")."""
        self._segment(f"Network of {device}", condition)

    def person(self, attendance: str, device: str = "Tab 1") -> None:
        """Say what the person at the device that is looked at does."""
        self._segment(f"Person of {device}", attendance)

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
        statuses = self.pane.get_by_role("radiogroup", name="Your status")
        return statuses.get_by_role("radio", name=status, exact=True)

    def choose(self, status: str) -> None:
        # The radio button itself is not to be seen: its label is what a person clicks.
        self.choice(status).locator("..").click()

    def say(self, text: str) -> None:
        self.text.fill(text)
        self.text.press("Enter")

    def press(self, button: str) -> None:
        self.pane.get_by_role("button", name=button, exact=True).click()

    def _segment(self, group: str, name: str) -> None:
        segments = self.pane.get_by_role("group", name=group, exact=True)
        segments.get_by_role("radio", name=name, exact=True).locator("..").click()

    def _row(self, name: str, text: str) -> Locator:
        rows = self.pane.get_by_role("list", name=name, exact=True).get_by_role("listitem")
        return rows.filter(has_text=text)

    def _seen(self, locator: Locator) -> Locator:
        """Of what every device has, that of the one that is looked at."""
        return locator.filter(visible=True)


class Demo:
    """Opens windows that know nothing of each other, and notes what goes wrong in them."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.url = url
        self.faults: list[str] = []
        self.pages: list[Page] = []
        self.requests: list[str] = []
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
        page = self.window(**window)
        users = self.name(left), self.name(right)
        asked = {"left": users[0], "right": users[1], "session": self.session}
        page.goto(f"{url or self.url}?{urlencode(asked)}")
        sides = Side(page, users[0]), Side(page, users[1])
        for side in sides:
            side.expect_connected()
        return sides

    def window(self, **window: Any) -> Page:
        """An empty window, in which nothing moves unless it is asked to: motion is work."""
        page = self._browser.new_context(**{"reduced_motion": "reduce"} | window).new_page()
        self.pages.append(page)
        self._watch(page)
        return page

    def forgive(self, text: str) -> None:
        """Forget the faults so far that name *text*: the test has caused them."""
        self.faults = [fault for fault in self.faults if text not in fault]

    def close(self) -> None:
        """Close all windows; nothing may have gone wrong in them."""
        for page in self.pages:
            page.title()  # all that the browser has to report comes before the answer
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

        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", console)
        page.on("pageerror", lambda error: self.faults.append(f"thrown: {error}"))
        page.on("requestfailed", failed)
        page.on("response", answered)


def tab_to(control: Locator, most: int = 80) -> None:
    """Press the tab key until *control* has the focus."""
    for _ in range(most):
        control.page.keyboard.press("Tab")
        if control.evaluate("(it) => it === document.activeElement"):
            return
    message = f"The tab key does not lead to {control}"
    raise AssertionError(message)


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
