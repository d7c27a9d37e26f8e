"""Base class of all metrics."""

from abc import ABC, abstractmethod
from typing import Literal

from paragonsr.metrics.protocol import Image


class Metric(ABC):
    """Measures SR images against HR images; built once for any number of images."""

    better: Literal["higher", "lower"] = "higher"
    """Whether higher or lower values are better."""

    @property
    @abstractmethod
    def protocol(self) -> str:
        """Text stored with each value that says how it is measured; only equal protocols are comparable."""

    @abstractmethod
    def measure(self, sr: Image, hr: Image) -> float:
        """Measure one image.

        Args:
            sr, hr: height x width x 3 uint8 RGB, of the same size.

        Raises:
            ValueError: the images differ in size or are too small.
        """
