"""The arms of a comparison: which configurations are trained against each other, and what differs between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from paragonsr.config import Config, load_config
from paragonsr.errors import UserError
from paragonsr.training.folder import flat

SET_BY_THE_COMPARISON = ("name", "manual_seed", "path.experiments_root", "path.pretrain_network_g")
DATA = ("scale", "datasets.train.")
VALIDATION = ("val.metrics", "val.metrics_enabled", "val.val_enabled", "datasets.val")


@dataclass(frozen=True)
class Arm:
    """One configuration of a comparison; the first arm is what the others are measured against."""

    name: str
    config: Config
    notes: tuple[str, ...] = ()
    """What there is to say about its configuration: what was ignored, what a budget rescaled."""

    def keys(self) -> dict[str, Any]:
        """Every key that says what is trained, by its dotted name."""
        leaves = flat(self.config.model_dump())
        return {key: value for key, value in leaves.items() if key not in SET_BY_THE_COMPARISON}


def make_arms(
    files: Sequence[Path],
    *,
    overrides: Sequence[str] = (),
    vary: Sequence[str] = (),
    more: Sequence[str] = (),
    budget: str | None = None,
    fair: bool = False,
) -> list[Arm]:
    """One arm for each file and each combination of varied values, and those that are the first file with changes.

    Args:
        files: configurations.
        overrides: "key=value", for all arms.
        vary: "key=v1,v2,...": one arm for each value.
        more: "name: key=value; key=value": the first file with these changes.
        budget: for all arms; see `train.budget`.
        fair: switch all automations off.

    Raises:
        UserError: a configuration is wrong, there is only one arm, or two would be called the same.
    """
    common = [*overrides, *([f"train.budget={budget}"] if budget else []), *(["fair=true"] if fair else [])]
    choices = [_choices(text) for text in vary]
    arms: dict[str, Arm] = {}
    for file, combination in product(files, product(*choices)):
        given = [f"{key}={value}" for key, value in combination]
        name = " ".join([*([file.stem] if len(files) > 1 else []), *(_short(text) for text in given)]) or file.stem
        _add(arms, name, file, [*common, *given])
    for text in more:
        name, given = _changes(text)
        _add(arms, name, files[0], [*common, *given])
    if len(arms) < 2:
        raise UserError(
            "a comparison needs two arms", where="paragonsr compare", fix="give a second configuration, --vary or --arm"
        )
    return list(arms.values())


def differing_keys(arms: Sequence[Arm]) -> dict[str, list[Any]]:
    """Every key in which the arms differ, with the value of each arm; None where an arm does not have it."""
    keys = [arm.keys() for arm in arms]
    names = sorted(set().union(*keys))
    values = {name: [k.get(name) for k in keys] for name in names}
    return {name: given for name, given in values.items() if any(value != given[0] for value in given)}


def check_comparable(arms: Sequence[Arm], allowed: Sequence[str]) -> None:
    """See that the arms are measured alike and trained on the same images.

    Args:
        arms: all of them.
        allowed: "data" or "validation", where a difference is the point of the comparison.

    Raises:
        UserError: naming the keys that differ.
    """
    differing = differing_keys(arms)
    for what, prefixes in (("data", DATA), ("validation", VALIDATION)):
        bad = [name for name in differing if name.startswith(prefixes) and not _of_the_step(name)]
        if bad and what not in allowed:
            listed = "".join(f"\n    {name}: {' | '.join(map(repr, differing[name]))}" for name in bad)
            raise UserError(
                f"the arms differ in their {what}, so that their figures do not compare:{listed}",
                where="paragonsr compare",
                fix=f"make them equal, or say --allow {what} where that is what you compare",
            )


def _of_the_step(name: str) -> bool:
    """Keys of the training set that say how it is used, not which images it holds."""
    used = "batch_size_per_gpu accum_iter lq_size gt_size use_hflip use_rot num_worker_per_gpu prefetch_factor"
    return name.removeprefix("datasets.train.") in used.split()


def _add(arms: dict[str, Arm], name: str, file: Path, overrides: Sequence[str]) -> None:
    if name in arms:
        raise UserError(f"two arms would be called {name!r}", where="paragonsr compare", fix="rename one of them")
    loaded = load_config(file, overrides)
    arms[name] = Arm(name, loaded.config, loaded.warnings)


def _changes(text: str) -> tuple[str, list[str]]:
    name, colon, changes = text.partition(":")
    given = [change.strip() for change in changes.split(";") if change.strip()]
    if not colon or not name.strip() or not given:
        raise UserError(
            f"{text!r} is no arm", where="--arm", fix="write --arm 'faster: train.optim_g.lr=1e-3; scale=2'"
        )
    return name.strip(), given


def _choices(text: str) -> list[tuple[str, str]]:
    key, equals, values = text.partition("=")
    if not equals or not key or not values:
        raise UserError(f"{text!r} varies nothing", where="--vary", fix="write --vary train.optim_g.lr=1e-4,3e-4,1e-3")
    return [(key, value) for value in values.split(",")]


def _short(override: str) -> str:
    """The last part of an override's key, with its value: what tells varied arms apart."""
    key, _, value = override.partition("=")
    return f"{key.rsplit('.', 1)[-1]}={value}"


def write_config(config: Config, path: Path) -> None:
    """Write a resolved configuration as YAML that loads to the same."""
    path.write_text(yaml.safe_dump(config.model_dump(), sort_keys=False), encoding="utf-8")
