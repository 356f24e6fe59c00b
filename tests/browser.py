"""A headless Chromium that a test drives through the DevTools protocol, over two pipes."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

SILENT_SECONDS = 60
"""A browser that says nothing for so long hangs."""


class Browser:
    """One page of a browser; a context, at whose end it is closed.

    Parameters
    ----------
    folder : path
        For its profile.
    width, height : int
        Of the page, pixels.
    """

    def __init__(self, folder: Path, width: int = 1400, height: int = 900) -> None:
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        assert CHROMIUM is not None
        command = [
            *(CHROMIUM, "--headless", "--no-sandbox", "--remote-debugging-pipe"),
            *("--enable-unsafe-swiftshader", "--use-angle=swiftshader", "--hide-scrollbars"),
            *("--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows"),
            *(f"--window-size={width},{height}", f"--user-data-dir={folder}", "about:blank"),
        ]
        # the browser reads from its descriptor 3 and writes to 4
        shell = f'exec 3<&{to_read} 4>&{to_write}; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(to_read, to_write),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._numbers, self._rest = itertools.count(1), b""
        self.troubles: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.bringToFront")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol in the page."""
        return self._call(method, session=self._session, **params)

    def _call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        number = self._send(method, session, params)
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _send(self, method: str, session: str, params: dict[str, Any]) -> int:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        return number

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready = select.select([self._from], [], [], SILENT_SECONDS)[0]
            assert ready, f"no answer from the browser within {SILENT_SECONDS} s"
            part = os.read(self._from, 1 << 20)
            assert part, "the browser is gone"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        """Keep what went wrong in the page, and every address from elsewhere that it asked for."""
        params, method = event.get("params", {}), event.get("method", "")
        if method == "Runtime.exceptionThrown":
            self.troubles.append(params["exceptionDetails"].get("text", "exception"))
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:", "about:")):
                self.troubles.append(f"asked for {url}")

    def open(self, path: Path) -> None:
        """Open a page from the disk."""
        self.call("Page.navigate", url=path.resolve().as_uri())

    def run(self, script: str) -> Any:
        """Evaluate JavaScript in the page; what it gives must be plain."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 90) -> Any:
        """Evaluate until it gives something true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, (script, self.troubles)
            time.sleep(0.2)
        return value

    def scroll(self, x: float, y: float, by: float = 120) -> None:
        """Turn the mouse's wheel over a point; the answer comes with the next frame, if ever."""
        turn = {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": by}
        self._send("Input.dispatchMouseEvent", self._session, turn)

    def screenshot(self, path: Path) -> Path:
        """Write what is seen as a PNG."""
        picture = self.call("Page.captureScreenshot")["data"]
        path.write_bytes(base64.b64decode(picture))
        return path
