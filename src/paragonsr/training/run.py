"""One training run, from configuration to result."""

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paragonsr.archs.branches import merged
from paragonsr.archs.complexity import count_parameters
from paragonsr.archs.weights import load_into
from paragonsr.config import Config
from paragonsr.data.listing import looked_at
from paragonsr.degradation.codec_versions import changed_codecs, codec_versions
from paragonsr.devices import described
from paragonsr.errors import UserError
from paragonsr.training.assembly import assemble
from paragonsr.training.calibrated import calibrated
from paragonsr.training.checkpoint.run_folder import RunFolder, environment
from paragonsr.training.engine.batch_norm import require_samples, smallest_micro_batch
from paragonsr.training.engine.device_context import DeviceContext, open_device_context
from paragonsr.training.engine.factory import build_network
from paragonsr.training.engine.validation import Validator, sanity
from paragonsr.training.loop import Trainer
from paragonsr.training.readiness import shared_images, shared_note, validation_problems, with_start_options
from paragonsr.training.reporting.console import Console
from paragonsr.training.reporting.pictures import comparison_picture
from paragonsr.training.run_data import Data, open_data, preparing, validation_sets
from paragonsr.training.time_plan import planned


@dataclass(frozen=True)
class TrainResult:
    """Result of a run."""

    reason: str
    """"finished", "interrupted", or why an automation stopped the run."""
    failed: bool
    """Whether an automation gave up: the weights are then the last good ones."""
    folder: Path
    iteration: int
    best: dict[str, Any] | None
    """Metric, value, iteration and protocol of the best validation."""
    weights: Path
    """File of the best weights, or of the last ones if nothing was validated."""
    picture: Path | None
    """LR, bicubic, SR and HR side by side; None without validation images."""
    bicubic: float | None
    """The bicubic resize, measured as `best`; None where nothing was validated."""


def train(config: Config, *, fresh: bool = False, notes: tuple[str, ...] = (), command: str = "") -> TrainResult:
    """Train; resumes an earlier run found in the experiment's folder.

    Args:
        config: the run.
        fresh: archive an earlier run of the same name and start over.
        notes: messages shown at the start and written to the log.
        command: command that resumes the run, shown when it is interrupted.

    Raises:
        UserError: the configuration or a file it names cannot be used for training.
    """
    with ExitStack() as stack:
        device_context = stack.enter_context(open_device_context(config))
        config, beginning = with_start_options(config)
        with preparing(device_context) as before:
            config, fitted = calibrated(config, partial(before.side_task, "fitting the degradation"), fresh=fresh)
        torch.manual_seed(config.manual_seed)
        network = build_network(config, device_context)
        require_samples(network, config.micro_batch)
        sanity(network, device_context)
        data = open_data(config, device_context)
        warnings = _before_the_first_step(config, device_context, data, network)
        with device_context.main_process_first():
            folder = RunFolder(config, fresh=fresh, is_main_process=device_context.is_main_process)
            stack.callback(folder.release)
        config, plan = planned(config, folder, device_context)
        folder.check_same(config, data.train.fingerprint)
        console = stack.enter_context(Console(folder.path / "train.log" if device_context.is_main_process else None))
        for note in (*notes, *warnings, *device_context.notes, *filter(None, (beginning, plan))):
            console.say(note, "yellow")
        for line in _heading(config, device_context, data, network):
            console.say(line)
        if device_context.is_main_process:
            stack.enter_context(looked_at(data.listings(), partial(console.say, style="yellow")))
        training = assemble(config, device_context, network, data, folder, console, stack, fitted)
        total = training.controller.settings.total_iter
        if training.state.iteration >= total:
            console.say("this run is complete: a larger train.total_iter extends it, --fresh starts over", "yellow")
        console.begin(training.state.iteration, total)
        description = _description(config, data, network)
        if "codecs" in description and training.state.iteration and (earlier := folder.read()) is not None:
            description["codecs"] = earlier.get("codecs", description["codecs"])
            if changed := changed_codecs(description["codecs"]):
                console.say(changed, "yellow")
        description["earlier"] = folder.earlier(config, training.state.iteration)
        outcome = _train(training, folder, description)
        if device_context.is_main_process and outcome.reason != "interrupted" and training.validator.sets:
            outcome = _with_picture(outcome, config, training)
        console.end_bar()
        for line in _ending(outcome, command):
            console.say(line)
        return outcome


