"""Options of `train.optim_g` and `train.scheduler`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from paragonsr.options import ITERATIONS, Variant
from paragonsr.registry import Registry


class OptimiserOptions(Variant):
    """Keys that all optimisers share."""

    registry: ClassVar[Registry[type["OptimiserOptions"]]] = Registry("paragonsr.optim")

    lr: Annotated[float, Field(gt=0)] | Literal["auto"]
    """Base learning rate; auto tries a few before the run and uses the best."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay; decoupled except for Adam."""
    target = "paragonsr.optim.optimisers:build_torch"

    rates: ClassVar[tuple[float, ...]] = (4e-3, 1e-3, 2e-3, 5e-4)
    """Rates tried by `lr: auto`, most promising first. Twice the largest is 0.15 dB worse for a Nano in 4000
    iterations, and short trials do not always show this."""
    usual_lr: ClassVar[float] = 1e-3
    """Rate of `lr: auto` if no trial is possible."""

    def at(self, rate: float) -> "OptimiserOptions":
        """The same options with another learning rate."""
        return self.model_copy(update={"lr": rate})

    def rival(self) -> "OptimiserOptions":
        """Optimiser that this one is compared with by `optimiser: choose`, with its default options."""
        other = AdamWOptions if isinstance(self, SOAPOptions) else SOAPOptions
        return other(lr=other.usual_lr)

    @property
    def first_lr(self) -> float:
        """Base rate at the start; with auto, the usual one until the choice is made."""
        return self.usual_lr if isinstance(self.lr, str) else self.lr


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
    """Schedule-free AdamW, Defazio et al. 2405.15682; needs neither schedule nor EMA (extra `opt`)."""

    type: Literal["AdamWScheduleFree"] = "AdamWScheduleFree"
    aliases = ("AdamW_ScheduleFree", "ScheduleFreeAdamW", "adamw_sf")
    betas: list[float] = Field([0.9, 0.999], min_length=2, max_length=2)
    eps: float = Field(1e-8, gt=0)
    target = "paragonsr.optim.optimisers:build_schedule_free"


class ProdigyOptions(OptimiserOptions):
    """Prodigy, Mishchenko and Defazio 2306.06101: finds its own rate; `lr` is a factor on it (extra `opt`)."""

    type: Literal["Prodigy"] = "Prodigy"
    lr: Annotated[float, Field(gt=0)] | Literal["auto"] = 1.0
    betas: list[float] = Field([0.9, 0.999], min_length=2, max_length=2)
    eps: float = Field(1e-8, gt=0)
    d_coef: float = Field(1.0, gt=0)
    target = "paragonsr.optim.optimisers:build_prodigy"


class SOAPOptions(OptimiserOptions):
    """SOAP, Vyas et al. 2409.11321: Adam in the eigenbasis of Shampoo's preconditioner."""

    type: Literal["SOAP"] = "SOAP"
    rates = (6e-3, 1.5e-3, 3e-3, 7.5e-4)
    usual_lr = 3e-3
    betas: list[float] = Field([0.95, 0.95], min_length=2, max_length=2)
    """Decay of the first moment; decay of the second moment and of the covariances whose eigenvectors are the basis."""
    eps: float = Field(1e-8, gt=0)
    renew_every: int = Field(10, ge=1)
    """Steps between two updates of the bases."""
    max_side: int = Field(512, ge=1)
    """Maximum side of a layer's matrix (out, in kh kw) that gets a basis; an update costs the cube of the side."""
    target = "paragonsr.optim.soap:build"


class MuonOptions(OptimiserOptions):
    """Muon, Jordan et al. 2024: orthogonalised momentum for hidden layers, Adam elsewhere."""

    type: Literal["Muon"] = "Muon"
    momentum: float = Field(0.95, ge=0, lt=1)
    """Nesterov momentum of the hidden layers."""
    betas: list[float] = Field([0.9, 0.99], min_length=2, max_length=2)
    """Betas of Adam."""
    eps: float = Field(1e-8, gt=0)
    target = "paragonsr.optim.muon:build"


