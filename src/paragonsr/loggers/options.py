"""The keys of `logger.loggers`: where a run is shown besides its own record and the console."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from paragonsr.options import Variant
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from paragonsr.loggers.base import Logger


@dataclass(frozen=True)
class LoggedRun:
    """What a logger may know about the run that it shows."""

    name: str
    folder: Path
    config: dict[str, Any]
    """The configuration as resolved."""
    resumed: bool
    """Whether the run continues an earlier session."""


class SinkOptions(Variant):
    """Keys of all loggers."""

    registry: ClassVar[Registry[type["SinkOptions"]]] = Registry("paragonsr.loggers")

    def build(self, run: LoggedRun) -> "Logger":  # type: ignore[override]
        """The logger of a run, in its main process."""
        logger: Logger = super().build(run=run)
        return logger


class TensorBoardOptions(SinkOptions):
    """Event files in the run's folder `tb/`; `tensorboard --logdir experiments/<name>/tb` shows them."""

    type: Literal["tensorboard"] = "tensorboard"
    target = "paragonsr.loggers.tensorboard:TensorBoardLogger"
    loss_shares: bool = True
    """Write each loss' share of the gradient."""


class WandbOptions(SinkOptions):
    """Weights & Biases (extra `loggers`)."""

    type: Literal["wandb"] = "wandb"
    target = "paragonsr.loggers.wandb:WandbLogger"
    project: str = "paragonsr"
    """Project that the run is shown in."""
    entity: str | None = None
    """User or team that owns the project; default: that of the login."""
    mode: Literal["online", "offline"] = "online"
    """offline writes into the run's folder `wandb/`; `wandb sync` sends it later."""


class TrackioOptions(SinkOptions):
    """trackio, a local dashboard (extra `loggers`); `trackio show` opens it."""

    type: Literal["trackio"] = "trackio"
    target = "paragonsr.loggers.trackio:TrackioLogger"
    project: str = "paragonsr"
    """Project that the run is shown in."""


class MlflowOptions(SinkOptions):
    """MLflow (extra `loggers`)."""

    type: Literal["mlflow"] = "mlflow"
    target = "paragonsr.loggers.mlflow:MlflowLogger"
    experiment: str = "paragonsr"
    """MLflow experiment that the run belongs to."""
    tracking_uri: str | None = None
    """Server, or `file:` folder; default: MLFLOW_TRACKING_URI, else the run's folder `mlruns/`."""
