"""The keys of `train.optim_g` and `train.scheduler`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from paragonsr.options import ITERATIONS, Variant
from paragonsr.registry import Registry

UNTIL_CHOSEN = 1e-3


class OptimiserOptions(Variant):
    """What all optimisers share."""

    registry: ClassVar[Registry[type["OptimiserOptions"]]] = Registry("paragonsr.optim")

    lr: Annotated[float, Field(gt=0)] | Literal["auto"]
    """Base learning rate; auto tries a few before the run and takes the best."""
    weight_decay: float = Field(0.0, ge=0)
    """Decay of the weights; decoupled except for Adam."""
    target = "paragonsr.optim.optimisers:build_torch"

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
    target = "paragonsr.optim.optimisers:build_schedule_free"


class ProdigyOptions(OptimiserOptions):
    """Prodigy, Mishchenko and Defazio 2306.06101: finds its own rate; `lr` multiplies it (extra `opt`)."""

    type: Literal["Prodigy"] = "Prodigy"
    lr: Annotated[float, Field(gt=0)] | Literal["auto"] = 1.0
    betas: list[float] = Field([0.9, 0.999], min_length=2, max_length=2)
    eps: float = Field(1e-8, gt=0)
    d_coef: float = Field(1.0, gt=0)
    target = "paragonsr.optim.optimisers:build_prodigy"


class SchedulerOptions(Variant):
    """A schedule is a pure function of the iteration; see paragonsr.optim.schedules for the formulas."""

    registry: ClassVar[Registry[type["SchedulerOptions"]]] = Registry("paragonsr.optim")

    target = "paragonsr.optim.schedules:build"


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
    factor: float = Field(0.5, gt=0, lt=1)
    patience: int = Field(5000, ge=1, json_schema_extra=ITERATIONS)
    """Iterations (not validations) without an improvement."""
    threshold: float = Field(1e-3, ge=0)
    """Smallest improvement, in the metric's unit."""
    min_factor: float = Field(1e-3, gt=0, le=1)
    """Floor of all reductions together."""
