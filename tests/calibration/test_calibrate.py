"""Calibration: traits with known answers, a small hidden truth, and what is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.calibration.conftest import TO_LR, degraded, picture, write_folders

from paragonsr.calibration import calibrate as module
from paragonsr.calibration.calibrate import Calibration, calibrate
from paragonsr.calibration.distance import energy_distance
from paragonsr.calibration.images import header
from paragonsr.calibration.traits import NAMES, measure
from paragonsr.data.decoding import unheard
from paragonsr.data.images import write_png
from paragonsr.degradation.base import Image
from paragonsr.degradation.image_codecs import jpeg_bytes


def trait(image: Image, name: str) -> float:
    return float(measure(np.ascontiguousarray(image[:128, :128]))[NAMES.index(name)])


@pytest.mark.parametrize("quality", [30, 60, 85])
def test_the_quality_of_a_jpeg_is_read_from_its_pixels(quality: int) -> None:
    found = trait(degraded([TO_LR, {"type": "jpeg", "quality": quality}], picture(1)), "JPEG quality")
    assert abs(found - quality) <= 2


def test_an_image_without_jpeg_has_no_quality() -> None:
    assert trait(degraded([TO_LR], picture(1)), "JPEG quality") == 100


def test_noise_blur_and_grey_noise_change_their_traits() -> None:
    clean = degraded([TO_LR], picture(2))
    noisy = degraded([TO_LR, {"type": "gaussian_noise", "sigma": 8, "gray_prob": 1.0}], picture(2))
    blurred = degraded([{"type": "blur", "kernels": {"iso": 1.0}, "sigma": 3.0}, TO_LR], picture(2))
    assert trait(noisy, "noise") > trait(clean, "noise") + 4
    assert trait(noisy, "noise correlation") > 0.9
    assert trait(blurred, "edge sharpness") < 0.7 * trait(clean, "edge sharpness")


def test_energy_distance_of_two_points_by_hand() -> None:
    one, other = np.array([[0.0], [2.0]]), np.array([[1.0], [3.0]])
    # Across 1, 3, 1, 1: mean 1.5; within 2 and 2.
    assert energy_distance(one, other) == pytest.approx(2 * 1.5 - 2 - 2)


def test_the_header_of_a_jpeg_tells_quality_and_subsampling(tmp_path: Path) -> None:
    for quality, subsampling in ((37, "420"), (90, "444"), (75, "422")):
        file = tmp_path / f"{quality}.jpg"
        file.write_bytes(jpeg_bytes(picture(3, 64), quality, subsampling))  # type: ignore[arg-type]
        kind, jpeg = header(file)
        assert kind == "JPEG"
        assert jpeg is not None
        assert (jpeg.quality, jpeg.subsampling) == (quality, subsampling)


def fitted(tmp_path: Path, steps: list[dict[str, Any]]) -> Calibration:
    bad, hr = write_folders(tmp_path, steps, 40)
    return calibrate(bad, [hr], 2, 0, unheard, tmp_path / "cache")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUNDS", ((900, 0.02), (300, 0.008)))
    monkeypatch.setattr(module, "CHECKED", 80)


@pytest.mark.slow
def test_jpeg_is_found(tmp_path: Path) -> None:
    found = fitted(tmp_path, [TO_LR, {"type": "jpeg", "quality": [45, 65]}])
    jpeg = found.spans["jpeg"]
    assert jpeg.share == 1
    assert abs((jpeg.low + jpeg.high) / 2 - 55) < 6
    assert found.distance < found.bicubic / 3


@pytest.mark.slow
def test_noise_is_found_again_from_the_cache(tmp_path: Path) -> None:
    found = fitted(tmp_path, [TO_LR, {"type": "gaussian_noise", "sigma": [6, 10], "gray_prob": 0.0}])
    noise = found.spans["noise"]
    assert noise.share == 1
    assert abs((noise.low + noise.high) / 2 - 8) < 2
    assert calibrate(tmp_path / "bad", [tmp_path / "hr"], 2, 0, unheard, tmp_path / "cache") == found


@pytest.mark.slow
def test_blur_is_found(tmp_path: Path) -> None:
    found = fitted(tmp_path, [{"type": "blur", "kernels": {"iso": 1.0}, "size": 13, "sigma": [1.5, 2.5]}, TO_LR])
    blur = found.spans["blur"]
    assert blur.share > 0.8
    assert abs((blur.low + blur.high) / 2 - 2) < 0.6


@pytest.mark.slow
def test_clean_images_are_clean(tmp_path: Path) -> None:
    assert fitted(tmp_path, []).is_clean


def test_three_images_are_refused(tmp_path: Path) -> None:
    for number in range(3):
        write_png(tmp_path / f"{number}.png", picture(number, 128))
    run = subprocess.run(
        [sys.executable, "-m", "paragonsr", "data", "calibrate", str(tmp_path)], capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "has 3 images, and a calibration needs at least 8" in run.stderr
