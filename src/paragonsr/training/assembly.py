"""From a configuration to the parts of a run: everything is made here, once, and handed to the loop."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from paragonsr.archs.weights import load_into, save_metadata
from paragonsr.automation.journal import DecisionJournal
from paragonsr.automation.loss_balance import STATISTICS
from paragonsr.automation.protocol import Measurements
from paragonsr.config import Config
from paragonsr.data.packed import PackedDataset, open_packed
from paragonsr.data.sampling import Prefetcher, Sampler
from paragonsr.data.statistics import statistics
from paragonsr.optim import schedules as schedule
from paragonsr.optim.ema import EMA
from paragonsr.training.checkpoint.files import CheckpointFiles, read_state
from paragonsr.training.checkpoint.manager import CheckpointManager
from paragonsr.training.checkpoint.run_folder import RunFolder, require_same
from paragonsr.training.checkpoint.state import TrainingState
from paragonsr.training.control.automations import (
    HALVES_EVERY,
    RunContext,
    make_automations,
    measures_noise,
    tries_rates,
    validations_every,
)
from paragonsr.training.control.calendar import Calendar
from paragonsr.training.control.controller import Controller, Hyperparameters
from paragonsr.training.control.forecaster import Forecaster
from paragonsr.training.control.size_probe import SizeProbe, interrupted
from paragonsr.training.engine.compiling import compiled_if_it_pays
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.memory import PeakMemory
from paragonsr.training.engine.meter import LiveSystemStats, Meter, SystemStats
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.rate_trials import try_rates
from paragonsr.training.engine.signals import Interruption
from paragonsr.training.engine.step import TrainStep, to_device
from paragonsr.training.engine.validation import ValidationSet, Validator
from paragonsr.training.loop import Trainer
from paragonsr.training.reporting.console import Console
from paragonsr.training.reporting.loggers import LoggerGroup
from paragonsr.training.reporting.record import MetricsRecord, truncate
from paragonsr.training.reporting.recorded_stats import RecordedSystemStats
from paragonsr.training.reporting.tensorboard import TensorBoardLogger

Resumed = tuple[dict[str, torch.Tensor], dict[str, Any]]
"""Tensors and the rest of a resume state."""


@dataclass(frozen=True)
class Data:
    """The images of a run."""

    train: PackedDataset
    validation: dict[str, PackedDataset] = field(default_factory=dict)

    def fingerprints(self) -> dict[str, str]:
        """Phase -> hash of the decoded images; phase_manifests -> those of the manifests that chose them."""
        sets = {"train": self.train} | self.validation
        chosen = {f"{name}_manifests": " ".join(packed.manifests) for name, packed in sets.items() if packed.manifests}
        return {name: packed.fingerprint for name, packed in sets.items()} | chosen


def open_data(config: Config, device_context: DeviceContext) -> Data:
    """Open all sets, packing those that are new; the leading process packs, the others wait for it."""
    with (
        Console(Path(os.devnull) if device_context.is_main_process else None) as console,
        device_context.main_process_first(),
    ):

        def packed(phase: str) -> PackedDataset:
            progress = partial(console.side_task, f"packing {phase}")
            return open_packed(config.datasets[phase], config.scale, phase, progress)

        return Data(packed("train"), {phase: packed(phase) for phase in config.val_sets})


def assemble(
    config: Config,
    device_context: DeviceContext,
    network: nn.Module,
    data: Data,
    folder: RunFolder,
    console: Console,
    stack: ExitStack,
) -> Trainer:
    """Make the parts of a run, and bring them to where an earlier session of it stopped.

    Args:
        config: the run.
        machine: device, precision, processes.
        network: with its initial weights, on the device.
        data: the images.
        folder: the run's folder.
        console: is told what the user should know.
        stack: closes what must be closed at the end.
    """
    options = config.train
    resumed = _resumed(config, data, folder, device_context, console)
    if resumed is None and config.path.pretrain_network_g:
        _pretrain(config, network, console)
    if device_context.is_main_process:
        truncate(folder.path, resumed[1]["positions"] if resumed else {})

    sampler = Sampler(data.train, config.train_set, config.scale, config.manual_seed)
    batches = Prefetcher(sampler, depth=config.train_set.prefetch_factor, workers=config.train_set.num_worker_per_gpu)
    stack.callback(batches.close)
    objective = Objective(options.losses, device_context.device)
    optimiser = options.optim_g.build(parameters=[p for p in network.parameters() if p.requires_grad])
    trained = _for_training(config, network, device_context, sampler, console)
    train_step = TrainStep(trained, objective, optimiser, device_context)

    limit = options.training_automations.dynamic_batch_size_optimizer.memory_limit_gb
    system_stats: SystemStats = LiveSystemStats(lambda: batches.waited, PeakMemory(device_context.device, limit))
    if config.path.system_stats:
        system_stats = RecordedSystemStats(Path(config.path.system_stats))
    meter = Meter(objective.labels, system_stats, device_context.mean)
    journal = DecisionJournal(folder.path / "journal.jsonl" if device_context.is_main_process else None)
    tensorboard = TensorBoardLogger(
        folder.path / "tb" if device_context.is_main_process and config.logger.use_tb_logger else None,
        shares=options.dynamic_loss_scheduling.enable_monitoring,
    )
    record = MetricsRecord(folder.path, meter.columns) if device_context.is_main_process else None
    for resource in (journal, tensorboard, record):
        if resource is not None:
            stack.callback(resource.close)
    loggers = LoggerGroup(record, tensorboard, console)

    context = RunContext(sum(p.numel() for p in network.parameters()), device_context.world)
    automations = make_automations(config, context)
    parts: dict[str, Any] = {"meter": meter}
    state = TrainingState(network, EMA(network, options.ema_decay, options.ema_power), train_step, parts)
    settings = Hyperparameters.of(config, device_context.world)
    checkpoints = CheckpointManager(
        folder,
        CheckpointFiles(folder.path, config.logger.keep_last) if device_context.is_main_process else None,
        record,
        journal,
        tensorboard,
        partial(_metadata, config),
        options.training_automations.early_stopping,
        config.logger.autosave_minutes * 60,
        _provenance(config, data, resumed),
        averaged=options.ema_decay > 0,
    )
    size_probe = SizeProbe(folder.path if device_context.is_main_process else None)
    controller = Controller(
        settings,
        journal,
        state.roll_back,
        loggers.entry,
        partial(checkpoints.save_before_decay, state),
        size_probe,
        config.batch * device_context.world,
    )
    if resumed is not None:
        measurements = interrupted(folder.path, resumed[1]["iteration"])
    else:
        measurements = _first_measurements(config, device_context, network, data, sampler, console)
    forecaster = Forecaster(
        options.training_automations.early_stopping.metric,
        learning_rate(config),
        options.total_iter,
        options.ema_decay,
        options.ema_power,
    )
    parts |= {"controller": controller, "size_probe": size_probe, "forecaster": forecaster} | {
        f"automation.{a.name}": a for a in automations
    }
    state.keep()
    if resumed is not None:
        state.load(*resumed)
        state.best = checkpoints.best_ever(state.best)
        console.say(f"resuming after iteration {state.iteration}", "green")
        loggers.resume(state.best)
    return Trainer(
        calendar=_calendar(config),
        reference_batch=config.batch * device_context.world,
        batches=batches,
        objective=objective,
        learning_rate=learning_rate(config),
        device_context=device_context,
        state=state,
        meter=meter,
        system_stats=system_stats,
        automations=automations,
        controller=controller,
        validator=_validator(config, device_context, data, folder, console),
        checkpoints=checkpoints,
        loggers=loggers,
        interruption=stack.enter_context(Interruption(device_context)),
        size_probe=size_probe,
        forecaster=forecaster,
        measurements=measurements,
    )


def learning_rate(config: Config) -> Callable[[float, float], float]:
    """(position, base rate) -> rate of the next update, before any automation's factor."""
    options = config.train

    @lru_cache(maxsize=2)
    def factor(base: float) -> schedule.Factor:
        shape = schedule.constant()
        if options.scheduler is not None:
            shape = options.scheduler.build(total=options.total_iter, lr=base)
        return schedule.warmed_up(shape, options.warmup_iter)

    return lambda position, base: base * factor(base)(position)


