"""Keys of traiNNer-redux configurations that are spelt otherwise here, or that mean nothing here.

Renamed keys are carried over; keys without a meaning are dropped, each named once in a warning; keys that would make
the run something else than its owner asked for (a discriminator, on-the-fly degradation) are refused.
"""

from typing import Any

from paragonsr.config.yaml import Key
from paragonsr.data.options import IGNORED_KEYS as IGNORED_DATA
from paragonsr.errors import UserError

Tree = dict[str, Any]

IGNORED_TOP = {
    "input_pixel_format": "networks here take RGB",
    "output_pixel_format": "networks here give RGB",
    "launcher": "several processes are started with torchrun",
    "dist": "torchrun sets it",
    "dist_params": "torchrun sets it",
    "rank": "torchrun sets it",
    "world_size": "torchrun sets it",
    "auto_resume": "a run resumes by itself",
    "watch": "torch.compile and TensorBoard show more",
    "start_iter": "a run resumes by itself",
    "is_train": "the command says it",
    "root_path": "paths are relative to the working directory",
    "contents": "run.json holds the configuration",
    "switch_iter_per_epoch": "training counts iterations",
    "find_unused_parameters": "all parameters are used",
    "onnx": "exporting has a command of its own",
    "compile_mode": "torch.compile chooses",
    "auto_vram_management": "dynamic_batch_size_optimizer does that",
    "model_type": "there is one kind of model",
    "num_workers": "it stands in datasets.train.num_worker_per_gpu",
}
IGNORED_TRAIN = {
    "ema_switch_iter": "the average never replaces the trained weights",
    "ema_update_after_step": "ema_power already lets the average start fast",
    "adaptive_d": "there is no discriminator",
    "adaptive_d_ema_decay": "there is no discriminator",
    "adaptive_d_threshold": "there is no discriminator",
    "use_moa": "augmentations that mix images are not built",
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
        for stem in ("d", "ae", "g_ema", "ae_ema", "ae_decoder", "ae_decoder_ema")
        for key in (
            f"pretrain_network_{stem}",
            f"strict_load_{stem}",
            f"param_key_{stem}",
            f"pretrain_network_{stem}_path",
        )
    }
    | {
        "param_key_g": "weights are found by themselves",
        "pretrain_network_g_path": "use pretrain_network_g",
        "ignore_resume_networks": "a resume state is one file",
    }
)
IGNORED_VAL = {"suffix": "images carry the iteration"}
IGNORED_LOGGER = {"wandb": "TensorBoard is the log", "save_checkpoint_freq_latest": "autosave_minutes does that"}

IGNORED_IN_AUTOMATIONS = "the earlier automation read it, or nothing did; see docs/automations.md for today's keys"

AUTOMATION_NAMES = {
    "intelligentlearningratescheduler": "intelligent_learning_rate_scheduler",
    "dynamicbatchsizeoptimizer": "dynamic_batch_size_optimizer",
    "adaptivegradientclipping": "adaptive_gradient_clipping",
    "intelligentearlystopping": "early_stopping",
}
DEAD_AUTOMATION_KEYS = frozenset(
    """fallback max_adjustments monitor_loss monitor_validation adaptation_threshold plateau_patience min_lr_factor
    max_lr_factor architecture_hints vram_history_size initial_threshold min_threshold max_threshold adjustment_factor
    monitoring_frequency min_epochs min_iterations max_no_improvement improvement_threshold warmup_iterations
    lr_log_frequency convergence_log_frequency convergence_threshold min_sustained_convergence_for_log""".split()
)
REFUSED = {
    "network_d": "training with a discriminator is not built here; remove network_d",
    "network_ae": "training an autoencoder is not built here; remove network_ae",
    "high_order_degradation": "on-the-fly degradation is not built here; degrade the LR folder beforehand",
}
OTF_PREFIXES = (
    "blur_prob resize_ gaussian_noise_ poisson_ noise_range gray_noise_ jpeg_ p_clean queue_size lq_usm "
    "dataroot_lq_prob high_order_degradation webp_ avif_ heif_ oversharpen chromatic_ demosaic_ aliasing_ "
    "motion_blur lens_distort exposure_ color_temp sensor_noise rolling_shutter enable_sequences editing_ "
    "sequence_ predefined_sequences compression_ recompression_ thicklines_"
).split()


