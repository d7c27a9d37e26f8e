"""Explanation of what the automations of a configuration will do, in words and values."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from paragonsr.archs.complexity import count_parameters
from paragonsr.automation.options import AutomationOptions
from paragonsr.automation.protocol import Measurements
from paragonsr.config import Config
from paragonsr.data.decoding import unheard
from paragonsr.training.assembly import learning_rate
from paragonsr.training.calibrated import calibrated
from paragonsr.training.control.automations import calibration_table, make_automations, run_context
from paragonsr.training.engine.batch_norm import smallest_micro_batch
from paragonsr.training.engine.device_context import open_device_context
from paragonsr.training.run_data import image_statistics, open_data

WIDTH = 80
"""Maximum line width, in characters."""
INDENT = 14
"""Column where the text after a title begins."""


def acting(config: Config) -> Iterator[str]:
    """One line per active automation, with what it may change; `explanation` gives the details."""
    network = config.network.build(scale=config.scale)
    context = run_context(config, count_parameters(network), 1, smallest_micro_batch(network))
    automations = make_automations(config, context)
    width = max(len(automation.name) for automation in automations)
    yield from (f"{automation.name:{width}}  may change {automation.may_change}" for automation in automations)


def explanation(config: Config) -> Iterator[str]:
    """Human-readable lines: network and images, calibration, then one paragraph per automation."""
    with open_device_context(config) as device_context:
        network = config.network.build(scale=config.scale)
        parameters = count_parameters(network)
        config, _ = calibrated(config, unheard)
        data = open_data(config, device_context)
        yield f"{config.network.title()} x{config.scale}: {parameters} parameters on {device_context.device}"
        yield f"training images: {len(data.train)}"
        context = run_context(config, parameters, device_context.world, smallest_micro_batch(network))
        if config.train.dynamic_loss_scheduling.enabled:
            measurements: Measurements = image_statistics(data.train)
            yield from calibration_table(config, context, measurements)
        sections = _sections(config)
        for automation in make_automations(config, context):
            yield from ("", automation.name)
            yield from _row("watches", automation.watches.split(), " ")
            yield from _row("may change", automation.may_change.split(), " ")
            options = sections.get(automation.name)
            if options is not None:
                yield from _keys(options)
        yield ""
        off = [name for name, options in sections.items() if not options.enabled]
        if off:
            yield from _row("off", off, "  ")
        yield from _rates(config)


def _rates(config: Config) -> Iterator[str]:
    """Learning rate at five points of the run."""
    rate, total = learning_rate(config), config.train.total_iter
    base = config.train.optim_g.first_lr
    points = sorted({0, total // 4, total // 2, total * 3 // 4, total - 1})
    chosen = ", until the trials before the run have chosen one" if config.train.optim_g.lr == "auto" else ""
    yield f"learning rate by the schedule alone{chosen}"
    yield from _row("iteration", [f"{point:<8}" for point in points], "  ")
    yield from _row("rate", [f"{rate(point, base):<8.2e}" for point in points], "  ")


def _sections(config: Config) -> dict[str, AutomationOptions]:
    train = config.train
    return {"dynamic_loss_scheduling": train.dynamic_loss_scheduling} | train.training_automations.sections()


def _keys(options: AutomationOptions) -> Iterator[str]:
    """Keys set by the user, then those left at their defaults, spelled as in YAML."""
    names = [name for name in type(options).model_fields if name not in ("enabled", "dry_run")]
    for title, given in (("as written", True), ("by default", False)):
        chosen = [name for name in names if (name in options.model_fields_set) == given]
        if chosen:
            yield from _row(title, [f"{name}: {_yaml(getattr(options, name))}" for name in chosen], "  ")


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _row(title: str, parts: Iterable[str], gap: str) -> Iterator[str]:
    """A title followed by its parts; lines break only between parts."""
    line = f"  {title:{INDENT - 2}}"
    for part in parts:
        if len(line) > INDENT and len(line) + len(part) > WIDTH:
            yield line.rstrip()
            line = " " * INDENT
        line += part + gap
    yield line.rstrip()
