"""Degradation in configurations of traiNNer-redux and Real-ESRGAN, rewritten into `datasets.<phase>.degradation`.

There, the keys of the two stages stand at the top level and in the training set.
"""

from typing import Any

from paragonsr.config.refusals import Refusals
from paragonsr.config.tree import Tree, carry_lines, mappings
from paragonsr.config.upstream import (
    DEGRADATION_PREFIXES,
    MIXED,
    QUEUE,
    REDUX_DEGRADATION,
    STEP_INSTEAD,
)
from paragonsr.config.yaml import Key
from paragonsr.degradation.options import DegradationOptions

SWITCH = "high_order_degradation"
TYPE = "realesrgandataset"
TRAIN: Key = ("datasets", "train")


def two_stage_keys() -> frozenset[str]:
    """Keys of `{type: realesrgan}`, which are those of traiNNer-redux."""
    kind = DegradationOptions.choose("realesrgan")
    assert kind is not None
    return frozenset(kind.model_fields) - {"type"}


def translate(tree: Tree, lines: dict[Key, int], refusals: Refusals) -> list[str]:
    """Rewrite the keys in place.

    Args:
        tree: of the configuration.
        lines: where each of its keys stands; keys that move take their line with them.
        refusals: collects what is not built.

    Returns:
        notes on what was moved or dropped; keys of a degradation that is off are left where they are.
    """
    for phase, dataset in mappings(tree.get("datasets")):
        _single_resize(dataset, lines, ("datasets", phase))
    redux = SWITCH in tree
    wanted = bool(tree.pop(SWITCH, False))
    sets = tree.get("datasets")
    train = sets.get("train") if isinstance(sets, dict) else None
    if not isinstance(train, dict):
        return []
    if str(train.get("type")).lower() == TYPE:
        wanted = wanted or not redux
        train["type"] = "singleimagedataset"
        train.pop("dataroot_lq", None)
    if not wanted or "degradation" in train:
        return []
    degradation = train["degradation"] = {"type": "realesrgan"} | (REDUX_DEGRADATION if redux else {})
    lines.setdefault((*TRAIN, "degradation"), lines.get((SWITCH,), lines.get((*TRAIN, "type"), 0)))
    if "second_blur_prob" in tree:
        tree["blur_prob2"] = tree.pop("second_blur_prob")
        carry_lines(lines, ("second_blur_prob",), ("blur_prob2",))
    keys = two_stage_keys()
    for section, at in ((tree, ()), (train, TRAIN)):
        for key in [key for key in section if key in keys]:
            degradation[key] = section.pop(key)
            carry_lines(lines, (*at, key), (*TRAIN, "degradation", key))
    return ["the keys of the degradation were moved to datasets.train.degradation", *_rest(tree, refusals)]


def _single_resize(dataset: Tree, lines: dict[Key, int], at: Key) -> None:
    """`lq_resize_mode` makes LR images by one resize; the bicubic one is made without a degradation."""
    mode: Any = dataset.pop("lq_resize_mode", None)
    if mode is None or mode == "bicubic" or "degradation" in dataset:
        return
    filters = {"nearest" if mode == "nearest-exact" else mode: 1.0}
    dataset["degradation"] = {"type": "pipeline", "steps": [{"type": "to_lr", "filters": filters}]}
    carry_lines(lines, (*at, "lq_resize_mode"), (*at, "degradation"))


def _rest(tree: Tree, refusals: Refusals) -> list[str]:
    """Refuse keys that would change the degradation and are not built, and drop those that would not."""
    notes = []
    if tree.pop("queue_size", None) is not None:
        notes.append(f"queue_size has no meaning here ({QUEUE})")
    if tree.pop("dataroot_lq_prob", None):
        refusals.add(MIXED, ("dataroot_lq_prob",))
    unused = []
    for key in [key for key in tree if str(key).startswith(DEGRADATION_PREFIXES)]:
        value = tree.pop(key)
        if "prob" in key and value:
            refusals.add(STEP_INSTEAD, (key,))
        else:
            unused.append(key)
    if unused:
        notes.append(f"{', '.join(unused)} have no meaning here (the steps that they belong to are off)")
    return notes
