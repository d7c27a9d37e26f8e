"""The training loop."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from paragonsr.automation.protocol import Automation, Decision, Facts, Observation, Steps
from paragonsr.data.sampling import Batch, Prefetcher
from paragonsr.training.checkpoint.manager import Keeper
from paragonsr.training.checkpoint.state import TrainingState
from paragonsr.training.control.calendar import Due, Plan
from paragonsr.training.control.forecaster import Outlook
from paragonsr.training.control.settings import Controls, Settings
from paragonsr.training.control.size_probe import Trial
from paragonsr.training.engine import diagnosis
from paragonsr.training.engine.device_context import Hardware
from paragonsr.training.engine.meter import Meter, Readings
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.signals import Interruption
from paragonsr.training.engine.validation import Validator
from paragonsr.training.reporting.loggers import Reporter


@dataclass
class Training:
    """What the loop brings together; each part knows its own business and none of the others'."""

    plan: Plan
    reference_batch: int
    """Samples of one iteration, over all processes."""
    batches: Prefetcher
    objective: Objective
    learning_rate: Callable[[float, float], float]
    hardware: Hardware
    state: TrainingState
    meter: Meter
    readings: Readings
    automations: Sequence[Automation]
    controls: Controls
    validator: Validator
    keeper: Keeper
    reporter: Reporter
    interruption: Interruption
    trial: Trial
    outlook: Outlook
    facts: Sequence[Facts] = ()
    """What is known before the first step."""

    def run(self) -> str:
        """Train to the end of the plan, or until a decision or a signal stops it.

        Returns:
            why training ended: "finished", "interrupted", or the reason of a stop.
        """
        state, settings, stopped = self.state, self._begin(), False
        while state.iteration < settings.total_iter and not stopped:
            before = state.iteration
            batch, stride = self._batch(settings)
            position = settings.pace.position_at(before)
            weights = self.objective.weights(position, settings.loss_factors)
            lr = self.learning_rate(position, settings.lr) * settings.lr_factor(position)
            step = state.optimisation.step(batch, settings, weights, lr, halves=self.plan.halves(before, stride))
            state.average.update(state.network)
            state.advance(step.samples, stride)
            self.meter.add(step, state.samples_seen, state.iteration, position)
            self.reporter.advance(state.iteration, settings.total_iter)

            due = self.plan.after(before, state.iteration, settings.total_iter)
            hand_over = due.hand_over or step.out_of_memory > 0
            decisions: list[Decision] = []
            if hand_over:
                self.trial.survived()
                decisions += self._observe(self.meter.hand_over(state.iteration), due)
            if due.validation:
                decisions += self._validate(due)
            settings = self.controls.apply(decisions, state.iteration)
            stopped = bool(settings.stop) or self.interruption.requested(at_hand_over=hand_over)
            if due.save or settings.stop:
                self.keeper.save(state)
            elif stopped or self.keeper.autosave_due():
                self.keeper.autosave(state)
        self.trial.suspend()
        return settings.stop or ("interrupted" if stopped else "finished")

    def _begin(self) -> Settings:
        """Let the automations act on what is known before the first step."""
        nothing_due = Due()
        decisions = [decision for facts in self.facts for decision in self._observe(facts, nothing_due)]
        return self.controls.apply(decisions, self.state.iteration)

    def _batch(self, settings: Settings) -> tuple[Batch, int]:
        """This process' share of the next samples, and how many iterations they make; the run does not end late."""
        left = settings.total_iter - self.state.iteration
        stride = min(settings.batch_size // self.reference_batch, left)
        share = stride * self.reference_batch // self.hardware.world
        return self.batches.batch(self.state.samples_seen + self.hardware.rank * share, share), stride

    def _validate(self, due: Due) -> list[Decision]:
        began = time.perf_counter()
        validation = self.validator(self.state.averaged(), self.state.iteration)
        if self.keeper.is_best(validation, self.state):
            self.keeper.save_best(self.state)
        took = self.hardware.slowest(time.perf_counter() - began)
        took = self.readings.validation(self.state.iteration, took)
        decisions = self._observe(replace(validation, seconds=took), due)
        expected = self.outlook.after(validation, self.controls.settings)
        if expected is not None:
            self.reporter.forecast(self.state.iteration, expected)
        return decisions

    def _observe(self, observation: Observation, due: Due) -> list[Decision]:
        """Record an observation, show it to everyone, and collect what the automations make of it."""
        self.reporter.observe(observation, self.state.best, line=due.line)
        if isinstance(observation, Steps):
            bad = diagnosis.bad_steps(observation)
            if bad.size:
                self._explain(observation, int(bad[0]), len(bad))
            elif due.snapshot:
                self.state.keep()
        return [decision for automation in self.automations for decision in automation.observe(observation)]

    def _explain(self, window: Steps, position: int, count: int) -> None:
        samples = int(window.figures["batch_size"][position])
        share = samples // self.hardware.world
        first = int(window.figures["samples_seen"][position]) - samples + self.hardware.rank * share
        batch = self.batches.sampler.batch(first, share)
        self.reporter.say(
            diagnosis.explain(window, position, self.state.network, batch, batch.names, self.hardware), "red"
        )
        if count > 1:
            more = "1 more update was" if count == 2 else f"{count - 1} more updates were"
            self.reporter.say(f"{more} skipped up to iteration {window.iteration}", "red")
