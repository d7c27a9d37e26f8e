"""Keys of traiNNer-redux configurations that are spelt otherwise here, or that mean nothing here.

Renamed keys are carried over; keys without a meaning are dropped, each named once in a warning; keys that would make
the run something else than its owner asked for (a discriminator, on-the-fly degradation) are refused.
"""

from typing import Any

from paragonsr.archs.options import NETWORKS
from paragonsr.archs.release_options import ReleaseOptions
from paragonsr.config.yaml import Key, place
from paragonsr.data.options import IGNORED_KEYS as IGNORED_DATA

Tree = dict[str, Any]

IGNORED_TOP = {
    "launcher": "several processes are started with torchrun",
    "dist": "torchrun sets it",
    "dist_params": "torchrun sets it",
    "rank": "torchrun sets it",
    "world_size": "torchrun sets it",
    "auto_resume": "a run resumes by itself",
    "watch": "torch.compile and TensorBoard show more",
    "start_iter": "a run resumes by itself",
    "is_train": "the command decides it",
    "root_path": "paths are relative to the working directory",
    "contents": "run.json holds the configuration",
    "switch_iter_per_epoch": "training counts iterations",
    "find_unused_parameters": "all parameters are used",
    "onnx": "paragonsr export does that",
    "compile_mode": "torch.compile chooses",
    "auto_vram_management": "dynamic_batch_size_optimizer does that",
    "model_type": "there is one kind of model",
    "num_workers": "set datasets.train.num_worker_per_gpu",
}
IGNORED_TRAIN = {
    "ema_update_after_step": "ema_power already lets the average start fast",
    "adaptive_d": "there is no discriminator",
    "adaptive_d_ema_decay": "there is no discriminator",
    "adaptive_d_threshold": "there is no discriminator",
    "moa_augs": "augmentations that mix images are not built",
    "moa_probs": "augmentations that mix images are not built",
    "moa_debug": "augmentations that mix images are not built",
    "moa_debug_limit": "augmentations that mix images are not built",
    "optim_d": "there is no discriminator",
    "optim_ae": "there is no autoencoder",
}
IGNORED_LOSS = {
    "loss_decay": "a ramp is target_iter and target_weight",
    "loss_inflection": "a ramp is target_iter and target_weight",
    "inflection": "a ramp is target_iter and target_weight",
    "warn_on_unused": "unknown keys are errors",
}
IGNORED_PATH = (
    dict.fromkeys(
        "models resume_models training_states log visualization results_root".split(), "a run's folders are fixed"
    )
    | {
        key: "there is only network_g"
        for stem in ("ae", "g_ema", "ae_ema", "ae_decoder", "ae_decoder_ema")
        for key in (
            f"pretrain_network_{stem}",
            f"strict_load_{stem}",
            f"param_key_{stem}",
            f"pretrain_network_{stem}_path",
        )
    }
    | {
        "strict_load_d": "the discriminator's weights are always loaded whole",
        "param_key_d": "weights are found by themselves",
        "pretrain_network_g_path": "use pretrain_network_g",
        "ignore_resume_networks": "a resume state is one file",
    }
)
IGNORED_VAL = {"suffix": "images carry the iteration"}
IGNORED_LOGGER = {"wandb": "TensorBoard is the log", "save_checkpoint_freq_latest": "autosave_minutes does that"}
IGNORED_RELEASE = {"use_content_aware": "this network has no content gain, and never had"}

IGNORED_IN_AUTOMATIONS = "the earlier automation read it, or nothing did; see docs/automations.md for today's keys"

