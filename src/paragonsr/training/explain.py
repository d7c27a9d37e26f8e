"""What the automations of a configuration are about to do, in words and figures."""

from collections.abc import Iterator
from typing import Any

from paragonsr.automation.options import AutomationOptions
from paragonsr.automation.protocol import Facts
from paragonsr.config import Config
from paragonsr.training.assembly import image_statistics, learning_rate, open_data
from paragonsr.training.automations import Circumstances, calibration_table, make_automations
from paragonsr.training.hardware import hardware


def acting(config: Config) -> Iterator[str]:
    """One line for each automation that would act, and what it may change; `explanation` says more."""
    parameters = sum(p.numel() for p in config.network.build(scale=config.scale).parameters())
    automations = make_automations(config, Circumstances(parameters, world=1))
    width = max(len(automation.name) for automation in automations)
    yield from (f"{automation.name:{width}}  may change {automation.may_change}" for automation in automations)


def explanation(config: Config) -> Iterator[str]:
    """Lines for a person: network and images, calibration, then one paragraph for each automation."""
    with hardware(config) as machine:
        network = config.network.build(scale=config.scale)
        parameters = sum(p.numel() for p in network.parameters())
        data = open_data(config, machine)
        yield f"{config.network.tag()} x{config.scale}: {parameters} parameters on {machine.device}"
        yield f"training images: {len(data.train)}"
        circumstances = Circumstances(parameters, machine.world)
        if config.train.dynamic_loss_scheduling.enabled:
            facts: Facts = image_statistics(data.train)
            yield from calibration_table(config, circumstances, facts)
        yield ""
        sections = _sections(config)
        for automation in make_automations(config, circumstances):
            yield automation.name
            yield f"  watches     {automation.watches}"
            yield f"  may change  {automation.may_change}"
            options = sections.get(automation.name)
            if options is not None:
                yield f"  keys        {_keys(options)}"
        for name, options in sections.items():
            if not options.enabled:
                yield f"{name}: off"
        rate, total = learning_rate(config), config.train.total_iter
        base = config.train.optim_g.first_lr
        points = sorted({0, total // 4, total // 2, total * 3 // 4, total - 1})
        shown = "  ".join(f"{point}: {rate(point, base):.2e}" for point in points)
        chosen = " (until the trial before the run has chosen one)" if config.train.optim_g.lr == "auto" else ""
        yield f"learning rate by the schedule alone{chosen}  {shown}"


def _sections(config: Config) -> dict[str, AutomationOptions]:
    sections: dict[str, AutomationOptions] = {"dynamic_loss_scheduling": config.train.dynamic_loss_scheduling}
    whole = config.train.training_automations
    for name in type(whole).model_fields:
        value: Any = getattr(whole, name)
        if isinstance(value, AutomationOptions):
            sections[name] = value if whole.enabled else value.model_copy(update={"enabled": False})
    return sections


def _keys(options: AutomationOptions) -> str:
    given = options.model_fields_set
    shown = {name: value for name, value in options.model_dump().items() if name not in ("enabled", "dry_run")}
    return "  ".join(f"{name}: {value}{'' if name in given else ' (default)'}" for name, value in shown.items())
