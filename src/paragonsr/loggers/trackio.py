"""Logger for trackio, a local dashboard."""

from typing import Any

from paragonsr.loggers.base import Image, ScalarLogger
from paragonsr.loggers.missing import missing
from paragonsr.loggers.options import LoggedRun, TrackioOptions
from paragonsr.loggers.run_id import run_id


class TrackioLogger(ScalarLogger):
    """Logs scalars and pictures of a run to trackio's local database; a resumed run continues the same one.

    Args:
        options: the project.
        run: the run; its configuration is shown with the curves.

    Raises:
        UserError: the package is not installed.
    """

    def __init__(self, options: TrackioOptions, run: LoggedRun) -> None:
        try:
            import trackio
        except ImportError:
            raise missing("trackio") from None
        self._trackio: Any = trackio
        self._run: Any = trackio.init(
            project=options.project,
            name=f"{run.name}-{run_id(run.folder / 'trackio.id', run.resumed)}",
            resume="allow",
            config=run.config,
            embed=False,
        )

    def scalars(self, values: dict[str, float], iteration: int) -> None:
        """Write scalars by their tags."""
        self._run.log(values, step=iteration)

    def picture(self, name: str, image: Image, iteration: int) -> None:
        """Write an SR image."""
        self._run.log({f"val/{name}": self._trackio.Image(image)}, step=iteration)

    def close(self) -> None:
        """Flush and close."""
        self._run.finish()