AUTOMATION_NAMES = {
    "intelligentlearningratescheduler": "intelligent_learning_rate_scheduler",
    "dynamicbatchsizeoptimizer": "dynamic_batch_size_optimizer",
    "dynamicbatchandpatchsizeoptimizer": "dynamic_batch_size_optimizer",
    "adaptivegradientclipping": "adaptive_gradient_clipping",
    "intelligentearlystopping": "early_stopping",
}
DEAD_AUTOMATION_KEYS = frozenset(
    """fallback max_adjustments monitor_loss monitor_validation adaptation_threshold plateau_patience min_lr_factor
    max_lr_factor architecture_hints vram_history_size initial_threshold min_threshold max_threshold adjustment_factor
    monitoring_frequency min_epochs min_iterations max_no_improvement improvement_threshold warmup_iterations
    lr_log_frequency convergence_log_frequency convergence_threshold min_sustained_convergence_for_log
    min_lq_size max_lq_size use_vram_manager_integration""".split()
)
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "network_d": ((), "training with a discriminator is not built yet; remove network_d"),
    "network_ae": ((), "training an autoencoder is not built; remove network_ae"),
    "high_order_degradation": ((), "this degradation is not built yet; degrade the LR folder beforehand"),
    "input_pixel_format": (("RGB", "rgb"), "networks here take RGB"),
    "output_pixel_format": (("RGB", "rgb"), "networks here give RGB"),
    "ema_switch_iter": ((), "the average never replaces the trained weights; remove it"),
    "use_moa": ((), "augmentations that mix images are not built; set it to false"),
    "meta_info": (
        (),
        "a list of images is not read; use a folder of these images, or a manifest of paragonsr data select",
    ),
    "meta_info_file": (
        (),
        "a list of images is not read; use a folder of these images, or a manifest of paragonsr data select",
    ),
    "color": (("rgb", "RGB"), "networks here take RGB"),
    "mean": (([0, 0, 0],), "networks here take colours in [0, 1]"),
    "std": (([1, 1, 1],), "networks here take colours in [0, 1]"),
}
"""Keys that would make the run something else: neutral values, and what is said about the others."""
OTF_PREFIXES = (
    "blur_prob resize_ gaussian_noise_ poisson_ noise_range gray_noise_ jpeg_ p_clean queue_size lq_usm "
    "dataroot_lq_prob high_order_degradation webp_ avif_ heif_ oversharpen chromatic_ demosaic_ aliasing_ "
    "motion_blur lens_distort exposure_ color_temp sensor_noise rolling_shutter enable_sequences editing_ "
    "sequence_ predefined_sequences compression_ recompression_ thicklines_"
).split()


