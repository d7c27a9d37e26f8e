"""Whole folders: what is processed, skipped and reported."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import paragonsr
from paragonsr import resize
from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.weights import save_metadata, save_weights
from paragonsr.cli import main
from paragonsr.errors import UserError
from paragonsr.inference import folder
from paragonsr.inference.folder import plan, upscale_files
from paragonsr.inference.model import Upscaler
from paragonsr.inference.picture import Picture


class Upscale(torch.nn.Module):
    """Every pixel becomes 2 x 2 of itself; counts its calls."""

    receptive_field = 0

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(image.shape))
        return torch.nn.functional.interpolate(image, scale_factor=2)


def _twice(image: np.ndarray) -> np.ndarray:
    return image.repeat(2, 0).repeat(2, 1)


@pytest.fixture
def upscaler() -> Upscaler:
    return Upscaler(Upscale(), 2, torch.device("cpu"))


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a Nano."""
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    options = NanoOptions()
    torch.manual_seed(1)
    save_weights(path, options.build(scale=2).state_dict(), save_metadata(options, 2))
    return path


def _write(path: Path, height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0] if channels == 1 else image).save(path)
    return image


def test_a_tree_of_files_with_errors_in_it(tmp_path: Path, upscaler: Upscaler) -> None:
    images = {
        "a.png": _write(tmp_path / "in/a.png", 5, 7),
        "deep/er/b.tif": _write(tmp_path / "in/deep/er/b.tif", 1, 9, 1),
        "deep/c.png": _write(tmp_path / "in/deep/c.png", 30, 1, 4),
    }
    (tmp_path / "in/deep/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "in/notes.txt").write_text("no image")
    summary = upscale_files(upscaler, plan(tmp_path / "in", tmp_path / "out"))
    assert (summary.done, summary.skipped) == (3, 0)
    assert list(summary.failed) == [tmp_path / "in/deep/broken.png"]
    assert summary.megapixels == pytest.approx(4 * (35 + 9 + 30) / 1e6)
    for name, image in images.items():
        sr = Picture.open(tmp_path / "out" / name).pixels
        np.testing.assert_array_equal(sr[..., :3], _twice(image)[..., :3])
    assert sorted(f.name for f in (tmp_path / "out").rglob("*") if f.is_file()) == ["a.png", "b.tif", "c.png"]


def test_alpha_is_enlarged_smoothly_and_colours_are_not_touched_by_it(tmp_path: Path, upscaler: Upscaler) -> None:
    image = np.zeros((8, 8, 4), np.uint8)
    image[:, 4:] = 255
    sr = upscaler.upscale(image)
    np.testing.assert_array_equal(sr[..., :3], _twice(image)[..., :3])
    assert sr[8, 0, 3] == 0
    assert sr[8, -1, 3] == 255
    assert 0 < sr[8, 7, 3] < sr[8, 8, 3] < 255


def test_alpha_is_what_matlab_makes_of_it(upscaler: Upscaler) -> None:
    image = np.random.default_rng(0).integers(90, 160, (40, 30, 4), dtype=np.uint8)
    expected = resize.upscale(image, 2)[4:-4, 4:-4, 3].astype(int)  # it mirrors at the border, unlike the network
    found = upscaler.upscale(image)[4:-4, 4:-4, 3]
    assert np.abs(found - expected).max() <= 1, "it rounds to whole levels after the rows, too"
    assert (found == expected).mean() > 0.6


def test_memory_that_runs_out_is_one_image_s_error_and_names_all_of_its_batch(tmp_path: Path) -> None:
    class Full(Upscale):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            if image.shape[-1] == 8:
                raise torch.OutOfMemoryError("no memory")
            return super().forward(image)

    for name, width in (("a", 8), ("b", 8), ("c", 9)):
        _write(tmp_path / f"in/{name}.png", 4, width)
    jobs = plan(tmp_path / "in", tmp_path / "out")
    summary = upscale_files(Upscaler(Full(), 2, torch.device("cpu")), jobs)
    assert summary.done == 1
    assert set(summary.failed) == {job.source for job in jobs[:2]}
    assert "memory" in summary.failed[jobs[0].source]


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, upscaler: Upscaler) -> None:
    image = np.random.default_rng(0).integers(0, 65536, (6, 5, 3)).astype(np.uint16)
    _write(tmp_path / "any.png", 2, 2)
    Picture.open(tmp_path / "any.png").save(image, tmp_path / "in.png")
    upscale_files(upscaler, plan(tmp_path / "in.png", tmp_path / "out.png"))
    np.testing.assert_array_equal(Picture.open(tmp_path / "out.png").pixels, _twice(image))
    upscale_files(upscaler, plan(tmp_path / "in.png", tmp_path / "out", ".webp"))
    assert Picture.open(tmp_path / "out/in.webp").dtype is np.uint8


