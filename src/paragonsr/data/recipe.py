"""How the LR image of a pair is made."""

from dataclasses import dataclass

import numpy as np

from paragonsr.data.decoding import load_hr, load_pair
from paragonsr.data.index import FORMAT
from paragonsr.data.options import DatasetOptions
from paragonsr.data.pairing import Pair
from paragonsr.degradation.base import Degradation, DeviceDegradation
from paragonsr.resize import Image


@dataclass(frozen=True)
class Recipe:
    """Source of the LR image of a pair."""

    scale: int
    degradation: Degradation | DeviceDegradation | None = None
    """Makes the LR image from the HR image; None if it is a file or made by the bicubic resize."""
    packs_lq: bool = True
    """False if LR images are made during training."""
    described: str = ""
    """Text that identifies the degradation; equal for equal degradations."""

    @property
    def key(self) -> str:
        """Text that differs for recipes that give different stores."""
        return f"format {FORMAT}, scale {self.scale}{self.described if self.packs_lq else 'no LR'}"

    @classmethod
    def of(cls, options: DatasetOptions, scale: int, phase: str) -> "Recipe":
        """Recipe of a set; for a training set with a degradation, no LR images are packed.

        Raises:
            UserError: the degradation needs something that is not installed.
        """
        chosen = options.degrades()
        if chosen is None:
            return cls(scale)
        degradation = chosen.build(scale=scale, seed=0)  # for training, too: what is missing is said before packing
        if phase == "train":
            return cls(scale, packs_lq=False)
        return cls(scale, degradation, described=chosen.model_dump_json())

    def images(self, index: int, pair: Pair) -> tuple[Image, Image | None]:
        """HR and LR image of a pair; the LR image is None if it is made during training."""
        if self.packs_lq and self.degradation is None:
            return load_pair(pair, self.scale)
        hr = load_hr(pair, self.scale)
        return hr, degraded(self.degradation, hr, index) if self.degradation is not None else None


def degraded(degradation: Degradation | DeviceDegradation, hr: Image, sample: int) -> Image:
    """LR image made from one HR image by a degradation of either kind: h x w x 3 uint8 RGB."""
    if isinstance(degradation, Degradation):
        return degradation.degrade(hr, sample)
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(hr)).permute(2, 0, 1)[None].float() / 255
    lq = degradation.degrade(tensor, [sample])
    image: Image = lq[0].mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return image
