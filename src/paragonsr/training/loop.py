"""The training loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paragonsr.automation.protocol import Automation, Decision, Observation, Steps
from paragonsr.data.sampling import Prefetcher
from paragonsr.training import diagnosis
from paragonsr.training.hardware import Hardware
from paragonsr.training.keeping import Keeper
from paragonsr.training.meter import MachineReadings, Meter
from paragonsr.training.objective import Objective
from paragonsr.training.plan import Plan
from paragonsr.training.report import Reporter
from paragonsr.training.settings import Controls
from paragonsr.training.signals import Interruption
from paragonsr.training.state import TrainingState
from paragonsr.training.validation import Validator


@dataclass
class Training:
    """What the loop brings together; each part knows its own business and none of the others'."""

    plan: Plan
    batches: Prefetcher
    objective: Objective
    learning_rate: Callable[[int], float]
    hardware: Hardware
    state: TrainingState
    meter: Meter
    readings: MachineReadings
    automations: Sequence[Automation]
    controls: Controls
    validator: Validator
    keeper: Keeper
    reporter: Reporter
    interruption: Interruption

    def run(self) -> str:
        """Train to the end of the plan, or until a decision or a signal stops it.

        Returns:
            why training ended: "finished", "interrupted", or the reason of a stop.
        """
        plan, state, settings = self.plan, self.state, self.controls.settings
        for iteration in plan.iterations(after=state.iteration):
            share = settings.batch_size // self.hardware.world
            batch = self.batches.batch(state.samples_seen + self.hardware.rank * share, share)
            weights = self.objective.weights(iteration - 1, settings.loss_factors)
            lr = self.learning_rate(iteration - 1) * settings.lr_factor
            step = state.optimisation.step(batch, settings, weights, lr)
            state.average.update(state.network)
            state.advance(step.samples)
            self.meter.add(step, state.samples_seen)
            self.reporter.advance(iteration)

            decisions: list[Decision] = []
            if plan.hands_over(iteration):
                decisions += self._observe(self.meter.hand_over(iteration))
            if plan.validates(iteration):
                decisions += self._validate(iteration)
            settings = self.controls.apply(decisions, iteration)
            stopped = settings.stop or self.interruption.requested(at_hand_over=plan.hands_over(iteration))
            if plan.saves(iteration) or settings.stop:
                self.keeper.save(state)
            elif stopped or self.keeper.autosave_due():
                self.keeper.autosave(state)
            if stopped:
                return settings.stop or "interrupted"
        return "finished"

    def _validate(self, iteration: int) -> list[Decision]:
        validation = self.validator(self.state.averaged(), iteration)
        if self.keeper.is_best(validation, self.state):
            self.keeper.save_best(self.state)
        self.readings.skip()
        return self._observe(validation)

    def _observe(self, observation: Observation) -> list[Decision]:
        """Record an observation, show it to everyone, and collect what the automations make of it."""
        self.reporter.observe(observation, self.state.best)
        if isinstance(observation, Steps):
            bad = diagnosis.bad_steps(observation)
            if bad.size:
                self._explain(observation, int(bad[0]), len(bad))
            elif self.plan.keeps_snapshot(observation.iteration):
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
            self.reporter.say(f"{count - 1} more updates were skipped up to iteration {window.iteration}", "red")