class LibraryOptions(OptimiserOptions):
    """An optimiser of the pytorch-optimizer library (extra `opt`). Left out are those that need more than the gradient,
    or that do not continue to the bit after a resume."""

    type: Literal["pytorch_optimizer"] = "pytorch_optimizer"
    name: str
    """Which one: adan, adopt, lion, stableadamw ... Its name is also understood as the `type`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Its other arguments, `betas` for example."""
    target = "paragonsr.optim.library:build"

    NAMES: ClassVar[frozenset[str]] = frozenset(
        """a2grad accsgd adabelief adabound adadelta adafactor adagc adai adalite adam adamax adamc adamg adamod
        adamp adams adamw adamwsn adan adanorm adapnm adasmooth adatam ademamix adopt aida alice amos ano apollo
        apollodqn avagrad bcos came conda diffgrad dualadam exadam fadam fira flashadamw focus fromage ftrl galore
        grams gravity grokfastadamw kate lamb laprop lars lion lorarite mars msvag nadam nero novograd padam pid
        pnm qhadam qhm racs radam ranger rmsprop schedulefreeadamw schedulefreeradam schedulefreesgd scion
        scionlight sgd sgdp sgdsai sgdw shampoo signsgd simplifiedademamix sm3 splus srmm stableadamw swats tam
        tiger vsgd yogi
        """.split()
    )
    """The optimisers that can be used, without `_` and in lower case."""

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        plain = name.lower().replace("_", "")
        if plain not in cls.NAMES:
            raise ValueError(f"{name!r} is not one of {', '.join(sorted(cls.NAMES))}")
        return plain


class SchedulerOptions(Variant):
    """Base options of schedules, pure functions of the iteration; formulas are in paragonsr.optim.schedules."""

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
    """Iterations of the decay; default: until the end of training. After it the rate stays at its floor."""
    eta_min: float = Field(0.0, ge=0)
    """Floor, as a learning rate."""


class CosineRestartsOptions(SchedulerOptions):
    """Cosine with warm restarts, Loshchilov and Hutter 1608.03983."""

    type: Literal["CosineAnnealingWarmRestarts"] = "CosineAnnealingWarmRestarts"
    T_0: int = Field(ge=1, json_schema_extra=ITERATIONS)
    """Iterations of the first cycle."""
    T_mult: int = Field(1, ge=1)
    """Ratio of the lengths of two consecutive cycles."""
    eta_min: float = Field(0.0, ge=0)


class CosinePeriodsOptions(SchedulerOptions):
    """Cosine with restarts whose lengths and heights are given one by one, as BasicSR has it."""

    type: Literal["CosineAnnealingRestartLR"] = "CosineAnnealingRestartLR"
    periods: list[Annotated[int, Field(ge=1)]] = Field(min_length=1, json_schema_extra=ITERATIONS)
    """Iterations of each cycle. After the last the rate stays at its floor."""
    restart_weights: list[Annotated[float, Field(ge=0)]] = Field(default_factory=lambda: [1.0])
    """Height of each cycle, as a share of the base rate; as many as periods."""
    eta_min: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _as_many_weights(self) -> "CosinePeriodsOptions":
        if len(self.periods) != len(self.restart_weights):
            raise ValueError(
                f"periods has {len(self.periods)} values and restart_weights {len(self.restart_weights)}; "
                "each cycle needs its weight"
            )
        return self


class WSDOptions(SchedulerOptions):
    """Warm-up (`warmup_iter`), stable, decay: 1 - sqrt over the last share of training, Hagele et al. 2405.18392."""

    type: Literal["WSD"] = "WSD"
    decay_share: float = Field(0.2, gt=0, le=1)
    """Length of the decay as a share of training."""
    shape: Literal["sqrt", "linear", "cosine"] = "sqrt"
    eta_min: float = Field(0.0, ge=0)


class OneCycleOptions(SchedulerOptions):
    """One cycle, Smith and Topin 1708.07120: up to the optimiser's `lr`, then far below the initial rate."""

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
    """Floor of the product of all reductions."""
