"""The server of the web page, over real connections."""

import http.client
import io
import json
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import paragonsr
from paragonsr.cli.serve import serve
from paragonsr.errors import UserError
from paragonsr.inference.model import Upscaler
from paragonsr.models import names
from paragonsr.serve.models import Models
from paragonsr.serve.server import Limits, Server


def request(
    server: Server, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    result = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return result


def png(height: int, width: int, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(content, "PNG")
    return content.getvalue()


def still_works(server: Server) -> None:
    status, headers, content = request(server, "POST", "/upscale?model=x3.safetensors", png(5, 9))
    assert (status, headers["X-Scale"]) == (200, "3")
    assert Image.open(io.BytesIO(content)).size == (27, 15)


def test_the_page_and_the_models(server: Server) -> None:
    status, headers, page = request(server, "GET", "/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert b"Drop images here" in page
    assert b"http" not in page.replace(b"http-equiv", b""), "nothing is fetched from elsewhere"
    status, _, content = request(server, "GET", "/models")
    answer = json.loads(content)
    assert [entry["name"] for entry in answer["models"]] == ["run/models/best.safetensors", "x3.safetensors", *names()]
    assert [entry["title"] for entry in answer["models"]] == ["run", "x3.safetensors", *names()]
    assert answer["limits"] == {"upload": 200_000, "pixels": 40_000}


def test_a_run_is_one_entry_and_its_other_weights_are_behind_more(folder: Path) -> None:
    for name in ("run/models/first.safetensors", "run/models/run_100.safetensors", "x3.onnx", "alone.onnx"):
        (folder / name).write_bytes(b"")
    entries = [(entry.title, entry.more) for entry in Models(folder).entries()]
    assert entries == [
        ("alone.onnx", False),
        ("run", False),
        ("x3.safetensors", False),
        *((name, False) for name in names()),
        ("run/models/first.safetensors", True),
        ("run/models/run_100.safetensors", True),
        ("x3.onnx", True),
    ]
    assert next(entry.title for entry in Models(folder / "run").entries()) == "run", "the folder itself is the run"


def test_an_original_that_browsers_do_not_show(server: Server) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "TIFF")
    status, headers, shown = request(server, "POST", "/preview", content.getvalue())
    assert (status, headers["Content-Type"]) == (200, "image/png")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(shown))), pixels)
    assert request(server, "POST", "/preview", b"no image")[0] == 400
    assert request(server, "POST", "/preview", png(201, 200))[0] == 413


@pytest.mark.parametrize("name", ["png", "webp", "jpeg", "tiff", "bmp"])
def test_a_result_in_another_format(server: Server, name: str) -> None:
    upload = png(30, 40)
    status, headers, made = request(server, "POST", f"/convert?format={name}", upload)
    assert (status, headers["Content-Type"]) == (200, f"image/{name}")
    image = Image.open(io.BytesIO(made))
    assert (image.format, image.size) == (name.upper(), (40, 30))
    if name in ("png", "tiff", "bmp"):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(upload))))


@pytest.mark.parametrize(("path", "body"), [("/convert?format=exe", png(3, 3)), ("/convert?format=webp", b"no PNG")])
def test_what_cannot_be_converted_is_told(server: Server, path: str, body: bytes) -> None:
    status, _, content = request(server, "POST", path, body)
    assert status == 400
    assert json.loads(content)["error"]
    still_works(server)


def test_progress_is_told_while_an_image_is_computed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []
    into = Upscaler.upscale_into

    def watched(self: Upscaler, *given: object, **named: object) -> None:
        progress = named.pop("progress")

        def follow(share: float) -> None:
            progress(share)  # type: ignore[operator]
            asked.append(json.loads(request(server, "GET", "/progress?job=mine")[2])["share"])

        asked.append(json.loads(request(server, "GET", "/progress?job=another")[2])["share"])
        into(self, *given, progress=follow, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Upscaler, "upscale_into", watched)
    server.limits = Limits(tile=32, overlap=8, pixels=40_000)
    assert request(server, "POST", "/upscale?model=x3.safetensors&job=mine", png(100, 40))[0] == 200
    waiting, *shares = asked
    assert waiting is None
    assert len(shares) >= 2
    assert shares == sorted(shares)  # type: ignore[type-var]
    assert 0 < shares[0] < 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (37, 53), (150, 200)])
def test_an_upload_becomes_what_upscale_makes_of_it(server: Server, height: int, width: int) -> None:
    upload = png(height, width)
    status, headers, content = request(server, "POST", "/upscale?model=run/models/best.safetensors", upload)
    assert status == 200
    assert headers["Content-Type"] == "image/png"
    assert float(headers["X-Seconds"]) > 0
    given = np.asarray(Image.open(io.BytesIO(upload)))
    upscaler = paragonsr.load(server.models.folder / "run/models/best.safetensors", device="cpu")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), upscaler.upscale(given))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16"])
