"""Keys of traiNNer-redux, neosr, BasicSR and the earlier fork: one table for each kind of key.

`paragonsr.config.legacy` carries the tables out. A key that is in none of them, and that no option has, is a typo.
"""

from typing import Any

RENAMED: dict[tuple[str, ...], dict[str, str]] = {
    (): {"bfloat16": "amp_bf16", "compile": "use_compile"},
    ("datasets", "*"): {"batch_size": "batch_size_per_gpu", "accumulate": "accum_iter", "patch_size": "lq_size"},
    ("train",): {"grad_clip_max_norm": "grad_clip_norm", "ema": "ema_decay"},
    ("path",): {"readings": "system_stats", "pretrain_network_g_path": "pretrain_network_g"},
    ("network_g",): {"gradient_checkpointing": "use_checkpointing"},
    ("network_d",): {"ndf": "num_feat"},
}
"""Section -> old key -> today's key in the same section; `*` is any phase. The value means the same."""

MIXED = "pairs and degraded HR images are not mixed in one set; use one of them"
STEP_INSTEAD = "add it as a step of datasets.train.degradation, {type: pipeline, steps: [...]}, or set it to 0"
QUEUE = "each sample has its own degradation, so none waits in a queue"
DISCRIMINATOR = "this discriminator is not built; there are unetdiscriminatorsn, dunet and patchgan"
EVERY_STEP = "the discriminator learns at every step; remove it"
PERCEPTUAL = "this perceptual loss is not built; there are perceptualloss, distsloss, ldlloss and slicedwassersteinloss"
UNBUILT_LOSS = "this loss is not built; remove it, or add it with `plugins`"
UNBUILT_METRIC = "this metric is not built; remove it, or add it with `plugins`"
UNBUILT_SCHEDULER = "this schedule is not built; there are MultiStepLR, CosineAnnealingLR, WSD and others"
VIDEO = "training on video is not built"
NO_HR = "a set of LR images alone cannot be measured; use paragonsr upscale for it"
AUTOENCODER = "training an autoencoder is not built; remove it"
UNBUILT_NETWORK = "this network is neither built here nor known to spandrel"
MOA = "augmentations that mix images are not built; set it to false"
LIST_OF_IMAGES = "a list of images is not read; use a folder of these images, or a manifest of paragonsr data select"

WEIGHTLESS = frozenset("ganloss gan perceptualloss perceptual perceptualfp16loss distsloss dists".split())
"""Losses with a network, which is not even made if their weight is 0."""
NOT_BUILT: dict[str, dict[str, str]] = {
    "network_g": dict.fromkeys(
        """artcnn artcnn_r16f96 artcnn_r3f24 artcnn_r5f48 artcnn_r8f24 artcnn_r8f48 artcnn_r8f64 cascadedgaze
        dat_iln dat_iln_2 dat_iln_light dat_iln_s dis_balanced dis_fast docres docres_base docres_large dwt
        dwt_s eimn eimn_a eimn_l elan elan_light emt escrealm escrealm_xl flexnet gaterv3 gaterv3_r
        gaterv3_s hat_iln_l hat_iln_l_aligned hat_iln_m hat_iln_m_aligned hat_iln_s hat_l_aligned
        hat_l_aligned_down hit_sir hit_sng hit_srf lkfmixer_b lkfmixer_l lkfmixer_t lmlt lmlt_base
        lmlt_large lmlt_tiny man man_light man_tiny metaflexnet mosrv2 rtmosr rtmosr_l rtmosr_ul
        scunet_aaf6aa sebica sebica_mini spanf spanplus spanplus_s spanplus_st spanplus_sts srformerv2
        unetsegmentation
        """.split(),
        UNBUILT_NETWORK,
    )
    | dict.fromkeys("temporalspan temporalspanv2 tfdat tscunet".split(), VIDEO)
    | dict.fromkeys("autoencoder".split(), AUTOENCODER),
    "network_d": dict.fromkeys(
        "metagan metagan2 metagan3 vggstylediscriminator docres_discriminator".split(),
        DISCRIMINATOR,
    ),
    "losses": dict.fromkeys(
        """adistsloss aesoploss contextualloss fliploss linedistillerloss perceptualanimeloss
        topiqloss hrinversionloss pdloss fdloss patchloss""".split(),
        PERCEPTUAL,
    )
    | dict.fromkeys(
        """averageloss bicubicloss bcewithlogitsdiceloss cosimloss gradientvarianceloss msssiml1loss nccloss
        sobeledgeloss structuretextureloss consistencyloss chcloss wganloss weightedtvloss""".split(),
        UNBUILT_LOSS,
    ),
    "metrics": dict.fromkeys(
        [f"{prefix}{name}" for name in ("topiq", "niqe", "ilniqe") for prefix in ("calculate_", "")],
        UNBUILT_METRIC,
    ),
    "datasets": {"realesrganpaireddataset": MIXED}
    | dict.fromkeys("pairedvideodataset singlevideodataset videotestdataset reddataset vimeo90kdataset".split(), VIDEO)
    | {"singlelqdataset": NO_HR},
    "scheduler": dict.fromkeys(
        """constantlr linearlr exponentiallr cycliclr steplr lambdalr multiplicativelr sequentiallr chainedscheduler
        polynomiallr cosineannealingwarmuplr kneelr warmupstabledecaylr linear vibratelr twostagecosinelr""".split(),
        UNBUILT_SCHEDULER,
    ),
}
"""Where a `type` chooses -> the types that others have and this project has not -> why."""


