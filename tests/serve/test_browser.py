"""The web page in a real browser, driven over its debugging pipe: an upload, the slider, the download, a bad file."""

import base64
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paragonsr.serve.server import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")]


class Browser:
    """One page of a headless chromium; commands and answers are JSON, each ended by a zero byte, on two pipes."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        given, self._to = os.pipe()
        self._from, answers = os.pipe()
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update", "--window-size=1100,900"]
        # chromium reads commands from descriptor 3 and writes answers to 4.
        script = f'exec 3<&{given} 4>&{answers}; exec "$@"'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, "chromium", *command, f"--user-data-dir={profile}"],
            pass_fds=(given, answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(given)
        os.close(answers)
        self._waiting, self._count, self.said = b"", 0, list[str]()
        self._session: str | None = None
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; console output of the page in the meantime is kept in `said`."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                self.said.append(json.dumps(answer["params"]))
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            chunk = os.read(self._from, 1 << 20)
            assert chunk, "the browser has ended"
            self._waiting += chunk
        message, _, self._waiting = self._waiting.partition(b"\0")
        return dict(json.loads(message))

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression; promises are awaited."""
        answer = self.do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        poll = f"setInterval(() => {{ if ({condition}) {{ clearInterval(t); r(); }} }}, 20)"
        self.run(f"new Promise(r => {{ const t = {poll} }})")

    def upload(self, file: Path) -> None:
        """Choose a file in the page's file field."""
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        field = self.do("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.do("DOM.setFileInputFiles", files=[str(file)], nodeId=field)

    def shot(self) -> np.ndarray:
        """Screenshot of the page, h x w x 3."""
        content = base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))

    def close(self) -> None:
        """End the browser."""
        self._session = None
        self.do("Browser.close")
        self._process.wait(timeout=30)
        os.close(self._to)
        os.close(self._from)


@pytest.fixture
def browser(tmp_path: Path, server: Server) -> Iterator[Browser]:
    """A browser that shows the page."""
    running = Browser(tmp_path / "profile")
    try:
        running.do("Page.navigate", url=server.url)
        running.until("document.getElementById('model') && document.getElementById('model').options.length == 2")
        yield running
    finally:
        running.close()


def photo(path: Path, height: int = 120, width: int = 160) -> Path:
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([200 * x / width, 200 * y / height, 100 + 100 * np.sin(x / 5) * np.cos(y / 7)], -1)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def test_upload_compare_download(browser: Browser, tmp_path: Path, server: Server) -> None:
    browser.upload(photo(tmp_path / "my photo.png"))
    browser.until("!document.getElementById('compare').hidden")
    assert "my photo.png: 160 × 120 to 320 × 240 in" in browser.run("document.getElementById('status').textContent")
    assert browser.run("document.getElementById('after').naturalWidth") == 320
    assert browser.run("document.getElementById('download').download") == "my photo_x2.png"
    downloaded = browser.run(
        "fetch(document.getElementById('download').href).then(r => r.arrayBuffer())"
        ".then(b => btoa(String.fromCharCode(...new Uint8Array(b))))"
    )
    sr = np.asarray(Image.open(io.BytesIO(base64.b64decode(downloaded))))
    upscaler = server.models.get("run/models/best.safetensors")
    np.testing.assert_array_equal(sr, upscaler.upscale(np.asarray(Image.open(tmp_path / "my photo.png"))))

    # Dragged with the mouse from the middle to a tenth of the width.
    left, top, width = browser.run(
        "(b => [b.left, b.top, b.width])(document.getElementById('compare').getBoundingClientRect())"
    )
    at = {"y": top + 60, "button": "left", "clickCount": 1}
    middle = browser.shot()
    browser.do("Input.dispatchMouseEvent", type="mousePressed", x=left + width / 2, **at)
    browser.do("Input.dispatchMouseEvent", type="mouseMoved", x=left + width / 10, buttons=1, **at)
    browser.do("Input.dispatchMouseEvent", type="mouseReleased", x=left + width / 10, **at)
    shown = browser.run("getComputedStyle(document.getElementById('compare')).getPropertyValue('--at')")
    assert float(shown.rstrip("%")) == pytest.approx(10, abs=0.5)
    assert (browser.shot() != middle).any()
    # And with the keyboard.
    browser.do("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    moved = browser.run("getComputedStyle(document.getElementById('compare')).getPropertyValue('--at')")
    assert float(moved.rstrip("%")) > float(shown.rstrip("%"))

    # Another model, on the same image.
    browser.run("(m => { m.value = 'x3.safetensors'; m.onchange() })(document.getElementById('model'))")
    browser.until("document.getElementById('scale').textContent == 'Network ×3'")
    assert browser.run("document.getElementById('after').naturalWidth") == 480
    assert browser.said == []


def test_a_bad_file_is_told_and_the_page_goes_on(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"<script>alert(1)</script>")
    browser.upload(bad)
    browser.until("document.getElementById('status').classList.contains('bad')")
    assert "bad.png: the upload is no image" in browser.run("document.getElementById('status').textContent")
    assert browser.run("document.getElementById('compare').hidden")
    large = tmp_path / "large.png"
    large.write_bytes(bytes(200_001))
    browser.upload(large)
    browser.until("document.getElementById('status').textContent.includes('larger than')")
    browser.upload(photo(tmp_path / "good.png", 20, 30))
    browser.until("!document.getElementById('compare').hidden")
    assert not browser.run("document.getElementById('status').classList.contains('bad')")


def test_the_page_is_light_and_dark(browser: Browser) -> None:
    means = {}
    for scheme in ("light", "dark"):
        browser.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        means[scheme] = browser.shot().mean()
    assert means["light"] > 200
    assert means["dark"] < 60
