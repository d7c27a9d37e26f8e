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

    def upload(self, *chosen: Path) -> None:
        """Choose files in the page's file field."""
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        field = self.do("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.do("DOM.setFileInputFiles", files=[str(file) for file in chosen], nodeId=field)

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
        running.until("document.getElementById('model') && document.getElementById('model').options.length == 4")
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
    browser.until("!document.getElementById('stage').hidden")
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

    # The handle, dragged with the mouse from the middle to a tenth of the width.
    left, top, width = browser.run(
        "(b => [b.left, b.top, b.width])(document.getElementById('stage').getBoundingClientRect())"
    )
    at = {"y": top + 60, "button": "left", "clickCount": 1}
    middle = browser.shot()
    browser.do("Input.dispatchMouseEvent", type="mousePressed", x=left + width / 2, **at)
    browser.do("Input.dispatchMouseEvent", type="mouseMoved", x=left + width / 10, buttons=1, **at)
    browser.do("Input.dispatchMouseEvent", type="mouseReleased", x=left + width / 10, **at)
    shown = browser.run("getComputedStyle(document.getElementById('stage')).getPropertyValue('--at')")
    assert float(shown.rstrip("%")) == pytest.approx(10, abs=0.5)
    assert (browser.shot() != middle).any()
    # And with the keyboard.
    browser.do("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    moved = browser.run("getComputedStyle(document.getElementById('stage')).getPropertyValue('--at')")
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
    assert "bad.png: the upload is not an image" in browser.run("document.getElementById('status').textContent")
    assert browser.run("document.getElementById('stage').hidden")
    large = tmp_path / "large.png"
    large.write_bytes(bytes(200_001))
    browser.upload(large)
    browser.until("document.getElementById('status').textContent.includes('larger than')")
    browser.upload(photo(tmp_path / "good.png", 20, 30))
    browser.until("!document.getElementById('stage').hidden")
    assert not browser.run("document.getElementById('status').classList.contains('bad')")


def _place(browser: Browser) -> tuple[float, float, float]:
    """Zoom of the stage, in SR pixels, and the position of the image."""
    x, y, zoom = browser.run(
        "(m => [m.e, m.f, m.a])(new DOMMatrix(getComputedStyle(document.getElementById('after')).transform))"
    )
    return zoom, x, y


def _key(browser: Browser, key: str, code: int) -> None:
    browser.do("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code)


def test_zoom_pan_and_side_by_side(browser: Browser, tmp_path: Path) -> None:
    browser.upload(photo(tmp_path / "large.png", 180, 220))
    browser.until("!document.getElementById('stage').hidden")
    assert _place(browser)[0] == 1, "no larger than 100% at first"
    browser.run("document.getElementById('larger').onclick(), document.getElementById('larger').onclick()")
    browser.run("document.getElementById('larger').onclick(), document.getElementById('larger').onclick()")
    zoom, x, y = _place(browser)
    assert zoom == pytest.approx(1.5**4)
    assert browser.run("document.getElementById('zoom').textContent") == "506%"
    assert browser.run("document.getElementById('right').classList.contains('pixels')"), "pixels are shown as they are"

    left, top = browser.run("(b => [b.left, b.top])(document.getElementById('stage').getBoundingClientRect())")
    at = {"button": "left", "clickCount": 1}
    browser.do("Input.dispatchMouseEvent", type="mousePressed", x=left + 100, y=top + 100, **at)
    browser.do("Input.dispatchMouseEvent", type="mouseMoved", x=left + 70, y=top + 80, buttons=1, **at)
    browser.do("Input.dispatchMouseEvent", type="mouseReleased", x=left + 70, y=top + 80, **at)
    assert _place(browser) == pytest.approx((zoom, x - 30, y - 20))
    _key(browser, "ArrowLeft", 37)
    assert _place(browser) == pytest.approx((zoom, x + 30, y - 20))

    # Where the wheel turns, the image stays in place.
    before = _place(browser)
    browser.do("Input.dispatchMouseEvent", type="mouseWheel", x=left + 200, y=top + 150, deltaX=0, deltaY=-200)
    browser.until(f"new DOMMatrix(getComputedStyle(document.getElementById('after')).transform).a > {zoom}")
    after = _place(browser)
    assert [(p - o) / z for p, o, z in zip((200, 150), after[1:], [after[0]] * 2, strict=True)] == pytest.approx(
        [(p - o) / z for p, o, z in zip((200, 150), before[1:], [before[0]] * 2, strict=True)], abs=0.1
    )
    _key(browser, "1", 49)
    assert _place(browser)[0] == 1
    _key(browser, "s", 83)
    shown = "(b => [b.left, b.width])(document.getElementById('right').getBoundingClientRect())"
    whole = browser.run("document.getElementById('stage').getBoundingClientRect().width")
    assert browser.run(shown) == pytest.approx([left + whole / 2, whole / 2])
    both = [browser.run(f"document.getElementById('{name}').style.transform") for name in ("before", "after")]
    assert both[0] == both[1]
    assert browser.said == []


def test_two_fingers_zoom(browser: Browser, tmp_path: Path) -> None:
    browser.do("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
    browser.upload(photo(tmp_path / "a.png", 180, 220))
    browser.until("!document.getElementById('stage').hidden")
    left, top = browser.run("(b => [b.left, b.top])(document.getElementById('stage').getBoundingClientRect())")

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": left + x, "y": top + y, "id": i} for i, (x, y) in enumerate(places)]
        browser.do("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    touch("touchStart", (100, 100))
    touch("touchStart", (100, 100), (200, 100))
    touch("touchMove", (50, 100), (250, 100))
    touch("touchEnd")
    assert _place(browser)[0] == pytest.approx(2, rel=0.05)


def test_several_images_one_after_the_other(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    browser.upload(photo(tmp_path / "a.png", 60, 80), bad, photo(tmp_path / "b.png", 90, 40))
    listed = "[...document.getElementById('images').children].map(b => b.textContent)"
    browser.until(f"JSON.stringify({listed}) == JSON.stringify(['a.png', '! bad.png', 'b.png'])")
    browser.until("document.getElementById('status').textContent.startsWith('a.png: 80')")
    browser.run("document.getElementById('images').children[2].onclick()")
    browser.until("document.getElementById('status').textContent.startsWith('b.png: 40 × 90 to 80 × 180')")
    browser.run("document.getElementById('images').children[1].onclick()")
    browser.until("document.getElementById('status').classList.contains('bad')")
    assert browser.run("document.getElementById('stage').hidden")


@pytest.mark.parametrize(("name", "shown"), [("a.tif", "TIFF"), ("a.bmp", "BMP")])
def test_an_original_of_any_format_is_shown_and_comes_back(
    browser: Browser, tmp_path: Path, name: str, shown: str
) -> None:
    file = photo(tmp_path / name, 60, 80)
    browser.upload(file)
    browser.until("!document.getElementById('stage').hidden")
    width = "(i => [i.naturalWidth, i.naturalHeight])(document.getElementById('before'))"
    assert browser.run(width) == [80, 60], "the original itself, not its result"
    formats = browser.run("[...document.getElementById('format').options].map(o => o.text)")
    assert formats == [f"{shown} (as the original)", "PNG", "WebP", "JPEG"]
    browser.run(
        "(f => { f.selectedIndex = 0; f.onchange(); document.getElementById('download').addEventListener('click',"
        " e => { if (!e.defaultPrevented) e.preventDefault(); }); document.getElementById('download').click(); })"
        "(document.getElementById('format'))"
    )
    browser.until("document.getElementById('download').href != document.getElementById('after').src")
    content = base64.b64decode(
        browser.run(
            "fetch(document.getElementById('download').href).then(r => r.arrayBuffer())"
            ".then(b => btoa(String.fromCharCode(...new Uint8Array(b))))"
        )
    )
    with Image.open(io.BytesIO(content)) as made:
        assert (made.format, made.size) == (shown, (160, 120))


def test_the_page_is_light_and_dark(browser: Browser) -> None:
    means = {}
    for scheme in ("light", "dark"):
        browser.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        means[scheme] = browser.shot().mean()
    assert means["light"] > 200
    assert means["dark"] < 60


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844), (844, 390), (320, 700)])
def test_the_page_fits_the_window(browser: Browser, tmp_path: Path, width: int, height: int) -> None:
    browser.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
    browser.upload(photo(tmp_path / "a photograph with a rather long name.png", 180, 220))
    browser.until("!document.getElementById('stage').hidden")
    assert browser.run("(e => [e.scrollWidth, e.scrollHeight])(document.documentElement)") == [width, height]
    left, right = browser.run("(b => [b.left, b.right])(document.getElementById('download').getBoundingClientRect())")
    assert 0 <= left < right <= width
