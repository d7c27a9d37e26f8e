"""Options of the automations, as written in configurations."""

import importlib
import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from paragonsr.options import ITERATIONS, Options
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from paragonsr.automation.context import RunContext
    from paragonsr.automation.protocol import Automation


class AutomationOptions(Options):
    """Keys of every automation.

    A subclass that sets `section` registers itself as `train.training_automations.<section>`.
    """

    registry: ClassVar[Registry[type["AutomationOptions"]]] = Registry("paragonsr.automation")
    section: ClassVar[str]
    """Key of the section in `train.training_automations`."""
    target: ClassVar[str]
    """Factory of the automation: "package.module:callable", called as callable(options, context)."""

    enabled: bool = False
    """Whether this automation acts."""
    dry_run: bool = False
    """Write the decisions to the journal without carrying them out."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "section" in cls.__dict__:
            cls.registry.add(cls, cls.section)

    def build(self, context: "RunContext") -> "Automation":
        """Build the automation in its initial state."""
        module, _, attribute = self.target.partition(":")
        automation: Automation = getattr(importlib.import_module(module), attribute)(self, context)
        return automation


class LossBalanceOptions(AutomationOptions):
    """`train.dynamic_loss_scheduling`: keeps each loss' share of the gradient on its target curve."""

    target = "paragonsr.automation.loss_balance:build"

    auto_calibrate: bool = False
    """Set keys that are null below from the training images and the network's size; keys that you set win."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Smoothing of the measured gradient norms, from step to step."""
    adaptation_rate: float = Field(0.01, gt=0, le=1)
    """Largest relative change of a weight per training step."""
    min_weight: float = Field(1e-6, gt=0)
    """Lower bound of the multiplier of `loss_weight`."""
    max_weight: float = Field(100.0, gt=0, le=1e6)
    """Upper bound of the multiplier of `loss_weight`."""
    adaptation_threshold: float = Field(0.1, ge=0)
    """Relative distance from the target share that triggers an adaptation."""
    baseline_iterations: int = Field(100, ge=0, json_schema_extra=ITERATIONS)
    """Steps of each loss that are only measured."""
    enable_monitoring: bool = True
    """Write the shares to TensorBoard."""
    target_shares: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    """Label of a loss (`l1`, `mssim`) -> its share of the gradient after the baseline; the other losses share the rest
    in proportion to their weights. By default, all start with the shares given by the configured weights."""
    share_floor: float = Field(0.5, ge=0, le=1)
    """Lower bound of a share that falls by itself, as a fraction of the share after the baseline."""
    late_share: float | None = Field(None, ge=0, le=1)
    """Fraction of its share that each loss but the largest keeps at the end of the plan; null: 1, or as calibrated."""

    @model_validator(mode="after")
    def _ordered(self) -> "LossBalanceOptions":
        if self.min_weight > self.max_weight:
            raise ValueError("min_weight is larger than max_weight")
        return self


class LearningRateOptions(AutomationOptions):
    """`intelligent_learning_rate_scheduler`: holds the rate while the loss improves, then starts the decay."""

    section = "intelligent_learning_rate_scheduler"
    target = "paragonsr.automation.learning_rate:build"

    base_rate: Literal["written", "choose"] = "written"
    """choose: take the base learning rate from short trials before the run, like `lr: auto`, although `optim_g.lr` is
    set; the set rate is among those tried. written: keep it, and only report a better one."""
    optimiser: Literal["written", "choose"] = "written"
    """choose: the trials also compare the optimiser of `optim_g` with SOAP (with AdamW, if it is SOAP) at the rates of
    each, and the run uses the better one with its best rate. The other options of the newcomer are its defaults."""
    strategy: Literal["adaptive", "cosine", "exponential", "plateau"] = "adaptive"
    """Shape of the decay; adaptive chooses it from the measured curve."""
    adaptation_frequency: int = Field(1000, ge=1, json_schema_extra=ITERATIONS)
    """Iterations between two evaluations of the curve."""
    improvement_threshold: float = Field(0.001, ge=0)
    """Relative decrease of the smoothed loss per `adaptation_frequency` below which the decay starts."""

    @property
    def chooses_rate(self) -> bool:
        """Whether the trials may replace a configured learning rate."""
        return self.enabled and not self.dry_run and self.base_rate == "choose"

    @property
    def chooses_optimiser(self) -> bool:
        """Whether the trials may replace the configured optimiser."""
        return self.enabled and not self.dry_run and self.optimiser == "choose"


class BatchSizeOptions(AutomationOptions):
    """`dynamic_batch_size_optimizer`: finds the fastest batch size that fits into memory."""

    section = "dynamic_batch_size_optimizer"
    target = "paragonsr.automation.batch_size:build"

    mode: Literal["maximize", "throughput"] = "maximize"
    """maximize: grow the batch if that speeds up training; throughput: keep it and change only the micro-batch."""
    target_vram_usage: float = Field(0.85, gt=0, le=1)
    """Target peak memory, as a share of the device's memory."""
    safety_margin: float = Field(0.05, ge=0, lt=1)
    """Margin above the target, as a share of the memory: beyond both the micro-batch shrinks, and on a GPU no more than
    both can be allocated."""
    adjustment_frequency: int = Field(100, ge=1, json_schema_extra=ITERATIONS)
    """Iterations between two adjustments."""
    min_batch_size: int = Field(1, ge=1)
    """Minimum number of samples that a process passes through the network at once."""
    max_batch_size: int | None = Field(None, ge=1)
    """Maximum number of samples of an optimisation step in one process; null: limited only by memory, speed and noise
    scale."""
    memory_limit_gb: float | None = Field(None, gt=0)
    """Assume that the device (on a CPU, the machine) has this many GiB of memory."""


