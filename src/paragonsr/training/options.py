"""The keys of training: optimiser, schedule, run length, validation, logging, paths."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from paragonsr.automation.options import AutomationsOptions, LossBalanceOptions
from paragonsr.losses.options import LossChoice, LossOptions
from paragonsr.metrics.options import MetricChoice, MetricOptions, PSNRYOptions, SSIMYOptions
from paragonsr.options import ITERATIONS, Options, Variant, one_of

UNTIL_CHOSEN = 1e-3


class OptimiserOptions(Variant):
    """What all optimisers share."""

    lr: Annotated[float, Field(gt=0)] | Literal["auto"]
    """Base learning rate; auto tries a few before the run and takes the best."""
    weight_decay: float = Field(0.0, ge=0)
    """Decay of the weights; decoupled except for Adam."""
    builds = "paragonsr.training.optimiser:build_torch"

    @property
    def first_lr(self) -> float:
        """The base rate that is known from the start: with auto, one that counts until the choice is made."""
        return UNTIL_CHOSEN if isinstance(self.lr, str) else self.lr


class AdamOptions(OptimiserOptions):
    """Adam, Kingma and Ba 1412.6980."""

    type: Literal["Adam"] = "Adam"
    betas: list[float] = Field([0.9, 0.999], min_length=2, max_length=2)
    eps: float = Field(1e-8, gt=0)


class AdamWOptions(AdamOptions):
    """Adam with decoupled weight decay, Loshchilov and Hutter 1711.05101."""

    type: Literal["AdamW"] = "AdamW"  # type: ignore[assignment]


class NAdamOptions(AdamOptions):
    """Adam with Nesterov momentum, Dozat 2016; weight decay is decoupled."""

    type: Literal["NAdam"] = "NAdam"  # type: ignore[assignment]
    momentum_decay: float = Field(4e-3, ge=0)


class ScheduleFreeOptions(OptimiserOptions):
    """Schedule-free AdamW, Defazio et al. 2405.15682; needs no schedule and averages by itself (extra `opt`)."""

    type: Literal["AdamWScheduleFree"] = "AdamWScheduleFree"
    aliases = ("AdamW_ScheduleFree", "ScheduleFreeAdamW", "adamw_sf")
    betas: list[float] = Field([0.9, 0.999], min_length=2, max_length=2)
    eps: float = Field(1e-8, gt=0)
    builds = "paragonsr.training.optimiser:build_schedule_free"


class ProdigyOptions(OptimiserOptions):
    """Prodigy, Mishchenko and Defazio 2306.06101: finds its own rate; `lr` multiplies it (extra `opt`)."""

    type: Literal["Prodigy"] = "Prodigy"
    lr: Annotated[float, Field(gt=0)] | Literal["auto"] = 1.0
    betas: list[float] = Field([0.9, 0.999], min_length=2, max_length=2)
    eps: float = Field(1e-8, gt=0)
    d_coef: float = Field(1.0, gt=0)
    builds = "paragonsr.training.optimiser:build_prodigy"


OptimiserChoice = Annotated[
    OptimiserOptions, one_of(AdamOptions, AdamWOptions, NAdamOptions, ScheduleFreeOptions, ProdigyOptions)
]


class SchedulerOptions(Variant):
    """A schedule is a pure function of the iteration; see paragonsr.training.schedule for the formulas."""

    builds = "paragonsr.training.schedule:build"


class MultiStepOptions(SchedulerOptions):
    """Multiply by `gamma` at each milestone."""

    type: Literal["MultiStepLR"] = "MultiStepLR"
    milestones: list[int] = Field(min_length=1, json_schema_extra=ITERATIONS)
    gamma: float = Field(0.5, gt=0, le=1)


class CosineOptions(SchedulerOptions):
    """Half a cosine from the base rate down to `eta_min`."""

    type: Literal["CosineAnnealingLR"] = "CosineAnnealingLR"
    aliases = ("cosine",)
    T_max: int | None = Field(None, ge=1, json_schema_extra=ITERATIONS)
    """Iterations of the decay; default: to the end of training. Beyond it the rate stays at its floor."""
    eta_min: float = Field(0.0, ge=0)
    """The floor, a learning rate."""


class CosineRestartsOptions(SchedulerOptions):
    """Cosine with warm restarts, Loshchilov and Hutter 1608.03983."""

    type: Literal["CosineAnnealingWarmRestarts"] = "CosineAnnealingWarmRestarts"
    aliases = ("CosineAnnealingRestartLR",)
    T_0: int = Field(ge=1, json_schema_extra=ITERATIONS)
    """Iterations of the first cycle."""
    T_mult: int = Field(1, ge=1)
    """Each cycle is this many times as long as the one before."""
    eta_min: float = Field(0.0, ge=0)


class WSDOptions(SchedulerOptions):
    """Warm-up (`warmup_iter`), stable, decay: 1 - sqrt over the last share of training, Hagele et al. 2405.18392."""

    type: Literal["WSD"] = "WSD"
    decay_share: float = Field(0.2, gt=0, le=1)
    """Share of training that the decay takes."""
    shape: Literal["sqrt", "linear", "cosine"] = "sqrt"
    eta_min: float = Field(0.0, ge=0)


class OneCycleOptions(SchedulerOptions):
    """One cycle, Smith and Topin 1708.07120: up to the optimiser's `lr`, then far below where it began."""

    type: Literal["OneCycleLR"] = "OneCycleLR"
    aliases = ("OneCycle",)
    pct_start: float = Field(0.3, gt=0, lt=1)
    div_factor: float = Field(25.0, ge=1)
    final_div_factor: float = Field(1e4, ge=1)


