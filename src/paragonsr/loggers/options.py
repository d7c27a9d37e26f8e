"""Options of `logger.loggers`: loggers in addition to the run's own record and the console."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from paragonsr.options import Variant
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from paragonsr.loggers.base import Logger


@dataclass(frozen=True)
class LoggedRun:
    """Facts about a run that its loggers may use."""

    name: str
    folder: Path
    config: dict[str, Any]
    """Resolved configuration."""
    resumed: bool
    """Whether the run continues an earlier session."""


class SinkOptions(Variant):
    """Base options of all loggers."""

    registry: ClassVar[Registry[type["SinkOptions"]]] = Registry("paragonsr.loggers")

    def build(self, run: LoggedRun) -> "Logger":  # type: ignore[override]
        """Build the logger of a run, in its main process."""
        logger: Logger = super().build(run=run)
        return logger


class TensorBoardOptions(SinkOptions):
    """Event files in `tb/` in the run's folder; `tensorboard --logdir experiments/<name>/tb` shows them."""

    type: Literal["tensorboard"] = "tensorboard"
    target = "paragonsr.loggers.tensorboard:TensorBoardLogger"
    loss_shares: bool = True
    """Write the share of each loss in the gradient."""


class WandbOptions(SinkOptions):
    """Weights & Biases (extra `loggers`)."""

    type: Literal["wandb"] = "wandb"
    target = "paragonsr.loggers.wandb:WandbLogger"
    project: str = "paragonsr"
    """Project that the run is shown in."""
    entity: str | None = None
    """User or team that owns the project; default: the logged-in user."""
    mode: Literal["online", "offline"] = "online"
    """offline writes to `wandb/` in the run's folder; `wandb sync` uploads it later."""


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
    """Server, or `file:` folder; default: MLFLOW_TRACKING_URI, else `mlruns/` in the run's folder."""
