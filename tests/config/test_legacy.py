"""Users' configurations of earlier trainers load, and changes are reported."""

from pathlib import Path

import pytest

from paragonsr.archs.classic_options import SOptions
from paragonsr.archs.release_options import PhotoOptions
from paragonsr.config import load_config
from paragonsr.config.load import Loaded
from paragonsr.errors import UserError

DATA = """\
datasets:
  train:
    name: train
    type: PairedImageDataset
    dataroot_gt: [/data/hr, /data/hr2]
    dataroot_lq: [/data/lr, /data/lr2]
    {size}
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 8
    batch_size_per_gpu: 16
    accum_iter: 1
    pin_memory: true
    dataset_enlarge_ratio: auto
    prefetch_mode: cpu
    io_backend: {{type: disk}}
  val:
    name: val
    type: pairedimagedataset
    dataroot_gt: /data/val_hr
    dataroot_lq: /data/val_lr
    lq_size: 128
    io_backend: {{type: disk}}
"""

ZERO_CONFIG = (
    """\
name: 2xParagonSR2_Nano_ZERO_CONFIG
scale: 2
use_amp: true
amp_bf16: true
num_gpu: auto
manual_seed: 1024
"""
    + DATA.format(size="lq_size: 128")
    + """\
network_g:
  type: paragonsr2_nano
path: {pretrain_network_g: ~, strict_load_g: true, resume_state: ~}
train:
  ema_decay: 0.999
  ema_power: 0.75
  grad_clip: true
  optim_g: {type: AdamW, lr: !!float 2e-4, weight_decay: !!float 1e-4, betas: [0.9, 0.99]}
  total_iter: 40000
  warmup_iter: 1000
  training_automations:
    enabled: true
    IntelligentLearningRateScheduler:
      enabled: true
      monitor_loss: true
      plateau_patience: 1000
      improvement_threshold: 0.002
      fallback: {scheduler_type: cosine, scheduler_params: {eta_min: 0.00001}}
      max_adjustments: 50
    DynamicBatchSizeOptimizer:
      enabled: true
      target_vram_usage: 0.80
      min_batch_size: 8
      max_batch_size: 16
      vram_history_size: 75
    AdaptiveGradientClipping:
      enabled: true
      initial_threshold: 0.8
      gradient_history_size: 150
    IntelligentEarlyStopping:
      enabled: true
      patience: 8000
      min_epochs: 2000
      improvement_threshold: 0.0008
      monitor_metric: "val/ssim"
  dynamic_loss_scheduling: {enabled: true, auto_calibrate: true}
  losses:
    - {type: l1loss, loss_weight: 1.0}
    - {type: ssimloss, loss_weight: 0.03}
val:
  val_enabled: true
  val_freq: 300
  save_img: false
  metrics_enabled: true
  metrics:
    psnr: {type: calculate_psnr, crop_border: 4}
    ssim: {type: calculate_ssim, crop_border: 4}
logger: {print_freq: 50, save_checkpoint_freq: 25000, save_checkpoint_format: safetensors, use_tb_logger: true}
"""
)

RELEASE = (
    """\
name: 2xParagonSR2_Photo_AUTO_fidelity
scale: 2
auto_vram_management:
  enabled: true
  target_vram_usage: 0.85
use_amp: true
amp_bf16: true
use_compile: false
compile_mode: default
num_gpu: auto
"""
    + DATA.format(size="lq_size: 96")
    + """\
network_g:
  type: paragonsr2_photo
  upsampler_alpha: 0.0
  attention_mode: sdpa
  use_content_aware: false
  gradient_checkpointing: true
path:
  pretrain_network_g: ~
  param_key_g: ~
train:
  ema_decay: 0.999
  optim_g: {type: adamw, lr: !!float 2e-4, betas: [0.9, 0.99]}
  scheduler: {type: MultiStepLR, milestones: [40000, 50000], gamma: 0.5}
  total_iter: 60000
  training_automations:
    enabled: true
    intelligent_learning_rate_scheduler: {enabled: true}
    DynamicBatchAndPatchSizeOptimizer:
      enabled: true
      target_vram_usage: 0.85
      min_batch_size: 2
      max_batch_size: 256
      min_lq_size: 64
      max_lq_size: 256
    IntelligentEarlyStopping:
      enabled: true
      patience: 10000
      convergence_threshold: 0.0001
      convergence_log_frequency: 500
    adaptive_gradient_clipping: {enabled: true}
  losses:
    - {type: l1loss, loss_weight: 1.0}
    - {type: mssimloss, loss_weight: 0.08, schedule_type: linear, warn_on_unused: false}
val:
  val_freq: 2000
  save_img: true
  tile_size: 0
  tile_overlap: 8
  metrics:
    psnr: {type: calculate_psnr, crop_border: 4, test_y_channel: true, better: higher}
logger: {print_freq: 100, save_checkpoint_freq: 10000, use_tb_logger: true, wandb: {project: ~, resume_id: ~}}
dist_params: {backend: nccl, port: 29500}
"""
)