def _resumed(
    config: Config, data: Data, folder: RunFolder, device_context: DeviceContext, console: Console
) -> Resumed | None:
    store = CheckpointFiles(folder.path, config.logger.keep_last)
    if config.path.resume_state:
        return _resumed_from(Path(config.path.resume_state), store, config, data, device_context, console)
    found = store.newest()
    if found is None:
        if folder.read():
            console.say("an earlier run of this name left no resume state: beginning anew", "yellow")
        return None
    tensors, rest, troubles = found
    for trouble in troubles:
        console.say(trouble, "red")
    return tensors, rest


def _resumed_from(
    path: Path, store: CheckpointFiles, config: Config, data: Data, device_context: DeviceContext, console: Console
) -> Resumed:
    """The state that the user names; or, when this run has been there already, the newest that goes back to it."""
    tensors, rest = read_state(path)
    if "config" in rest:
        fix = "take them back, or begin a new run from its weights: path.pretrain_network_g=..."
        require_same(rest["config"], rest["images"], config, data.train.fingerprint, str(path), fix)
    begun = store.newest(parent=rest["digest"])
    if begun is not None:
        return begun[:2]
    with device_context.main_process_first():
        place = store.archive(rest["iteration"], kept=path) if device_context.is_main_process else None
    if place is not None:
        console.say(f"what came after iteration {rest['iteration']}, and the best weights so far, are now in {place}")
    own = path.resolve().parent == store.states.resolve()
    # The weights that were best belong to what is left behind: the best counts anew.
    return tensors, rest | {"parent": rest["digest"], "best": None, "positions": rest["positions"] if own else {}}


