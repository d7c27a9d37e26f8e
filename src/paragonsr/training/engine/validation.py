"""Validation of the averaged network on whole images, with the same tiler as inference."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from paragonsr.automation.protocol import MetricValue, Validation
from paragonsr.config.sections import ValOptions
from paragonsr.data.images import write_png
from paragonsr.data.packed import PackedDataset
from paragonsr.inference.tiler import upscale
from paragonsr.metrics.protocol import mean_of_images, to_uint8
from paragonsr.resize import resize
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.step import to_device


@dataclass(frozen=True)
class ValidationSet:
    """A named set of whole image pairs."""

    name: str
    store: PackedDataset


class Validator:
    """Upscales all images of all sets and measures them.

    Args:
        sets: validation sets; the first one decides which weights are best.
        options: the `val` section of the configuration.
        scale: HR side / LR side.
        device_context: device, precision, processes; the images are divided among the processes.
        folder: where SR images are written, one subfolder per image; None writes none.
        progress: called with the number of images done and their total.
        show: receives name, SR image and iteration of the first `options.pictures` images of the first set.
    """

    def __init__(
        self,
        sets: Sequence[ValidationSet],
        options: ValOptions,
        scale: int,
        device_context: DeviceContext,
        folder: Path | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
        show: Callable[[str, np.ndarray, int], None] = lambda name, image, iteration: None,
    ) -> None:
        self.sets, self.options, self.scale, self.device_context = list(sets), options, scale, device_context
        self.folder, self.progress, self.show = folder, progress, show
        self.metrics = {name: metric.build(scale=scale) for name, metric in options.chosen_metrics().items()}
        self._pictures = picture_names(self.sets)

    def __call__(self, network: nn.Module, iteration: int) -> Validation:
        """Mean over the images of each metric on each set."""
        values: dict[str, Mapping[str, MetricValue]] = {}
        total = sum(len(s.store) for s in self.sets)
        done = 0
        was_training = network.training
        network.eval()
        for validation_set in self.sets:
            per_image: dict[int, dict[str, float]] = {}
            for index in range(self.device_context.rank, len(validation_set.store), self.device_context.world):
                per_image[index] = self._measure(network, validation_set, index, iteration)
                done += self.device_context.world
                self.progress(min(done, total), total)
            values[validation_set.name] = self._mean(self._gather(per_image))
        if self.device_context.is_main_process:  # only there are values recorded and shown
            values = {name: self._beside_bicubic(name, metrics) for name, metrics in values.items()}
        network.train(was_training)
        return Validation(iteration, values)

    @cached_property
    def bicubic(self) -> dict[str, dict[str, float]]:
        """Values of the bicubic resize of the LR images: set -> metric -> mean over its images."""
        found = {}
        for validation_set in self.sets:
            store, values = validation_set.store, []
            for index in range(len(store)):
                height, width, _ = store.hr(index).shape
                values.append(self._values(validation_set, index, resize(np.array(store.lq(index)), (height, width))))
            found[validation_set.name] = {name: value.value for name, value in self._mean(values).items()}
        return found

    def _beside_bicubic(self, name: str, metrics: Mapping[str, MetricValue]) -> dict[str, MetricValue]:
        bicubic = self.bicubic[name]
        return {metric: replace(value, bicubic=bicubic[metric]) for metric, value in metrics.items()}

    def rehearse(self, network: nn.Module) -> None:
        """Upscale and measure the largest image of each set, so that a failing validation fails before training."""
        was_training = network.training
        network.eval()
        for validation_set in self.sets:
            largest = int(validation_set.store.shapes.prod(axis=1).argmax())
            self._values(validation_set, largest, self.upscale(network, np.array(validation_set.store.lq(largest))))
        network.train(was_training)

    def upscale(self, network: nn.Module, lr_image: np.ndarray) -> np.ndarray:
        """Upscale one LR image, uint8 h x w x 3, to the SR image, uint8."""
        with self.device_context.autocast():
            sr = upscale(
                network,
                to_device(lr_image[None], self.device_context),
                self.scale,
                tile=self.options.tile_size,
                overlap=self.options.tile_overlap,
                grid=getattr(network, "grid", 1),
            )
        return to_uint8(sr[0])

    def _measure(
        self, network: nn.Module, validation_set: ValidationSet, index: int, iteration: int
    ) -> dict[str, float]:
        sr = self.upscale(network, np.array(validation_set.store.lq(index)))
        name = self._pictures[validation_set.name][index]
        if validation_set is self.sets[0] and index < self.options.pictures:
            self.show(name, sr, iteration)
        if self.folder is not None:
            write_png(self.folder / name / f"{name}_{iteration:06d}.png", sr)
        return self._values(validation_set, index, sr)

    def _values(self, validation_set: ValidationSet, index: int, sr: np.ndarray) -> dict[str, float]:
        hr = validation_set.store.hr(index)
        return {name: metric.measure(sr, hr) for name, metric in self.metrics.items()}

    def _gather(self, mine: dict[int, dict[str, float]]) -> list[dict[str, float]]:
        if self.device_context.world == 1:
            return [mine[i] for i in sorted(mine)]
        parts: list[dict[int, dict[str, float]]] = [{}] * self.device_context.world
        dist.all_gather_object(parts, mine)
        everything = {i: values for part in parts for i, values in part.items()}
        return [everything[i] for i in sorted(everything)]

    def _mean(self, per_image: list[dict[str, float]]) -> dict[str, MetricValue]:
        means = {name: mean_of_images([values[name] for values in per_image]) for name in self.metrics}
        return {
            name: MetricValue(means[name].value, metric.better, metric.protocol, means[name].exact)
            for name, metric in self.metrics.items()
        }


def picture_names(sets: Sequence[ValidationSet]) -> dict[str, list[str]]:
    """Names of the pictures of each set: the file names, made unique with set and number if needed."""
    stems = {s.name: [PurePosixPath(name).stem for name in s.store.names] for s in sets}
    times = Counter(stem.lower() for of_set in stems.values() for stem in of_set)
    return {
        name: [
            stem if times[stem.lower()] == 1 else f"{stem}_{re.sub(r'[^-.0-9A-Za-z]+', '_', name)}_{index:04d}"
            for index, stem in enumerate(of_set)
        ]
        for name, of_set in stems.items()
    }


def sanity(network: nn.Module, device_context: DeviceContext) -> None:
    """Pass one tiny image through the network before any data is prepared, so that a broken network fails at once."""
    training = network.training
    network.eval()  # in training mode, batch normalisation needs more than one image
    with torch.inference_mode(), device_context.autocast():
        network(torch.rand(1, 3, 8, 9, device=device_context.device))
    network.train(training)