class EarlyStoppingOptions(AutomationOptions):
    """`early_stopping`: anneal, then stop, when validation no longer improves."""

    section = "early_stopping"
    target = "paragonsr.automation.early_stopping:build"

    patience: int = Field(2000, ge=1, json_schema_extra=ITERATIONS)
    """Reference iterations without an improvement."""
    min_improvement: float = Field(0.001, ge=0)
    """Smallest change that counts as an improvement, in the unit of the deciding metric (`val.metric`)."""


class GradientClippingOptions(AutomationOptions):
    """`adaptive_gradient_clipping`: clips at three times a percentile of the recent gradient norms."""

    section = "adaptive_gradient_clipping"
    target = "paragonsr.automation.clipping:build"

    percentile: float = Field(95.0, gt=0, le=100)
    """Percentile of the history that determines the threshold."""
    gradient_history_size: int = Field(100, ge=10)
    """Length of the history in iterations."""


def _decibels(given: Any) -> Any:
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*db\s*", given.lower()) if isinstance(given, str) else None
    return float(found[1]) if found else given


class FidelityBudgetOptions(AutomationOptions):
    """`fidelity_budget`: sharpens by adversarial and perceptual losses within a budget of PSNR; may be written as the
    budget alone, `fidelity_budget: 0.5dB`."""

    section = "fidelity_budget"
    target = "paragonsr.automation.fidelity_budget:build"

    budget: Annotated[float, BeforeValidator(_decibels, json_schema_input_type=float | str)] = Field(0.5, gt=0)
    """PSNR that the run may lose against the start weights, in dB: 0.5 or 0.5dB. It is the first PSNR of `val.metrics`,
    on the first validation set."""
    start_ratio: float = Field(0.02, gt=0, le=20)
    """Gradients of the adversarial and perceptual losses at the start, as a ratio to those of the other losses; the
    configured weights only share it out among them."""
    patience: int = Field(5000, ge=1, json_schema_extra=ITERATIONS)
    """Iterations without an improvement of the deciding metric before the run stops."""
    min_improvement: float = Field(0.002, ge=0)
    """Smallest relative change of the deciding metric that counts as an improvement."""
    max_accuracy: float = Field(0.9, gt=0.5, le=1)
    """Accuracy of a discriminator above which it learns more slowly."""


def _short_form(given: Any) -> Any:
    return {"enabled": True, "budget": given} if isinstance(given, str | int | float) else given


FidelityBudgetSection = Annotated[
    FidelityBudgetOptions, BeforeValidator(_short_form, json_schema_input_type=FidelityBudgetOptions | float | str)
]
"""Type of a section that may be written as its budget alone."""


class _Written(NamedTuple):
    """Section of `train.training_automations` that is not a declared field, with its key."""

    key: str
    section: Any


def _registered(written: Any) -> AutomationOptions:
    if isinstance(written, AutomationOptions):
        return written
    options = AutomationOptions.registry.find(written.key)
    if options is None:
        details = InitErrorDetails(type="extra_forbidden", loc=(), input=written.section)
        raise ValidationError.from_exception_data("training_automations", [details])
    return options.model_validate(written.section)


class AutomationsOptions(Options):
    """`train.training_automations`: one section per automation, including those of plugins.

    `enabled: false` here disables every section; otherwise each automation's own `enabled` decides.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[AutomationOptions, PlainValidator(_registered)]]

    enabled: bool = True
    """Master switch; each section also has its own `enabled`."""
    intelligent_learning_rate_scheduler: LearningRateOptions = LearningRateOptions()
    dynamic_batch_size_optimizer: BatchSizeOptions = BatchSizeOptions()
    adaptive_gradient_clipping: GradientClippingOptions = GradientClippingOptions()
    early_stopping: EarlyStoppingOptions = EarlyStoppingOptions()
    fidelity_budget: FidelityBudgetSection = FidelityBudgetOptions()

    @model_validator(mode="before")
    @classmethod
    def _sections_of_plugins(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if "fidelity_budget" in given:
            given = given | {"fidelity_budget": _short_form(given["fidelity_budget"])}
        if given.get("enabled") is False:
            given = {k: v | {"enabled": False} if isinstance(v, dict) else v for k, v in given.items()}
        return {k: v if k in cls.model_fields else _Written(k, v) for k, v in given.items()}

    def sections(self) -> dict[str, AutomationOptions]:
        """Key -> section, in the order in which the automations see each observation."""
        declared = {key: getattr(self, key) for key in type(self).model_fields if key != "enabled"}
        return declared | dict(self.__pydantic_extra__ or {})

    def switched_off(self) -> "AutomationsOptions":
        """The same sections, all disabled."""
        off = {key: options.model_copy(update={"enabled": False}) for key, options in self.sections().items()}
        return self.model_copy(update={"enabled": False} | off)
