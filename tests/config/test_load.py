"""Loading of users' configurations, and the messages when something is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from paragonsr.config import load_config
from paragonsr.config.load import Loaded
from paragonsr.errors import UserError

ROOT = Path(__file__).parents[2]
ULTRA = ROOT / "options/train/ParagonSR2/dataset"
NANO = ULTRA / "2xParagonSR2_Nano_CC0_complexity05_ULTRA_FIDELITY.yml"
S = ULTRA / "2xParagonSR2_S_CC0_complexity05_ULTRA_FIDELITY.yml"

MINIMAL = """\
name: tiny
scale: 2
datasets:
  train:
    type: singleimagedataset
    dataroot_gt: hr
    lq_size: 16
    batch_size_per_gpu: 2
network_g:
  type: paragonsr2_nano
train:
  total_iter: 10
  optim_g:
    type: AdamW
    lr: 1e-4
  losses:
    - type: l1loss
"""


def _load(tmp_path: Path, text: str, *overrides: str) -> Loaded:
    path = tmp_path / "config.yml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def _complaint(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        _load(tmp_path, text, *overrides)
    return str(caught.value)


def test_the_seeds_nano_configuration_has_every_figure() -> None:
    config = load_config(NANO).config
    assert (config.name, config.scale) == ("2xParagonSR2_Nano_fidelity", 2)
    assert (config.use_amp, config.amp_bf16, config.use_channels_last, config.fast_matmul) == (True, True, True, False)
    data = config.train_set
    assert (data.lq_size, data.batch_size_per_gpu, data.accum_iter, data.num_worker_per_gpu) == (128, 32, 1, 8)
    assert data.dataroot_gt == "datasets/cc0/cc0_c5_hr"
    assert config.network.type == "paragonsr2_nano"
    train = config.train
    assert (train.ema_decay, train.ema_power, train.grad_clip) == (0.999, 0.75, True)
    optimiser = train.optim_g
    assert (optimiser.type, optimiser.lr, optimiser.weight_decay, optimiser.betas) == ("AdamW", 2e-4, 1e-4, [0.9, 0.99])
    assert (train.scheduler.milestones, train.scheduler.gamma) == ([40000, 50000, 55000], 0.5)
    assert (train.total_iter, train.warmup_iter) == (60000, 1000)
    balance = train.dynamic_loss_scheduling
    assert (balance.enabled, balance.auto_calibrate, balance.momentum, balance.adaptation_rate) == (
        True,
        True,
        0.9,
        0.01,
    )
    assert (balance.min_weight, balance.max_weight) == (1e-6, 100)
    assert (balance.adaptation_threshold, balance.baseline_iterations) == (0.05, 200)
    automations = train.training_automations
    rate = automations.intelligent_learning_rate_scheduler
    assert (rate.enabled, rate.strategy) == (True, "adaptive")
    assert (rate.adaptation_frequency, rate.improvement_threshold) == (1000, 0.001)
    batch = automations.dynamic_batch_size_optimizer
    assert (batch.enabled, batch.target_vram_usage, batch.safety_margin) == (True, 0.85, 0.05)
    assert batch.adjustment_frequency == 500
    stop = automations.early_stopping
    assert (stop.enabled, stop.patience, stop.min_improvement, config.val.metric) == (True, 3000, 0.0005, "psnr")
    assert [(loss.type, loss.loss_weight) for loss in train.losses] == [("l1loss", 1.0), ("mssimloss", 0.05)]
    assert (config.val.val_freq, config.val.save_img) == (1000, True)
    assert [metric.crop_border for metric in config.val.metrics.values()] == [4, 4]
    assert (config.logger.print_freq, config.logger.save_checkpoint_freq) == (100, 10000)


def test_the_seeds_s_configuration_has_every_figure() -> None:
    config = load_config(S).config
    assert config.name == "2xParagonSR2_S_CC0_complexity05_ULTRA_FIDELITY"
    assert (config.network.type, config.train_set.batch_size_per_gpu) == ("paragonsr2_s", 12)
    train = config.train
    assert (train.optim_g.lr, train.scheduler.milestones) == (1e-4, [60000, 80000, 95000])
    assert (train.total_iter, train.warmup_iter) == (100000, 1500)
    balance = train.dynamic_loss_scheduling
    assert (balance.adaptation_rate, balance.adaptation_threshold, balance.baseline_iterations) == (0.008, 0.03, 300)
    automations = train.training_automations
    assert automations.intelligent_learning_rate_scheduler.adaptation_frequency == 1500
    assert automations.intelligent_learning_rate_scheduler.improvement_threshold == 0.0008
    batch = automations.dynamic_batch_size_optimizer
    assert (batch.target_vram_usage, batch.safety_margin, batch.adjustment_frequency) == (0.80, 0.08, 1000)
    assert (automations.early_stopping.patience, automations.early_stopping.min_improvement) == (5000, 0.0003)
    assert [loss.loss_weight for loss in train.losses] == [1.0, 0.08]


@pytest.mark.parametrize("path", sorted((ROOT / "options" / "train").rglob("*.yml")), ids=lambda path: path.name)
def test_d27_every_configuration_that_is_shipped_loads_without_a_warning(path: Path) -> None:
    assert load_config(path).warnings == ()


@pytest.mark.parametrize("number", ["1e-4", "1.0e-4", "!!float 1e-4", "0.0001", "1E-4", "+1e-4"])
def test_d15_every_spelling_of_a_number_is_a_number(tmp_path: Path, number: str) -> None:
    assert _load(tmp_path, MINIMAL.replace("1e-4", number)).config.train.optim_g.lr == 1e-4


def test_overrides_reach_sections_lists_and_new_keys(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        MINIMAL,
        "train.total_iter=2000",
        "train.losses.0.loss_weight=5e-1",
        "logger.print_freq=7",
        "datasets.train.dataroot_gt=[a, b]",
    ).config
    assert config.train.total_iter == 2000
    assert config.train.losses[0].loss_weight == 0.5
    assert config.logger.print_freq == 7
    assert config.train_set.dataroot_gt == ["a", "b"]


def test_an_override_takes_a_key_out(tmp_path: Path) -> None:
    text = MINIMAL.replace("    lq_size: 16", "    lq_size: 16\n    dataroot_lq: lr").replace("single", "paired")
    config = _load(
        tmp_path, text, "datasets.train.type=singleimagedataset", "datasets.train.dataroot_lq=~", "manual_seed=~"
    ).config
    assert config.train_set.lq_roots is None
    assert config.manual_seed == 0


def test_unknown_key_names_line_and_what_was_meant(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("total_iter: 10", "total_iter: 10\n  warmup_itr: 5"))
    assert "config.yml:13: train.warmup_itr: unknown key; did you mean 'warmup_iter'?" in said


def test_unknown_key_deep_in_a_variant(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("lr: 1e-4", "lr: 1e-4\n    beta: [0.9, 0.99]"))
    assert "config.yml:16: train.optim_g.beta: unknown key; did you mean 'betas'?" in said


def test_unknown_arch_names_what_was_meant(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("paragonsr2_nano", "paragonsr2_nanno"))
    assert "config.yml:10: network_g: unknown type 'paragonsr2_nanno'; did you mean 'paragonsr2_nano'?" in said


def test_unknown_arch_may_be_another_project_s(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("paragonsr2_nano", "SwiftSRGAN"))
    assert "network_g: unknown type 'SwiftSRGAN'; known: paragonsr2_l, " in said
    assert said.rstrip().endswith("write `type: spandrel`, `network: SwiftSRGAN`")


def test_a9_unknown_option_of_a_network_is_an_error(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("paragonsr2_nano", "paragonsr2_nano\n  num_feats: 12"))
    assert "network_g.num_feats: unknown key; did you mean 'num_feat'?" in said


def test_wrong_type(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("total_iter: 10", "total_iter: ten"))
    assert "config.yml:12: train.total_iter: should be an integer, not 'ten'" in said


def test_a_wrong_value_is_told_once(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL, "network_g.num_feat=zero")
    assert said == "command line: network_g.num_feat: should be an integer, not 'zero'"


@pytest.mark.parametrize(
    ("rate", "said"),
    [("-1", "should be greater than 0, or 'auto', not -1"), ("fast", "should be a number, or 'auto', not 'fast'")],
)
def test_a_value_that_may_be_of_several_kinds(tmp_path: Path, rate: str, said: str) -> None:
    said = f"config.yml:15: train.optim_g.lr: {said}"
    assert _complaint(tmp_path, MINIMAL.replace("1e-4", rate)).endswith(said)


def test_folders_are_one_name_or_several(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("dataroot_gt: hr", "dataroot_gt: 5"))
    assert said.endswith("config.yml:6: datasets.train.dataroot_gt: should be a string, or a list, not 5")
    said = _complaint(tmp_path, MINIMAL, "datasets.train.dataroot_gt=[a,5]")
    assert said.startswith("command line: datasets.train.dataroot_gt")


@pytest.mark.parametrize("override", ["train.losses=[]", "train.optim_g.betas=[0.9]", "train.optim_g.lr=.inf"])
def test_messages_speak_of_what_stands_there(tmp_path: Path, override: str) -> None:
    said = _complaint(tmp_path, MINIMAL, override)
    assert said.startswith(f"command line: {override.partition('=')[0]}: should ")
    assert "Input" not in said


def test_what_is_wrong_between_keys_has_a_line_too(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("    batch_size_per_gpu: 2\n", ""))
    assert "config.yml:4: datasets.train: needs batch_size_per_gpu" in said


@pytest.mark.parametrize("name", [".", "..", "a/b", "a\\\\b", "what?", "dot.", " x"])
def test_a_name_that_is_no_folder(tmp_path: Path, name: str) -> None:
    assert "config.yml:1: name: " in _complaint(tmp_path, MINIMAL.replace("name: tiny", f'name: "{name}"'))


@pytest.mark.parametrize("number", ["1e1", "!!float 1e1", "1.0e+1", "10"])
def test_iterations_may_be_written_with_an_exponent(tmp_path: Path, number: str) -> None:
    assert _load(tmp_path, MINIMAL.replace("total_iter: 10", f"total_iter: {number}")).config.train.total_iter == 10


def test_half_an_iteration_is_none(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("total_iter: 10", "total_iter: 15e-1"))
    assert "train.total_iter: should be an integer, not 1.5" in said


def test_an_empty_key_keeps_its_default(tmp_path: Path) -> None:
    text = MINIMAL.replace("name: tiny", "name: tiny\nmanual_seed: ~\nval: ~").replace(
        "paragonsr2_nano", "paragonsr2_photo\n  attention_mode: ~\n  num_feat: ~"
    )
    config = _load(tmp_path, text).config
    assert (config.manual_seed, config.val.val_freq, config.network.num_feat) == (0, 1000, 64)
    assert config.network.attention_mode is None, "empty is a value of this key"


def test_scale_5(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("scale: 2", "scale: 5"))
    assert "config.yml:2: scale: 5 is not one of 1, 2, 3, 4 or 8" in said


def test_val_freq_0(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL + "val:\n  val_freq: 0\n")
    assert "config.yml:19: val.val_freq: should be greater than or equal to 1, not 0" in said


def test_all_errors_at_once(tmp_path: Path) -> None:
    text = MINIMAL.replace("scale: 2", "scale: 5").replace("total_iter: 10", "total_iter: -1")
    said = _complaint(tmp_path, text.replace("    - type: l1loss", "    - type: l1los"))
    assert len(said.splitlines()) == 3


def test_missing_key(tmp_path: Path) -> None:
    assert "train.total_iter: is required and missing" in _complaint(
        tmp_path, MINIMAL.replace("  total_iter: 10\n", "")
    )


def test_yaml_syntax_error_names_the_line(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("scale: 2", "scale: [2"))
    assert "config.yml:3: invalid YAML" in said


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    assert "config.yml:3: `scale`: duplicate key" in _complaint(
        tmp_path, MINIMAL.replace("scale: 2", "scale: 2\nscale: 4")
    )


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this file does not exist"):
        load_config(tmp_path / "absent.yml")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("nonsense", "is not an override"),
        ("train.losses.7.type=l1loss", "indices 0 to 0"),
        ("scale.x=2", "is a value"),
    ],
)
def test_bad_overrides(tmp_path: Path, override: str, said: str) -> None:
    assert said in _complaint(tmp_path, MINIMAL, override)


def test_two_losses_of_one_type_collide(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL + "    - type: l1loss\n")
    assert "two losses are called l1" in said


def test_schedule_free_and_ema_exclude_each_other(tmp_path: Path) -> None:
    text = MINIMAL.replace("AdamW", "AdamWScheduleFree").replace("total_iter: 10", "total_iter: 10\n  ema_decay: 0.9")
    assert "ema_decay must be 0" in _complaint(tmp_path, text)


def _automations(tmp_path: Path, text: str) -> dict[str, bool]:
    config = _load(tmp_path, MINIMAL + "  training_automations:\n" + text).config
    sections = config.train.training_automations
    names = [name for name in type(sections).model_fields if name != "enabled"]
    return {name: sections.enabled and getattr(sections, name).enabled for name in names}


def test_d2_sections_are_on_without_a_switch_of_their_own_above_them(tmp_path: Path) -> None:
    on = _automations(tmp_path, "    early_stopping: {enabled: true, patience: 5}\n")
    assert on["early_stopping"]
    assert sum(on.values()) == 1
    off = _automations(tmp_path, "    enabled: false\n    early_stopping: {enabled: true}\n")
    assert not any(off.values())


@pytest.mark.parametrize(
    "name",
    """intelligent_learning_rate_scheduler IntelligentLearningRateScheduler dynamic_batch_size_optimizer
    DynamicBatchSizeOptimizer adaptive_gradient_clipping AdaptiveGradientClipping early_stopping
    IntelligentEarlyStopping intelligent_early_stopping""".split(),
)
def test_h2_every_spelling_of_an_automation_switches_it_on(tmp_path: Path, name: str) -> None:
    assert sum(_automations(tmp_path, f"    {name}: {{enabled: true}}\n").values()) == 1


def test_h9_the_users_figures_arrive(tmp_path: Path) -> None:
    text = "  training_automations:\n    adaptive_gradient_clipping: {enabled: true, percentile: 80.0}\n"
    config = _load(tmp_path, MINIMAL + text).config
    assert config.train.training_automations.adaptive_gradient_clipping.percentile == 80.0


def test_d14_auto_calibrate_may_be_written_out(tmp_path: Path) -> None:
    text = "  dynamic_loss_scheduling: {enabled: true, auto_calibrate: false}\n"
    assert _load(tmp_path, MINIMAL + text).config.train.dynamic_loss_scheduling.enabled


def test_d18_a_negative_weight_is_an_error_with_its_place(tmp_path: Path) -> None:
    said = _complaint(tmp_path, MINIMAL.replace("l1loss", "l1loss\n      loss_weight: -0.1"))
    assert "train.losses.0" in said
    assert "loss_weight" in said


def test_early_stopping_watches_a_metric_that_is_measured(tmp_path: Path) -> None:
    text = "  training_automations:\n    early_stopping: {enabled: true, metric: val/lpips}\n"
    sets = MINIMAL.replace("network_g:", "  val:\n    type: singleimagedataset\n    dataroot_gt: val\nnetwork_g:")
    said = _complaint(tmp_path, sets + text)
    assert "config.yml:22: val.metric: is lpips, but val.metrics has" in said


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("multisteplr, milestones: [5]", "MultiStepLR"),
        ("cosine", "CosineAnnealingLR"),
        ("CosineAnnealingRestartLR, T_0: 5", "CosineAnnealingWarmRestarts"),
        ("wsd", "WSD"),
        ("OneCycle", "OneCycleLR"),
        ("Plateau", "ReduceLROnPlateau"),
    ],
)
def test_schedules_by_the_names_that_users_know(tmp_path: Path, written: str, meant: str) -> None:
    text = MINIMAL.replace("total_iter: 10", f"total_iter: 10\n  scheduler: {{type: {written}}}")
    assert _load(tmp_path, text).config.train.scheduler.type == meant


def test_two_validation_sets_of_one_name(tmp_path: Path) -> None:
    sets = "".join(f"  {p}: {{type: singleimagedataset, dataroot_gt: val, name: Val}}\n" for p in ("val", "val_2"))
    said = _complaint(tmp_path, MINIMAL.replace("network_g:", f"{sets}network_g:"))
    assert "config.yml:10: datasets.val_2.name: Val is already the name of datasets.val" in said


def test_prodigy_needs_no_trial_of_rates(tmp_path: Path) -> None:
    text = MINIMAL.replace("AdamW\n    lr: 1e-4", "Prodigy\n    lr: auto")
    assert "Prodigy finds its own rate" in _complaint(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "!!float ''", "!!bool perhaps", "!!timestamp soon", "!!int []", "!!int one", "!!binary '?'", "!!omap 5",
        "!!float 5000x",
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_its_tag(tiny_config: Callable[..., Path], text: str) -> None:
    path = tiny_config()
    path.write_text(path.read_text() + f"\nmanual_seed: {text}\n")
    with pytest.raises(UserError, match=rf"{path.name}:\d+: "):
        load_config(path)
    with pytest.raises(UserError, match="command line"):
        load_config(tiny_config(), [f"manual_seed={text}"])


@pytest.mark.parametrize("section", ["~", "5", "[]", "text"])
def test_old_keys_beside_sections_that_are_none(tiny_config: Callable[..., Path], section: str) -> None:
    """A key that has moved, while its new section is empty or of another kind."""
    old = {"training_automations": {"early_stopping": {"enabled": False, "metric": "psnr"}}}
    path = tiny_config(old | {"train.losses": None, "train.pixel_opt": {"type": "l1loss", "loss_weight": 1.0}})
    for key in ("val", "path", "logger", "train.losses"):
        try:
            load_config(path, [f"{key}={section}"])
        except UserError:
            assert section != "~"
