"""Steps on a device, which is CUDA or the CPU: the same as on the host, except for the numbers of noise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.degradation.test_reproducibility import KINDS, PIPELINE
from tests.doors.test_strangers import assert_same_runs

from paragonsr.config.load import load_config
from paragonsr.data.sampling import Prefetcher
from paragonsr.degradation.base import Degradation, Parameters
from paragonsr.degradation.blur import Blur, BlurOptions
from paragonsr.degradation.convolution import convolved
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.kernels import gaussian
from paragonsr.degradation.noise import GaussianNoise, GaussianNoiseOptions, PoissonNoise, PoissonNoiseOptions
from paragonsr.degradation.options import DegradationOptions, StepOptions
from paragonsr.degradation.pipeline import Pipeline
from paragonsr.degradation.realesrgan import RealESRGANOptions
from paragonsr.degradation.resize import Resize, ResizeOptions, ToLR, ToLROptions
from paragonsr.degradation.step import AnyPlanes, Planes, Step, Target
from paragonsr.degradation.tensors import from_bytes, to_bytes, upload, working
from paragonsr.errors import UserError
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TARGET = Target(12, 10, 4)
SHAPES = "iso aniso generalized_iso generalized_aniso plateau_iso plateau_aniso sinc motion defocus".split()
NO_NOISE = dict.fromkeys(("noise_range", "noise_range2", "poisson_scale_range", "poisson_scale_range2"), 0)
BYTES = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)


def _picture(height: int, width: int) -> Planes:
    return np.random.default_rng(1).uniform(0, 255, (3, height, width)).astype(np.float32)


def _both(step: Step[Any], image: Planes, sample: int) -> tuple[Planes, Planes, Parameters]:
    """The step on the host and on the device, and its parameters, which are equal."""
    on_host, drawn = step.apply(image, Draws(0, sample), TARGET)
    tensor = upload(image, DEVICE)
    with working(DEVICE):
        on_device, again = step.apply(tensor, Draws(0, sample), TARGET)  # type: ignore[arg-type]
    assert isinstance(on_device, torch.Tensor)
    assert again == drawn
    np.testing.assert_array_equal(tensor.cpu(), image)
    return on_host, on_device.cpu().numpy(), drawn


@pytest.mark.parametrize("size", [(48, 40), (33, 71), (9, 6)])
@pytest.mark.parametrize("shape", SHAPES)
def test_blur(shape: str, size: tuple[int, int]) -> None:
    step = Blur(BlurOptions(kernels={shape: 1.0}))
    for sample in range(5):
        on_host, on_device, _ = _both(step, _picture(*size), sample)
        np.testing.assert_allclose(on_device, on_host, atol=4e-4)


def test_blur_of_an_impulse_is_the_kernel() -> None:
    impulse = np.zeros((3, 21, 21), np.float32)
    impulse[:, 10, 10] = 1
    kernel = gaussian(7, (1.0, 2.0), 0.5)
    blurred = convolved(upload(impulse, DEVICE), kernel).cpu().numpy()
    np.testing.assert_allclose(blurred[:, 7:14, 7:14], np.stack([kernel] * 3), atol=1e-6)
    assert blurred.sum() == pytest.approx(3, abs=1e-5)


@pytest.mark.parametrize("antialias", [0, 1])
@pytest.mark.parametrize("name", ["nearest", "area", "bilinear", "bicubic", "lanczos"])
def test_resize(name: str, antialias: int) -> None:
    filters = {"filters": {name: 1}, "antialias": antialias, "phase": 0.7}
    steps = [Resize(ResizeOptions.model_validate(filters)), ToLR(ToLROptions.model_validate(filters))]
    heights = set()
    for step in steps:
        for sample in range(8):
            on_host, on_device, _ = _both(step, _picture(48, 40), sample)
            assert on_device.shape == on_host.shape
            np.testing.assert_allclose(on_device, on_host, atol=1e-4)
            heights.add(on_host.shape[1])
    assert min(heights) < 48 < max(heights)


@pytest.mark.parametrize("gray", [0, 1])
@pytest.mark.parametrize(
    ("step", "options", "key"),
    [(GaussianNoise, GaussianNoiseOptions, "sigma"), (PoissonNoise, PoissonNoiseOptions, "scale")],
)
def test_noise_has_the_same_moments_and_other_numbers(
    step: type[Step[Any]], options: type[StepOptions], key: str, gray: int
) -> None:
    image = np.ones((3, 300, 300), np.float32) * np.array([100, 150, 60], np.float32)[:, None, None]
    built = step(options.model_validate({key: [2.0, 9.0], "gray_prob": gray}))
    on_host, on_device, _ = _both(built, image, 3)
    host, device = (n.reshape(3, -1).astype(np.float64) for n in (on_host - image, on_device - image))
    assert not np.array_equal(host, device)
    assert np.abs(device.mean(axis=1)).max() < 0.02 * device.std()
    assert device.var(axis=1) == pytest.approx(host.var(axis=1), rel=0.025)
    skewness = [(n**3).mean() / (n**2).mean() ** 1.5 for n in (host, device)]
    assert skewness[1] == pytest.approx(skewness[0], abs=0.03)
    correlation = np.corrcoef(device)
    assert np.abs(correlation - (np.ones((3, 3)) if gray else np.eye(3))).max() < 0.015
    assert abs(np.corrcoef(device[0, 1:], device[0, :-1])[0, 1]) < 0.015


def test_bytes_are_rounded_as_on_the_host() -> None:
    np.testing.assert_array_equal(to_bytes(from_bytes(BYTES, DEVICE)), BYTES)
    levels = torch.tensor([-3.0, 0.5, 1.5, 254.5, 300.0], device=DEVICE)
    assert to_bytes(levels.expand(3, 1, 5)).tolist() == [[[v] * 3 for v in (0, 0, 2, 254, 255)]]


def _built(given: dict[str, Any]) -> Degradation:
    kind = DegradationOptions.choose(given["type"])
    assert kind is not None
    built = kind.model_validate(given).build(scale=2, seed=5)
    assert isinstance(built, Degradation)
    return built


def test_realesrgan_without_noise_is_the_same_image_nearly_everywhere() -> None:
    on_host = RealESRGANOptions.model_validate(NO_NOISE).build(scale=2, seed=5)
    assert isinstance(on_host, Degradation)
    on_device = on_host.on(DEVICE)
    near = []
    for sample in range(40):
        (one, drawn), (other, again) = on_host.explained(BYTES, sample), on_device.explained(BYTES, sample)
        assert again == drawn
        near.append((np.abs(one.astype(int) - other) <= 1).mean())
    # A value that is rounded the other way before a codec can change a coefficient of its block.
    assert np.mean(near) > 0.99
    assert np.median(near) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_those_of_the_host_and_samples_are_the_same_in_any_order(kind: str) -> None:
    on_host = _built(KINDS[kind])
    on_device = on_host.on(DEVICE)
    made = {n: on_device.explained(BYTES, n) for n in range(8)}
    for n in (5, 2, 7, 0):
        again, drawn = on_host.on(DEVICE).explained(BYTES, n)
        np.testing.assert_array_equal(again, made[n][0])
        assert drawn == on_host.explained(BYTES, n)[1] == made[n][1]
    assert any((image != on_host.degrade(BYTES, n)).any() for n, (image, _) in made.items())


class Noted(Step[StepOptions]):
    """A step that knows nothing of devices."""

    def __init__(self, seen: list[AnyPlanes]) -> None:
        super().__init__(StepOptions.choose("quantise")())  # type: ignore[misc]
        self.seen = seen

    def apply(self, image: Planes, draws: Draws, target: Target) -> tuple[Planes, Parameters]:
        self.seen.append(image)
        return image + np.float32(1), {}


class NotedOnDevice(Noted):
    takes = "tensor"


def test_each_step_gets_the_image_where_it_takes_it() -> None:
    seen: list[AnyPlanes] = []
    Pipeline([NotedOnDevice(seen), Noted(seen), Noted(seen), NotedOnDevice(seen)], 2, 0).on(DEVICE).degrade(BYTES, 0)
    assert [isinstance(image, torch.Tensor) for image in seen] == [True, False, False, True]
    np.testing.assert_array_equal(np.asarray(seen[1]), np.minimum(BYTES.transpose(2, 0, 1) + 1.0, 255))
    seen.clear()
    Pipeline([NotedOnDevice(seen), Noted(seen)], 2, 0).degrade(BYTES, 0)
    assert [type(image) for image in seen] == [np.ndarray] * 2


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_do_not_depend_on_workers_or_their_size(workers: int, tiny_config: Configure) -> None:
    changes = {"datasets.train.degradation": PIPELINE, "datasets.train.degradation_device": "training"}
    options = load_config(tiny_config(changes)).config.train_set
    packed = options.open(2, "train")
    whole = options.sampler(packed, 2, 3, DEVICE).batch(0, 8).lq
    assert whole is not None
    assert (whole != options.sampler(packed, 2, 3).batch(0, 8).lq).any()
    with Prefetcher(options.sampler(packed, 2, 3, DEVICE), workers=workers) as ahead:
        parts = [ahead.batch(first, 2).lq for first in range(0, 8, 2)]
    np.testing.assert_array_equal(np.concatenate([part for part in parts if part is not None]), whole)


def _train(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


def test_a_resumed_run_is_the_same_as_an_uninterrupted_one(tiny_config: Configure) -> None:
    changes = {
        "train.total_iter": 20,
        "train.observe_every": 5,
        "val.val_freq": 5,
        "logger.save_checkpoint_freq": 10,
        "datasets.train.degradation": KINDS["realesrgan"],
        "datasets.val.degradation": KINDS["realesrgan"],
        "datasets.train.degradation_device": "training",
    }
    whole = _train(tiny_config(changes, name="whole"))
    parts = tiny_config(changes, name="parts")
    _train(parts, "train.total_iter=10")
    resumed = _train(parts, "datasets.train.num_worker_per_gpu=3")
    assert_same_runs(whole, resumed)
    on_cpu = _train(tiny_config(changes | {"datasets.train.degradation_device": "cpu"}, name="cpu"))
    with pytest.raises(AssertionError):
        assert_same_runs(whole, on_cpu)


def _refused(path: Path) -> str:
    with pytest.raises(UserError) as refused:
        load_config(path)
    return str(refused.value)


def test_a_validation_set_is_refused(tiny_config: Configure) -> None:
    path = tiny_config({"datasets.val.degradation": PIPELINE, "datasets.val.degradation_device": "training"})
    assert "a validation set is degraded once, on the CPU" in _refused(path)


def test_a_set_without_a_degradation_is_refused(tiny_config: Configure) -> None:
    assert "there is none; add one, or remove the key" in _refused(
        tiny_config({"datasets.train.degradation_device": "training"})
    )


class Plain(Degradation):
    """A degradation that knows nothing of devices."""

    def degrade(self, hr: np.ndarray, sample: int) -> np.ndarray:
        return hr[::2, ::2]


@pytest.mark.parametrize(("degradation", "device"), [(Plain(), DEVICE), (_built(PIPELINE), torch.device("mps"))])
def test_what_cannot_be_computed_on_the_device_is_refused(degradation: Degradation, device: torch.device) -> None:
    with pytest.raises(UserError, match=f"this degradation cannot be computed on {device.type}"):
        degradation.on(device)
