"""One training run from its configuration: everything is made here, once, and handed to the loop."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from paragonsr.archs.weights import load_into, save_metadata
from paragonsr.automation.divergence import DivergenceGuard
from paragonsr.automation.journal import Journal
from paragonsr.automation.plateau import ReduceOnPlateau
from paragonsr.automation.protocol import Automation
from paragonsr.config import Config
from paragonsr.data.sampling import Prefetcher, Sampler
from paragonsr.data.store import Store as PackedStore
from paragonsr.data.store import open_store
from paragonsr.training import record, schedule
from paragonsr.training.board import Board
from paragonsr.training.compiling import compiled_if_it_pays
from paragonsr.training.console import Console
from paragonsr.training.ema import Average
from paragonsr.training.folder import RunFolder, environment
from paragonsr.training.hardware import Hardware, hardware
from paragonsr.training.keeping import Keeper
from paragonsr.training.loop import Training
from paragonsr.training.meter import MachineReadings, Meter
from paragonsr.training.objective import Objective
from paragonsr.training.options import PlateauOptions
from paragonsr.training.pictures import comparison_picture
from paragonsr.training.plan import Plan
from paragonsr.training.report import Reporter
from paragonsr.training.settings import Controls, Settings
from paragonsr.training.signals import Interruption
from paragonsr.training.state import TrainingState
from paragonsr.training.step import Optimisation, to_device
from paragonsr.training.store import Store, read_state
from paragonsr.training.validation import ValidationSet, Validator, sanity


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    reason: str
    folder: Path
    iteration: int
    best: dict[str, Any] | None
    weights: Path
    """The best weights, or the last where nothing was validated."""
    picture: Path | None


@dataclass(frozen=True)
class Data:
    """The images of a run."""

    train: PackedStore
    validation: dict[str, PackedStore] = field(default_factory=dict)

    def fingerprints(self) -> dict[str, str]:
        """Phase -> hash of the decoded images."""
        return {"train": self.train.fingerprint} | {k: v.fingerprint for k, v in self.validation.items()}


def train(config: Config, *, fresh: bool = False, notes: tuple[str, ...] = ()) -> Outcome:
    """Train, resuming what the experiment's folder holds.

    Args:
        config: the run.
        fresh: archive an earlier run of that name and begin anew.
        notes: said at the beginning and written to the log.

    Raises:
        UserError: the configuration and the files it names cannot be trained from.
    """
    with ExitStack() as stack:
        machine = stack.enter_context(hardware(config))
        torch.manual_seed(config.manual_seed)
        network = config.network.build(scale=config.scale).to(machine.device)
        network = network.to(memory_format=machine.memory_format)  # type: ignore[call-overload]
        sanity(network, config.scale, machine)
        data = stack.enter_context(_data(config, machine))
        if not machine.leads:
            machine.barrier()
        folder = RunFolder(config, fresh=fresh, leads=machine.leads)
        if machine.leads:
            machine.barrier()
        folder.check_same(config, data.train.fingerprint)
        console = stack.enter_context(Console(folder.path / "train.log" if machine.leads else None))
        for note in (*notes, *machine.notes):
            console.say(note, "yellow")
        training = _training(config, machine, network, data, folder, console, stack)
        description = _description(config, data, network)
        return _carry_out(config, training, folder, console, description, machine)


@contextmanager
def _data(config: Config, machine: Hardware) -> Iterator[Data]:
    """Open all sets; the leading process packs first."""
    with Console(None if not machine.leads else Path(os.devnull)) as console:
        if not machine.leads:
            machine.barrier()

        def packed(phase: str) -> PackedStore:
            progress = partial(console.side_task, f"packing {phase}")
            return open_store(config.datasets[phase], config.scale, phase, progress)

        data = Data(packed("train"), {phase: packed(phase) for phase in config.val_sets})
        if machine.leads:
            machine.barrier()
    yield data


def _training(
    config: Config,
    machine: Hardware,
    network: nn.Module,
    data: Data,
    folder: RunFolder,
    console: Console,
    stack: ExitStack,
) -> Training:
    options = config.train
    store = Store(folder.path, config.logger.keep_last) if machine.leads else None
    resumed = _resume(config, folder, console)
    if resumed is None and config.path.pretrain_network_g:
        skipped = load_into(
            network, config.network, config.scale, config.path.pretrain_network_g, strict=config.path.strict_load_g
        )
        for name in skipped:
            console.say(f"pretrain_network_g: {name} does not fit and keeps its initial values", "yellow")
    if resumed is not None and machine.leads:
        record.cut(folder.path, resumed[1]["positions"])

    objective = Objective(options.losses, machine.device)
    optimiser = options.optim_g.build(parameters=[p for p in network.parameters() if p.requires_grad])
    sampler = Sampler(data.train, config.train_set, config.scale, config.manual_seed)
    share = config.batch * machine.world
    batches = Prefetcher(sampler, depth=config.train_set.prefetch_factor, workers=config.train_set.num_worker_per_gpu)
    stack.callback(batches.close)
    trained = _for_training(config, network, machine, sampler, console)
    optimisation = Optimisation(trained, objective, optimiser, machine)
    plan = Plan(
        total=options.total_iter,
        observe_every=options.observe_every,
        print_every=config.logger.print_freq,
        validate_every=config.val.val_freq if data.validation and config.val.chosen_metrics() else 0,
        save_every=config.logger.save_checkpoint_freq,
    )
    readings = MachineReadings(lambda: batches.waited, machine.memory)
    meter = Meter(objective.labels, readings, machine.mean)
    board = Board(folder.path / "tb" if machine.leads and config.logger.use_tb_logger else None)
    stack.callback(board.close)
    recorder = record.Recorder(folder.path, meter.columns) if machine.leads else None
    if recorder is not None:
        stack.callback(recorder.close)
    journal = Journal(folder.path / "journal.jsonl" if machine.leads else Path(os.devnull))
    stack.callback(journal.close)
    reporter = Reporter(recorder, board, console, plan)
    automations = _automations(config)
    settings = Settings(share, config.micro_batch, options.grad_clip_norm if options.grad_clip else None)
    parts: dict[str, Any] = {"meter": meter}
    state = TrainingState(network, Average(network, options.ema_decay, options.ema_power), optimisation, parts)
    controls = Controls(settings, journal, state.roll_back, reporter.entry)
    parts |= {"controls": controls} | {f"automation.{a.name}": a for a in automations}
    state.keep()
    if resumed is not None:
        tensors, rest = resumed
        state.load(tensors, rest)
        console.say(f"resuming after iteration {state.iteration}", "green")
    metadata = partial(_metadata, config)
    keeper = Keeper(
        folder,
        store,
        recorder,
        journal,
        board,
        metadata,
        options.training_automations.early_stopping.metric,
        config.logger.autosave_minutes * 60,
        averaged=options.ema_decay > 0,
    )
    validator = Validator(
        [ValidationSet(config.datasets[phase].name or phase, packed) for phase, packed in data.validation.items()],
        config.val,
        config.scale,
        machine,
        folder.path / "visualization" if config.val.save_img else None,
        partial(console.side_task, "validating") if config.val.pbar else lambda done, total: None,
    )
    return Training(
        plan=plan,
        batches=batches,
        objective=objective,
        learning_rate=learning_rate(config),
        hardware=machine,
        state=state,
        meter=meter,
        readings=readings,
        automations=automations,
        controls=controls,
        validator=validator,
        keeper=keeper,
        reporter=reporter,
        interruption=stack.enter_context(Interruption(machine)),
    )


def learning_rate(config: Config) -> Callable[[int], float]:
    """The rate of the update that makes iteration i + 1, before any automation's factor."""
    options = config.train
    shape = schedule.constant()
    if options.scheduler is not None:
        shape = options.scheduler.build(total=options.total_iter, lr=options.optim_g.lr)
    factor = schedule.warmed_up(shape, options.warmup_iter)
    return lambda i: options.optim_g.lr * factor(i)


