"""Discriminators and adversarial losses: formulas in float64, what a pass must not change, and whole runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from torch import nn

from paragonsr.config import load_config
from paragonsr.discriminators.base import Discriminator, SingleScale
from paragonsr.discriminators.options import DiscriminatorOptions
from paragonsr.losses.adversarial import GANLoss
from paragonsr.losses.adversarial_options import GANOptions
from paragonsr.training.engine.learner import Learner
from paragonsr.training.reporting.record import read_steps
from paragonsr.training.run import train

Configure = Callable[..., Path]
CHOICE: TypeAdapter[DiscriminatorOptions] = TypeAdapter(DiscriminatorOptions)
KINDS = ["unetdiscriminatorsn", "dunet", "patchgan"]
TYPES = ["vanilla", "lsgan", "hinge", "relativistic"]


def _discriminator(kind: str, **options: Any) -> Discriminator:
    torch.manual_seed(0)
    return CHOICE.validate_python({"type": kind, "num_feat": 8, **options}).build()


class Linear(SingleScale):
    """One logit per image: the sum of its samples times 0.01, so that all values are known."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.01, dtype=torch.float64))

    def layers(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [self.slope * image.sum(dim=(1, 2, 3), keepdim=True)]


def _loss(**options: Any) -> GANLoss:
    loss = GANLoss(GANOptions(network_d={"type": "patchgan", "num_feat": 4}, **options))
    loss._discriminator = Linear()
    return loss


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(0)
    return tuple(torch.from_numpy(random.random((3, 3, 4, 5))) for _ in range(2))  # type: ignore[return-value]


def test_the_unet_is_that_of_real_esrgan() -> None:
    network = CHOICE.validate_python({"type": "unetdiscriminatorsn"}).build()
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_376_897


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sides", [(64, 64), (37, 51), (32, 90)])
def test_logits_of_any_size(kind: str, sides: tuple[int, int]) -> None:
    ((*_, logits),) = _discriminator(kind)(torch.rand(2, 3, *sides))
    assert logits.shape[:2] == (2, 1)
    if kind != "patchgan":
        assert logits.shape[2:] == sides


def test_a_patch_has_seventy_pixels() -> None:
    image = torch.zeros(1, 3, 128, 128, requires_grad=True)
    ((*_, logits),) = _discriminator("patchgan")(image)
    logits[0, 0, 7, 7].backward()
    assert image.grad is not None
    rows = image.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_changes_nothing_and_renew_only_the_norms(kind: str) -> None:
    network = _discriminator(kind).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.rand(2, 3, 32, 32))[0][-1].mean().backward()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    network.renew()
    moved = {name for name, value in network.state_dict().items() if not torch.equal(before[name], value)}
    assert moved
    assert all(name.endswith(("_u", "_v")) for name in moved)


def test_renewed_norms_approach_the_largest_singular_value() -> None:
    network = _discriminator("unetdiscriminatorsn")
    for _ in range(200):
        network.renew()
    weight = network.down[0].weight  # type: ignore[index, union-attr]
    assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


@pytest.mark.parametrize("kind", TYPES)
def test_formulas(kind: str) -> None:
    sr, hr = _images()
    fake, real = (0.01 * image.numpy().sum(axis=(1, 2, 3)) for image in (sr, hr))
    expected = {
        "vanilla": (_softplus(-fake), _softplus(-real) + _softplus(fake)),
        "lsgan": ((fake - 1) ** 2, (real - 1) ** 2 + fake**2),
        "hinge": (-fake, np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)),
        "relativistic": (_softplus(real - fake), _softplus(fake - real)),
    }[kind]
    loss = _loss(gan_type=kind)
    own, seen = loss.own_loss(sr, hr)
    assert loss.measure(sr, hr).item() == pytest.approx(expected[0].mean())
    assert own.item() == pytest.approx(expected[1].mean())
    assert seen["real"].item() == pytest.approx(real.mean())
    assert seen["fake"].item() == pytest.approx(fake.mean())
    assert seen["accuracy"].item() == pytest.approx((real > fake).mean())


def test_labels_may_be_smoothed() -> None:
    sr, hr = _images()
    real = 0.01 * hr.numpy().sum(axis=(1, 2, 3))
    fake = 0.01 * sr.numpy().sum(axis=(1, 2, 3))
    own, _ = _loss(real_label_val=0.9).own_loss(sr, hr)
    expected = 0.9 * _softplus(-real) + 0.1 * _softplus(real) + _softplus(fake)
    assert own.item() == pytest.approx(expected.mean())


@pytest.mark.parametrize("which", ["r1", "r2"])
def test_penalties(which: str) -> None:
    """The gradient of the linear logit is 0.01 at each of the 60 samples."""
    sr, hr = _images()
    plain, _ = _loss().own_loss(sr, hr)
    loss = _loss(**{which: 8.0})
    own, _ = loss.own_loss(sr, hr)
    assert (own - plain).item() == pytest.approx(8 / 2 * 60 * 0.01**2, rel=1e-6)
    (own - plain.detach()).backward()
    assert loss._discriminator.slope.grad is not None  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", TYPES)