def test_other_kinds_of_images(server: Server, mode: str) -> None:
    status, _, content = request(server, "POST", "/upscale?model=x3.safetensors", png(6, 8, mode))
    assert status == 200
    assert Image.open(io.BytesIO(content)).size == (24, 18)


BOMB = png(201, 200)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "message"),
    [
        ("/upscale?model=x3.safetensors", b"", {}, 400, "the upload is empty"),
        ("/upscale?model=x3.safetensors", b"\x89PNG\r\n\x1a\nno more", {}, 400, "the upload"),
        ("/upscale?model=x3.safetensors", png(50, 50)[:-300], {}, 400, "the upload"),
        ("/upscale?model=x3.safetensors", b"<html>", {}, 400, "is not an image"),
        ("/upscale?model=x3.safetensors", BOMB, {}, 413, "million pixels"),
        ("/upscale?model=x3.safetensors", b"x", {"Content-Length": "200001"}, 413, "larger than"),
        ("/upscale?model=x3.safetensors", b"x", {"Content-Length": "-1"}, 411, "Content-Length"),
        ("/upscale?model=absent.safetensors", png(5, 5), {}, 400, "unknown model absent"),
        ("/upscale?model=../secret.safetensors", png(5, 5), {}, 400, "unknown model"),
        ("/upscale?model=run/training_states/autosave.safetensors", png(5, 5), {}, 400, "unknown model"),
        ("/upscale", png(5, 5), {}, 400, "unknown model"),
        ("/elsewhere", png(5, 5), {}, 404, "unknown page"),
        ("/upscale?model=x3.safetensors", png(5, 5), {"Origin": "http://evil.example"}, 403, "own page"),
        ("/upscale?model=x3.safetensors", png(5, 5), {"Host": "evil.example"}, 403, "own page"),
    ],
)
def test_a_bad_request_is_told_and_harms_nothing(
    server: Server, path: str, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    (server.models.folder.parent / "secret.safetensors").write_bytes(b"secret")
    found, _, content = request(server, "POST", path, body, headers)
    assert (found, message in json.loads(content)["error"]) == (status, True), content
    assert "/tmp" not in json.loads(content)["error"]
    still_works(server)


def test_a_damaged_model_is_told_and_harms_nothing(server: Server) -> None:
    (server.models.folder / "bad.safetensors").write_bytes(b"not weights at all")
    status, _, content = request(server, "POST", "/upscale?model=bad.safetensors", png(5, 5))
    assert status == 400
    assert "not a whole safetensors file" in json.loads(content)["error"]
    still_works(server)


def test_an_upload_that_ends_early_harms_nothing(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
        head = f"POST /upscale?model=x3.safetensors HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
        connection.sendall(head.encode() + b"Content-Length: 1000\r\n\r\nhalf")
    still_works(server)


def test_a_network_that_fails_is_told_and_harms_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: object, **named: object) -> None:
        raise torch.OutOfMemoryError("no memory left")

    with monkeypatch.context() as patched:
        patched.setattr(Upscaler, "upscale_into", fails)
        status, _, content = request(server, "POST", "/upscale?model=x3.safetensors", png(5, 5))
    assert (status, "no memory left" in json.loads(content)["error"]) == (500, True)
    still_works(server)


def test_as_many_wait_as_may(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go = threading.Semaphore(0), threading.Event()
    upscale = Upscaler.upscale_into

    def slow(self: Upscaler, *given: object, **named: object) -> np.ndarray:
        inside.release()
        assert go.wait(30)
        return upscale(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Upscaler, "upscale_into", slow)
    found: list[int] = []

    def ask() -> None:
        found.append(request(server, "POST", "/upscale?model=x3.safetensors", png(5, 5))[0])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=30)
    while len(found) < 2:  # one computes, one waits, the others are refused at once
        threads[0].join(0.01)
    go.set()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200, 200, 503, 503]
    still_works(server)


def test_the_server_listens_to_this_machine_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_few_models_stay_loaded(folder: Path) -> None:
    models = Models(folder, keep=1, device="cpu")
    first = models.get("x3.safetensors")
    assert models.get("x3.safetensors") is first
    models.get("run/models/best.safetensors")
    assert models.loaded == ["run/models/best.safetensors"]
    assert models.get("x3.safetensors") is not first


def test_what_serve_cannot_use_is_told(tmp_path: Path, server: Server, photographs: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="folder does not exist"):
        serve(tmp_path / "absent", 0, 1, 1, 1, "cpu")
    with pytest.raises(UserError, match="cannot be used"):
        serve(tmp_path, server.server_port, 1, 1, 1, "cpu")


def test_a_model_that_was_replaced_is_read_again(folder: Path) -> None:
    models = Models(folder, device="cpu")
    before = models.get("x3.safetensors")
    assert models.get("x3.safetensors") is before
    shutil.copy(folder / "run" / "models" / "best.safetensors", folder / "x3.safetensors")
    assert models.get("x3.safetensors").scale == 2
    (folder / "x3.safetensors").unlink()
    with pytest.raises(UserError, match="unknown model"):
        models.get("x3.safetensors")
