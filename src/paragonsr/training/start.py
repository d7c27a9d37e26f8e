"""What a run starts from: pretrained weights, measurements before the first step, and its optimiser."""

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from paragonsr.archs.weights import load_into, read_weights
from paragonsr.automation.protocol import Measurements
from paragonsr.automation.rate_choice import TRIED
from paragonsr.automation.thread_choice import TIMED, fewest_worth_it
from paragonsr.config import Config
from paragonsr.data.sampling import Sampler
from paragonsr.errors import UserError
from paragonsr.optim.options import OptimiserOptions
from paragonsr.training.checkpoint.resume import ResumeState
from paragonsr.training.control.automations import rate_choice, tries_rates
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.estimate import times_threads, trial_step
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.rate_trials import try_rates
from paragonsr.training.engine.thread_trials import time_threads
from paragonsr.training.reporting.console import Console
from paragonsr.training.reporting.record import read_observations
from paragonsr.training.run_data import Data, image_statistics


def pretrain(config: Config, network: nn.Module, console: Console) -> None:
    """Load the pretrained weights of the configuration, if there are any."""
    path = config.path.pretrain_network_g
    if path is None:
        return
    skipped = load_into(
        network, config.network, config.scale, path, strict=config.path.strict_load_g, key=config.path.param_key_g
    )
    console.say(f"starting from {path}", "green")
    if skipped:
        count = f"{len(skipped)} of {len(network.state_dict())} tensors do not fit and keep their initial values"
        console.say(f"pretrain_network_g: {count}: {', '.join(skipped)}", "yellow")


def pretrain_learned(path: str, objective: Objective, console: Console) -> None:
    """Load pretrained weights into the network of the only learned loss.

    Raises:
        UserError: there is not exactly one learned loss, or the tensors do not fit its network.
    """
    if len(objective.learned) != 1:
        raise UserError(
            f"these weights are for one learned loss, but the configuration has {len(objective.learned)}",
            where="path.pretrain_network_d",
            fix="Remove the key.",
        )
    (loss,) = objective.learned.values()
    state, _ = read_weights(path)
    try:
        loss.network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(str(error), where=path, fix="Give weights of the same discriminator.") from None
    console.say(f"the discriminator starts from {path}", "green")


def first_measurements(
    config: Config,
    device_context: DeviceContext,
    network: nn.Module,
    objective: Objective,
    data: Data,
    sampler: Sampler,
    console: Console,
) -> list[Measurements]:
    """Measurements that the automations need before the first step."""
    found = []
    if config.train.dynamic_loss_scheduling.enabled:
        found.append(image_statistics(data.train))
    if tries_rates(config):
        progress = partial(console.side_task, "trying learning rates")
        console.say("trying learning rates, each for a moment from the same start")
        found.append(try_rates(config, device_context, network, objective, sampler, progress))
    return found


def run_threads(
    config: Config,
    device_context: DeviceContext,
    network: nn.Module,
    objective: Objective,
    resumed: ResumeState | None,
    console: Console,
) -> list[Measurements]:
    """Use the number of threads of the run: the configured one, that of the earlier sessions, or the one that steps on
    a copy of the network show to be worth it.

    Returns:
        what was measured, for the automation that journals the choice; of a run that repeats another one's clock, what
        that one measured.
    """
    if config.num_threads is not None:
        return []
    if resumed is not None:
        kept = resumed.rest["parts"]["controller"].get("num_threads")
        if kept is not None:
            torch.set_num_threads(kept)
        return []
    if config.path.system_stats:
        recorded = read_observations(Path(config.path.system_stats))
        found = [o for o in recorded if isinstance(o, Measurements) and o.kind == TIMED][:1]
    elif times_threads(config, device_context):
        progress = partial(console.side_task, "trying numbers of threads")
        with torch.random.fork_rng():
            step = trial_step(config, device_context, copy.deepcopy(network), objective.frozen())
            found = [Measurements(0, TIMED, time_threads(step, progress))]
    else:
        found = []
    for measured in found:
        torch.set_num_threads(fewest_worth_it(measured.values))
    return found


def run_optimiser(
    config: Config, resumed: ResumeState | None, measurements: Sequence[Measurements]
) -> OptimiserOptions:
    """Choose the optimiser of the run: the configured one, or its rival if the trials chose it."""
    written = config.train.optim_g
    if resumed is not None:
        name = resumed.rest["parts"]["controller"].get("optimiser", written.type)
    else:
        trials = [found.values for found in measurements if found.kind == TRIED]
        name = (rate_choice(config).choose(trials[0]).optimiser if trials else None) or written.type
    return written if name == written.type else written.rival()
