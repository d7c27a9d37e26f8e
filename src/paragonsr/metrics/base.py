"""Base class of all metrics."""

from abc import ABC, abstractmethod
from typing import Literal

from paragonsr.metrics.protocol import Image


class Metric(ABC):
    """Measures SR images against HR images. It is built once, then measures any number of images."""

    better: Literal["higher", "lower"] = "higher"
    """Which of two values is the better one."""

    @property
    @abstractmethod
    def protocol(self) -> str:
        """How it measures, in the words that travel with the number; values compare only under the same protocol."""

    @abstractmethod
    def measure(self, sr: Image, hr: Image) -> float:
        """The value for one image.

        Args:
            sr, hr: height x width x 3 uint8 RGB, of the same size.

        Raises:
            ValueError: the images do not fit together or are too small.
        """
