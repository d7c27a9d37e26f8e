"""Images of a run: all sets are opened together, and packed if they are new."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from paragonsr.automation.loss_balance import STATISTICS
from paragonsr.automation.protocol import Measurements
from paragonsr.config import Config
from paragonsr.data.listing import Listing
from paragonsr.data.packed import PackedDataset
from paragonsr.data.statistics import statistics
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.validation import ValidationSet
from paragonsr.training.reporting.console import Console
from paragonsr.training.teacher import attach_teacher


@dataclass(frozen=True)
class Data:
    """Images of a run."""

    train: PackedDataset
    validation: dict[str, PackedDataset] = field(default_factory=dict)

    def listings(self) -> dict[str, Listing | None]:
        """Phase -> listing by which the set was found, if any."""
        return {name: packed.listing for name, packed in ({"train": self.train} | self.validation).items()}

    def fingerprints(self) -> dict[str, str]:
        """Phase -> hash of the decoded images; <phase>_manifests -> hashes of the manifests that selected them."""
        sets = {"train": self.train} | self.validation
        chosen = {f"{name}_manifests": " ".join(packed.manifests) for name, packed in sets.items() if packed.manifests}
        taught = {"teacher": self.train.teacher.digest} if self.train.teacher else {}
        return {name: packed.fingerprint for name, packed in sets.items()} | chosen | taught


@contextmanager
def preparing(device_context: DeviceContext) -> Iterator[Console]:
    """Console for what the main process does, while the others wait, before the run has a folder."""
    log = Path(os.devnull) if device_context.is_main_process else None
    with Console(log) as console, device_context.main_process_first():
        yield console


def open_data(config: Config, device_context: DeviceContext) -> Data:
    """Open all sets and pack the new ones; the main process packs while the others wait."""
    with preparing(device_context) as console:

        def packed(phase: str) -> PackedDataset:
            progress = partial(console.side_task, f"packing {phase}")
            return config.datasets[phase].open(config.scale, phase, progress)

        train = packed("train")
        attach_teacher(config, train, device_context, partial(console.side_task, "the teacher's images"))
        return Data(train, {phase: packed(phase) for phase in config.val_sets})


def image_statistics(images: PackedDataset) -> Measurements:
    """Statistics of the training images that calibrate the loss balance."""
    return Measurements(0, STATISTICS, statistics(images))


def validation_sets(config: Config, data: Data) -> list[ValidationSet]:
    """Validation sets, named as in the reported values; the first one decides which weights are best."""
    return [ValidationSet(config.datasets[phase].title(phase), packed) for phase, packed in data.validation.items()]