def test_gradcheck(kind: str) -> None:
    sr, hr = _images()
    loss = _loss(gan_type=kind)
    assert torch.autograd.gradcheck(lambda image: loss.measure(image, hr), (sr.requires_grad_(),))


def _changes(**options: Any) -> dict[str, Any]:
    gan = {
        "type": "ganloss",
        "loss_weight": 0.1,
        "network_d": {"type": "unetdiscriminatorsn", "num_feat": 4},
        **options,
    }
    return {"train.losses": [{"type": "l1loss"}, gan], "train.total_iter": 12, "train.observe_every": 3}


SEVERAL = {"feature_matching": 10.0, "network_d": {"type": "patchgan", "num_feat": 4, "n_layers": 2, "num_d": 2}}


@pytest.mark.parametrize("options", [{}, {"gan_type": "relativistic", "r1": 1.0, "r2": 1.0}, SEVERAL])
def test_resumed_is_straight(options: dict[str, Any], tiny_config: Configure) -> None:
    folders = []
    for name, stops in (("straight", []), ("resumed", [5])):
        path = tiny_config(_changes(**options) | {"logger.save_checkpoint_freq": 5}, name=name)
        for at in stops:
            train(load_config(path, [f"train.total_iter={at}"]).config)
        folders.append(train(load_config(path).config).folder)
    for name in ("net_d_12.safetensors", "net_g_ema_12.safetensors"):
        one, other = (load_file(folder / "models" / name) for folder in folders)
        assert all(torch.equal(one[name], other[name]) for name in one)
    steps = [read_steps(folder) for folder in folders]
    measured = [name for name in steps[0] if name.endswith(("fake", "features"))]
    assert len(measured) == (2 if "feature_matching" in options else 1)
    for name in measured:
        np.testing.assert_array_equal(steps[0][name], steps[1][name])
        assert np.isfinite(steps[0][name]).all()


def test_a_configuration_of_traiNNer_redux(tiny_config: Configure) -> None:  # noqa: N802 - its name
    path = tiny_config(
        {
            "network_d": {"type": "unetdiscriminatorsn", "num_feat": 4},
            "train.optim_d": {"type": "AdamW", "lr": 3e-4, "betas": [0.9, 0.99]},
            "train.losses": [{"type": "l1loss"}, {"type": "ganloss", "gan_type": "lsgan", "loss_weight": 0.05}],
        }
    )
    loaded = load_config(path)
    gan = loaded.config.train.losses[1]
    assert isinstance(gan, GANOptions)
    assert (gan.gan_type, gan.network_d.num_feat, gan.optim_d.lr) == ("lsgan", 4, 3e-4)
    assert any("network_d" in warning and "was moved to" in warning for warning in loaded.warnings)


def test_a_discriminator_without_a_loss_is_dropped_and_named(tiny_config: Configure) -> None:
    loaded = load_config(tiny_config({"network_d": {"type": "dunet"}}))
    assert any("network_d" in warning and "no adversarial loss uses it" in warning for warning in loaded.warnings)


def test_memory_that_runs_out_in_the_update_of_the_discriminator_changes_nothing(
    tiny_config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two micro-batches fails once, after the first has already left its gradient."""
    path = tiny_config(_changes(r1=1.0) | {"train.total_iter": 6, "datasets.train.accum_iter": 2}, name="plain")
    plain = train(load_config(path).config).folder
    accumulate, calls = Learner.accumulate, [0]

    def failing(self: Learner, sr: torch.Tensor, hr: torch.Tensor, share: float) -> None:
        accumulate(self, sr, hr, share)
        calls[0] += 1
        if calls[0] == 6:
            raise torch.OutOfMemoryError("injected")

    monkeypatch.setattr(Learner, "accumulate", failing)
    changes = {"train.total_iter": 6, "datasets.train.accum_iter": 2}
    failed = train(load_config(tiny_config(_changes(r1=1.0) | changes, name="failed")).config).folder
    one, other = read_steps(plain), read_steps(failed)
    assert other["out_of_memory"].tolist() == [0, 0, 1, 0, 0, 0]
    assert one["samples_seen"].tolist() == other["samples_seen"].tolist()
    for name in ("net_d_6.safetensors", "net_g_ema_6.safetensors"):
        ours, theirs = (load_file(folder / "models" / name) for folder in (plain, failed))
        for tensor in ours:
            torch.testing.assert_close(ours[tensor], theirs[tensor], rtol=1e-3, atol=1e-5)


def test_two_processes_train_the_discriminator_as_one(tiny_config: Configure) -> None:
    changes = _changes() | {"train.total_iter": 6, "datasets.train.batch_size_per_gpu": 2}
    path = tiny_config(changes, name="two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(Path(__file__).parents[2] / "train.py"), str(path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    alone = train(load_config(tiny_config(changes | {"datasets.train.batch_size_per_gpu": 4}, name="one")).config)
    for name in ("net_d_6.safetensors", "net_g_ema_6.safetensors"):
        ours = load_file(alone.folder / "models" / name)
        theirs = load_file(alone.folder.parent / "two" / "models" / name)
        for tensor in ours:
            torch.testing.assert_close(ours[tensor], theirs[tensor], rtol=1e-3, atol=1e-4)
