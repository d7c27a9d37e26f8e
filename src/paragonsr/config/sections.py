"""The sections `train`, `val`, `logger` and `path` of a configuration."""

from typing import Literal

from pydantic import Field, model_validator

from paragonsr.automation.options import AutomationsOptions, LossBalanceOptions
from paragonsr.config.budget import BudgetField
from paragonsr.loggers.options import SinkOptions, TensorBoardOptions
from paragonsr.losses.options import LossOptions
from paragonsr.metrics.options import MetricOptions, PSNRYOptions, SSIMYOptions
from paragonsr.optim.options import OptimiserOptions, ProdigyOptions, ScheduleFreeOptions, SchedulerOptions
from paragonsr.options import ITERATIONS, Options, PathText


class TrainOptions(Options):
    """`train`: what is optimised, how, and for how long."""

    total_iter: int = Field(ge=1, le=10**12, json_schema_extra=ITERATIONS)
    """Iterations of the whole run."""
    budget: BudgetField | None = None
    """Length of the run instead of total_iter: 600s, 10min, 6h (training without validation), 20000it or 1M samples.
    All keys that count iterations are rescaled in the same proportion as total_iter."""
    optim_g: OptimiserOptions
    scheduler: SchedulerOptions | None = None
    """Learning-rate schedule; null keeps the rate constant."""
    warmup_iter: int = Field(0, ge=-1, json_schema_extra=ITERATIONS)
    """Iterations of linear warm-up, from the first step on; 0 or -1 for none."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Maximum decay of the EMA of the weights; 0 for no EMA."""
    ema_power: float = Field(0.75, gt=0)
    """Growth of the decay: after n updates it is min(ema_decay, 1 - (1 + n)^-ema_power)."""
    branches: Literal["none", "edge"] = "none"
    """edge: 3x3 convolutions are trained as sums of branches (including Sobel and Laplacian filters) and saved as the
    equivalent 3x3 convolutions; see paragonsr.archs.branches. No gain with SOAP."""
    teacher_share: float = Field(1.0, gt=0, le=1)
    """Share of the teacher's output in the training target; the rest is the HR image."""
    teacher_ensemble: bool = False
    """Average the teacher's output over the eight flips and rotations; packing takes eight times as long."""
    grad_clip: bool = False
    """Clip the gradient norm."""
    grad_clip_norm: float = Field(1.0, gt=0)
    """Maximum gradient norm."""
    losses: list[LossOptions] = Field(min_length=1)
    observe_every: int = Field(50, ge=1)
    """Iterations between two flushes of the measured values to the automations and to TensorBoard."""
    dynamic_loss_scheduling: LossBalanceOptions = LossBalanceOptions()
    training_automations: AutomationsOptions = AutomationsOptions()

    @model_validator(mode="after")
    def _distinct(self) -> "TrainOptions":
        losses: list[LossOptions] = self.losses
        labels = [loss.label for loss in losses]
        twice = {label for label in labels if labels.count(label) > 1}
        if twice:
            raise ValueError(f"two losses are called {', '.join(sorted(twice))}; keep one of them")
        if isinstance(self.optim_g, ScheduleFreeOptions) and self.ema_decay:
            raise ValueError("a schedule-free optimiser averages the weights itself: ema_decay must be 0")
        if isinstance(self.optim_g, ProdigyOptions) and self.optim_g.lr == "auto":
            raise ValueError("Prodigy finds its own rate: lr is a factor on it, usually 1")
        return self


class ValOptions(Options):
    """`val`: when and how the averaged network is measured."""

    val_enabled: bool = True
    val_freq: int = Field(1000, ge=1, json_schema_extra=ITERATIONS)
    """Iterations between two validations; the end of the run is always validated."""
    save_img: bool = False
    """Write every SR image to `visualization/`."""
    tile_size: int = Field(0, ge=0)
    """Tile side in LR pixels; 0 processes each image as a whole."""
    tile_overlap: int = Field(16, ge=0)
    """Context around a tile, in LR pixels."""
    metric: str | None = None
    """Name of the deciding metric, on the first validation set: it determines the best weights, early stopping and the
    forecast. Default: the first of `metrics`, with `fidelity_budget` the first that is neither PSNR nor SSIM."""
    save_best: bool = True
    """Save the weights of the best validation as `best.safetensors`."""
    metrics_enabled: bool = True
    metrics: dict[str, MetricOptions] = Field(default_factory=dict)
    """Name -> metric; the default is PSNR and SSIM on the Y channel, as papers report them."""
    pictures: int = Field(4, ge=0)
    """Number of SR images of the first set passed to the loggers at each validation."""
    pbar: bool = True
    """Show a progress bar during validation."""

    def chosen_metrics(self) -> dict[str, MetricOptions]:
        """Metrics to measure, by name."""
        if not self.metrics_enabled:
            return {}
        return dict(self.metrics) or {"psnr": PSNRYOptions(), "ssim": SSIMYOptions()}


class LoggerOptions(Options):
    """`logger`: what is shown and saved."""

    print_freq: int = Field(100, ge=1, json_schema_extra=ITERATIONS)
    """Iterations between two plain lines, and between two TensorBoard points."""
    save_checkpoint_freq: int = Field(5000, ge=1, json_schema_extra=ITERATIONS)
    """Iterations between two numbered checkpoints."""
    save_checkpoint_format: Literal["safetensors"] = "safetensors"
    use_tb_logger: bool = True
    """Write TensorBoard event files."""
    loggers: list[SinkOptions] = Field(default_factory=list)
    """Additional loggers, each with its `type`: wandb, trackio, mlflow, or one from a plugin."""
    autosave_minutes: float = Field(10.0, gt=0)
    """Minutes between two rolling resume states (autosaves)."""
    keep_last: int = Field(5, ge=1)
    """Number of numbered checkpoints to keep, besides the best; older ones are deleted."""

    def sinks(self, *, loss_shares: bool) -> list[SinkOptions]:
        """All loggers of the run.

        Args:
            loss_shares: whether the TensorBoard of `use_tb_logger` shows each loss' share of the gradient.
        """
        has_tensorboard = any(isinstance(sink, TensorBoardOptions) for sink in self.loggers)
        adds = self.use_tb_logger and not has_tensorboard
        return [TensorBoardOptions(loss_shares=loss_shares)] * adds + self.loggers


class PathOptions(Options):
    """`path`: input and output paths, relative to the working directory."""

    experiments_root: PathText = "experiments"
    pretrain_network_g: PathText | None = None
    """Weights to start from: a file, or the name of a model listed by `paragonsr models`."""
    param_key_g: str | None = None
    """Set of weights to load from a .pth file (`params`, `params_ema`); default: the EMA weights, if there are any."""
    pretrain_network_d: PathText | None = None
    """Weights that the network of the learned loss (a discriminator) starts from; they must be complete."""
    pretrain_network_g_teacher: PathText | None = None
    """Weights of a teacher network: .safetensors, .pth, .onnx, or the name of a model listed by `paragonsr models`. Its
    output on the LR images is packed once, so it does not slow down training."""
    strict_load_g: bool = True
    """false loads the tensors that fit and lists the skipped ones."""
    resume_state: PathText | None = None
    """A .state file to resume from, instead of the newest in the experiment's folder. Results of later iterations are
    moved to archive_<time>; running the same command again then resumes from what was saved since."""
    system_stats: PathText | None = None
    """Folder of a run whose recorded clock and memory are used instead of this machine's, so that decisions that depend
    on them (batch size, time budget) are reproduced."""
