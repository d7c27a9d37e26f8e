"""Loss in HSLuv: hue, saturation and lightness in CIE Luv, where saturation is a share of the largest that sRGB has.

The colour space and its constants are those of https://www.hsluv.org (revision 4): Luv of sRGB with white D65, in polar
form; at lightness L and hue h, sRGB ends at the nearest of six lines in the plane of u and v, two for each of R, G, B.
"""

import torch
from torch import Tensor

from paragonsr.losses.base import Loss
from paragonsr.losses.options import HSLuvOptions

TO_XYZ = (
    (0.41239079926595, 0.35758433938387, 0.18048078840183),
    (0.21263900587151, 0.71516867876775, 0.072192315360733),
    (0.019330818715591, 0.11919477979462, 0.95053215224966),
)
FROM_XYZ = (
    (3.240969941904521, -1.537383177570093, -0.498610760293),
    (-0.96924363628087, 1.87596750150772, 0.041555057407175),
    (0.055630079696993, -0.20397695888897, 1.056971514242878),
)
WHITE_U, WHITE_V = 0.19783000664283, 0.46831999493879
KAPPA, EPSILON = 903.2962962, 0.0088564516
GREY = 0.1
"""Saturation below which a colour has no hue, and distance from black or white within which it has none, of 1."""
LEAST = 1e-3
"""Divisors are kept at least this far from zero."""


def hsluv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation and lightness of N x 3 x H x W images in [0, 1]: each N x H x W in [0, 1]; hue 1 is hue 0."""
    rgb = image.clamp(1e-6, 1)
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).pow(2.4))
    x, y, z = torch.einsum("cd,ndhw->cnhw", linear.new_tensor(TO_XYZ), linear)
    light = torch.where(y > EPSILON, 116 * y.clamp(min=EPSILON).pow(1 / 3) - 16, y * KAPPA)
    total = (x + 15 * y + 3 * z).clamp(min=1e-6)
    u, v = 13 * light * (4 * x / total - WHITE_U), 13 * light * (9 * y / total - WHITE_V)
    chroma = (u.square() + v.square() + 1e-12).sqrt()
    coloured = chroma > 0.03
    hue = torch.where(coloured, torch.atan2(v, torch.where(coloured, u, torch.ones_like(u))), torch.zeros_like(u))
    saturation = chroma / _largest_chroma(light, hue).clamp(min=1e-2)
    inside = (light > 0.01) & (light < 99.99)
    saturation = torch.where(inside, saturation, torch.zeros_like(saturation)).clamp(0, 1)
    return (hue / (2 * torch.pi)) % 1, saturation, (light / 100).clamp(0, 1)


def _largest_chroma(light: Tensor, hue: Tensor) -> Tensor:
    """Distance from grey to the edge of sRGB at a lightness (0 to 100) and a hue (radians)."""
    cube = (light + 16).pow(3) / 1560896
    scaled = torch.where(cube > EPSILON, cube, light / KAPPA)
    found = torch.full_like(light, 1e4)
    for r, g, b in FROM_XYZ:
        for edge in (0, 1):  # where the channel is 0, and where it is 1
            below = _away((632260 * b - 126452 * g) * scaled + 126452 * edge)
            slope = (284517 * r - 94839 * b) * scaled / below
            start = ((838422 * b + 769860 * g + 731718 * r) * light * scaled - 769860 * edge * light) / below
            reach = start / _away(torch.sin(hue) - slope * torch.cos(hue))
            found = torch.where(reach >= 0, torch.minimum(found, reach), found)
    return found


def _away(divisor: Tensor) -> Tensor:
    return torch.where(divisor < 0, divisor.clamp(max=-LEAST), divisor.clamp(min=LEAST))


class HSLuvLoss(Loss):
    """See `HSLuvOptions`."""

    def __init__(self, options: HSLuvOptions) -> None:
        super().__init__()
        self._options = options

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        o = self._options
        (hue, saturation, light), (its_hue, its_saturation, its_light) = hsluv(sr), hsluv(hr.detach())
        apart = (hue - its_hue).abs()
        turned = 2 * torch.minimum(apart, 1 - apart)
        grey, its_grey = saturation < GREY, its_saturation < GREY
        turned = torch.where(grey ^ its_grey, torch.maximum(saturation, its_saturation), turned)
        dark, bright = torch.maximum(light, its_light) < GREY, torch.minimum(light, its_light) > 1 - GREY
        turned = torch.where((grey & its_grey) | dark | bright, torch.zeros_like(turned), turned)
        seen = torch.minimum(light, 1 - light) + torch.minimum(its_light, 1 - its_light)
        return (
            o.hue_weight * turned.mean()
            + o.saturation_weight * (self._distance(saturation - its_saturation) * seen).mean()
            + o.lightness_weight * self._distance(light - its_light).mean()
        )

    def _distance(self, difference: Tensor) -> Tensor:
        if self._options.criterion == "l2":
            return difference.square()
        if self._options.criterion == "charbonnier":
            return (difference.square() + 1e-12).sqrt()
        return difference.abs()
