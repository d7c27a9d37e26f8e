"""Several scales and feature matching: formulas in float64, one pass of SR, and whole runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file

from paragonsr.config import load_config
from paragonsr.discriminators.base import Discriminator, SingleScale
from paragonsr.discriminators.multi_scale import MultiScale
from paragonsr.discriminators.options import DiscriminatorOptions
from paragonsr.errors import UserError
from paragonsr.losses.adversarial import GANLoss
from paragonsr.losses.adversarial_options import GANOptions
from paragonsr.training.run import train

Configure = Callable[..., Path]
CHOICE: TypeAdapter[DiscriminatorOptions] = TypeAdapter(DiscriminatorOptions)
KINDS = ["unetdiscriminatorsn", "dunet", "patchgan"]
TYPES = ["vanilla", "lsgan", "hinge", "relativistic"]


def _build(kind: str, **options: Any) -> Discriminator:
    torch.manual_seed(0)
    return CHOICE.validate_python({"type": kind, "num_feat": 8, **options}).build()


class Known(SingleScale):
    """Two layers of features and a logit whose values are known: a factor times the image, its square, its sum."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor, dtype=torch.float64))
        self.passes = 0

    def layers(self, image: torch.Tensor) -> list[torch.Tensor]:
        self.passes += 1
        x = self.factor * image
        return [x, x.square(), x.sum(dim=(1, 2, 3), keepdim=True)]


FACTORS = (0.02, 0.05, 0.3)


def _loss(scales: int = 3, **options: Any) -> GANLoss:
    loss = GANLoss(GANOptions(network_d={"type": "patchgan", "num_feat": 4}, **options))
    loss._discriminator = MultiScale([Known(factor) for factor in FACTORS[:scales]])
    return loss


