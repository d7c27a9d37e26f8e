"""Networks that tell SR images from HR images."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from paragonsr.discriminators.base import SingleScale, normed
from paragonsr.discriminators.options import DUNetOptions, PatchGANOptions, UNetOptions


def _upsampled(small: Tensor, like: Tensor) -> Tensor:
    """Bilinear, to the size of another: sides need not be multiples of 8."""
    return F.interpolate(small, size=like.shape[-2:], mode="bilinear", align_corners=False)


class UNet(SingleScale):
    """See `UNetOptions`. Three steps down by 2, three up, and two convolutions; N x 1 x H x W logits."""

    smallest_side = 8

    def __init__(self, options: UNetOptions) -> None:
        super().__init__()
        n = options.num_feat
        self.skip = options.skip_connection
        self.first = nn.Conv2d(3, n, 3, 1, 1)
        self.down = nn.ModuleList(normed(n << i, n << i + 1, 4, 2, 1, bias=False) for i in range(3))
        self.up = nn.ModuleList(normed(n << i + 1, n << i, 3, 1, 1, bias=False) for i in (2, 1, 0))
        self.last = nn.ModuleList([normed(n, n, 3, 1, 1, bias=False), normed(n, n, 3, 1, 1, bias=False)])
        self.logits = nn.Conv2d(n, 1, 3, 1, 1)
        self.train()

    def layers(self, image: Tensor) -> list[Tensor]:
        found = [F.leaky_relu(self.first(image), 0.2)]
        for down in self.down:
            found.append(F.leaky_relu(down(found[-1]), 0.2))
        for up, before in zip(self.up, found[2::-1], strict=True):
            x = F.leaky_relu(up(_upsampled(found[-1], before)), 0.2)
            found.append(x + before if self.skip else x)
        for conv in self.last:
            found.append(F.leaky_relu(conv(found[-1]), 0.2))
        return [*found, self.logits(found[-1])]


class DUNet(SingleScale):
    """See `DUNetOptions`. N x 1 x H x W logits."""

    def __init__(self, options: DUNetOptions) -> None:
        super().__init__()
        n = options.num_feat
        self.first = nn.Conv2d(3, n, 3, 1, 1)
        self.down = nn.ModuleList(normed(n << i, n << i + 1, 3, 2, 1) for i in range(3))
        self.up = nn.ModuleList(normed(n << i + 1, n << i, 3, 1, 1) for i in (2, 1, 0))
        self.last = nn.ModuleList([normed(n, n, 3, 1, 1, bias=False), normed(n, n, 3, 1, 1, bias=False)])
        self.logits = nn.Conv2d(n, 1, 3, 1, 1)
        self.train()

    def layers(self, image: Tensor) -> list[Tensor]:
        found = [self.first(image)]
        for down in self.down:
            found.append(F.mish(down(found[-1])))
        for up, before in zip(self.up, found[2::-1], strict=True):
            found.append(up(_upsampled(found[-1], before)) + before)
        for conv in self.last:
            found.append(F.mish(conv(found[-1])))
        return [*found, self.logits(found[-1])]


class PatchGAN(SingleScale):
    """See `PatchGANOptions`. With three layers, one logit for each 8 x 8 pixels."""

    def __init__(self, options: PatchGANOptions) -> None:
        super().__init__()
        widths = [options.num_feat * min(2**i, 8) for i in range(options.n_layers + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for i, (before, after) in enumerate(pairwise(widths), 1):
            layers += [normed(before, after, 4, 2 if i < options.n_layers else 1, 1), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.smallest_side = 3 << options.n_layers
        self.train()

    def layers(self, image: Tensor) -> list[Tensor]:
        found = []
        x = image
        for layer in self.body:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                found.append(x)
        return [*found, x]
