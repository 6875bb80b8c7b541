"""A headless Chromium, driven over its debugging pipe: nothing but the standard library, skipped where it is absent."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium():
    """The browser's command; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A browser with one page: `open` files in it, `do` things by JavaScript, read `messages` and `requests`."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="chromium-")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars"]
        flags += ["--no-first-run", "--disable-extensions", "--disable-background-networking"]
        flags += ["--disable-dev-shm-usage", f"--user-data-dir={self.folder}", "about:blank"]

        def pipes():  # the browser reads its orders from 3 and answers on 4
            first, second = os.dup(to_browser), os.dup(from_browser)
            os.dup2(first, 3)
            os.dup2(second, 4)
            os.set_inheritable(3, True)
            os.set_inheritable(4, True)

        self.process = subprocess.Popen(
            [str(chromium()), *flags],
            preexec_fn=pipes,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number, self._rest = 0, b""
        self.messages: list[str] = []
        self.requests: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def close(self):
        try:
            self._send({"id": -1, "method": "Browser.close"})
            self.process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self.folder, ignore_errors=True)

    def open(self, path, width=1300, height=900, dark=False, media=""):
        """Load a file; messages and requests begin anew."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=features, media=media)
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.messages.clear()
        self.requests.clear()
        self._loaded = False
        self.ask("Page.navigate", url=Path(path).absolute().as_uri())
        deadline = time.monotonic() + 60
        while not self._loaded:
            self._receive(deadline)

    def do(self, script):
        """The value of a JavaScript expression, awaited where it is a promise."""
        found = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script, seconds=30):
        """Waits until a JavaScript expression is true."""
        deadline = time.monotonic() + seconds
        while not self.do(f"Boolean({script})"):
            assert time.monotonic() < deadline, f"{script} never came true"
            time.sleep(0.05)

    def picture(self, path, whole=False):
        """A screenshot as a PNG."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def ask(self, method, **parameters):
        return self._ask(method, self._session, **parameters)

    def _ask(self, method, session=None, **parameters):
        self._number += 1
        number = self._number
        order = {"id": number, "method": method, "params": parameters}
        self._send(order | ({"sessionId": session} if session else {}))
        deadline = time.monotonic() + 60
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _send(self, order):
        os.write(self._write, json.dumps(order).encode() + b"\0")

    def _receive(self, deadline):
        while b"\0" not in self._rest:
            assert time.monotonic() < deadline, "the browser does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        text, self._rest = self._rest.split(b"\0", 1)
        answer = json.loads(text)
        self._note(answer.get("method"), answer.get("params", {}))
        return answer

    def _note(self, method, said):
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.consoleAPICalled":
            self.messages.append(str([a.get("value", a.get("description")) for a in said["args"]]))
        elif method == "Runtime.exceptionThrown":
            self.messages.append(str(said["exceptionDetails"].get("exception", said["exceptionDetails"])))
        elif method == "Log.entryAdded":
            self.messages.append(said["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