def _automations(config: Config) -> list[Automation]:
    automations: list[Automation] = [DivergenceGuard()]
    plateau = config.train.scheduler
    if isinstance(plateau, PlateauOptions):
        automations.append(
            ReduceOnPlateau(plateau.metric, plateau.factor, plateau.patience, plateau.threshold, plateau.min_factor)
        )
    return automations


def _for_training(
    config: Config, network: nn.Module, machine: Hardware, sampler: Sampler, console: Console
) -> nn.Module:
    """The network as the step calls it: compiled where that pays, and one of several processes."""
    trained = network
    if config.use_compile:
        with torch.random.fork_rng():
            images = to_device(sampler.batch(0, config.micro_batch).lr, machine)
            trained = compiled_if_it_pays(network, images, machine, console.say)
    if config.detect_anomaly:
        torch.autograd.set_detect_anomaly(True)
    if machine.world > 1:
        trained = DistributedDataParallel(
            trained, device_ids=[machine.device] if machine.device.type == "cuda" else None
        )
    return trained


def _resume(
    config: Config, folder: RunFolder, console: Console
) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    if config.path.resume_state:
        return read_state(Path(config.path.resume_state))
    found = Store(folder.path, config.logger.keep_last).newest()
    if found is None:
        if any((folder.path / "training_states").iterdir()) or not folder.read():
            return None
        console.say("an earlier run of this name left no resume state: beginning anew", "yellow")
        record.cut(folder.path, {})
        return None
    tensors, rest, troubles = found
    for trouble in troubles:
        console.say(trouble, "red")
    return tensors, rest


def _metadata(config: Config, state: TrainingState) -> dict[str, Any]:
    best = vars(state.best) if state.best else None
    return save_metadata(config.network, config.scale) | {
        "name": config.name,
        "iteration": state.iteration,
        "samples": state.samples_seen,
        "best": best,
    }


def _description(config: Config, data: Data, network: nn.Module) -> dict[str, Any]:
    return {
        "name": config.name,
        "state": "running",
        "config": config.model_dump(),
        "environment": environment(),
        "data": data.fingerprints(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


def _carry_out(
    config: Config,
    training: Training,
    folder: RunFolder,
    console: Console,
    description: dict[str, Any],
    machine: Hardware,
) -> Outcome:
    write: Callable[[dict[str, Any]], None] = folder.write if machine.leads else lambda _: None
    state = training.state
    write(description)
    console.begin(state.iteration, training.plan.total)
    training.readings.skip()
    try:
        reason = training.run()
    except BaseException as error:
        cause = f"{type(error).__name__}: {error}"
        write(description | {"state": "crashed", "cause": cause, "iteration": state.iteration})
        raise
    best = vars(state.best) if state.best else None
    write(
        description
        | {
            "state": "interrupted" if reason == "interrupted" else "ended",
            "reason": reason,
            "iteration": state.iteration,
            "samples": state.samples_seen,
            "best": best,
            "ended": time.strftime("%Y-%m-%dT%H:%M:%S"),
        }
    )
    weights = training.keeper.best_weights(state)
    picture = None
    if machine.leads and reason != "interrupted" and training.validator.sets:
        load_into(state.average.network, config.network, config.scale, str(weights), strict=True)
        picture = comparison_picture(
            training.validator, state.average.network, folder.path / "visualization" / "comparison.png"
        )
    return Outcome(reason, folder.path, state.iteration, best, weights, picture)
