"""The HTTP server of the page. It answers this machine alone, and one bad upload harms nothing.

    GET  /                      the page
    GET  /models                {"models": [names], "limits": {...}}
    POST /upscale?model=NAME    an image file -> the SR image as PNG, X-Scale and X-Seconds beside it

Errors are {"error": message} with 400 (the request), 403 (another site's page), 404, 411, 413 (too large), 503 (too
many wait) or 500.
"""

import io
import json
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from paragonsr.data.images import image_size, read_image
from paragonsr.errors import UserError
from paragonsr.serve.models import Models

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds that a connection may stay silent."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What one user of the page can ask for.

    Attributes:
        upload: bytes of an image file.
        pixels: of an LR image.
        waiting: images that may wait while one is computed.
        tile, overlap: of the tiler, LR pixels; they bound the memory.
    """

    upload: int = 32 * 2**20
    pixels: int = 8_000_000
    waiting: int = 4
    tile: int = 256
    overlap: int = 32


class RefusedError(Exception):
    """A request that is not served."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


class Server(ThreadingHTTPServer):
    """Serves a folder of models to this machine.

    Args:
        models: what can be chosen.
        port: 0 takes a free one; `url` says which.
        limits: what one user can ask for.
    """

    daemon_threads = True

    def __init__(self, models: Models, port: int = 0, limits: Limits | None = None) -> None:
        super().__init__((HOST, port), _Handler)
        self.models, self.limits = models, limits or Limits()
        self._one_at_a_time = threading.Lock()
        self._room = threading.Semaphore(1 + self.limits.waiting)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def upscale(self, name: str, upload: bytes) -> tuple[bytes, int, float]:
        """The SR image as PNG, its scale, and the seconds it took; images are computed one after the other.

        Raises:
            RefusedError: too many are waiting already, or the image is too large.
            UserError: no image, or no such model.
        """
        with self._place(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "upload"  # by which its decoder is chosen from its content
            path.write_bytes(upload)
            try:
                height, width = image_size(path)
                if height * width > self.limits.pixels:
                    raise RefusedError(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"the image has {height * width / 1e6:.1f} million pixels; "
                        f"{self.limits.pixels / 1e6:g} million are served here, `paragonsr upscale` takes any",
                    )
                image = read_image(path)
            except UserError as error:
                raise UserError(f"the upload {error.what}") from error  # where it lies is nobody's concern
            with self._one_at_a_time:
                started = time.monotonic()
                upscaler = self.models.get(name)
                sr = upscaler.upscale(image, tile=self.limits.tile, overlap=self.limits.overlap)
                seconds = time.monotonic() - started
        content = io.BytesIO()
        Image.fromarray(sr).save(content, format="PNG", compress_level=3)
        return content.getvalue(), upscaler.scale, seconds

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
        self._answer({"/": self._page, "/models": self._models})

    def do_POST(self) -> None:
        self._answer({"/upscale": self._upscale})

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
            self.close_connection = True  # the browser has gone; nobody is left to be told
        except Exception as error:
            log.exception("a request failed")
            self._error(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")

    def _check_where_from(self) -> None:
        """Only this page may ask: not another site's script, nor one behind a name that was pointed here."""
        own = {f"{host}:{self.server.server_port}" for host in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in own or (origin is not None and urlsplit(origin).netloc not in own):
            raise RefusedError(HTTPStatus.FORBIDDEN, "only this machine's own page is served")

    def _page(self) -> None:
        self._send("text/html; charset=utf-8", files("paragonsr.serve").joinpath("page.html").read_bytes())

    def _models(self) -> None:
        limits = {"upload": self.server.limits.upload, "pixels": self.server.limits.pixels}
        self._send("application/json", json.dumps({"models": self.server.models.names(), "limits": limits}).encode())

    def _upscale(self) -> None:
        upload = self._body()
        name = parse_qs(urlsplit(self.path).query).get("model", [""])[0]
        png, scale, seconds = self.server.upscale(name, upload)
        self._send("image/png", png, {"X-Scale": str(scale), "X-Seconds": f"{seconds:.3f}"})

    def _body(self) -> bytes:
        said = self.headers.get("Content-Length", "")
        if not said.isdecimal():
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "the upload does not say how long it is")
        if int(said) > self.server.limits.upload:
            limit = self.server.limits.upload / 2**20
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the file is larger than {limit:g} MiB")
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

    def _error(self, status: HTTPStatus, message: str) -> None:
        # Whatever of the upload was not read would be taken for the next request.
        self.close_connection = True
        self._send("application/json", json.dumps({"error": message}).encode(), {"Connection": "close"}, status)

    def log_message(self, format: str, *args: Any) -> None:
        log.info("%s", format % args)