def _images(rows: int = 8, columns: int = 16, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(0)
    return tuple(torch.from_numpy(random.random((count, 3, rows, columns))) for _ in range(2))  # type: ignore[return-value]


def _halved(image: np.ndarray) -> np.ndarray:
    n, c, h, w = image.shape
    return image.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def _formulas(kind: str, real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    ours, own = {
        "vanilla": (_softplus(-fake), _softplus(-real) + _softplus(fake)),
        "lsgan": ((fake - 1) ** 2, (real - 1) ** 2 + fake**2),
        "hinge": (-fake, np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)),
        "relativistic": (_softplus(real - fake), _softplus(fake - real)),
    }[kind]
    return float(ours.mean()), float(own.mean())


@pytest.mark.parametrize("kind", TYPES)
def test_formulas(kind: str) -> None:
    """Equations 3 and 4 of pix2pixHD, as means over the scales."""
    sr, hr = _images()
    fake, real, ours, own, matched = sr.numpy(), hr.numpy(), [], [], []
    for factor in FACTORS:
        f, r = factor * fake, factor * real
        one, other = _formulas(kind, r.sum(axis=(1, 2, 3)), f.sum(axis=(1, 2, 3)))
        ours.append(one)
        own.append(other)
        matched.append(np.abs(r - f).mean() + np.abs(r**2 - f**2).mean())
        fake, real = _halved(fake), _halved(real)
    loss = _loss(gan_type=kind, feature_matching=10.0)
    got, seen = loss.own_loss(sr, hr)
    assert loss.measure(sr, hr).item() == pytest.approx(np.mean(ours) + 10 * np.mean(matched), rel=1e-12)
    assert got.item() == pytest.approx(np.mean(own), rel=1e-12)
    assert seen["features"].item() == pytest.approx(np.mean(matched), rel=1e-12)
    assert list(seen) == list(loss.measured)


@pytest.mark.parametrize("kind", TYPES)
def test_gradcheck(kind: str) -> None:
    sr, hr = _images(4, 4, 2)
    loss = _loss(gan_type=kind, feature_matching=0.7)
    assert torch.autograd.gradcheck(lambda image: loss.measure(image, hr), (sr.requires_grad_(),))


def test_without_features_there_is_no_column_for_them() -> None:
    assert "features" not in _loss().measured


@pytest.mark.parametrize("kind", TYPES)
def test_sr_passes_once(kind: str) -> None:
    sr, hr = _images()
    loss = _loss(gan_type=kind, feature_matching=1.0)
    loss.measure(sr, hr)
    passes = [network.passes for network in loss._discriminator.networks]
    assert passes == [2, 2, 2], "SR once and HR once at each scale"


def test_hr_features_are_a_constant() -> None:
    sr, hr = _images()
    hr.requires_grad_()
    _loss(feature_matching=1.0).measure(sr.requires_grad_(), hr).backward()
    assert hr.grad is None
    assert sr.grad is not None


def test_penalties_are_those_of_each_scale() -> None:
    """The gradient of the logit at scale k is factor / 4^k at each of the 384 samples."""
    sr, hr = _images()
    plain, _ = _loss().own_loss(sr, hr)
    own, _ = _loss(r1=8.0).own_loss(sr, hr)
    expected = np.mean([8 / 2 * 384 * (factor / 4**k) ** 2 for k, factor in enumerate(FACTORS)])
    assert (own - plain).item() == pytest.approx(expected, rel=1e-6)


def test_a_loss_is_a_mean_over_samples() -> None:
    """Micro-batches of one and two samples give the loss and the gradient of the batch of three."""
    sr, hr = _images()
    loss = _loss(gan_type="relativistic", feature_matching=2.0, r1=1.0, r2=1.0)
    for measure in (loss.measure, lambda sr, hr: loss.own_loss(sr, hr)[0]):
        whole = measure(sr, hr)
        parts = measure(sr[:1], hr[:1]) / 3 + measure(sr[1:], hr[1:]) * 2 / 3
        assert parts.item() == pytest.approx(whole.item(), rel=1e-12)


def test_odd_sides_are_halved_upwards() -> None:
    image = torch.arange(15.0).reshape(1, 1, 3, 5).expand(1, 3, 3, 5)
    (_, small) = MultiScale([Known(1.0), Known(1.0)])(image)
    expected = [[(0 + 1 + 5 + 6) / 4, (2 + 3 + 7 + 8) / 4, (4 + 9) / 2], [10.5, 12.5, 14.0]]
    np.testing.assert_allclose(small[0][0, 0].detach(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_every_discriminator_judges_at_several_scales(kind: str) -> None:
    network, image = _build(kind, num_d=3), torch.rand(2, 3, 96, 128)
    assert isinstance(network, MultiScale)
    one = _build(kind)
    for logits, side in zip(network(image), (96, 48, 24), strict=True):
        assert logits[-1].shape == one(torch.rand(2, 3, side, side * 4 // 3))[0][-1].shape
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.renew()
    moved = {name for name, value in network.state_dict().items() if not torch.equal(before[name], value)}
    assert {name.split(".")[1] for name in moved} == {"0", "1", "2"}
    assert all(name.endswith(("_u", "_v")) for name in moved)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scales", [1, 2, 3])
def test_the_smallest_side_is_the_smallest(kind: str, scales: int) -> None:
    network = _build(kind, num_d=scales)
    side = network.smallest_side
    assert all(logits[-1].numel() for logits in network(torch.rand(1, 3, side, side)))
    if side > 1:
        with pytest.raises(RuntimeError):
            network(torch.rand(1, 3, side - 1, side - 1))


def test_small_patches_are_told() -> None:
    loss = GANOptions(network_d={"type": "patchgan", "num_d": 3}).build()
    with pytest.raises(UserError, match=r"needs HR patches of at least 93 pixels, but these are 64 x 64"):
        loss(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))


def test_micro_batches_accumulate_to_the_batch(tiny_config: Configure) -> None:
    """To rounding: sums over samples have another order."""
    samples = {"datasets.train.batch_size_per_gpu": 1, "datasets.train.accum_iter": 4}
    network = {"type": "patchgan", "num_feat": 4, "n_layers": 2, "num_d": 2}
    gan = {"type": "ganloss", "feature_matching": 10.0, "network_d": network}
    changes = {"train.losses": [{"type": "l1loss"}, gan]}
    whole = train(load_config(tiny_config(changes, name="whole")).config).folder
    split = train(load_config(tiny_config(changes | samples, name="split")).config).folder
    for name in ("net_d_12.safetensors", "net_g_ema_12.safetensors"):
        one, other = (load_file(folder / "models" / name) for folder in (whole, split))
        for tensor in one:
            torch.testing.assert_close(one[tensor], other[tensor], rtol=1e-3, atol=1e-4)
