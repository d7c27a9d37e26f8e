"""Build every part of a run from its configuration, once, and hand the parts to the training loop."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from paragonsr.archs.complexity import count_parameters
from paragonsr.archs.weights import save_metadata
from paragonsr.automation.journal import DecisionJournal
from paragonsr.automation.protocol import Measurements
from paragonsr.config import Config
from paragonsr.data.sampling import Prefetcher, Sampler
from paragonsr.loggers.base import Logger
from paragonsr.loggers.options import LoggedRun
from paragonsr.optim import schedules
from paragonsr.optim.ema import EMA
from paragonsr.training.checkpoint.files import CheckpointFiles
from paragonsr.training.checkpoint.manager import CheckpointManager, SavingOptions
from paragonsr.training.checkpoint.resume import ResumeState, find_state
from paragonsr.training.checkpoint.run_folder import RunFolder
from paragonsr.training.checkpoint.state import TrainingState
from paragonsr.training.control.automations import (
    HALVES_EVERY,
    make_automations,
    measures_noise,
    run_context,
    validations_every,
)
from paragonsr.training.control.calendar import Calendar
from paragonsr.training.control.controller import Controller, Hyperparameters
from paragonsr.training.control.forecaster import Forecaster
from paragonsr.training.control.size_probe import SizeProbe, interrupted
from paragonsr.training.engine.compiling import compiled_if_it_pays
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.factory import add_training_parts, build_objective, build_step
from paragonsr.training.engine.memory import PeakMemory
from paragonsr.training.engine.meter import LiveSystemStats, Meter, SystemStats
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.signals import Interruption
from paragonsr.training.engine.step import lq_images, to_device
from paragonsr.training.engine.validation import Validator
from paragonsr.training.loop import Trainer
from paragonsr.training.reporting.console import Console
from paragonsr.training.reporting.loggers import LoggerGroup
from paragonsr.training.reporting.record import MetricsRecord, truncate
from paragonsr.training.reporting.recorded_stats import RecordedSystemStats
from paragonsr.training.reporting.through_time import ThroughTime
from paragonsr.training.run_data import Data, validation_sets
from paragonsr.training.start import first_measurements, pretrain, pretrain_learned, run_optimiser, run_threads


def assemble(
    config: Config,
    device_context: DeviceContext,
    network: nn.Module,
    data: Data,
    folder: RunFolder,
    console: Console,
    stack: ExitStack,
    fitted: Sequence[Measurements] = (),
) -> Trainer:
    """Build the parts of a run and, when resuming, restore the state that an earlier session saved.

    Args:
        config: the run.
        device_context: device, precision, processes.
        network: the network with its initial weights, on the device.
        data: the images.
        folder: the run's folder.
        console: receives the messages for the user.
        stack: closes files, processes and loggers at the end.
        fitted: fits of the degradations, made for this session.
    """
    resumed = find_state(config, data.train.fingerprint, folder, device_context, console)
    if resumed is None:
        pretrain(config, network, console)
    add_training_parts(config, network)
    if device_context.is_main_process:
        for lost in truncate(folder.path, resumed.positions if resumed else {}):
            console.say(lost, "red")

    sampler = config.train_set.sampler(data.train, config.scale, config.manual_seed, device_context.device)
    batches = Prefetcher(sampler, depth=config.train_set.prefetch_factor, workers=config.train_set.num_worker_per_gpu)
    stack.callback(batches.close)
    objective = build_objective(config, device_context)
    if resumed is None and config.path.pretrain_network_d:
        pretrain_learned(config.path.pretrain_network_d, objective, console)
    timed = run_threads(config, device_context, network, objective, resumed, console)
    measurements = (
        interrupted(folder.path, resumed.iteration)
        if resumed
        else [*timed, *fitted, *first_measurements(config, device_context, network, objective, data, sampler, console)]
    )
    forward, objective = _forward(config, network, objective, device_context, sampler, console)
    optimiser = run_optimiser(config, resumed, measurements)
    train_step = build_step(device_context, network, objective, optimiser, forward)
    state = TrainingState(EMA(network, config.train.ema_decay, config.train.ema_power), train_step)

    system_stats = _system_stats(config, device_context, batches)
    learners = {label: learner.names for label, learner in train_step.learners.items()}
    meter = Meter(objective.labels, system_stats, device_context.mean, learners)
    journal = DecisionJournal(folder.path / "journal.jsonl" if device_context.is_main_process else None)
    stack.callback(journal.close)
    loggers = LoggerGroup(_loggers(config, folder, meter, device_context, data, resumed is not None), console)
    stack.callback(loggers.close)
    rate = learning_rate(config)
    controller, size_probe = _controller(config, device_context, folder, journal)
    checkpoints = _checkpoints(config, device_context, folder, data, resumed, loggers, journal)
    controller.on("entry", loggers.decision)
    controller.on("rollback", lambda _: state.roll_back())
    controller.on("first_decay", lambda _: checkpoints.save_before_decay(state))
    parameters = count_parameters(network)
    automations = make_automations(config, run_context(config, parameters, device_context.world, train_step.smallest))
    forecaster = Forecaster(
        config.deciding_metric, rate, config.train.total_iter, config.train.ema_decay, config.train.ema_power
    )
    state.register("meter", meter)
    state.register("controller", controller)
    state.register("size_probe", size_probe)
    state.register("forecaster", forecaster)
    for automation in automations:
        state.register(f"automation.{automation.name}", automation)
    state.keep()
    if resumed is not None:
        state.load(resumed.tensors, resumed.rest)
        state.best = checkpoints.best_ever(state.best)
        console.say(f"resuming after iteration {state.iteration}", "green")
        loggers.resume(state.best)
    validator = _validator(config, device_context, data, folder, loggers, console)
    return Trainer(
        calendar=_calendar(config),
        reference_batch=config.batch * device_context.world,
        batches=batches,
        objective=objective,
        learning_rate=rate,
        device_context=device_context,
        state=state,
        meter=meter,
        system_stats=system_stats,
        automations=automations,
        controller=controller,
        validator=validator,
        checkpoints=checkpoints,
        loggers=loggers,
        interruption=stack.enter_context(Interruption(device_context)),
        size_probe=size_probe,
        forecaster=forecaster,
        measurements=measurements,
        validates_start=config.train.training_automations.fidelity_budget.enabled,
    )


def learning_rate(config: Config) -> Callable[[float, float], float]:
    """Schedule of the learning rate: (position, base lr) -> lr of the next update, before any automation's factor."""
    options = config.train

    @lru_cache(maxsize=8)
    def factor(base: float) -> schedules.Factor:
        shape = schedules.constant()
        if options.scheduler is not None:
            shape = options.scheduler.build(total=options.total_iter, lr=base)
        return schedules.warmed_up(shape, options.warmup_iter)

    return lambda position, base: base * factor(base)(position)


