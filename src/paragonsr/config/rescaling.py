"""Fits a configuration to a number of iterations: every key that counts iterations scales with the total."""

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from paragonsr.automation.options import AutomationOptions
from paragonsr.config.schema import Config
from paragonsr.options import ITERATIONS


def fitted(config: Config, total: int) -> Config:
    """Rescale a run to `total` iterations: milestones, warm-up, ramps, patience and intervals scale in proportion.

    No key falls below 1, and values that mean "off" (0 or -1) are kept. Fractions are rounded up, so that nothing
    periodic happens once more just before the end.
    """
    scaled: Config = _scaled(config, Fraction(total, config.train.total_iter))
    return scaled


def rescaling(before: Config, after: Config) -> str:
    """Summary of a rescaling: every used key that changed, with old and new value."""
    old, new = iteration_keys(before), iteration_keys(after)
    changed = {key: (old[key], new[key]) for key in old if old[key] != new[key]}
    width = max(map(len, changed), default=0)
    lines = (f"  {key:{width}}  {was} -> {now}" for key, (was, now) in changed.items())
    return "\n".join([f"budget {after.train.budget}: {after.train.total_iter} iterations", *lines])


def iteration_keys(model: BaseModel, prefix: str = "") -> dict[str, int | list[int]]:
    """Keys that count iterations and have a value, by dotted name, without those of disabled automations."""
    found: dict[str, int | list[int]] = {}
    if isinstance(model, AutomationOptions) and not model.enabled:
        return found
    for name, field, value in _fields(model):
        key = f"{prefix}{name}"
        if field.json_schema_extra == ITERATIONS and value is not None:
            found[key] = value
        for part, inner in _inner(value):
            found |= iteration_keys(inner, f"{key}.{part}." if part else f"{key}.")
    return found


def _scaled(model: Any, factor: Fraction) -> Any:
    changes: dict[str, Any] = {}
    for name, field, value in _fields(model):
        if field.json_schema_extra == ITERATIONS:
            changes[name] = _times(value, factor)
        elif isinstance(value, BaseModel):
            changes[name] = _scaled(value, factor)
        elif isinstance(value, list):
            changes[name] = [_scaled(v, factor) if isinstance(v, BaseModel) else v for v in value]
        elif isinstance(value, dict):
            changes[name] = {k: _scaled(v, factor) if isinstance(v, BaseModel) else v for k, v in value.items()}
    return model.model_copy(update=changes)


def _times(value: int | list[int] | None, factor: Fraction) -> int | list[int] | None:
    if isinstance(value, list):
        return [math.ceil(v * factor) for v in value]
    return value if value is None or value <= 0 else math.ceil(value * factor)


def _fields(model: BaseModel) -> Iterator[tuple[str, FieldInfo, Any]]:
    for name, field in type(model).model_fields.items():
        yield name, field, getattr(model, name)


def _inner(value: Any) -> Iterator[tuple[str, BaseModel]]:
    if isinstance(value, BaseModel):
        yield "", value
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, Mapping) else ()
    for part, item in items:
        if isinstance(item, BaseModel):
            yield str(part), item
