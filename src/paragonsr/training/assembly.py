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
from paragonsr.automation.journal import Journal
from paragonsr.automation.loss_balance import STATISTICS
from paragonsr.automation.protocol import Facts
from paragonsr.config import Config
from paragonsr.data.packed import Store as PackedStore
from paragonsr.data.packed import open_store
from paragonsr.data.sampling import Prefetcher, Sampler
from paragonsr.data.statistics import statistics
from paragonsr.optim import schedules as schedule
from paragonsr.optim.ema import Average
from paragonsr.training.checkpoint.files import Store, read_state
from paragonsr.training.checkpoint.manager import Keeper
from paragonsr.training.checkpoint.run_folder import RunFolder, require_same
from paragonsr.training.checkpoint.state import TrainingState
from paragonsr.training.control.automations import (
    HALVES_EVERY,
    Circumstances,
    make_automations,
    measures_noise,
    tries_rates,
    validations_every,
)
from paragonsr.training.control.calendar import Plan
from paragonsr.training.control.forecaster import Outlook
from paragonsr.training.control.settings import Controls, Settings
from paragonsr.training.control.size_probe import Trial, interrupted
from paragonsr.training.engine.compiling import compiled_if_it_pays
from paragonsr.training.engine.device_context import Hardware
from paragonsr.training.engine.memory import PeakMemory
from paragonsr.training.engine.meter import MachineReadings, Meter, Readings, RecordedReadings
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.rate_trials import try_rates
from paragonsr.training.engine.signals import Interruption
from paragonsr.training.engine.step import Optimisation, to_device
from paragonsr.training.engine.validation import ValidationSet, Validator
from paragonsr.training.loop import Training
from paragonsr.training.reporting import record
from paragonsr.training.reporting.console import Console
from paragonsr.training.reporting.loggers import Reporter
from paragonsr.training.reporting.tensorboard import Board

Resumed = tuple[dict[str, torch.Tensor], dict[str, Any]]
"""Tensors and the rest of a resume state."""


@dataclass(frozen=True)
class Data:
    """The images of a run."""

    train: PackedStore
    validation: dict[str, PackedStore] = field(default_factory=dict)

    def fingerprints(self) -> dict[str, str]:
        """Phase -> hash of the decoded images; phase_manifests -> those of the manifests that chose them."""
        sets = {"train": self.train} | self.validation
        chosen = {f"{name}_manifests": " ".join(packed.manifests) for name, packed in sets.items() if packed.manifests}
        return {name: packed.fingerprint for name, packed in sets.items()} | chosen


def open_data(config: Config, machine: Hardware) -> Data:
    """Open all sets, packing those that are new; the leading process packs, the others wait for it."""
    with Console(Path(os.devnull) if machine.leads else None) as console, machine.leader_first():

        def packed(phase: str) -> PackedStore:
            progress = partial(console.side_task, f"packing {phase}")
            return open_store(config.datasets[phase], config.scale, phase, progress)

        return Data(packed("train"), {phase: packed(phase) for phase in config.val_sets})


