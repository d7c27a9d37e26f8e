"""Adversarial losses: the SR network learns to be taken for HR images by a network that learns to tell them apart.

With C(x) the logits of an image, means over logits and samples:

    vanilla       SR network  -log s(C(sr))            discriminator  -log s(C(hr)) - log s(-C(sr)), s the sigmoid
    lsgan         (C(sr) - 1)^2                        (C(hr) - 1)^2 + C(sr)^2          (Mao et al. 1611.04076)
    hinge         -C(sr)                               max(0, 1 - C(hr)) + max(0, 1 + C(sr))   (Lim and Ye 1705.02894)
    relativistic  -log s(C(sr) - C(hr))                -log s(C(hr) - C(sr)), pair by pair     (R3GAN, 2501.05441)

The discriminator's loss may add r1 / 2 |dC/dx|^2 at HR images, and r2 / 2 of the same at SR images, summed over the
pixels of an image (Mescheder et al. 1801.04406).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from paragonsr.losses.adversarial_options import GANOptions
from paragonsr.losses.base import LearnedLoss


class GANLoss(LearnedLoss):
    """See `GANOptions` and the formulas of this module.

    Reports the mean logits of HR and SR images (`real`, `fake`), and the share of places where an HR image has the
    larger logit (`accuracy`): 0.5 if it cannot tell them apart.
    """

    measured = ("real", "fake", "accuracy")

    def __init__(self, options: GANOptions) -> None:
        super().__init__()
        self._options = options
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
        fake = self._discriminator(sr)
        match self._options.gan_type:
            case "vanilla":
                return self._cross_entropy(fake, self._options.real_label_val)
            case "lsgan":
                return (fake - self._options.real_label_val).square().mean()
            case "hinge":
                return -fake.mean()
        with torch.no_grad():
            real = self._discriminator(hr)
        return F.softplus(real - fake).mean()

    def own_loss(self, sr: Tensor, hr: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        o = self._options
        hr, sr = hr.detach().requires_grad_(o.r1 > 0), sr.detach().requires_grad_(o.r2 > 0)
        real, fake = self._discriminator(hr), self._discriminator(sr)
        match o.gan_type:
            case "vanilla":
                loss = self._cross_entropy(real, o.real_label_val) + self._cross_entropy(fake, o.fake_label_val)
            case "lsgan":
                loss = (real - o.real_label_val).square().mean() + (fake - o.fake_label_val).square().mean()
            case "hinge":
                loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
            case _:
                loss = F.softplus(fake - real).mean()
        for weight, image, logits in ((o.r1, hr, real), (o.r2, sr, fake)):
            if weight:
                loss = loss + weight / 2 * _steepness(logits, image)
        seen = {"real": real.mean(), "fake": fake.mean(), "accuracy": (real > fake).float().mean()}
        return loss, {name: value.detach() for name, value in seen.items()}

    def _cross_entropy(self, logits: Tensor, label: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _steepness(logits: Tensor, image: Tensor) -> Tensor:
    """Mean over the images of the squared gradient of their mean logit, summed over the pixels."""
    (gradient,) = torch.autograd.grad(logits.mean(dim=(1, 2, 3)).sum(), image, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()