def test_what_is_done_is_skipped_until_it_is_older(tmp_path: Path, upscaler: Upscaler) -> None:
    for name in "abc":
        _write(tmp_path / f"in/{name}.png", 4, 4)
    jobs = plan(tmp_path / "in", tmp_path / "out")
    upscale_files(upscaler, jobs)
    before = {job.target: job.target.stat().st_mtime_ns for job in jobs}
    os.utime(jobs[1].source, (time.time() + 10, time.time() + 10))
    assert (upscale_files(upscaler, jobs).done, upscale_files(upscaler, jobs[::2]).skipped) == (1, 2)
    assert [job.target.stat().st_mtime_ns == before[job.target] for job in jobs] == [True, False, True]
    assert upscale_files(upscaler, jobs, overwrite=True).done == 3


def test_small_images_of_one_size_are_computed_together_and_none_is_mixed_up(
    tmp_path: Path, upscaler: Upscaler
) -> None:
    images = {f"{n:03d}.png": _write(tmp_path / f"in/{n:03d}.png", 8, 6 + n % 2, 3, n) for n in range(100)}
    upscale_files(upscaler, plan(tmp_path / "in", tmp_path / "out"))
    for name, image in images.items():
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / name)), _twice(image))
    network = upscaler.network
    assert isinstance(network, Upscale)
    # Half of the next 64 have equal sizes; then the remaining ones of the following 64; then the rest.
    assert [shape[0] for shape in network.shapes] == [32, 48, 18, 2]


def test_what_is_computed_together_does_not_depend_on_how_fast_files_are_read(
    tmp_path: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(job: folder.Job, scale: int, overwrite: bool) -> Picture | None:
        time.sleep(0.02 if job.source.stem in "bd" else 0)
        return quick(job, scale, overwrite)

    quick = folder._open
    monkeypatch.setattr(folder, "_open", slow)
    for name in "abcdefg":
        _write(tmp_path / f"in/{name}.png", 8, 8)
    _write(tmp_path / "in/c.png", 300, 300)
    (tmp_path / "in/d.png").write_bytes(b"broken")
    _write(tmp_path / "in/e.png", 8, 8, 1)
    summary = upscale_files(upscaler, plan(tmp_path / "in", tmp_path / "out"))
    assert (summary.done, len(summary.failed)) == (6, 1)
    network = upscaler.network
    assert isinstance(network, Upscale)
    assert [shape[0] for shape in network.shapes[:1]] == [4], "a, b, f and g"
    assert [shape[2:] for shape in network.shapes if shape[0] == 1][-1] == (8, 8), "e, which is grey, after c"


def test_the_next_files_are_read_while_a_group_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Waits(Upscale):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            assert after.wait(60), "the reads wait for the network"
            return super().forward(image)

    def telling(job: folder.Job, scale: int, overwrite: bool) -> Picture | None:
        if job.source.stem == "5":
            after.set()
        return opens(job, scale, overwrite)

    after, opens = threading.Event(), folder._open
    monkeypatch.setattr(folder, "_open", telling)
    monkeypatch.setattr(folder, "AHEAD", 4)
    for n in range(6):
        _write(tmp_path / f"in/{n}.png", 8, 8)
    network = Waits()
    assert upscale_files(Upscaler(network, 2, torch.device("cpu")), plan(tmp_path / "in", tmp_path / "out")).done == 6
    assert [shape[0] for shape in network.shapes] == [4, 2]


def test_an_image_beyond_memory_goes_through_a_file_of_the_disk(
    tmp_path: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "IN_MEMORY", 1000)
    monkeypatch.setattr(folder, "SMALL", 10)
    image = _write(tmp_path / "in.png", 90, 61)
    told: list[tuple[float, float]] = []

    def note(summary: folder.Summary) -> None:
        told.append((summary.under_way, summary.megapixels + summary.megapixels_under_way))

    upscale_files(upscaler, plan(tmp_path / "in.png", tmp_path / "out/out.png"), tile=32, progress=note)
    assert told[:2] == [(pytest.approx(58 / 180), pytest.approx(58 * 122 / 1e6)), (pytest.approx(118 / 180), ANY)]
    assert told[-1] == (0, pytest.approx(180 * 122 / 1e6))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/out.png")), _twice(image))
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["out.png"]
    network = upscaler.network
    assert isinstance(network, Upscale)
    assert max(max(shape[2:]) for shape in network.shapes) <= 34


@settings(max_examples=25)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tile=st.integers(16, 60),
    channels=st.integers(1, 4),
    dtype=st.sampled_from([np.uint8, np.uint16]),
)
def test_tiles_of_an_image_are_the_image(nano: Path, height: int, width: int, tile: int, channels: int, dtype) -> None:  # type: ignore[no-untyped-def]
    upscaler = paragonsr.load(nano)
    top = np.iinfo(dtype).max
    image = np.random.default_rng(height).integers(0, top + 1, (height, width, channels)).astype(dtype)
    whole, tiled = upscaler.upscale(image, tile=0), upscaler.upscale(image, tile=tile)
    assert whole.dtype == dtype
    assert np.abs(whole.astype(int) - tiled).max() <= (1 if dtype is np.uint8 else 2), "equal to rounding"


