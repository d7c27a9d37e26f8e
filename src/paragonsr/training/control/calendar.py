"""When things happen: what is due after which iteration."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Calendar:
    """The calendar of a run, in iterations. A step may make several of them: what was passed is due."""

    observe_every: int
    print_every: int
    validate_every: int
    """0 when there is no validation set."""
    save_every: int
    halves_every: int = 0
    """Iterations between two steps that also measure the gradient of half the batch; 0 for none."""

    def halves(self, before: int, iterations_per_step: int) -> bool:
        """Whether the next step, of `stride` iterations, measures half the batch too."""
        return self.halves_every > 0 and before % self.halves_every < iterations_per_step

    def after(self, before: int, now: int, total: int) -> "Due":
        """What is due when a step has brought the run from one iteration to another."""
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
    """What is to be done after a step."""

    flush: bool = False
    """The values of the last steps are observed."""
    line: bool = False
    """A plain line is printed."""
    validation: bool = False
    """The averaged network is measured."""
    save: bool = False
    """A checkpoint is kept."""
    snapshot: bool = False
    """The weights, if they are good, become the ones that a rollback returns to."""
