"""HTTP server of the page. It answers only this machine, and survives bad uploads.

    GET  /                            the page, with /page.css and /page.js
    GET  /models                      {"models": [{"name", "title", "more"}], "limits": {...}}
    GET  /progress?job=ID             {"share": 0 to 1, or null while others are computed}
    POST /upscale?model=NAME&job=ID   an image file -> the SR image as PNG, with headers X-Scale and X-Seconds
    POST /preview                     an image file -> the same as PNG, for browsers that cannot show its format
    POST /convert?format=NAME         a PNG -> the same in another format: webp, jpeg, tiff, bmp, avif

Errors are {"error": message} with status 400 (bad request), 403 (page of another site), 404, 411, 413 (too large), 503
(too many waiting) or 500.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from paragonsr.errors import UserError
from paragonsr.serve.models import Models
from paragonsr.serve.pictures import FORMATS, TooLargeError, converted, decoded, encoded

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Timeout of an idle connection, in seconds."""
FILES = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
"""Files of the page."""
RESULT = 32
"""How many times as large as an upload the PNG of its SR image may be."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Limits for users of the page.

    Attributes:
        upload: maximum size of an image file, in bytes.
        pixels: maximum number of pixels of an LR image.
        waiting: maximum number of images that wait while one is computed.
        tile, overlap: parameters of the tiler in LR pixels, which limit the memory.
    """

    upload: int = 32 * 2**20
    pixels: int = 8_000_000
    waiting: int = 4
    tile: int = 256
    overlap: int = 32


class RefusedError(Exception):
    """A request that is refused."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


class Server(ThreadingHTTPServer):
    """Serves a folder of models to this machine.

    Args:
        models: the available models.
        port: port to listen on; 0 uses a free one, see `url`.
        limits: limits of requests.
    """

    daemon_threads = True

    def __init__(self, models: Models, port: int = 0, limits: Limits | None = None) -> None:
        super().__init__((HOST, port), _Handler)
        self.models, self.limits = models, limits or Limits()
        self._one_at_a_time = threading.Lock()
        self._room = threading.Semaphore(1 + self.limits.waiting)
        self._job: tuple[str, float] = ("", 0.0)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.server_port}/"

    def upscale(self, name: str, upload: bytes, job: str = "") -> tuple[bytes, int, float]:
        """Compute the SR image as PNG; returns it with its scale and the seconds it took. One image at a time.

        Args:
            name: the model.
            upload: content of an image file.
            job: the name under which `share_done` answers meanwhile.

        Raises:
            RefusedError: too many images are waiting, or the image is too large.
            UserError: the upload is not an image, or the model does not exist.
        """
        with self._place():
            image = self.decode(upload)
            with self._one_at_a_time:
                started = time.monotonic()
                upscaler = self.models.get(name)
                height, width, _ = image.shape
                sr = np.empty((1, height * upscaler.scale, width * upscaler.scale, 3), np.uint8)
                self._job = (job, 0.0)
                upscaler.upscale_into(
                    sr,
                    lambda rows, columns: image[None, rows, columns],
                    *(height, width),
                    tile=self.limits.tile,
                    overlap=self.limits.overlap,
                    progress=lambda share: self._note(job, share),
                )
                seconds = time.monotonic() - started
        return encoded(sr[0]), upscaler.scale, seconds

    def _note(self, job: str, share: float) -> None:
        self._job = (job, share)

    def share_done(self, job: str) -> float | None:
        """Share of a job that is done, 0 to 1; None while it waits for others."""
        current, share = self._job
        return share if current == job else None

    def decode(self, upload: bytes) -> np.ndarray:
        """Image of an upload: h x w x 3 uint8 RGB.

        Raises:
            RefusedError: the image is too large.
            UserError: the upload is not an image.
        """
        try:
            return decoded(upload, self.limits.pixels)
        except TooLargeError as error:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from error

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._room.acquire(blocking=False):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many images are waiting; try again in a moment")
        try:
            yield
        finally:
            self._room.release()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = PATIENCE
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        files = {f"/{name}": partial(self._file, name) for name in FILES}
        self._answer(
            {"/": partial(self._file, "index.html"), "/models": self._models, "/progress": self._progress} | files
        )

    def do_POST(self) -> None:
        self._answer({"/upscale": self._upscale, "/preview": self._preview, "/convert": self._convert})

    def _answer(self, pages: dict[str, Any]) -> None:
        try:
            self._check_where_from()
            page = pages.get(urlsplit(self.path).path)
            if page is None:
                raise RefusedError(HTTPStatus.NOT_FOUND, "unknown page")
            page()
        except RefusedError as refusal:
            self._error(refusal.status, refusal.message)
        except UserError as error:
            self._error(HTTPStatus.BAD_REQUEST, str(error))
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True  # the browser has disconnected, so there is no one to answer
        except Exception as error:
            log.exception("a request failed")
            self._error(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")

    def _check_where_from(self) -> None:
        """Accept only requests from this page: no scripts of other sites, no DNS rebinding."""
        own = {f"{host}:{self.server.server_port}" for host in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in own or (origin is not None and urlsplit(origin).netloc not in own):
            raise RefusedError(HTTPStatus.FORBIDDEN, "only requests from this machine's own page are served")

    def _file(self, name: str) -> None:
        content = files("paragonsr.serve").joinpath("page", name).read_bytes()
        self._send(f"{FILES[name]}; charset=utf-8", content)

    def _models(self) -> None:
        limits = {"upload": self.server.limits.upload, "pixels": self.server.limits.pixels}
        entries = [vars(entry) for entry in self.server.models.entries()]
        self._json({"models": entries, "limits": limits})

    def _progress(self) -> None:
        self._json({"share": self.server.share_done(self._asked("job"))})

    def _upscale(self) -> None:
        upload = self._body(self.server.limits.upload)
        png, scale, seconds = self.server.upscale(self._asked("model"), upload, self._asked("job"))
        self._send("image/png", png, {"X-Scale": str(scale), "X-Seconds": f"{seconds:.3f}"})

    def _preview(self) -> None:
        self._send("image/png", encoded(self.server.decode(self._body(self.server.limits.upload))))

    def _convert(self) -> None:
        name = self._asked("format")
        content = converted(self._body(RESULT * self.server.limits.upload), name)
        self._send(FORMATS[name][0], content)

    def _asked(self, key: str) -> str:
        """Value of a key in the address; empty if it is missing."""
        return parse_qs(urlsplit(self.path).query).get(key, [""])[0]

    def _body(self, most: int) -> bytes:
        said = self.headers.get("Content-Length", "")
        if not said.isdecimal():
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "the upload has no Content-Length")
        if int(said) > most:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the file is larger than {most / 2**20:g} MiB")
        body = self.rfile.read(int(said))
        if len(body) < int(said):
            raise ConnectionResetError("the upload ended early")
        return body

    def _send(self, kind: str, content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        fixed = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        for key, value in (fixed | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def _json(self, content: dict[str, Any]) -> None:
        self._send("application/json", json.dumps(content).encode())

    def _error(self, status: HTTPStatus, message: str) -> None:
        # The unread rest of the upload would be parsed as the next request.
        self.close_connection = True
        self._send("application/json", json.dumps({"error": message}).encode(), {"Connection": "close"}, status)

    def log_message(self, format: str, *args: Any) -> None:
        log.info("%s", format % args)
