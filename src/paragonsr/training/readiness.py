"""Checks before the first step: what would stop a run, or make it train something else."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paragonsr.archs.weights import load_into, read_weights, starting_options
from paragonsr.config import Config
from paragonsr.errors import UserError
from paragonsr.run_description import has_description
from paragonsr.training.checkpoint.files import CheckpointFiles, read_state
from paragonsr.training.checkpoint.resume import require_format, require_own
from paragonsr.training.engine.batch_norm import require_samples
from paragonsr.training.time_plan import as_begun

Digests = NDArray[np.uint8]

SMALL = 128
"""Shorter side, in pixels, above which every metric can measure an image; smaller images are tried."""


def start_problems(config: Config) -> list[str]:
    """Problems with the weights and states that a run starts from, and with the folder it writes to."""
    problems = []
    for work in (_samples, _start_weights, _resume_state, _experiments):
        try:
            work(config)
        except UserError as error:
            problems.append(str(error))
    return problems


def _samples(config: Config) -> None:
    if config.micro_batch == 1:
        require_samples(config.network.build(scale=config.scale), config.micro_batch)


def _start_weights(config: Config) -> None:
    path, key = config.path.pretrain_network_g, config.path.param_key_g
    if path is not None:
        options = starting_options(config.network, path, key)
        load_into(
            options.build(scale=config.scale), options, config.scale, path, strict=config.path.strict_load_g, key=key
        )
    if config.path.pretrain_network_d is not None:
        read_weights(config.path.pretrain_network_d)


def with_start_options(config: Config) -> tuple[Config, str | None]:
    """Configuration with the network options taken from the pretrained weights, and a note on what changed."""
    path = config.path.pretrain_network_g
    if path is None:
        return config, None
    options = starting_options(config.network, path, config.path.param_key_g)
    changed = [name for name in type(options).model_fields if getattr(options, name) != getattr(config.network, name)]
    if not changed:
        return config, None
    shown = ", ".join(f"{name}: {getattr(options, name)}" for name in changed)
    return config.model_copy(update={"network_g": options}), f"network_g as {path} was trained: {shown}"


def _resume_state(config: Config) -> None:
    """Check that the named resume state, or the newest in the run's folder, is readable and belongs to this run."""
    named, folder = config.path.resume_state, Path(config.path.experiments_root) / config.name
    if named is not None:
        where, found = named, read_state(Path(named))
    elif has_description(folder):
        newest = CheckpointFiles(folder, config.logger.keep_last).newest()
        if newest is None:
            return
        where, found = str(folder), newest[:2]
    else:
        return
    require_format(found[1], where)
    config, _ = with_start_options(config)
    config = as_begun(config, folder) or config
    require_own(found[1], config, found[1].get("images", ""), where)


def _experiments(config: Config) -> None:
    """Check that a file can be created in the run's folder, or in its nearest existing parent."""
    folder = (Path(config.path.experiments_root) / config.name).absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror}", where=str(folder), fix="Set path.experiments_root=... elsewhere."
        ) from None


def validation_problems(config: Config, phase: str, names: Sequence[str], shapes: NDArray[np.int32]) -> list[str]:
    """Find validation images that a metric cannot measure.

    Args:
        config: the run.
        phase: phase of the validation set.
        names: names of the images.
        shapes: height and width of each HR image, N x 2.
    """
    metrics = {name: options.build(scale=config.scale) for name, options in config.val.chosen_metrics().items()}
    problems = []
    for i in np.flatnonzero(shapes.min(axis=1) <= SMALL).tolist():
        image, (height, width) = names[i], shapes[i].tolist()
        flat = np.zeros((height, width, 3), np.uint8)
        for name, metric in metrics.items():
            try:
                metric.measure(flat, flat)
            except ValueError as error:
                problems.append(f"datasets.{phase}: {image}: val.metrics.{name}: {error}; remove this image")
    return problems


def shared_images(train: Digests, validation: Digests, names: Sequence[str]) -> list[str]:
    """Names of the validation images that are also training images.

    Args:
        train, validation: hash of each decoded image, N x 16 uint8.
        names: of the validation images.
    """
    heads = [np.ascontiguousarray(digests).view(np.uint64)[:, 0] for digests in (train, validation)]
    likely = np.isin(heads[0], heads[1])  # by the first half of each hash, because sorting numbers is fast
    known = {digest.tobytes() for digest in train[likely]}
    return [names[i] for i in np.flatnonzero(np.isin(heads[1], heads[0])).tolist() if validation[i].tobytes() in known]


def shared_note(phase: str, shared: list[str], count: int) -> str:
    """Warning about validation images that are also training images."""
    shown = ", ".join(shared[:3]) + (f" and {len(shared) - 3} more" if len(shared) > 3 else "")
    return (
        f"{len(shared)} of {count} images of datasets.{phase} are also training images ({shown}): "
        "their metric values say nothing about unseen images"
    )