class Legacy:
    """Rewrites one tree in place; `warnings` lists what was dropped or renamed, each once."""

    def __init__(self, tree: Tree, lines: dict[Key, int]) -> None:
        self.tree, self.lines, self.warnings = tree, lines, list[str]()

    def rewrite(self) -> None:
        """Carry out all rules."""
        self._refuse()
        self._drop(self.tree, IGNORED_TOP, ())
        for key in [k for k in self.tree if isinstance(k, str) and k.startswith(tuple(OTF_PREFIXES))]:
            self._drop(self.tree, {key: "on-the-fly degradation is not built here, and it was off"}, ())
        for phase, dataset in _mappings(self.tree.get("datasets")):
            self._drop(dataset, IGNORED_DATA, ("datasets", phase))
        for section, ignored in (("path", IGNORED_PATH), ("val", IGNORED_VAL), ("logger", IGNORED_LOGGER)):
            if isinstance(self.tree.get(section), dict):
                self._drop(self.tree[section], ignored, (section,))
            elif section in self.tree and self.tree[section] is None:
                del self.tree[section]
        if isinstance(self.tree.get("train"), dict):
            self._train(self.tree["train"])

    def _refuse(self) -> None:
        for key, why in REFUSED.items():
            if self.tree.get(key):
                raise UserError(f"{key}: {why}", where=f"line {self.lines.get((key,), '?')}")
            self.tree.pop(key, None)

    def _drop(self, section: Tree, ignored: dict[str, str], at: Key) -> None:
        for key in [k for k in section if k in ignored]:
            if section.pop(key) is not None:
                self._warn((*at, key), f"has no meaning here ({ignored[key]})")

    def _warn(self, at: Key, text: str) -> None:
        line = self.lines.get(at)
        name = ".".join(map(str, at))
        self.warnings.append(f"{name} (line {line}) {text}" if line else f"{name} {text}")

    def _train(self, train: Tree) -> None:
        self._drop(train, IGNORED_TRAIN, ("train",))
        for key in [k for k in train if isinstance(k, str) and k.endswith("_opt")]:
            value = train.pop(key)
            if isinstance(value, dict) and "type" in value:
                train.setdefault("losses", []).append(value)
                self._warn(("train", key), "was moved into train.losses")
        for index, loss in enumerate(train.get("losses") or []):
            if isinstance(loss, dict):
                if loss.get("reduction") == "mean":
                    del loss["reduction"]  # every loss here is a mean
                self._drop(loss, IGNORED_LOSS, ("train", "losses", index))
        for section in ("training_automations", "dynamic_loss_scheduling"):
            if section in self.tree:
                train.setdefault(section, self.tree.pop(section))
            if section in train and train[section] is None:
                del train[section]
        for section in ("training_config", "architecture_type"):
            if isinstance(train.get("dynamic_loss_scheduling"), dict):
                self._drop(
                    train["dynamic_loss_scheduling"],
                    {section: "the training images are measured"},
                    ("train", "dynamic_loss_scheduling"),
                )
        if isinstance(train.get("training_automations"), dict):
            train["training_automations"] = self._automations(train["training_automations"])

    def _automations(self, sections: Tree) -> Tree:
        renamed: Tree = {}
        for name, section in sections.items():
            today = AUTOMATION_NAMES.get(str(name).lower().replace("_", ""), name)
            renamed[today] = section
            if not isinstance(section, dict):
                continue
            at: Key = ("train", "training_automations", name)
            if "monitor_metric" in section:
                section.setdefault("metric", section.pop("monitor_metric"))
            live = {"improvement_threshold"} if today == "intelligent_learning_rate_scheduler" else set()
            self._drop(section, dict.fromkeys(DEAD_AUTOMATION_KEYS - live, IGNORED_IN_AUTOMATIONS), at)
        return renamed


def _mappings(tree: Any) -> list[tuple[str, Tree]]:
    return [(k, v) for k, v in tree.items() if isinstance(v, dict)] if isinstance(tree, dict) else []