class Legacy:
    """Rewrites one tree in place; `warnings` lists what was dropped or renamed, each once.

    Args:
        tree: of the configuration.
        lines: where each of its keys stands; keys that move take their line with them.
        file: for messages.
    """

    def __init__(self, tree: Tree, lines: dict[Key, int], file: str) -> None:
        self.tree, self.lines, self.file, self.warnings = tree, lines, file, list[str]()
        self.refused: list[str] = []
        """What the run is asked to be and cannot be, each with its line."""

    def rewrite(self) -> None:
        """Carry out all rules."""
        self._refuse()
        self._drop(self.tree, IGNORED_TOP, ())
        off = "on-the-fly degradation is not built here, and it was off"
        self._drop(self.tree, {k: off for k in self.tree if str(k).startswith(tuple(OTF_PREFIXES))}, ())
        for phase, dataset in _mappings(self.tree.get("datasets")):
            self._drop(dataset, IGNORED_DATA, ("datasets", phase))
        for section, ignored in (("path", IGNORED_PATH), ("val", IGNORED_VAL), ("logger", IGNORED_LOGGER)):
            if isinstance(self.tree.get(section), dict):
                self._drop(self.tree[section], ignored, (section,))
        if isinstance(self.tree.get("logger"), dict):
            self._logger(self.tree["logger"])
        if isinstance(self.tree.get("network_g"), dict):
            self._network(self.tree["network_g"])
        for section in ("training_automations", "dynamic_loss_scheduling"):
            if section in self.tree:
                self._move((section,), ("train", section))
        if isinstance(self.tree.get("path"), dict) and "readings" in self.tree["path"]:
            self._move(("path", "readings"), ("path", "system_stats"))
        if isinstance(self.tree.get("train"), dict):
            self._train(self.tree["train"])

    def _refuse(self) -> None:
        """Take out what cannot be built, and say so; a neutral value changes nothing and is taken out in silence."""
        sections: list[tuple[Key, Any]] = [((), self.tree), (("train",), self.tree.get("train"))]
        sections += [(("datasets", phase), dataset) for phase, dataset in _mappings(self.tree.get("datasets"))]
        for at, section in sections:
            for key in [key for key in section if key in REFUSED] if isinstance(section, dict) else ():
                neutral, why = REFUSED[key]
                value = section.pop(key)
                if value and value not in neutral:
                    where = place(self.file, self.lines.get((*at, key)))
                    self.refused.append(f"{where}: {_dotted((*at, key))}: {why}")

    def _drop(self, section: Tree, ignored: dict[str, str], at: Key) -> None:
        """Take keys out, and say so in one warning for all those of a section that have the same reason."""
        dropped: dict[str, list[str]] = {}
        for key in [k for k in section if k in ignored]:
            if section.pop(key) is not None:
                dropped.setdefault(ignored[key], []).append(key)
        for reason, keys in dropped.items():
            where = self._where([(*at, key) for key in keys])
            verb = "has" if len(keys) == 1 else "have"
            self.warnings.append(f"{_dotted((*at, ', '.join(keys)))}{where} {verb} no meaning here ({reason})")

    def _where(self, keys: list[Key]) -> str:
        numbers = sorted({self.lines[key] for key in keys if self.lines.get(key)})
        if not numbers:
            return ""
        return f" (line {numbers[0]})" if len(numbers) == 1 else f" (lines {numbers[0]} to {numbers[-1]})"

    def _move(self, old: Key, new: Key) -> None:
        """Put what stands at one place to another, unless something stands there, with its line and a warning."""
        value = _parent(self.tree, old).pop(old[-1])
        home = _parent(self.tree, new)
        if isinstance(home, list):
            home.append(value)
        elif isinstance(home, dict):
            home.setdefault(new[-1], value)
        self.warnings.append(f"{_dotted(old)}{self._where([old])} was moved to {_dotted(new)}")
        for key in [key for key in self.lines if key[: len(old)] == old]:
            self.lines[(*new, *key[len(old) :])] = self.lines[key]

    def _logger(self, logger: Tree) -> None:
        if logger.get("save_checkpoint_format") == "pth":
            where = self._where([("logger", "save_checkpoint_format")])
            self.warnings.append(f"logger.save_checkpoint_format{where} is safetensors here, which others read as well")
            del logger["save_checkpoint_format"]

    def _network(self, network: Tree) -> None:
        if "gradient_checkpointing" in network:
            self._move(("network_g", "gradient_checkpointing"), ("network_g", "use_checkpointing"))
        options = NETWORKS.get(str(network.get("type")).lower())
        if options is not None and issubclass(options, ReleaseOptions):
            self._drop(network, IGNORED_RELEASE, ("network_g",))

    def _train(self, train: Tree) -> None:
        self._drop(train, IGNORED_TRAIN, ("train",))
        for key in [k for k in train if isinstance(k, str) and k.endswith("_opt")]:
            if train[key] is None:
                del train[key]
            elif isinstance(train[key], dict) and "type" in train[key]:
                losses = train["losses"] = train.get("losses") or []
                if isinstance(losses, list):
                    self._move(("train", key), ("train", "losses", len(losses)))
        losses = train.get("losses")
        for index, loss in enumerate(losses if isinstance(losses, list) else []):
            if isinstance(loss, dict):
                if loss.get("reduction") == "mean":
                    del loss["reduction"]  # every loss here is a mean
                self._drop(loss, IGNORED_LOSS, ("train", "losses", index))
        if isinstance(train.get("dynamic_loss_scheduling"), dict):
            measured = dict.fromkeys(("training_config", "architecture_type"), "the training images are measured")
            self._drop(train["dynamic_loss_scheduling"], measured, ("train", "dynamic_loss_scheduling"))
        if isinstance(train.get("training_automations"), dict):
            train["training_automations"] = self._automations(train["training_automations"])
        self._deciding_metric(train)

    def _deciding_metric(self, train: Tree) -> None:
        """`metric` and `save_best` were keys of early_stopping, and `metric` of ReduceLROnPlateau; now of `val`."""
        sections = train.get("training_automations")
        stopping = sections.get("early_stopping") if isinstance(sections, dict) else None
        at: Key = ("train", "training_automations", "early_stopping")
        for section, old in ((stopping, at), (train.get("scheduler"), ("train", "scheduler"))):
            for key in ("metric", "save_best"):
                home = _parent(self.tree, ("val", key))
                if isinstance(section, dict) and key in section and isinstance(home, dict):
                    home.setdefault(key, section.pop(key))
                    self.lines.setdefault(("val", key), self.lines.get((*old, key), 0))
        val = self.tree.get("val")
        if isinstance(val, dict) and isinstance(val.get("metric"), str):
            val["metric"] = val["metric"].removeprefix("val/")

    def _automations(self, sections: Tree) -> Tree:
        renamed: Tree = {}
        at: Key = ("train", "training_automations")
        for name, section in sections.items():
            today = AUTOMATION_NAMES.get(str(name).lower().replace("_", ""), name)
            renamed[today] = section
            if not isinstance(section, dict):
                continue
            if "monitor_metric" in section:
                section.setdefault("metric", section.pop("monitor_metric"))
            live = {"improvement_threshold"} if today == "intelligent_learning_rate_scheduler" else set()
            self._drop(section, dict.fromkeys(DEAD_AUTOMATION_KEYS - live, IGNORED_IN_AUTOMATIONS), (*at, name))
            for key in [key for key in self.lines if key[:3] == (*at, name)]:
                self.lines[(*at, today, *key[3:])] = self.lines[key]
        return renamed


def _mappings(tree: Any) -> list[tuple[str, Tree]]:
    return [(k, v) for k, v in tree.items() if isinstance(v, dict)] if isinstance(tree, dict) else []


def _parent(tree: Tree, at: Key) -> Any:
    """What holds the place, made where it is absent or empty; what is no mapping has no places."""
    here: Any = tree
    for part in at[:-1]:
        if not isinstance(here, dict):
            return None
        if here.get(part) is None:
            here[part] = {}
        here = here[part]
    return here


def _dotted(at: Key) -> str:
    return ".".join(map(str, at))
