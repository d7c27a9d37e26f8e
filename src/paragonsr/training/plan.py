"""When things happen: the run's length, and what is due after which iteration."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The calendar of a run, in iterations."""

    total: int
    observe_every: int
    print_every: int
    validate_every: int
    """0 when there is no validation set."""
    save_every: int

    def iterations(self, after: int) -> Iterator[int]:
        """Numbers of the iterations still to be made; the first iteration is 1."""
        return iter(range(after + 1, self.total + 1))

    def hands_over(self, iteration: int) -> bool:
        """Whether the figures of the last steps are observed now."""
        return iteration % self.observe_every == 0 or self.validates(iteration) or iteration == self.total

    def prints(self, iteration: int) -> bool:
        """Whether a plain line is due."""
        return iteration % self.print_every == 0 or iteration == self.total

    def validates(self, iteration: int) -> bool:
        """Whether the averaged network is measured now."""
        return self.validate_every > 0 and (iteration % self.validate_every == 0 or iteration == self.total)

    def saves(self, iteration: int) -> bool:
        """Whether a checkpoint is kept."""
        return iteration % self.save_every == 0 or iteration == self.total

    def keeps_snapshot(self, iteration: int) -> bool:
        """Whether the weights, if they are good, become the ones that a rollback returns to."""
        return iteration % (10 * self.observe_every) == 0