def assemble(
    config: Config,
    machine: Hardware,
    network: nn.Module,
    data: Data,
    folder: RunFolder,
    console: Console,
    stack: ExitStack,
) -> Training:
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
    resumed = _resumed(config, data, folder, machine, console)
    if resumed is None and config.path.pretrain_network_g:
        _pretrain(config, network, console)
    if machine.leads:
        record.cut(folder.path, resumed[1]["positions"] if resumed else {})

    sampler = Sampler(data.train, config.train_set, config.scale, config.manual_seed)
    batches = Prefetcher(sampler, depth=config.train_set.prefetch_factor, workers=config.train_set.num_worker_per_gpu)
    stack.callback(batches.close)
    objective = Objective(options.losses, machine.device)
    optimiser = options.optim_g.build(parameters=[p for p in network.parameters() if p.requires_grad])
    trained = _for_training(config, network, machine, sampler, console)
    optimisation = Optimisation(trained, objective, optimiser, machine)

    limit = options.training_automations.dynamic_batch_size_optimizer.memory_limit_gb
    readings: Readings = MachineReadings(lambda: batches.waited, PeakMemory(machine.device, limit))
    if config.path.readings:
        readings = RecordedReadings(Path(config.path.readings))
    meter = Meter(objective.labels, readings, machine.mean)
    journal = Journal(folder.path / "journal.jsonl" if machine.leads else None)
    board = Board(
        folder.path / "tb" if machine.leads and config.logger.use_tb_logger else None,
        shares=options.dynamic_loss_scheduling.enable_monitoring,
    )
    recorder = record.Recorder(folder.path, meter.columns) if machine.leads else None
    for resource in (journal, board, recorder):
        if resource is not None:
            stack.callback(resource.close)
    reporter = Reporter(recorder, board, console)

    circumstances = Circumstances(sum(p.numel() for p in network.parameters()), machine.world)
    automations = make_automations(config, circumstances)
    parts: dict[str, Any] = {"meter": meter}
    state = TrainingState(network, Average(network, options.ema_decay, options.ema_power), optimisation, parts)
    settings = Settings.of(config, machine.world)
    keeper = Keeper(
        folder,
        Store(folder.path, config.logger.keep_last) if machine.leads else None,
        recorder,
        journal,
        board,
        partial(_metadata, config),
        options.training_automations.early_stopping,
        config.logger.autosave_minutes * 60,
        _stamp(config, data, resumed),
        averaged=options.ema_decay > 0,
    )
    trial = Trial(folder.path if machine.leads else None)
    controls = Controls(
        settings,
        journal,
        state.roll_back,
        reporter.entry,
        partial(keeper.save_before_decay, state),
        trial,
        config.batch * machine.world,
    )
    if resumed is not None:
        facts = interrupted(folder.path, resumed[1]["iteration"])
    else:
        facts = _first_facts(config, machine, network, data, sampler, console)
    outlook = Outlook(
        options.training_automations.early_stopping.metric,
        learning_rate(config),
        options.total_iter,
        options.ema_decay,
        options.ema_power,
    )
    parts |= {"controls": controls, "trial": trial, "outlook": outlook} | {
        f"automation.{a.name}": a for a in automations
    }
    state.keep()
    if resumed is not None:
        state.load(*resumed)
        state.best = keeper.best_ever(state.best)
        console.say(f"resuming after iteration {state.iteration}", "green")
        reporter.resume(state.best)
    return Training(
        plan=_plan(config),
        reference_batch=config.batch * machine.world,
        batches=batches,
        objective=objective,
        learning_rate=learning_rate(config),
        hardware=machine,
        state=state,
        meter=meter,
        readings=readings,
        automations=automations,
        controls=controls,
        validator=_validator(config, machine, data, folder, console),
        keeper=keeper,
        reporter=reporter,
        interruption=stack.enter_context(Interruption(machine)),
        trial=trial,
        outlook=outlook,
        facts=facts,
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


def _resumed(config: Config, data: Data, folder: RunFolder, machine: Hardware, console: Console) -> Resumed | None:
    store = Store(folder.path, config.logger.keep_last)
    if config.path.resume_state:
        return _resumed_from(Path(config.path.resume_state), store, config, data, machine, console)
    found = store.newest()
    if found is None:
        if folder.read():
            console.say("an earlier run of this name left no resume state: beginning anew", "yellow")
        return None
    tensors, rest, troubles = found
    for trouble in troubles:
        console.say(trouble, "red")
    return tensors, rest


def _resumed_from(path: Path, store: Store, config: Config, data: Data, machine: Hardware, console: Console) -> Resumed:
    """The state that the user names; or, when this run has been there already, the newest that goes back to it."""
    tensors, rest = read_state(path)
    if "config" in rest:
        fix = "take them back, or begin a new run from its weights: path.pretrain_network_g=..."
        require_same(rest["config"], rest["images"], config, data.train.fingerprint, str(path), fix)
    begun = store.newest(origin=rest["digest"])
    if begun is not None:
        return begun[:2]
    with machine.leader_first():
        place = store.set_aside(rest["iteration"], kept=path) if machine.leads else None
    if place is not None:
        console.say(f"what came after iteration {rest['iteration']}, and the best weights so far, are now in {place}")
    own = path.resolve().parent == store.states.resolve()
    # The weights that were best belong to what is left behind: the best counts anew.
    return tensors, rest | {"origin": rest["digest"], "best": None, "positions": rest["positions"] if own else {}}


def _stamp(config: Config, data: Data, resumed: Resumed | None) -> dict[str, Any]:
    """What a state says about its run: how it was begun, and the named state that it goes back to, if there is one."""
    origin = resumed[1].get("origin") if resumed else None
    return {"config": config.model_dump(), "images": data.train.fingerprint, "origin": origin}


def image_statistics(images: PackedStore) -> Facts:
    """What the training images are like."""
    return Facts(0, STATISTICS, statistics(images))


def _first_facts(
    config: Config, machine: Hardware, network: nn.Module, data: Data, sampler: Sampler, console: Console
) -> list[Facts]:
    """What automations want to know before the first step."""
    facts = []
    if config.train.dynamic_loss_scheduling.enabled:
        facts.append(image_statistics(data.train))
    if tries_rates(config):
        facts.append(try_rates(config, machine, network, sampler, partial(console.side_task, "trying rates")))
    return facts


def _pretrain(config: Config, network: nn.Module, console: Console) -> None:
    path = config.path.pretrain_network_g
    assert path is not None
    skipped = load_into(network, config.network, config.scale, path, strict=config.path.strict_load_g)
    console.say(f"starting from {path}", "green")
    if skipped:
        count = f"{len(skipped)} of {len(network.state_dict())} tensors do not fit and keep their initial values"
        console.say(f"pretrain_network_g: {count}: {', '.join(skipped)}", "yellow")


def _for_training(
    config: Config, network: nn.Module, machine: Hardware, sampler: Sampler, console: Console
) -> nn.Module:
    """The network as the step calls it: compiled where that pays, and one of several processes."""
    trained = network
    if config.use_compile:
        with torch.random.fork_rng():
            images = to_device(sampler.batch(0, config.micro_batch).lr, machine)
            trained = compiled_if_it_pays(network, images, machine, console.say)
    if machine.world > 1:
        trained = DistributedDataParallel(
            trained,
            device_ids=[machine.device] if machine.device.type == "cuda" else None,
            # Buffers are constants here; a process that redoes a piece must not wait for one that does not.
            broadcast_buffers=False,
        )
    return trained


def _plan(config: Config) -> Plan:
    return Plan(
        observe_every=config.train.observe_every,
        print_every=config.logger.print_freq,
        validate_every=validations_every(config),
        save_every=config.logger.save_checkpoint_freq,
        halves_every=HALVES_EVERY if measures_noise(config) else 0,
    )


def _validator(config: Config, machine: Hardware, data: Data, folder: RunFolder, console: Console) -> Validator:
    return Validator(
        [ValidationSet(config.datasets[phase].name or phase, packed) for phase, packed in data.validation.items()],
        config.val,
        config.scale,
        machine,
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
