"""Clock and memory of an earlier run, read from its record."""

from pathlib import Path

from paragonsr.automation.protocol import CLOCK_COLUMNS
from paragonsr.errors import UserError
from paragonsr.training.reporting.record import read_steps, read_validations


class RecordedSystemStats:
    """The readings of an earlier run, so that what depends on them is decided as it was then.

    Args:
        folder: that run's folder.

    Raises:
        UserError: it holds no record.
    """

    def __init__(self, folder: Path) -> None:
        try:
            steps, validations = read_steps(folder), read_validations(folder)
        except (OSError, ValueError) as error:
            raise UserError(f"not the folder of a run ({error})", where=f"path.system_stats: {folder}") from None
        rows = zip(*(steps[name].tolist() for name in CLOCK_COLUMNS), strict=True)
        self._steps = dict(zip(steps["iteration"].astype(int).tolist(), rows, strict=True))
        self._validations = {v.iteration: v.seconds for v in validations}
        self._folder = folder

    def step(self, iteration: int) -> dict[str, float]:
        """What was read when that iteration was finished."""
        if iteration not in self._steps:
            raise UserError(
                f"the record does not contain iteration {iteration}", where=f"path.system_stats: {self._folder}"
            )
        return dict(zip(CLOCK_COLUMNS, self._steps[iteration], strict=True))

    def validation(self, iteration: int, seconds: float) -> float:
        """What the validation took then."""
        return self._validations.get(iteration, seconds)
