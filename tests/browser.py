"""Headless Chromium for tests, driven over a pipe by its DevTools protocol: real time, real pointers and keys."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Seconds that any answer may take, on a machine that is busy.
PATIENCE = 120.0


def find() -> str | None:
    """A Chromium on the PATH."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A tab: what it logged (``messages``), and the addresses that it asked for (``requests``)."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self.browser, self.session, self.target = browser, session, target
        self.messages: list[str] = []
        self.requests: list[str] = []

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command of the protocol."""
        return self.browser.send(method, params, self.session)

    def run(self, script: str) -> Any:
        """What ``script``, the body of an asynchronous function, returns; an error that it throws is raised."""
        found = self.send(
            "Runtime.evaluate", expression=f"(async () => {{ {script} }})()", awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"].get("exception", {}).get("description") or found)
        return found["result"].get("value")

    def point(self, x: float, y: float, *, click: bool = False) -> None:
        """Move the pointer to ``x``, ``y`` in the window, and maybe click there."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        if click:
            for kind in ("mousePressed", "mouseReleased"):
                self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """A key by its name: ``ArrowRight``, ``Enter``, ``Tab``."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        about = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        if key == "Enter":
            about["text"] = "\r"
        self.send("Input.dispatchKeyEvent", type="keyDown", **about)
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def pdf_pages(self) -> int:
        """How many sheets of A4 the page is when printed."""
        found = self.send("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, transferMode="ReturnAsStream")
        parts = []
        while True:
            part = self.send("IO.read", handle=found["stream"])
            parts.append(part["data"])
            if part["eof"]:
                break
        import base64

        data = b"".join(base64.b64decode(part) for part in parts)
        return data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") + data.count(b"/Type /Page/")


class Browser:
    """A running Chromium with a profile in ``folder``."""

    def __init__(self, program: str, folder: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--remote-debugging-pipe",
            f"--user-data-dir={folder}",
        ]
        # The protocol speaks on descriptors 3 and 4.
        command = ["bash", "-c", f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}', program, *flags]
        self._process = subprocess.Popen(
            command, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._numbers = itertools.count(1)
        self._buffer = b""
        self._pages: dict[str, Page] = {}
        self._events: list[dict[str, Any]] = []

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(OSError, AssertionError):
            self.send("Browser.close", {})
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        if self._process.poll() is None:
            self._process.kill()
        os.close(self._in)
        os.close(self._out)

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def send(self, method: str, params: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """The answer to a command; what happens meanwhile is noted on its page."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        until = time.monotonic() + PATIENCE
        while True:
            found = self._receive(until)
            if found.get("id") == number:
                assert "error" not in found, f"{method}: {found['error']}"
                return found["result"]
            self._note(found)

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        page = self._pages.get(event.get("sessionId", ""))
        if page is None:
            return
        method, about = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            page.messages.append(str(about["exceptionDetails"].get("exception", {}).get("description") or about))
        elif method == "Runtime.consoleAPICalled":
            page.messages.append(" ".join(str(value.get("value")) for value in about["args"]))
        elif method == "Log.entryAdded":
            page.messages.append(about["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            page.requests.append(about["request"]["url"])

    @contextlib.contextmanager
    def open(
        self, address: str, width: int = 1400, height: int = 844, *, dark: bool = False, scripts: bool = True
    ) -> Iterator[Page]:
        """A tab with the page at ``address``, loaded, in a window of that size.

        ``dark``: the reader prefers dark; ``scripts``: whether the page's own may run.
        """
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        try:
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.send(f"{domain}.enable")
            page.send(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=width < 500,
            )
            if dark:
                media = [{"name": "prefers-color-scheme", "value": "dark"}]
                page.send("Emulation.setEmulatedMedia", features=media)
            if not scripts:
                page.send("Emulation.setScriptExecutionDisabled", value=True)
            self._events.clear()
            page.send("Page.navigate", url=address)
            until = time.monotonic() + PATIENCE
            while not any(
                e.get("method") == "Page.loadEventFired" and e.get("sessionId") == session for e in self._events
            ):
                self._note(self._receive(until))
            yield page
        finally:
            self._pages.pop(session, None)
            self.send("Target.closeTarget", {"targetId": target})