def _system_stats(config: Config, device_context: DeviceContext, batches: Prefetcher) -> SystemStats:
    if config.path.system_stats:
        return RecordedSystemStats(Path(config.path.system_stats))
    limit = config.train.training_automations.dynamic_batch_size_optimizer.memory_limit_gb
    return LiveSystemStats(lambda: batches.waited, PeakMemory(device_context.device, limit))


def _loggers(
    config: Config, folder: RunFolder, meter: Meter, device_context: DeviceContext, data: Data, resumed: bool
) -> list[Logger]:
    if not device_context.is_main_process:
        return []
    run = LoggedRun(config.name, folder.path, config.model_dump(), resumed)
    sinks = config.logger.sinks(loss_shares=config.train.dynamic_loss_scheduling.enable_monitoring)
    through_time = [ThroughTime(folder.path, first, config.scale) for first in list(data.validation.values())[:1]]
    return [MetricsRecord(folder.path, meter.columns), *through_time, *(sink.build(run) for sink in sinks)]


def _controller(
    config: Config, device_context: DeviceContext, folder: RunFolder, journal: DecisionJournal
) -> tuple[Controller, SizeProbe]:
    settings = Hyperparameters.of(config, device_context.world)
    controller = Controller(settings, journal, config.batch * device_context.world)
    size_probe = SizeProbe(folder.path if device_context.is_main_process else None)
    controller.on(
        "probe",
        lambda entry: size_probe.begin(
            entry.iteration, controller.settings.batch_size, controller.settings.micro_batch
        ),
    )
    return controller, size_probe


def _checkpoints(
    config: Config,
    device_context: DeviceContext,
    folder: RunFolder,
    data: Data,
    resumed: ResumeState | None,
    loggers: LoggerGroup,
    journal: DecisionJournal,
) -> CheckpointManager:
    options = SavingOptions(
        config.deciding_metric,
        config.val.save_best,
        config.logger.autosave_minutes * 60,
        averaged=config.train.ema_decay > 0,
    )
    return CheckpointManager(
        folder.path,
        CheckpointFiles(folder.path, config.logger.keep_last) if device_context.is_main_process else None,
        options,
        loggers=loggers,
        journal=journal,
        metadata=partial(_metadata, config),
        provenance={
            "config": config.model_dump(),
            "images": data.train.fingerprint,
            "parent": resumed.parent if resumed else None,
        },
    )


def _forward(
    config: Config,
    network: nn.Module,
    objective: Objective,
    device_context: DeviceContext,
    sampler: Sampler,
    console: Console,
) -> tuple[nn.Module, Objective]:
    """Network and losses as the step calls them: compiled if that is faster; with several processes, the network is
    wrapped in DistributedDataParallel."""
    forward = network
    if config.use_compile:
        with torch.random.fork_rng():
            batch = sampler.batch(0, config.micro_batch)
            hr = to_device(batch.hr, device_context)
            images = lq_images(batch, hr, device_context), hr
            count = config.train.total_iter * config.train_set.accum_iter
            forward, objective = compiled_if_it_pays(network, objective, images, count, device_context, console.say)
    if device_context.world > 1:
        forward = DistributedDataParallel(
            forward,
            device_ids=[device_context.device] if device_context.device.type == "cuda" else None,
            # TrainStep averages the statistics of BatchNorm, other buffers are constants; and a process that retries a
            # micro-batch must not wait for the others.
            broadcast_buffers=False,
        )
    return forward, objective


def _calendar(config: Config) -> Calendar:
    return Calendar(
        observe_every=config.train.observe_every,
        print_every=config.logger.print_freq,
        validate_every=validations_every(config),
        save_every=config.logger.save_checkpoint_freq,
        halves_every=HALVES_EVERY if measures_noise(config) else 0,
    )


def _validator(
    config: Config,
    device_context: DeviceContext,
    data: Data,
    folder: RunFolder,
    loggers: LoggerGroup,
    console: Console,
) -> Validator:
    return Validator(
        validation_sets(config, data),
        config.val,
        config.scale,
        device_context,
        folder.path / "visualization" if config.val.save_img else None,
        partial(console.side_task, "validating") if config.val.pbar else lambda done, total: None,
        loggers.picture,
    )


def _metadata(config: Config, state: TrainingState) -> dict[str, Any]:
    best = vars(state.best) if state.best else None
    return save_metadata(config.network, config.scale) | {
        "name": config.name,
        "iteration": state.iteration,
        "samples": state.samples_seen,
        "best": best,
    }
