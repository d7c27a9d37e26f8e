"""The complete configuration, composed of the options of each package."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from paragonsr.archs.options import NetworkOptions
from paragonsr.config.sections import LoggerOptions, PathOptions, TrainOptions, ValOptions
from paragonsr.data.options import DatasetOptions
from paragonsr.metrics.options import FidelityOptions, PSNROptions
from paragonsr.optim.options import PlateauOptions
from paragonsr.options import MismatchError, Options
from paragonsr.registry import import_plugins


def import_named_plugins(tree: Any) -> None:
    """Import what `plugins` names in a tree, before a `type` chooses any of it.

    Raises:
        UserError: a plugin cannot be imported.
    """
    plugins = tree.get("plugins") if isinstance(tree, dict) else None
    if isinstance(plugins, list) and all(isinstance(name, str) for name in plugins):
        import_plugins(plugins, where="plugins")


class Config(Options):
    """One training run."""

    plugins: list[str] = Field(default_factory=list)
    """Modules that add losses, networks, metrics and so on: importable names, or Python files."""
    name: str
    """Name of the experiment and of its folder."""
    scale: Literal[1, 2, 3, 4, 8]
    """Upscaling factor, HR side / LR side; set only here. 1 is restoration: both images have the same size."""
    num_gpu: Literal["auto"] | int = "auto"
    """0 trains on the CPU; auto uses the available GPU (for several GPUs, start with torchrun)."""
    num_threads: int | None = Field(None, ge=1)
    """CPU threads of torch. If it is not set, a run of 750 iterations or more on a CPU times steps with one, half and
    all cores, and chooses; shorter and `fair` runs use all. The number changes the last bits of sums: set it for runs
    that must be equal to the bit."""
    manual_seed: int = Field(0, ge=0)
    """Random seed of the initial weights and the sample order."""
    deterministic: bool = False
    """Use only deterministic GPU kernels, for bit-exact resume on CUDA."""
    use_amp: bool = False
    """Mixed precision, if the device has fast kernels for it."""
    amp_bf16: bool = False
    """bfloat16 instead of float16."""
    use_channels_last: bool = True
    """NHWC memory layout; on a CPU with AVX-512, too, it makes a step of Nano about 1.5 times as fast."""
    fast_matmul: bool = False
    """TF32 matrix products."""
    use_compile: bool = False
    """Use torch.compile, if a check finds the same output and steps that are not slower."""
    detect_anomaly: bool = False
    """Autograd anomaly detection: slow; names the operation that produced a NaN."""
    fair: bool = False
    """For comparisons: disables all automations, and requires a schedule that does not react to the run."""
    datasets: dict[str, DatasetOptions]
    """`train` and any number of `val...` sets."""
    network_g: NetworkOptions
    network_g_teacher: NetworkOptions | None = None
    """Network of the teacher, if its weights do not describe it; see path.pretrain_network_g_teacher."""
    path: PathOptions = PathOptions()
    train: TrainOptions
    val: ValOptions = ValOptions()
    logger: LoggerOptions = LoggerOptions()

    @model_validator(mode="before")
    @classmethod
    def _import_plugins(cls, given: Any) -> Any:
        import_named_plugins(given)
        return given

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not name.strip(" .") or name != name.strip() or name.endswith(".") or set('/\\:*?"<>|') & set(name):
            raise ValueError(f"{name!r} is not a valid folder name on all systems (Windows included)")
        return name

    @model_validator(mode="after")
    def _sets(self) -> "Config":
        if "train" not in self.datasets:
            raise MismatchError("`train` is missing", "datasets")
        odd = [phase for phase in self.datasets if phase != "train" and not phase.startswith("val")]
        if odd:
            raise MismatchError(f"may have `train` and names that begin with `val`, not {', '.join(odd)}", "datasets")
        if self.fair and isinstance(self.train.scheduler, PlateauOptions):
            raise MismatchError("needs a fixed schedule, but ReduceLROnPlateau reacts to the run", "fair")
        train = self.datasets["train"]
        if train.batch_size_per_gpu is None:
            raise MismatchError("needs batch_size_per_gpu, the number of samples in a batch", "datasets", "train")
        if train.lq_patch(self.scale) is None:
            raise MismatchError("needs lq_size or gt_size, the side of a training patch", "datasets", "train")
        self._check_restoration()
        self._check_degradation_device()
        self._check_teacher()
        self._check_names()
        self._check_deciding_metric()
        self._check_fidelity_budget()
        return self

    def _check_restoration(self) -> None:
        """At scale 1 an LQ image cannot be made by a resize: it would be the HR image."""
        for phase, options in self.datasets.items():
            if self.scale == 1 and options.lq_roots is None and options.degrades() is None:
                raise MismatchError(
                    "at scale 1 the LQ images have to be given: dataroot_lq with type pairedimagedataset, "
                    "or a degradation that makes them",
                    "datasets",
                    phase,
                )

    def _check_degradation_device(self) -> None:
        for phase, options in self.val_sets.items():
            if options.degrades_on_device:
                raise MismatchError(
                    "is for training: a validation set is degraded once, on the CPU, so that it is the same everywhere",
                    "datasets",
                    phase,
                    "degradation_device",
                )

    def _check_teacher(self) -> None:
        if self.path.pretrain_network_g_teacher is None:
            if self.network_g_teacher is not None:
                raise MismatchError("needs weights: path.pretrain_network_g_teacher", "network_g_teacher")
        elif self.train_set.degrades() is not None:
            raise MismatchError(
                "needs packed LR images, but the degradation makes them during training",
                "path",
                "pretrain_network_g_teacher",
            )

    def _check_names(self) -> None:
        phases: dict[str, str] = {}
        for phase, options in self.val_sets.items():
            title = options.title(phase)
            other = phases.setdefault(title, phase)
            if other != phase:
                raise MismatchError(
                    f"{title} is already the name of datasets.{other}; values are stored by name",
                    "datasets",
                    phase,
                    "name",
                )

    def _check_deciding_metric(self) -> None:
        metrics = list(self.val.chosen_metrics())
        if self.val_sets and metrics and self.deciding_metric not in metrics:
            raise MismatchError(f"is {self.deciding_metric}, but val.metrics has {', '.join(metrics)}", "val", "metric")

    def _check_fidelity_budget(self) -> None:
        place = ("train", "training_automations", "fidelity_budget")
        budget, balance = self.train.training_automations.fidelity_budget, self.train.dynamic_loss_scheduling
        if not budget.enabled:
            return
        roles = {loss.role for loss in self.train.losses}
        if not self.validates:
            raise MismatchError("needs a validation set", *place)
        if not self.fidelity_metric:
            raise MismatchError("needs a PSNR among val.metrics", *place)
        if isinstance(self.val.chosen_metrics()[self.deciding_metric], FidelityOptions):
            raise MismatchError(
                f"needs a perceptual metric that decides, not {self.deciding_metric}: add one to val.metrics, such as "
                "{type: flip}",
                *place,
            )
        if roles == {"fidelity"}:
            raise MismatchError("needs an adversarial or a perceptual loss, whose weight it steers", *place)
        if "fidelity" not in roles:
            raise MismatchError("needs a loss for fidelity, such as l1loss", *place)
        if balance.enabled and not (balance.dry_run or budget.dry_run):
            raise MismatchError("also steers weights of losses: disable dynamic_loss_scheduling", *place)

    def made_fair(self) -> "Config":
        """Copy of the configuration without automations."""
        off = {
            "dynamic_loss_scheduling": self.train.dynamic_loss_scheduling.model_copy(update={"enabled": False}),
            "training_automations": self.train.training_automations.switched_off(),
        }
        return self.model_copy(update={"train": self.train.model_copy(update=off)})

    @property
    def deciding_metric(self) -> str:
        """Name of the deciding metric, on the first validation set; empty if nothing is measured. By default the first
        one, or the first perceptual one if PSNR is kept within a budget."""
        metrics = self.val.chosen_metrics()
        perceptual = [name for name, metric in metrics.items() if not isinstance(metric, FidelityOptions)]
        within_budget = self.train.training_automations.fidelity_budget.enabled
        return self.val.metric or next(iter(perceptual if within_budget and perceptual else metrics), "")

    @property
    def fidelity_metric(self) -> str:
        """Name of the first PSNR among the metrics; empty if there is none."""
        return next((name for name, m in self.val.chosen_metrics().items() if isinstance(m, PSNROptions)), "")

    @property
    def validates(self) -> bool:
        """Whether anything is measured on any validation set."""
        return bool(self.val_sets and self.val.chosen_metrics())

    @property
    def train_set(self) -> DatasetOptions:
        """Options of the training set."""
        return self.datasets["train"]

    @property
    def val_sets(self) -> dict[str, DatasetOptions]:
        """Options of the validation sets, the deciding one first; empty if validation is off."""
        if not self.val.val_enabled:
            return {}
        return {phase: options for phase, options in self.datasets.items() if phase != "train"}

    @property
    def batch(self) -> int:
        """Samples per optimisation step and process: micro-batch times accumulation."""
        return self.micro_batch * self.train_set.accum_iter

    @property
    def micro_batch(self) -> int:
        """Samples that a process passes through the network at once."""
        assert self.train_set.batch_size_per_gpu is not None
        return self.train_set.batch_size_per_gpu

    @property
    def patch(self) -> int:
        """Side of a training patch, in LR pixels."""
        side = self.train_set.lq_patch(self.scale)
        assert side is not None
        return side

    @property
    def network(self) -> NetworkOptions:
        """Options of the network."""
        return self.network_g