def why_not_built(kind: str, name: str) -> str | None:
    """Why a type of others cannot be had here; None where it is not one of theirs.

    Args:
        kind: a key of `NOT_BUILT`.
        name: in any case.
    """
    return NOT_BUILT[kind].get(name.lower())


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "network_ae": ((), AUTOENCODER),
    "input_pixel_format": (("RGB", "rgb"), "networks here take RGB"),
    "output_pixel_format": (("RGB", "rgb"), "networks here give RGB"),
    "ema_switch_iter": ((), "the average never replaces the trained weights; remove it"),
    "use_moa": ((), MOA),
    "meta_info": ((), LIST_OF_IMAGES),
    "meta_info_file": ((), LIST_OF_IMAGES),
    "color": (("rgb", "RGB"), "networks here take RGB"),
    "mean": (([0, 0, 0],), "networks here take colours in [0, 1]"),
    "std": (([1, 1, 1],), "networks here take colours in [0, 1]"),
    "eco": ((), "this curriculum is not built; a teacher with a fixed share is train.teacher_share"),
    "sam": ((), "this optimiser is not built; remove it"),
    "wavelet_guided": ((), UNBUILT_LOSS),
    "match_lq": ((), "colours are not matched to the LR image; remove it"),
    "match_lq_colors": ((), "colours are not matched to the LR image; remove it"),
    "augmentation": (([],), MOA),
    "net_d_iters": ((1,), EVERY_STEP),
    "net_d_init_iters": ((0,), EVERY_STEP),
    "pretrain_network_g_ema": ((), "the average starts from pretrain_network_g; remove it"),
}
"""Keys that would change what is trained: neutral values, and the message about the others. A section with
`enabled: false` is always neutral."""

