"""Base of the steps that compress with a real codec."""

from abc import abstractmethod
from typing import Annotated, ClassVar, Generic, TypeVar

import numpy as np
from pydantic import Field

from paragonsr.degradation.base import Image, Parameters
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import Range, StepOptions, within
from paragonsr.degradation.step import AnyPlanes, Planes, Step, Target, to_bytes, to_planes


class CodecOptions(StepOptions):
    """How often, and where, an image is compressed."""

    times: Annotated[Range, within(1, 20)] = Field([1, 1])
    """How often the image is compressed and decompressed, a whole number; each time with other parameters."""
    shift_prob: float = Field(0.0, ge=0, le=1)
    """Probability, for each time, that the grid of blocks starts at a random pixel, as in a picture that was cropped
    after it was compressed."""


C = TypeVar("C", bound=CodecOptions)


class Codec(Step[C], Generic[C]):
    """Rounds to 8 bits, compresses and decompresses."""

    grid: ClassVar[int]
    """Side of a block in pixels."""
    takes = "either"  # what is copied from a device is already rounded, and a quarter of the size

    def apply(self, image: AnyPlanes, draws: Draws, target: Target) -> tuple[Planes, Parameters]:
        """See `Step`."""
        coded, parameters = to_bytes(image), Parameters()
        for number in range(1, draws.whole(self.options.times) + 1):
            down = across = 0
            drawn: Parameters = {}
            if draws.coin(self.options.shift_prob):
                down, across = (draws.whole((0, self.grid - 1)) for _ in "yx")
                drawn = {"shift_y": down, "shift_x": across}
            shifted = np.pad(coded, ((down, 0), (across, 0), (0, 0)), mode="edge") if down or across else coded
            decoded, of_codec = self.recode(shifted, draws)
            coded = decoded[down:, across:]
            suffix = f"_{number}" if number > 1 else ""
            parameters |= {f"{name}{suffix}": value for name, value in (of_codec | drawn).items()}
        return to_planes(coded), parameters

    @abstractmethod
    def recode(self, image: Image, draws: Draws) -> tuple[Image, Parameters]:
        """Compress and decompress an image once.

        Args:
            image: height x width x 3 uint8 RGB.
            draws: source of the parameters.

        Returns:
            the image of the same size, and the parameters.
        """
