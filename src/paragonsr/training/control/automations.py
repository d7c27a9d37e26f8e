"""Which automations a configuration asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

from paragonsr.automation.batch_size import BatchSize
from paragonsr.automation.calibration import table
from paragonsr.automation.clipping import GradientClipping
from paragonsr.automation.divergence import DivergenceGuard
from paragonsr.automation.dry_run import DryRun
from paragonsr.automation.early_stopping import EarlyStopping
from paragonsr.automation.learning_rate import LearningRate
from paragonsr.automation.loss_balance import LossBalance
from paragonsr.automation.memory_guard import MemoryGuard
from paragonsr.automation.options import AutomationOptions
from paragonsr.automation.plateau import ReduceOnPlateau
from paragonsr.automation.protocol import Automation, Measurements
from paragonsr.automation.rate_choice import RateChoice
from paragonsr.automation.time_budget import TimeBudget
from paragonsr.config import Config
from paragonsr.config.budget import parse_budget
from paragonsr.optim.options import PlateauOptions, ProdigyOptions

HALVES_EVERY = 50
"""Iterations between two steps that measure the gradient of half the batch, for the gradient-noise scale."""


@dataclass(frozen=True)
class RunContext:
    """What automations depend on beside the configuration."""

    parameters: int
    """Of the network."""
    world: int
    """Processes that train together."""


def make_automations(config: Config, context: RunContext) -> list[Automation]:
    """All automations of a run, in the order in which they are asked."""
    train, sections = config.train, config.train.training_automations
    chosen: list[tuple[AutomationOptions | None, Automation]] = [(None, DivergenceGuard())]
    if isinstance(train.scheduler, PlateauOptions):
        chosen.append((None, _plateau(train.scheduler)))
    budget = parse_budget(train.budget) if train.budget else None
    if budget is not None and budget.unit == "seconds":
        chosen.append((None, TimeBudget(budget.amount, train.total_iter, validations_every(config))))
    batch = sections.dynamic_batch_size_optimizer
    if not (sections.enabled and batch.enabled):
        chosen.append((None, MemoryGuard()))
    balance = train.dynamic_loss_scheduling
    if balance.enabled:
        labels = [loss.label for loss in train.losses]
        chosen.append((balance, LossBalance(balance, labels, train.total_iter, context.parameters)))
    if tries_rates(config):
        chosen.append((None, RateChoice(None if train.optim_g.lr == "auto" else train.optim_g.lr)))
    if sections.enabled:
        rate = sections.intelligent_learning_rate_scheduler
        clipping, stopping = sections.adaptive_gradient_clipping, sections.early_stopping
        end, averaged = schedule_end(config), train.ema_decay > 0
        optional: list[tuple[AutomationOptions, Automation]] = [
            (rate, LearningRate(rate, train.total_iter, train.warmup_iter, context.parameters, end, averaged)),
            (batch, BatchSize(batch, config.batch, config.micro_batch, context.world)),
            (clipping, GradientClipping(clipping)),
            (stopping, EarlyStopping(stopping, train.total_iter)),
        ]
        chosen += [(options, automation) for options, automation in optional if options.enabled]
    return [DryRun(a) if options is not None and options.dry_run else a for options, a in chosen]


def _plateau(options: PlateauOptions) -> ReduceOnPlateau:
    return ReduceOnPlateau(options.metric, options.factor, options.patience, options.threshold, options.min_factor)


def calibration_table(config: Config, context: RunContext, measurements: Measurements) -> Sequence[str]:
    """What the training images are like, and what follows for the balance of the losses."""
    return table(config.train.dynamic_loss_scheduling, measurements.values, context.parameters)


def schedule_end(config: Config) -> float:
    """What the configured schedule ends with, as a share of its peak."""
    options, base = config.train, config.train.optim_g.first_lr
    if options.scheduler is None:
        return 1.0
    factor = options.scheduler.build(total=options.total_iter, lr=base)
    return float(factor(options.total_iter - 1) / max(factor(i) for i in range(options.total_iter)))


def tries_rates(config: Config) -> bool:
    """Whether learning rates are tried before the run: to choose one, or to hold the written one to."""
    optimiser, sections = config.train.optim_g, config.train.training_automations
    watched = sections.enabled and sections.intelligent_learning_rate_scheduler.enabled
    return optimiser.lr == "auto" or (watched and not isinstance(optimiser, ProdigyOptions))


def validations_every(config: Config) -> int:
    """Iterations between two validations; 0 where nothing is validated."""
    return config.val.val_freq if config.val_sets and config.val.chosen_metrics() else 0


def measures_noise(config: Config) -> bool:
    """Whether an automation wants the gradient-noise scale."""
    sections = config.train.training_automations
    batch = sections.dynamic_batch_size_optimizer
    return sections.enabled and batch.enabled and batch.mode == "maximize"
