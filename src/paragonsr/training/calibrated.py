"""Replaces `degradation: {like: FOLDER}` by the pipeline that is fitted to the folder."""

import os
from collections.abc import Callable
from pathlib import Path

from paragonsr.automation.degradation_calibration import CALIBRATED
from paragonsr.automation.protocol import Measurements
from paragonsr.calibration.calibrate import calibrate
from paragonsr.config import Config
from paragonsr.degradation.like import LikeOptions
from paragonsr.degradation.pipeline import PipelineOptions
from paragonsr.run_description import has_description, read_description

Progress = Callable[[int, int], None]


def calibrated(config: Config, progress: Progress, *, fresh: bool = False) -> tuple[Config, list[Measurements]]:
    """Fit the degradations of all sets that ask for it.

    A run that has saved weights keeps the pipelines that it has, even if the folders have changed. Results are kept in
    the cache, so that a check, and the other processes, need not simulate again.

    Args:
        config: the run.
        progress: called with the number of simulations done and their total.
        fresh: whether an earlier run of this name is archived.

    Returns:
        the configuration with pipelines, and what the journal says about each new one.

    Raises:
        UserError: a folder has too few images, or an image cannot be read.
    """
    sets, measured = dict(config.datasets), []
    for phase, options in config.datasets.items():
        wanted = options.degrades()
        if not isinstance(wanted, LikeOptions):
            continue
        pipeline = None if fresh else _earlier(config, phase, wanted.like)
        if pipeline is None:
            hr = [Path(root) for root in config.train_set.hr_roots]
            found = calibrate(Path(wanted.like), hr, config.scale, wanted.seed, progress, _cache(config))
            pipeline = found.options()
            measured.append(Measurements(0, f"{CALIBRATED}{phase}", found.values()))
        sets[phase] = options.model_copy(update={"degradation": pipeline})
    return config.model_copy(update={"datasets": sets}), measured


def _earlier(config: Config, phase: str, folder: str) -> PipelineOptions | None:
    """Pipeline that the run in the folder was fitted with, if it has saved anything."""
    run = Path(config.path.experiments_root) / config.name
    if not has_description(run) or not any(run.glob("training_states/*")):
        return None
    before = Config.model_validate(read_description(run)["config"]).datasets.get(phase)
    pipeline = None if before is None else before.degrades()
    return pipeline if isinstance(pipeline, PipelineOptions) and pipeline.fitted_to == folder else None


def _cache(config: Config) -> Path:
    root = config.train_set.store_root or os.environ.get("PARAGONSR_CACHE") or "~/.cache/paragonsr/packed"
    return Path(root).expanduser() / "calibrations"
