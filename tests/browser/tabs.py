"""Tabs of a Chromium that no tool keeps awake: hidden behind each other, and frozen.

Playwright emulates the focus, so its pages are always visible, and a visible page cannot be frozen.
This speaks the DevTools protocol itself (https://chromedevtools.github.io/devtools-protocol/).
"""

import itertools
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

SECONDS = 20.0


class Tab:
    """One page; the newest one is in front, and all others are hidden."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)

    def send(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            told = json.loads(self._socket.recv(timeout=SECONDS))
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]

    def says(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def awaits(self, expression: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not self.says(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)

    def freeze(self) -> None:
        """As a browser does to pages in the background: nothing runs any more."""
        self.send("Page.setWebLifecycleState", state="frozen")

    def resume(self) -> None:
        self.send("Page.setWebLifecycleState", state="active")


class Browser:
    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    @contextmanager
    def open(self, url: str) -> Iterator[Tab]:
        """A tab in front of all others."""
        # PUT: https://chromedevtools.github.io/devtools-protocol/, "HTTP Endpoints".
        tab = self._http.put(f"/json/new?{url}").json()
        with connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Tab(socket)


@contextmanager
def launched(chromium: str, folder: Path, flags: Sequence[str]) -> Iterator[Browser]:
    told = folder / "DevToolsActivePort"
    devtools = (
        "--remote-debugging-port=0",
        "--remote-allow-origins=*",
        f"--user-data-dir={folder}",
    )
    command = [chromium, "--headless=new", *flags, *devtools, "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while not (told.exists() and told.read_text("utf-8").strip()):
                assert time.monotonic() < deadline, "Chromium does not say where it listens"
                time.sleep(0.05)
            url = f"http://127.0.0.1:{told.read_text('utf-8').split()[0]}"
            with httpx.Client(base_url=url, trust_env=False) as http:
                yield Browser(http)
        finally:
            process.terminate()
