"""Builds the automations that a configuration asks for."""

from collections.abc import Sequence
from itertools import zip_longest

from paragonsr.automation.calibration import table
from paragonsr.automation.context import RunContext
from paragonsr.automation.degradation_calibration import DegradationCalibration
from paragonsr.automation.divergence import DivergenceGuard
from paragonsr.automation.dry_run import DryRun
from paragonsr.automation.memory_guard import MemoryGuard
from paragonsr.automation.options import AutomationOptions
from paragonsr.automation.plateau import ReduceOnPlateau
from paragonsr.automation.protocol import Automation, Measurements
from paragonsr.automation.rate_choice import RateChoice
from paragonsr.automation.thread_choice import ThreadChoice
from paragonsr.automation.time_budget import TimeBudget
from paragonsr.config import Config
from paragonsr.degradation.pipeline import PipelineOptions
from paragonsr.optim.options import OptimiserOptions, PlateauOptions, ProdigyOptions

MOST_POINTS = 10_000
"""Number of points at which a schedule is sampled to find its peak."""
FEWEST_ITERATIONS = 750
"""Iterations from which the number of threads is chosen: 15 steps are timed for it."""
HALVES_EVERY = 50
"""Iterations between two steps that also measure the gradient of half the batch, for the gradient noise scale."""


def run_context(config: Config, parameters: int, world: int, smallest_micro_batch: int) -> RunContext:
    """Facts about a run that its automations may use.

    Args:
        config: the run.
        parameters: parameter count of the network.
        world: number of processes that train together.
        smallest_micro_batch: samples that the network needs at once.
    """
    train = config.train
    return RunContext(
        parameters=parameters,
        world=world,
        total_iter=train.total_iter,
        warmup_iter=max(train.warmup_iter, 0),
        batch=config.batch,
        micro_batch=config.micro_batch,
        smallest_micro_batch=smallest_micro_batch,
        losses=[loss.label for loss in train.losses],
        sharpening=[loss.label for loss in train.losses if loss.role != "fidelity"],
        learned=[loss.label for loss in train.losses if loss.role == "adversarial"],
        metric=config.deciding_metric,
        fidelity_metric=config.fidelity_metric,
        schedule_end=schedule_end(config),
        averaged_over=1 / (1 - train.ema_decay),
    )


def make_automations(config: Config, context: RunContext) -> list[Automation]:
    """All automations of a run, in the order in which they see each observation."""
    train = config.train
    sections = train.training_automations.sections().values()
    chosen = [_built(options, context) for options in (train.dynamic_loss_scheduling,) if options.enabled]
    if chooses_threads(config):
        chosen.append(ThreadChoice())
    if tries_rates(config):
        chosen.append(rate_choice(config))
    chosen += [_built(options, context) for options in sections if options.enabled]
    degradations = [options.degrades() for options in config.datasets.values()]
    if any(isinstance(options, PipelineOptions) and options.fitted_to for options in degradations):
        chosen.append(DegradationCalibration())
    return [*_guards(config, context), *chosen]


def _guards(config: Config, context: RunContext) -> list[Automation]:
    """Automations that have no section of their own to enable or disable them."""
    train, budget = config.train, config.train.budget
    guards: list[Automation] = [DivergenceGuard()]
    if isinstance(train.scheduler, PlateauOptions):
        guards.append(_plateau(train.scheduler, context.metric))
    if budget is not None and budget.unit == "seconds":
        guards.append(TimeBudget(budget.amount, train.total_iter, validations_every(config)))
    if not train.training_automations.dynamic_batch_size_optimizer.enabled:
        guards.append(MemoryGuard())
    return guards


def _built(options: AutomationOptions, context: RunContext) -> Automation:
    automation = options.build(context)
    return DryRun(automation) if options.dry_run else automation


def _plateau(options: PlateauOptions, metric: str) -> ReduceOnPlateau:
    return ReduceOnPlateau(metric, options.factor, options.patience, options.threshold, options.min_factor)


def calibration_table(config: Config, context: RunContext, measurements: Measurements) -> Sequence[str]:
    """Statistics of the training images, and what follows from them for the loss balance."""
    return table(config.train.dynamic_loss_scheduling, measurements.values, context.parameters)


def schedule_end(config: Config) -> float:
    """Last value of the configured schedule, as a share of its peak."""
    options, base = config.train, config.train.optim_g.first_lr
    if options.scheduler is None:
        return 1.0
    factor = options.scheduler.build(total=options.total_iter, lr=base)
    last = options.total_iter - 1
    looked = {round(last * share / MOST_POINTS) for share in range(MOST_POINTS + 1)}
    return float(factor(last) / max(factor(i) for i in looked))


def chooses_threads(config: Config) -> bool:
    """Whether the number of threads may be chosen before the run: the trial takes at most 2% of its iterations.

    A fair run reacts to nothing, least of all to the clock.
    """
    return config.num_threads is None and not config.fair and config.train.total_iter >= FEWEST_ITERATIONS


def tries_rates(config: Config) -> bool:
    """Whether learning rates are tried before the run, to choose one or to check the configured one."""
    optimiser, options = config.train.optim_g, config.train.training_automations.intelligent_learning_rate_scheduler
    watched = options.enabled and not isinstance(optimiser, ProdigyOptions)
    return optimiser.lr == "auto" or watched or options.chooses_optimiser


def rate_choice(config: Config) -> RateChoice:
    """The automation that chooses from the trials."""
    optimiser, options = config.train.optim_g, config.train.training_automations.intelligent_learning_rate_scheduler
    written = None if optimiser.lr == "auto" or options.chooses_rate else optimiser.lr
    return RateChoice(optimiser.first_lr, written, optimiser.type if options.chooses_optimiser else None)


def tried_optimisers(config: Config) -> list[OptimiserOptions]:
    """What is tried before the run, most promising first: optimisers with their learning rates.

    A configured rate comes first, unless the run is free to replace it.
    """
    optimiser, options = config.train.optim_g, config.train.training_automations.intelligent_learning_rate_scheduler
    if optimiser.lr == "auto":
        own = list(optimiser.rates)
    elif options.chooses_rate:
        own = [*(rate for rate in optimiser.rates if rate != optimiser.lr), optimiser.lr]
    elif options.chooses_optimiser:
        own = [optimiser.lr]
    else:
        own = [optimiser.lr, *(rate for rate in optimiser.rates[:-1] if rate != optimiser.lr)]
    tried = [optimiser.at(rate) for rate in own]
    if not options.chooses_optimiser:
        return tried
    rival = optimiser.rival()
    others = [rival.at(rate) for rate in rival.rates]
    return [options for pair in zip_longest(tried, others) for options in pair if options is not None]


def validations_every(config: Config) -> int:
    """Iterations between two validations; 0 if nothing is validated."""
    return config.val.val_freq if config.validates else 0


def measures_noise(config: Config) -> bool:
    """Whether an automation needs the gradient noise scale."""
    batch = config.train.training_automations.dynamic_batch_size_optimizer
    return batch.enabled and batch.mode == "maximize"