def _before_the_first_step(config: Config, device_context: DeviceContext, data: Data, network: nn.Module) -> list[str]:
    """Rehearse the first validation, so that it cannot fail later, and warn about misleading validation images.

    Raises:
        UserError: naming each validation image that a metric cannot measure.
    """
    notes = []
    for phase, packed in data.validation.items():
        problems = validation_problems(config, phase, packed.names, packed.shapes)
        if problems:
            raise UserError("\n  ".join(problems), where="validation")
        shared = shared_images(data.train.findings.hr_digests, packed.findings.hr_digests, packed.names)
        if shared:
            notes.append(shared_note(phase, shared, len(packed)))
    sets = validation_sets(config, data)
    Validator(sets, config.val, config.scale, device_context).rehearse(network)
    return notes


def _heading(config: Config, device_context: DeviceContext, data: Data, network: nn.Module) -> Iterator[str]:
    """Network, device, images, and the protocol of each metric."""
    parameters = count_parameters(network)
    precision = str(device_context.dtype or torch.float32).removeprefix("torch.")
    where = f"on {described(device_context.device)} in {precision}" + (
        f", {device_context.world} processes" if device_context.world > 1 else ""
    )
    yield f"{config.network.title()} x{config.scale}, {parameters} parameters, {where}"
    patches = f"{config.batch * device_context.world} patches of {config.patch} x {config.patch}"
    yield f"training on {len(data.train)} images, {patches} per step"
    for phase, packed in data.validation.items():
        yield f"validation on {config.datasets[phase].title(phase)}, {len(packed)} images"
    if data.validation:
        for name, metric in config.val.chosen_metrics().items():
            yield f"  {name} is {metric.build(scale=config.scale).protocol}"


def _description(config: Config, data: Data, network: nn.Module) -> dict[str, Any]:
    degrades = any(options.degrades() is not None for options in config.datasets.values())
    return {
        "name": config.name,
        "config": config.model_dump(),
        "environment": environment(),
        **({"codecs": codec_versions()} if degrades else {}),
        "data": data.fingerprints(),
        "metric": config.deciding_metric,
        "parameters": count_parameters(merged(network)),
        "smallest_micro_batch": smallest_micro_batch(network),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


def _train(training: Trainer, folder: RunFolder, description: dict[str, Any]) -> TrainResult:
    """Train, and update run.json at the start, at the end and after a crash."""
    write: Callable[[dict[str, Any]], None] = (
        folder.write if training.device_context.is_main_process else lambda _: None
    )
    state = training.state

    def standing() -> dict[str, Any]:
        best = vars(state.best) if state.best else None
        total = training.controller.settings.total_iter
        return {"iteration": state.iteration, "total": total, "samples": state.samples_seen, "best": best}

    write(description | {"state": "running"} | standing())
    try:
        reason = training.run()
    except BaseException as error:
        write(description | {"state": "crashed", "cause": f"{type(error).__name__}: {error}"} | standing())
        raise
    failed = training.controller.settings.failed
    ending = {"finished": "completed", "interrupted": "interrupted"}.get(reason, "failed" if failed else "stopped")
    write(description | {"state": ending, "reason": reason, "ended": time.strftime("%Y-%m-%dT%H:%M:%S")} | standing())
    weights = training.checkpoints.best_weights(state)
    return TrainResult(reason, failed, folder.path, state.iteration, standing()["best"], weights, None, None)


def _ending(outcome: TrainResult, command: str) -> Iterator[str]:
    """Lines that say how the run ended and where its results are."""
    if outcome.reason == "interrupted":
        resume = f"; resume with: {command}" if command else ""
        yield f"interrupted after iteration {outcome.iteration}{resume}"
        return
    yield f"{'failed: ' if outcome.failed else ''}{outcome.reason} after iteration {outcome.iteration}"
    if outcome.best:
        best = outcome.best
        bicubic = "" if outcome.bicubic is None else f", bicubic {outcome.bicubic:.4f}"
        at = f"{best['value']:.4f} at iteration {best['iteration']}{bicubic}"
        yield f"  best {best['metric']}  {at}  ({best['protocol']})"
    folder = shlex.quote(str(outcome.folder))
    yield f"  weights      {outcome.weights}"
    yield f"  upscale      paragonsr upscale IMAGES RESULTS --model {folder}"
    yield f"  report       paragonsr report {folder}"
    yield f"  in a browser paragonsr serve {folder}"
    yield f"  TensorBoard  tensorboard --logdir {outcome.folder / 'tb'}"
    if outcome.picture:
        yield f"  comparison   {outcome.picture}"


def _with_picture(outcome: TrainResult, config: Config, training: Trainer) -> TrainResult:
    network = merged(training.state.ema.network)
    load_into(network, config.network, config.scale, outcome.weights, strict=True)
    picture = comparison_picture(training.validator, network, outcome.folder / "visualization" / "comparison.png")
    bicubic = training.validator.bicubic[training.validator.sets[0].name]
    value = bicubic[outcome.best["metric"]] if outcome.best else None
    return TrainResult(**vars(outcome) | {"picture": picture, "bicubic": value})