OLD_STYLE = (
    """\
name: 2x_old_style
model_type: SRModel
scale: 2
num_gpu: 1
manual_seed: ~
"""
    + DATA.format(size="gt_size: 96")
    + """\
network_g:
  type: ParagonSR2_S
train:
  ema_decay: 0.999
  optim_g: {type: Adam, lr: !!float 2e-4, weight_decay: 0, betas: [0.9, 0.99]}
  scheduler: {type: multisteplr, milestones: [250000, 400000], gamma: 0.5}
  total_iter: 500000
  warmup_iter: -1
  pixel_opt: {type: CharbonnierLoss, loss_weight: !!float 1.0, reduction: mean}
  mssim_opt: {type: MSSIMLoss, loss_weight: !!float 1e-1}
  perceptual_opt: ~
  gan_opt: ~
  use_moa: false
val:
  val_freq: !!float 5e3
  save_img: false
  suffix: ~
logger:
  print_freq: 100
  save_checkpoint_freq: !!float 5e3
  save_checkpoint_format: pth
  use_tb_logger: true
"""
)


def _load(tmp_path: Path, text: str, *overrides: str) -> Loaded:
    path = tmp_path / "old.yml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def _complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        _load(tmp_path, text)
    return str(caught.value)


def _line(text: str, key: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.strip().startswith(f"{key}:"))


def test_a_configuration_with_automations_by_class_name(tmp_path: Path) -> None:
    loaded = _load(tmp_path, ZERO_CONFIG)
    config = loaded.config
    assert [(loss.type, loss.loss_weight) for loss in config.train.losses] == [("l1loss", 1.0), ("ssimloss", 0.03)]
    assert (config.train.optim_g.lr, config.train_set.dataroot_gt) == (2e-4, ["/data/hr", "/data/hr2"])
    sections = config.train.training_automations
    rate, batch = sections.intelligent_learning_rate_scheduler, sections.dynamic_batch_size_optimizer
    assert (rate.enabled, rate.improvement_threshold) == (True, 0.002)
    assert (batch.enabled, batch.target_vram_usage, batch.min_batch_size, batch.max_batch_size) == (True, 0.8, 8, 16)
    stop = sections.early_stopping
    assert (stop.enabled, config.val.metric, stop.patience) == (True, "ssim", 8000)
    assert sections.adaptive_gradient_clipping.enabled


def test_what_lost_its_meaning_is_named_once_and_together(tmp_path: Path) -> None:
    warnings = _load(tmp_path, ZERO_CONFIG).warnings
    said = "\n".join(warnings)
    for key in "pin_memory io_backend plateau_patience fallback vram_history_size initial_threshold min_epochs".split():
        assert key in said
    assert "monitor_loss, plateau_patience, fallback, max_adjustments" in said
    first, last = _line(ZERO_CONFIG, "monitor_loss"), _line(ZERO_CONFIG, "max_adjustments")
    assert f"(lines {first} to {last}) have no meaning here" in said
    assert len(warnings) == len(set(warnings)) < 12


def test_a_configuration_of_the_release_family(tmp_path: Path) -> None:
    loaded = _load(tmp_path, RELEASE)
    config = loaded.config
    assert isinstance(config.network, PhotoOptions)
    assert config.network.use_checkpointing
    batch = config.train.training_automations.dynamic_batch_size_optimizer
    assert (batch.enabled, batch.max_batch_size) == (True, 256)
    said = "\n".join(loaded.warnings)
    for key in "auto_vram_management compile_mode use_content_aware min_lq_size convergence_threshold".split():
        assert key in said


def test_a_configuration_with_a_section_for_each_loss(tmp_path: Path) -> None:
    loaded = _load(tmp_path, OLD_STYLE)
    config = loaded.config
    assert isinstance(config.network, SOptions)
    losses = [(loss.type, loss.loss_weight) for loss in config.train.losses]
    assert losses == [("charbonnierloss", 1.0), ("mssimloss", 0.1)]
    assert (config.val.val_freq, config.logger.save_checkpoint_freq) == (5000, 5000)
    assert config.patch == 48
    said = "\n".join(loaded.warnings)
    assert "train.pixel_opt (line" in said
    assert "was moved to train.losses.0" in said
    assert "save_checkpoint_format" in said, "pth becomes safetensors, and it is said"


def test_a_moved_key_keeps_its_line(tmp_path: Path) -> None:
    text = OLD_STYLE.replace("MSSIMLoss, loss_weight: !!float 1e-1", "MSSIMLoss, loss_weight: heavy")
    said = _complaint(tmp_path, text)
    assert f"old.yml:{_line(text, 'mssim_opt')}: train.losses.1.loss_weight" in said
    text = ZERO_CONFIG.replace("target_vram_usage: 0.80", "target_vram_usage: most")
    assert f"old.yml:{_line(text, 'target_vram_usage')}: " in _complaint(tmp_path, text)


def test_a_loss_section_that_is_no_loss_is_not_swallowed(tmp_path: Path) -> None:
    text = OLD_STYLE.replace("perceptual_opt: ~", "perceptual_opt: {vgg: 19}")
    assert f"old.yml:{_line(text, 'perceptual_opt')}: train.perceptual_opt: unknown key" in _complaint(tmp_path, text)


def test_what_would_train_something_else_is_refused(tmp_path: Path) -> None:
    text = OLD_STYLE + "network_d: {type: metagan2}\n"
    said = _complaint(tmp_path, text)
    assert "not built" in said
    assert f"old.yml:{len(text.splitlines())}: " in said


def test_h11_a_key_without_a_meaning_is_named(tmp_path: Path) -> None:
    said = "\n".join(_load(tmp_path, RELEASE).warnings)
    assert f"auto_vram_management (line {_line(RELEASE, 'auto_vram_management')}) has no meaning here" in said
    assert "(dynamic_batch_size_optimizer does that)" in said
