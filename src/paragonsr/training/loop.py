"""The training loop."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from paragonsr.automation.protocol import Automation, Decision, Measurements, Observation, Steps
from paragonsr.data.sampling import Batch, Prefetcher
from paragonsr.training.checkpoint.manager import CheckpointManager
from paragonsr.training.checkpoint.state import TrainingState
from paragonsr.training.control.best import above
from paragonsr.training.control.calendar import Calendar, Due
from paragonsr.training.control.controller import Controller, Hyperparameters
from paragonsr.training.control.forecaster import Forecaster
from paragonsr.training.control.size_probe import SizeProbe
from paragonsr.training.engine import diagnosis
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.meter import Meter, SystemStats
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.signals import Interruption
from paragonsr.training.engine.step import StepResult
from paragonsr.training.engine.validation import Validator
from paragonsr.training.reporting.loggers import LoggerGroup


@dataclass
class Trainer:
    """Training loop. It connects the parts of a run; the parts do not know each other."""

    calendar: Calendar
    reference_batch: int
    """Samples of one iteration, over all processes."""
    batches: Prefetcher
    objective: Objective
    learning_rate: Callable[[float, float], float]
    device_context: DeviceContext
    state: TrainingState
    meter: Meter
    system_stats: SystemStats
    automations: Sequence[Automation]
    controller: Controller
    validator: Validator
    checkpoints: CheckpointManager
    loggers: LoggerGroup
    interruption: Interruption
    size_probe: SizeProbe
    forecaster: Forecaster
    measurements: Sequence[Measurements] = ()
    """Measurements made before the first step."""
    validates_start: bool = False
    """Whether the start weights are validated as well."""

    def run(self) -> str:
        """Train to the end of the plan, or until a decision or a signal stops the run.

        Returns:
            why training ended: "finished", "interrupted", or the reason for the stop.
        """
        state, settings, stopped = self.state, self._begin(), False
        while state.iteration < settings.total_iter and not stopped:
            before = state.iteration
            step, position = self._step(settings)
            self.meter.add(step, state.samples_seen, state.iteration, position)
            self.loggers.advance(state.iteration, settings.total_iter)

            due = self.calendar.after(before, state.iteration, settings.total_iter)
            flush = due.flush or step.out_of_memory > 0
            decisions: list[Decision] = []
            if flush:
                self.size_probe.survived()
                decisions += self._observe(self.meter.flush(state.iteration), due)
            if due.validation:
                decisions += self._validate(due)
            settings = self.controller.apply(decisions, state.iteration)
            stopped = bool(settings.stop) or self.interruption.requested(at_flush=flush)
            if due.save or settings.stop:
                self.checkpoints.save(state)
            elif stopped or self.checkpoints.autosave_due():
                self.checkpoints.autosave(state)
        self.size_probe.suspend()
        return settings.stop or ("interrupted" if stopped else "finished")

    def _step(self, settings: Hyperparameters) -> tuple[StepResult, float]:
        """Run one optimisation step on the next samples; returns its result and its position in the plan."""
        state = self.state
        batch, iterations = self._batch(settings)
        position = settings.pace.position_at(state.iteration)
        weights = self.objective.weights(position, settings.loss_factors)
        factor = settings.lr_factor(position)
        step = state.train_step.step(
            batch,
            settings,
            weights,
            self.learning_rate(position, settings.lr) * factor,
            {
                label: self.learning_rate(position, learner.base_lr) * factor * settings.learner_factors.get(label, 1.0)
                for label, learner in state.train_step.learners.items()
            },
            halves=self.calendar.halves(state.iteration, iterations),
        )
        state.advance(step.samples, iterations)
        return step, position

    def _begin(self) -> Hyperparameters:
        """Let the automations act on what was measured before the first step."""
        nothing_due = Due()
        decisions = self._validate(nothing_due) if self.validates_start and self.state.iteration == 0 else []
        decisions += [
            decision for measurements in self.measurements for decision in self._observe(measurements, nothing_due)
        ]
        return self.controller.apply(decisions, self.state.iteration)

    def _batch(self, settings: Hyperparameters) -> tuple[Batch, int]:
        """This process' share of the next samples, and how many iterations they count for; never past the end of the
        run."""
        left = settings.total_iter - self.state.iteration
        iterations = min(settings.batch_size // self.reference_batch, left)
        share = iterations * self.reference_batch // self.device_context.world
        return self.batches.batch(self.state.samples_seen + self.device_context.rank * share, share), iterations

    def _validate(self, due: Due) -> list[Decision]:
        began = time.perf_counter()
        validation = self.validator(self.state.ema_network(), self.state.iteration)
        floors = self.controller.settings.metric_floors
        self.checkpoints.note(validation, self.state, floors)
        if floors and above(validation, floors):
            self.state.keep()
        took = self.device_context.max_over_processes(time.perf_counter() - began)
        took = self.system_stats.validation(self.state.iteration, took)
        decisions = self._observe(replace(validation, seconds=took), due)
        expected = self.forecaster.after(validation, self.controller.settings)
        if expected is not None:
            self.loggers.forecast(self.state.iteration, expected)
        return decisions

    def _observe(self, observation: Observation, due: Due) -> list[Decision]:
        """Log an observation, pass it to all automations and collect their decisions."""
        self.loggers.observe(observation, self.state.best, line=due.line)
        if isinstance(observation, Steps):
            bad = diagnosis.bad_steps(observation)
            if bad.size:
                self._explain(observation, int(bad[0]), len(bad))
            elif due.snapshot and not self.controller.settings.metric_floors:
                self.state.keep()  # with floors, only a validation can tell which weights are good
        return [decision for automation in self.automations for decision in automation.observe(observation)]

    def _explain(self, window: Steps, position: int, count: int) -> None:
        samples = int(window.values["batch_size"][position])
        share = samples // self.device_context.world
        first = int(window.values["samples_seen"][position]) - samples + self.device_context.rank * share
        batch = self.batches.sampler.batch(first, share)
        self.loggers.say(
            diagnosis.explain(window, position, self.state.network, batch, batch.names, self.device_context), "red"
        )
        if count > 1:
            more = "1 more update was" if count == 2 else f"{count - 1} more updates were"
            self.loggers.say(f"{more} skipped up to iteration {window.iteration}", "red")
