"""A degradation from a file: a training configuration that has one, or a short file with nothing else."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from paragonsr.config.load import load_config
from paragonsr.config.problems import describe
from paragonsr.config.schema import import_named_plugins
from paragonsr.config.yaml import read_yaml
from paragonsr.degradation.options import DegradationOptions
from paragonsr.errors import UserError
from paragonsr.options import Options


class DegradationFile(Options):
    """What makes LR images outside of training."""

    plugins: list[str] = Field(default_factory=list)
    """Modules that add degradations or steps."""
    scale: Literal[1, 2, 3, 4, 8]
    """HR side / LR side."""
    seed: int = Field(0, ge=0)
    """Together with the position of an image in its folder, determines all randomness. Validation sets have 0."""
    degradation: DegradationOptions
    """As in `datasets.train.degradation`."""


def load_degradation(path: Path) -> DegradationFile:
    """Read a file.

    A training configuration gives the degradation of its training set, or else of its first validation set that has
    one; the seed is 0.

    Args:
        path: YAML with `datasets`, or with `scale` and `degradation`.

    Raises:
        UserError: the file is invalid, or has no degradation.
    """
    tree, lines = read_yaml(path.expanduser())
    if "datasets" not in tree:
        import_named_plugins(tree)
        try:
            return DegradationFile.model_validate(tree)
        except ValidationError as error:
            raise UserError(describe(error, DegradationFile, str(path), lines)) from None
    config = load_config(path).config
    sets = [config.train_set, *(options for phase, options in config.datasets.items() if phase != "train")]
    found = next((chosen for options in sets if (chosen := options.degrades()) is not None), None)
    if found is None:
        raise UserError(
            "no data set of this configuration has a degradation",
            where=str(path),
            fix="Add datasets.train.degradation, for example {type: realesrgan}.",
        )
    return DegradationFile(plugins=config.plugins, scale=config.scale, degradation=found)
