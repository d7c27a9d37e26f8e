"""A network that other engines may compute, chosen by measurement on the image that is being processed."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paragonsr.timing import clock_for, in_turns, times_as_fast

log = logging.getLogger(__name__)

Engine = Callable[[np.ndarray], np.ndarray]
"""N x 3 x h x w float32 to N x 3 x scale h x scale w float32."""
EQUAL = 1e-4
"""Largest difference from the network, where 1 is white: a fortieth of an 8-bit step."""
FEWEST_PIXELS = 128 * 128
"""Pixels of the smallest image that is measured; smaller ones are computed by the network itself."""
TURNS = 3
"""Measurements of each engine, in turns."""
MARGIN = 1.05
"""An engine must be this many times as fast as the network to be chosen by measurement."""


class EngineNetwork(nn.Module):
    """Computes with the network itself or with an engine, whichever is faster on the first image.

    An engine that differs on that image, or fails at any time, is not used again, with a warning.

    Args:
        network: the network, on the CPU in fp32.
        engines: name to engine.
        forced: use the only engine without measuring speed, if it computes the same.

    Attributes:
        receptive_field, grid, scale, size: those of the network.
        chosen: name of what computes: "torch" or an engine; None until an image was large enough to measure.
    """

    def __init__(self, network: nn.Module, engines: Mapping[str, Engine], *, forced: bool = False) -> None:
        super().__init__()
        self.network, self.engines, self.forced = network, dict(engines), forced
        self.own_name = "onnxruntime" if hasattr(network, "session") else "torch"
        self.chosen: str | None = None

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)

    def forward(self, image: Tensor) -> Tensor:
        """N x 3 x h x w in [0, 1] to N x 3 x scale h x scale w, not clamped."""
        if self.chosen is None:
            if not self.forced and image.shape[-2] * image.shape[-1] < FEWEST_PIXELS:
                return self._own(image)
            self.chosen = self._choose(image)
        if self.chosen == self.own_name:
            return self._own(image)
        try:
            return torch.from_numpy(self.engines[self.chosen](_array(image)))
        except Exception as error:  # each engine has its own exception types
            log.warning("%s failed (%s); continuing with %s", self.chosen, error, self.own_name)
            self.chosen = self.own_name
            return self._own(image)

    def _own(self, image: Tensor) -> Tensor:
        upscaled: Tensor = self.network(image)
        return upscaled

    def _choose(self, image: Tensor) -> str:
        """Name of the fastest of those that compute the same on this image."""
        expected = self._own(image)
        able = {name: engine for name, engine in self.engines.items() if self._computes(name, engine, image, expected)}
        if not able:
            return self.own_name
        if self.forced:
            return next(iter(able))
        clock = clock_for(torch.device("cpu"), torch.get_num_threads())
        works = {name: partial(_on, engine, image) for name, engine in able.items()}
        seconds = in_turns({self.own_name: partial(self._own, image), **works}, TURNS, clock=clock)
        ratios = {name: times_as_fast(seconds, self.own_name, name) for name in able}
        quickest = max(able, key=ratios.__getitem__)
        ratio = ratios[quickest]
        log.info("%s is %.2f times as fast as %s", quickest, ratio, self.own_name)
        return quickest if ratio >= MARGIN else self.own_name

    def _computes(self, name: str, engine: Engine, image: Tensor, expected: Tensor) -> bool:
        try:
            found = engine(_array(image))
        except Exception as error:  # each engine has its own exception types
            log.warning("%s does not run this network (%s); continuing with %s", name, error, self.own_name)
            return False
        same = found.shape == tuple(expected.shape)
        worst = float(np.abs(found - expected.numpy()).max()) if same else float("inf")
        if not worst <= EQUAL:
            log.warning("%s differs from the network by %.1e; continuing with %s", name, worst, self.own_name)
        return worst <= EQUAL


def _on(engine: Engine, image: Tensor) -> np.ndarray:
    return engine(_array(image))


def _array(image: Tensor) -> np.ndarray:
    return np.ascontiguousarray(image.float().numpy())
