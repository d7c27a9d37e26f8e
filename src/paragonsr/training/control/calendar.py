"""Calendar of a run: what is due after which iteration."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Calendar:
    """Intervals of a run, in iterations. A step may count for several: everything passed on the way is due."""

    observe_every: int
    print_every: int
    validate_every: int
    """0 when there is no validation set."""
    save_every: int
    halves_every: int = 0
    """Iterations between two steps that also measure the gradient of half the batch; 0 for none."""

    def halves(self, before: int, iterations_per_step: int) -> bool:
        """Whether the next step, which counts for `iterations_per_step`, also measures half the batch."""
        return self.halves_every > 0 and before % self.halves_every < iterations_per_step

    def after(self, before: int, now: int, total: int) -> "Due":
        """What is due after a step that took the run from iteration `before` to `now`."""
        ended = now >= total

        def passed(every: int) -> bool:
            return every > 0 and now // every > before // every

        validation = self.validate_every > 0 and (passed(self.validate_every) or ended)
        return Due(
            flush=passed(self.observe_every) or validation or ended,
            line=passed(self.print_every) or ended,
            validation=validation,
            save=passed(self.save_every) or ended,
            snapshot=passed(10 * self.observe_every),
        )


@dataclass(frozen=True)
class Due:
    """Actions due after a step."""

    flush: bool = False
    """Pass the values of the last steps to the automations and loggers."""
    line: bool = False
    """Print a plain line."""
    validation: bool = False
    """Validate the averaged network."""
    save: bool = False
    """Save a checkpoint."""
    snapshot: bool = False
    """Remember the weights, if they are good, as the ones that a rollback returns to."""
