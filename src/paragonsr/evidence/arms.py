"""The arms of a comparison: which configurations are trained against each other, and what differs between them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from paragonsr.config import Config, load_config
from paragonsr.errors import UserError
from paragonsr.evidence.options import Kind
from paragonsr.training.checkpoint.run_folder import flat

SET_BY_THE_COMPARISON = ("name", "manual_seed", "path.experiments_root", "path.pretrain_network_g")
NOT_THE_IMAGES = (
    "name store_root batch_size_per_gpu accum_iter lq_size gt_size use_hflip use_rot num_worker_per_gpu prefetch_factor"
).split()
"""Keys of a training set that say how it is used, not which images it holds."""


@dataclass(frozen=True)
class Arm:
    """One configuration of a comparison; the first arm is what the others are measured against."""

    name: str
    config: Config
    notes: tuple[str, ...] = ()
    """What there is to say about its configuration: what was ignored, what a budget rescaled."""

    @property
    def file_name(self) -> str:
        """Its name as far as file names may hold it."""
        return file_name(self.name)

    def keys(self) -> dict[str, Any]:
        """Every key that says what is trained, by its dotted name."""
        leaves = flat(self.config.model_dump())
        return {key: value for key, value in leaves.items() if key not in SET_BY_THE_COMPARISON}


def file_name(arm: str) -> str:
    """The name of an arm as far as file names may hold it."""
    return "".join(c if c.isalnum() or c in "-_.=+" else "_" for c in arm)


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
            "a comparison needs two arms",
            where="paragonsr compare",
            fix="Give a second configuration, --vary or --arm.",
        )
    return list(arms.values())


def differing_keys(arms: Sequence[Arm]) -> dict[str, list[Any]]:
    """Every key in which the arms differ, with the value of each arm; None where an arm does not have it."""
    keys = [arm.keys() for arm in arms]
    names = sorted(set().union(*keys))
    values = {name: [k.get(name) for k in keys] for name in names}
    return {name: given for name, given in values.items() if any(value != given[0] for value in given)}


def check_comparable(arms: Sequence[Arm], allowed: Collection[Kind] = ()) -> None:
    """See that the arms are measured alike and at the same points, and trained on the same images.

    Args:
        arms: all of them.
        allowed: where a difference is the point of the comparison.

    Raises:
        UserError: naming the keys that differ, or there is nothing that all arms measure.
    """
    differing = differing_keys(arms)
    for kind in Kind:
        bad = [name for name in differing if _kind(name) is kind]
        if kind is Kind.VALIDATION and "val.val_freq" in differing and len(set(map(_validations, arms))) > 1:
            bad.append("val.val_freq")
        if bad and kind not in allowed:
            listed = "".join(f"\n    {name}: {' | '.join(map(repr, differing[name]))}" for name in bad)
            raise UserError(
                f"the arms differ in their {kind}, so their values are not comparable:{listed}",
                where="paragonsr compare",
                fix=f"Make them equal, or say --allow {kind} where that is what you compare.",
            )
    if not set.intersection(*(_measured(arm.config) for arm in arms)):
        raise UserError(
            "there is no metric on a validation set that all arms have, so that nothing can be compared",
            where="paragonsr compare",
            fix="Give all arms a set of the same name in datasets (val...), val.val_enabled and metrics.",
        )


def _kind(key: str) -> Kind | None:
    """What a key is about that arms may not differ in; None where they may."""
    if key.startswith("datasets.train."):
        return None if key.removeprefix("datasets.train.") in NOT_THE_IMAGES else Kind.DATA
    if key == "scale":
        return Kind.DATA
    measuring = ("val.metrics", "val.val_enabled", "val.tile_", "datasets.val")
    return Kind.VALIDATION if key.startswith(measuring) and not key.endswith(".store_root") else None


def _validations(arm: Arm) -> int:
    """How many validations the run has; where the totals differ, so may the iterations between them."""
    return -(-arm.config.train.total_iter // arm.config.val.val_freq)


def _measured(config: Config) -> set[tuple[str, str]]:
    """Name of the set and of the metric of all values that a validation gives."""
    sets = [options.name or phase for phase, options in config.val_sets.items()]
    return set(product(sets, config.val.chosen_metrics()))


def said_once(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """What there is to say about arms, each text once, with the names of its arms where it is not for all of them.

    Args:
        texts: name of every arm -> what there is to say about it.
    """
    found = []
    for text in dict.fromkeys(text for of_arm in texts.values() for text in of_arm):
        names = [name for name, of_arm in texts.items() if text in of_arm]
        found.append(text if len(names) == len(texts) else f"{', '.join(names)}: {text}")
    return found


def _add(arms: dict[str, Arm], name: str, file: Path, overrides: Sequence[str]) -> None:
    if file_name(name) in map(file_name, arms):
        raise UserError(
            f"two arms would be called {name!r}" + (f" in file names, {file_name(name)}" if name not in arms else ""),
            where="paragonsr compare",
            fix="Rename one of them.",
        )
    loaded = load_config(file, overrides)
    arms[name] = Arm(name, loaded.config, loaded.warnings)


def _changes(text: str) -> tuple[str, list[str]]:
    name, colon, changes = text.partition(":")
    given = [change.strip() for change in changes.split(";") if change.strip()]
    if not colon or not name.strip() or not given:
        raise UserError(
            f"{text!r} is not an arm", where="--arm", fix="Write --arm 'faster: train.optim_g.lr=1e-3; scale=2'."
        )
    return name.strip(), given


def _choices(text: str) -> list[tuple[str, str]]:
    key, equals, values = text.partition("=")
    if not equals or not key or not values:
        raise UserError(
            f"{text!r} has no values to vary", where="--vary", fix="Write --vary train.optim_g.lr=1e-4,3e-4,1e-3."
        )
    return [(key, value) for value in values.split(",")]


def _short(override: str) -> str:
    """The last part of an override's key, with its value: what tells varied arms apart."""
    key, _, value = override.partition("=")
    return f"{key.rsplit('.', 1)[-1]}={value}"


def write_config(config: Config, path: Path) -> None:
    """Write a resolved configuration as YAML that loads to the same."""
    path.write_text(yaml.safe_dump(config.model_dump(), sort_keys=False), encoding="utf-8")