class PlateauOptions(SchedulerOptions):
    """Multiply by `factor` when validation stops improving."""

    type: Literal["ReduceLROnPlateau"] = "ReduceLROnPlateau"
    aliases = ("Plateau",)
    metric: str = "val/psnr"
    factor: float = Field(0.5, gt=0, lt=1)
    patience: int = Field(5000, ge=1, json_schema_extra=ITERATIONS)
    """Iterations (not validations) without an improvement."""
    threshold: float = Field(1e-3, ge=0)
    """Smallest improvement, in the metric's unit."""
    min_factor: float = Field(1e-3, gt=0, le=1)
    """Floor of all reductions together."""


SchedulerChoice = Annotated[
    SchedulerOptions,
    one_of(MultiStepOptions, CosineOptions, CosineRestartsOptions, WSDOptions, OneCycleOptions, PlateauOptions),
]


class TrainOptions(Options):
    """`train`: what is optimised, how, and for how long."""

    total_iter: int = Field(ge=1, json_schema_extra=ITERATIONS)
    """Iterations of the whole run."""
    budget: str | None = None
    """Instead: 600s, 10min, 6h (of training, validation not counted), 20000it or 1M samples. All keys that count
    iterations are rescaled in the same proportion as total_iter."""
    optim_g: OptimiserChoice
    scheduler: SchedulerChoice | None = None
    """None keeps the rate constant."""
    warmup_iter: int = Field(0, ge=-1, json_schema_extra=ITERATIONS)
    """Iterations of a linear warm-up, from the first step on; 0 or -1 for none."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Largest decay of the moving average of the weights; 0 for none."""
    ema_power: float = Field(0.75, gt=0)
    """The average's decay after n updates is min(ema_decay, 1 - (1 + n)^-ema_power)."""
    grad_clip: bool = False
    """Clip the gradient's norm."""
    grad_clip_norm: float = Field(1.0, gt=0)
    """Where it is clipped."""
    losses: list[LossChoice] = Field(min_length=1)
    observe_every: int = Field(50, ge=1)
    """Iterations between two hand-overs of the measured figures to the automations and to TensorBoard."""
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
    metrics_enabled: bool = True
    metrics: dict[str, MetricChoice] = Field(default_factory=dict)
    """Name -> metric; the default is PSNR and SSIM on the Y channel, as papers report them."""
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
    autosave_minutes: float = Field(10.0, gt=0)
    """Minutes between two rolling resume states."""
    keep_last: int = Field(5, ge=1)
    """Checkpoints kept besides the best; older ones are deleted."""


class PathOptions(Options):
    """`path`: where things are read from and written to, relative to the working directory."""

    experiments_root: str = "experiments"
    pretrain_network_g: str | None = None
    """Weights to start from."""
    strict_load_g: bool = True
    """False takes over the tensors that fit and lists those it skips."""
    resume_state: str | None = None
    """A .state file to continue from, instead of the newest in the experiment's folder. What that folder holds from
    later iterations is moved into set_aside_<time>; the same command then goes on with what was made since."""
    readings: str | None = None
    """Folder of a run whose clock and memory readings are taken instead of this machine's, so that what depends on
    them (batch size, a budget of seconds) is decided as it was there."""
