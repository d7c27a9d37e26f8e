"""Adversarial losses: the SR network learns to be taken for HR images by a network that learns to tell them apart.

With C(x) the logits of an image, means over logits and samples:

    vanilla       SR network  -log s(C(sr))            discriminator  -log s(C(hr)) - log s(-C(sr)), s the sigmoid
    lsgan         (C(sr) - 1)^2                        (C(hr) - 1)^2 + C(sr)^2          (Mao et al. 1611.04076)
    hinge         -C(sr)                               max(0, 1 - C(hr)) + max(0, 1 + C(sr))   (Lim and Ye 1705.02894)
    relativistic  -log s(C(sr) - C(hr))                -log s(C(hr) - C(sr)), pair by pair     (R3GAN, 2501.05441)

The discriminator's loss may add r1 / 2 |dC/dx|^2 at HR images, and r2 / 2 of the same at SR images, summed over the
pixels of an image (Mescheder et al. 1801.04406).

The SR network's loss may add feature matching, sum over the discriminator's layers of mean |D_i(hr) - D_i(sr)|, without
the logits (equation 4 of pix2pixHD, Wang et al. 1711.11585): SR passes the discriminator once for both.

A discriminator of several scales has these losses at each; all are means over the scales.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from paragonsr.errors import UserError
from paragonsr.losses.adversarial_options import GANOptions
from paragonsr.losses.base import LearnedLoss


class GANLoss(LearnedLoss):
    """See `GANOptions` and the formulas of this module.

    Reports the mean logits of HR and SR images (`real`, `fake`), and the share of places where an HR image has the
    larger logit (`accuracy`): 0.5 if it cannot tell them apart; with feature matching, its value (`features`). All are
    means over the scales.
    """

    def __init__(self, options: GANOptions) -> None:
        super().__init__()
        self._options = options
        self.measured = ("real", "fake", "accuracy", *(["features"] if options.feature_matching else []))
        self._discriminator = options.network_d.build()

    @property
    def network(self) -> nn.Module:
        return self._discriminator

    def build_optimiser(self) -> Optimizer:
        optimiser: Optimizer = self._options.optim_d.build(parameters=self._discriminator.parameters())
        return optimiser

    def begin_step(self) -> None:
        self._discriminator.renew()

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        self._require_side(sr)
        o = self._options
        fakes, reals = self._discriminator(sr), None
        if o.gan_type == "relativistic" or o.feature_matching:
            with torch.no_grad():
                reals = self._discriminator(hr)
        losses = []
        for scale, (*features, fake) in enumerate(fakes):
            loss = self._fooling(fake, reals[scale][-1] if reals else None)
            if reals and o.feature_matching:
                loss = loss + o.feature_matching * feature_distance(features, reals[scale][:-1])
            losses.append(loss)
        return _mean(losses)

    def own_loss(self, sr: Tensor, hr: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        o = self._options
        hr, sr = hr.detach().requires_grad_(o.r1 > 0), sr.detach().requires_grad_(o.r2 > 0)
        reals, fakes = self._discriminator(hr), self._discriminator(sr)
        losses, seen = [], {name: list[Tensor]() for name in self.measured}
        for (*real_features, real), (*fake_features, fake) in zip(reals, fakes, strict=True):
            loss = self._telling_apart(real, fake)
            for weight, image, logits in ((o.r1, hr, real), (o.r2, sr, fake)):
                if weight:
                    loss = loss + weight / 2 * _steepness(logits, image)
            losses.append(loss)
            seen["real"].append(real.mean())
            seen["fake"].append(fake.mean())
            seen["accuracy"].append((real > fake).float().mean())
            if o.feature_matching:
                with torch.no_grad():
                    seen["features"].append(feature_distance(fake_features, real_features))
        return _mean(losses), {name: _mean(values).detach() for name, values in seen.items()}

    def _fooling(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """The SR network's loss by the logits of SR and HR images."""
        match self._options.gan_type:
            case "vanilla":
                return self._cross_entropy(fake, self._options.real_label_val)
            case "lsgan":
                return (fake - self._options.real_label_val).square().mean()
            case "hinge":
                return -fake.mean()
        assert real is not None
        return F.softplus(real - fake).mean()

    def _telling_apart(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss by its logits."""
        o = self._options
        match o.gan_type:
            case "vanilla":
                return self._cross_entropy(real, o.real_label_val) + self._cross_entropy(fake, o.fake_label_val)
            case "lsgan":
                return (real - o.real_label_val).square().mean() + (fake - o.fake_label_val).square().mean()
            case "hinge":
                return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        return F.softplus(fake - real).mean()

    def _cross_entropy(self, logits: Tensor, label: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def _require_side(self, image: Tensor) -> None:
        height, width = image.shape[-2:]
        needed = self._discriminator.smallest_side
        if min(height, width) < needed:
            raise UserError(
                f"this discriminator needs HR patches of at least {needed} pixels, but these are {width} x {height}",
                where="train.losses",
                fix="Increase datasets.train.lq_size, or decrease num_d or n_layers of network_d.",
            )


def feature_distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the mean absolute difference, in float32 at least."""
    total = torch.zeros((), device=ours[0].device)
    for one, other in zip(ours, theirs, strict=True):
        difference = one - other
        total = total + (difference if difference.dtype == torch.float64 else difference.float()).abs().mean()
    return total


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def _steepness(logits: Tensor, image: Tensor) -> Tensor:
    """Mean over the images of the squared gradient of their mean logit, summed over the pixels."""
    (gradient,) = torch.autograd.grad(logits.mean(dim=(1, 2, 3)).sum(), image, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()
