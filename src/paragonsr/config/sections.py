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
    """Instead: 600s, 10min, 6h (of training, validation not counted), 20000it or 1M samples. All keys that count
    iterations are rescaled in the same proportion as total_iter."""
    optim_g: OptimiserOptions
    scheduler: SchedulerOptions | None = None
    """None keeps the rate constant."""
    warmup_iter: int = Field(0, ge=-1, json_schema_extra=ITERATIONS)
    """Iterations of a linear warm-up, from the first step on; 0 or -1 for none."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Largest decay of the moving average of the weights; 0 for none."""
    ema_power: float = Field(0.75, gt=0)
    """The average's decay after n updates is min(ema_decay, 1 - (1 + n)^-ema_power)."""
    branches: Literal["none", "edge"] = "none"
    """edge: 3x3 convolutions are trained as sums of branches, Sobel and Laplacian filters among them, and are saved as
    the 3x3 convolutions that these add up to; see paragonsr.archs.branches. Nothing is gained with SOAP."""
    teacher_share: float = Field(1.0, gt=0, le=1)
    """Of the teacher's output in what is trained towards; the rest is the photograph."""
    teacher_ensemble: bool = False
    """The teacher's output is the mean over the eight flips and rotations, which takes eight times as long to pack."""
    grad_clip: bool = False
    """Clip the gradient's norm."""
    grad_clip_norm: float = Field(1.0, gt=0)
    """Where it is clipped."""
    losses: list[LossOptions] = Field(min_length=1)
    observe_every: int = Field(50, ge=1)
    """Iterations between two hand-overs of the measured values to the automations and to TensorBoard."""
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
            raise ValueError("Prodigy finds its rate itself: lr multiplies it, 1 is the usual value")
        return self


class ValOptions(Options):
    """`val`: when and how the averaged network is measured."""

    val_enabled: bool = True
    val_freq: int = Field(1000, ge=1, json_schema_extra=ITERATIONS)
    """Iterations between two validations; the last iteration is always validated."""
    save_img: bool = False
    """Write every SR image to `visualization/`."""
    tile_size: int = Field(0, ge=0)
    """Tile side in LR pixels; 0 takes each image whole."""
    tile_overlap: int = Field(16, ge=0)
    """Context around a tile, in LR pixels."""
    metric: str | None = None
    """Name of the metric that decides, on the first validation set: which weights are kept as the best, when training
    stops, what is forecast. Default: the first of `metrics`."""
    save_best: bool = True
    """Write `best.safetensors` at each best validation."""
    metrics_enabled: bool = True
    metrics: dict[str, MetricOptions] = Field(default_factory=dict)
    """Name -> metric; the default is PSNR and SSIM on the Y channel, as papers report them."""
    pictures: int = Field(4, ge=0)
    """How many SR images of the first set are given to the loggers at each validation."""
    pbar: bool = True
    """Show the progress of a validation."""

    def chosen_metrics(self) -> dict[str, MetricOptions]:
        """The metrics that are measured, by name."""
        if not self.metrics_enabled:
            return {}
        return dict(self.metrics) or {"psnr": PSNRYOptions(), "ssim": SSIMYOptions()}


class LoggerOptions(Options):
    """`logger`: what is shown and kept."""

    print_freq: int = Field(100, ge=1, json_schema_extra=ITERATIONS)
    """Iterations between two plain lines, and between two TensorBoard points."""
    save_checkpoint_freq: int = Field(5000, ge=1, json_schema_extra=ITERATIONS)
    """Iterations between two kept checkpoints."""
    save_checkpoint_format: Literal["safetensors"] = "safetensors"
    use_tb_logger: bool = True
    """Write TensorBoard event files."""
    loggers: list[SinkOptions] = Field(default_factory=list)
    """Further loggers, each with its `type`: wandb, trackio, mlflow, or one of a plugin."""
    autosave_minutes: float = Field(10.0, gt=0)
    """Minutes between two rolling resume states."""
    keep_last: int = Field(5, ge=1)
    """Checkpoints kept besides the best; older ones are deleted."""

    def sinks(self, *, loss_shares: bool) -> list[SinkOptions]:
        """All loggers of the run.

        Args:
            loss_shares: whether the TensorBoard of `use_tb_logger` shows each loss' share of the gradient.
        """
        has_tensorboard = any(isinstance(sink, TensorBoardOptions) for sink in self.loggers)
        adds = self.use_tb_logger and not has_tensorboard
        return [TensorBoardOptions(loss_shares=loss_shares)] * adds + self.loggers


class PathOptions(Options):
    """`path`: where things are read from and written to, relative to the working directory."""

    experiments_root: PathText = "experiments"
    pretrain_network_g: PathText | None = None
    """Weights to start from: a file, or the name of a model of `paragonsr models`."""
    param_key_g: str | None = None
    """Which set of weights of a .pth file is loaded (`params`, `params_ema`); default: the averaged ones first."""
    pretrain_network_d: PathText | None = None
    """Weights that the network of the learned loss (a discriminator) starts from; all its tensors must be there."""
    pretrain_network_g_teacher: PathText | None = None
    """Weights of a network to learn from: .safetensors, .pth, .onnx, or the name of a model of `paragonsr models`. What
    it makes of the LR images is packed once, as they are; then it costs no time."""
    strict_load_g: bool = True
    """False takes over the tensors that fit and lists those it skips."""
    resume_state: PathText | None = None
    """A .state file to continue from, instead of the newest in the experiment's folder. What that folder holds from
    later iterations is moved into archive_<time>; the same command then resumes from what was made since."""
    system_stats: PathText | None = None
    """Folder of a run whose clock and memory readings are taken instead of this machine's, so that what depends on
    them (batch size, a budget of seconds) is decided as it was there."""