def test_places_that_cannot_be(tmp_path: Path) -> None:
    _write(tmp_path / "in/a.png", 4, 4)
    _write(tmp_path / "in/a.jpg", 4, 4)
    _write(tmp_path / "in/sub/c.png", 4, 4)
    (tmp_path / "empty").mkdir()
    assert len(plan(tmp_path / "in", tmp_path / "out")) == 3
    assert len(plan(tmp_path / "in", tmp_path / "in/sub")) == 2, "what lies in OUT is no source"
    for given_in, given_out, ending, said in (
        ("in", "out", ".png", "would both become"),
        ("in", "in", None, "would overwrite"),
        ("in/a.png", "in/a.png", None, "would overwrite"),
        ("in/a.png", "out.gif", None, "cannot be written"),
        ("in/a.png", "out.jpg", ".png", "--format says"),
        ("in", "out", ".bmp", "cannot be written"),
        ("in", "in/a.png", None, "is a file"),
        ("nothing", "out", None, "does not exist"),
        ("empty", "out", None, "contains no images"),
    ):
        with pytest.raises(UserError, match=said):
            plan(tmp_path / given_in, tmp_path / given_out, ending)


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["upscale", *map(str, arguments)])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_command(tmp_path: Path, nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = _write(tmp_path / "in/a.png", 20, 30)
    assert _run(tmp_path / "in/a.png", tmp_path / "one.png", "--model", nano) == 0
    assert "1 of 1 images upscaled x2: 0.00 MP" in capsys.readouterr().out
    one = np.asarray(Image.open(tmp_path / "one.png"))
    np.testing.assert_array_equal(one, paragonsr.load(nano).upscale(image))
    assert _run(tmp_path / "in/a.png", tmp_path / "x8.png", "--model", nano, "--ensemble", "x8") == 0
    x8 = np.asarray(Image.open(tmp_path / "x8.png"))
    np.testing.assert_array_equal(x8, paragonsr.load(nano, ensemble=True).upscale(image))
    assert (one != x8).any()
    (tmp_path / "in/b.png").write_bytes(b"")
    assert _run(tmp_path / "in", tmp_path / "out", "--model", nano, "--precision", "bf16") == 2
    said = capsys.readouterr()
    assert "1 of 2 images upscaled" in said.out
    assert "b.png: is empty (0 bytes)" in said.err
    for wrong in (("--tile", "7"), ("--tile", "big"), ("--ensemble", "x4"), ("--precision", "int8")):
        assert _run(tmp_path / "in", tmp_path / "other", "--model", nano, *wrong) == 2
    assert not (tmp_path / "other").exists()


def test_killed_in_the_middle_nothing_is_half_written_and_the_rest_is_done_later(tmp_path: Path, nano: Path) -> None:
    for n in range(60):
        _write(tmp_path / f"in/{n:02d}.png", 200, 180 + n, 3, n)
    command = [sys.executable, "-m", "paragonsr", "upscale", str(tmp_path / "in"), str(tmp_path / "out")]
    command += ["--model", str(nano)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while len(list((tmp_path / "out").glob("[0-9]*.png"))) < 5 and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = list((tmp_path / "out").glob("[0-9]*.png"))
    assert 5 <= len(done) < 60
    for file in done:
        with Image.open(file) as image:
            image.load()
    upscaler = paragonsr.load(nano)
    summary = upscale_files(upscaler, plan(tmp_path / "in", tmp_path / "out"))
    assert (summary.skipped, summary.done) == (len(done), 60 - len(done))


def test_the_ensemble_is_the_mean_over_what_eight_turned_images_give(nano: Path) -> None:
    upscaler = paragonsr.load(nano)
    image = np.random.default_rng(0).random((9, 14, 3)).astype(np.float32)
    singles = []
    for turns in range(4):
        for flip in (False, True):
            seen = np.rot90(image[:, ::-1] if flip else image, turns)
            with torch.inference_mode():
                lr = torch.from_numpy(seen.copy()).permute(2, 0, 1)[None]
                sr = np.rot90(upscaler.network(lr)[0].permute(1, 2, 0).numpy(), -turns)
            singles.append(sr[:, ::-1] if flip else sr)
    expected = np.mean(singles, axis=0).clip(0, 1)
    np.testing.assert_allclose(paragonsr.load(nano, ensemble=True).upscale(image), expected, atol=1e-6)