SILENT = frozenset("restart_scheduler high_order_degradations_debug high_order_degradations_debug_limit".split())
"""Keys that change nothing here, whatever their value: a schedule here is a function of the iteration, for one."""

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
    "adaptive_d": "the discriminator learns at every step",
    "adaptive_d_ema_decay": "the discriminator learns at every step",
    "adaptive_d_threshold": "the discriminator learns at every step",
    "moa_augs": "augmentations that mix images are not built",
    "moa_probs": "augmentations that mix images are not built",
    "moa_debug": "augmentations that mix images are not built",
    "moa_debug_limit": "augmentations that mix images are not built",
    "optim_ae": "there is no autoencoder",
}
IGNORED_LOSS = {
    "loss_decay": "a ramp is target_iter and target_weight",
    "loss_inflection": "a ramp is target_iter and target_weight",
    "inflection": "a ramp is target_iter and target_weight",
    "warn_on_unused": "unknown keys are errors",
} | dict.fromkeys("w_lambda num_proj_fd phase_weight_fd stride_fd".split(), "no criterion here reads it")
SAME_LOSS = {"gan_type": {"wgan_softplus": "vanilla"}}
"""Key of losses -> value -> our value, which means the same formula."""
NEUTRAL_LOSS: dict[str, tuple[Any, ...]] = {
    "reduction": ("mean",),
    "vgg_type": ("vgg19",),
    "use_input_norm": (True,),
    "range_norm": (False,),
    "style_weight": (0, 0.0),
    "as_loss": (True,),
    "load_weights": (True,),
    "clip_min": (0, 0.0),
    "antialiased": (False,),
    "verbose_logging": (False,),
}
"""Keys of losses -> values that say what is done here anyway."""
NEUTRAL_NETWORK_D: dict[str, tuple[Any, ...]] = {
    "num_in_ch": (3,),
    "in_ch": (3,),
    "input_nc": (3,),
    "use_sigmoid": (False,),
}
"""Keys of discriminators -> values that say what is done here anyway."""
MULTI_SCALE = {"multiscalepatchgandiscriminatorsn": ("patchgan", 3)}
"""Discriminators of several scales -> the type of each, and their default number. Theirs judges the mean of all logits,
ours each logit."""
IGNORED_PATH = (
    dict.fromkeys(
        "models resume_models training_states log visualization results_root".split(), "a run's folders are fixed"
    )
    | {
        key: "there is only network_g"
        for stem in ("ae", "ae_ema", "ae_decoder", "ae_decoder_ema")
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
        "ignore_resume_networks": "a resume state is one file",
    }
)
IGNORED_VAL = {"suffix": "images carry the iteration"}
IGNORED_LOGGER = {
    "wandb": "add {type: wandb} to logger.loggers",
    "save_checkpoint_freq_latest": "autosave_minutes does it",
}
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
DEGRADATION_PREFIXES = tuple(
    """blur_prob second_blur_prob resize_ gaussian_noise_ poisson_ noise_range gray_noise_ jpeg_ p_clean
    queue_size lq_usm dataroot_lq_prob webp_ avif_ heif_ oversharpen chromatic_ demosaic_ aliasing_
    motion_blur lens_distort exposure_ color_temp sensor_noise rolling_shutter enable_sequences editing_
    sequence_ predefined_sequences compression_ recompression_ thicklines_""".split()
)
"""How the top-level keys of degradation while training begin; they count only together with it."""

_FOUR_FILTERS = ["bilinear", "bicubic", "nearest-exact", "lanczos"]
REDUX_DEGRADATION: dict[str, Any] = (
    {"final_sinc_prob": 0.0, "final_kernel_range": [5, 17], "resize_mode_list3": _FOUR_FILTERS}
    | {f"blur_prob{stage}": 0.0 for stage in ("", "2")}
    | {f"blur_kernel_size{stage}": 12 for stage in ("", "2")}
    | {f"kernel_range{stage}": [5, 17] for stage in ("", "2")}
    | {f"sinc_prob{stage}": 0.0 for stage in ("", "2")}
    | {f"resize_mode_list{stage}": _FOUR_FILTERS for stage in ("", "2")}
    | {f"gaussian_noise_prob{stage}": 0.0 for stage in ("", "2")}
    | {f"noise_range{stage}": [0, 0] for stage in ("", "2")}
    | {f"poisson_scale_range{stage}": [0, 0] for stage in ("", "2")}
    | {f"gray_noise_prob{stage}": 0.0 for stage in ("", "2")}
    | {f"jpeg_range{stage}": [75, 95] for stage in ("", "2")}
    | {"blur_sigma": [0.2, 2], "blur_sigma2": [0.2, 1], "resize_range": [0.4, 1.5], "resize_range2": [0.6, 1.2]}
)
"""Defaults of traiNNer-redux where they differ from those of Real-ESRGAN."""
