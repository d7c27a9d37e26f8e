"""Logger for Weights & Biases."""

from typing import Any

from paragonsr.loggers.base import Image, ScalarLogger
from paragonsr.loggers.missing import missing
from paragonsr.loggers.options import LoggedRun, WandbOptions
from paragonsr.loggers.run_id import run_id


class WandbLogger(ScalarLogger):
    """Logs scalars and pictures of a run to Weights & Biases; a resumed run continues the same W&B run.

    Args:
        options: project and mode.
        run: the run; its configuration is shown with the curves.

    Raises:
        UserError: the package is not installed.
    """

    def __init__(self, options: WandbOptions, run: LoggedRun) -> None:
        try:
            import wandb
        except ImportError:
            raise missing("wandb") from None
        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            project=options.project,
            entity=options.entity,
            name=run.name,
            id=run_id(run.folder / "wandb.id", run.resumed),
            resume="allow",
            mode=options.mode,
            dir=str(run.folder),
            config=run.config,
        )
        # Iterations are the axis of every curve; a resumed run may write some of them twice.
        self._run.define_metric("*", step_metric="iteration")

    def scalars(self, values: dict[str, float], iteration: int) -> None:
        """Write scalars by their tags."""
        self._run.log(values | {"iteration": iteration})

    def picture(self, name: str, image: Image, iteration: int) -> None:
        """Write an SR image."""
        self._run.log({f"val/{name}": self._wandb.Image(image), "iteration": iteration})

    def close(self) -> None:
        """Flush and close."""
        self._run.finish()