def _provenance(config: Config, data: Data, resumed: Resumed | None) -> dict[str, Any]:
    """What a state says about its run: how it was begun, and the named state that it goes back to, if there is one."""
    parent = resumed[1].get("parent") if resumed else None
    return {"config": config.model_dump(), "images": data.train.fingerprint, "parent": parent}


def image_statistics(images: PackedDataset) -> Measurements:
    """What the training images are like."""
    return Measurements(0, STATISTICS, statistics(images))


def _first_measurements(
    config: Config, device_context: DeviceContext, network: nn.Module, data: Data, sampler: Sampler, console: Console
) -> list[Measurements]:
    """What automations want to know before the first step."""
    measurements = []
    if config.train.dynamic_loss_scheduling.enabled:
        measurements.append(image_statistics(data.train))
    if tries_rates(config):
        measurements.append(
            try_rates(config, device_context, network, sampler, partial(console.side_task, "trying rates"))
        )
    return measurements


def _pretrain(config: Config, network: nn.Module, console: Console) -> None:
    path = config.path.pretrain_network_g
    assert path is not None
    skipped = load_into(network, config.network, config.scale, path, strict=config.path.strict_load_g)
    console.say(f"starting from {path}", "green")
    if skipped:
        count = f"{len(skipped)} of {len(network.state_dict())} tensors do not fit and keep their initial values"
        console.say(f"pretrain_network_g: {count}: {', '.join(skipped)}", "yellow")


def _for_training(
    config: Config, network: nn.Module, device_context: DeviceContext, sampler: Sampler, console: Console
) -> nn.Module:
    """The network as the step calls it: compiled where that pays, and one of several processes."""
    trained = network
    if config.use_compile:
        with torch.random.fork_rng():
            images = to_device(sampler.batch(0, config.micro_batch).lr, device_context)
            trained = compiled_if_it_pays(network, images, device_context, console.say)
    if device_context.world > 1:
        trained = DistributedDataParallel(
            trained,
            device_ids=[device_context.device] if device_context.device.type == "cuda" else None,
            # Buffers are constants here; a process that redoes a piece must not wait for one that does not.
            broadcast_buffers=False,
        )
    return trained


def _calendar(config: Config) -> Calendar:
    return Calendar(
        observe_every=config.train.observe_every,
        print_every=config.logger.print_freq,
        validate_every=validations_every(config),
        save_every=config.logger.save_checkpoint_freq,
        halves_every=HALVES_EVERY if measures_noise(config) else 0,
    )


def _validator(
    config: Config, device_context: DeviceContext, data: Data, folder: RunFolder, console: Console
) -> Validator:
    return Validator(
        [ValidationSet(config.datasets[phase].name or phase, packed) for phase, packed in data.validation.items()],
        config.val,
        config.scale,
        device_context,
        folder.path / "visualization" if config.val.save_img else None,
        partial(console.side_task, "validating") if config.val.pbar else lambda done, total: None,
    )


def _metadata(config: Config, state: TrainingState) -> dict[str, Any]:
    best = vars(state.best) if state.best else None
    return save_metadata(config.network, config.scale) | {
        "name": config.name,
        "iteration": state.iteration,
        "samples": state.samples_seen,
        "best": best,
    }
