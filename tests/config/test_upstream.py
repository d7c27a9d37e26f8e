"""What configurations of other trainers hold: every key and name of traiNNer-redux is read, or refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from paragonsr.archs.preset_options import find_preset
from paragonsr.config import load_config, upstream
from paragonsr.config.degradation_keys import SWITCH, two_stage_keys
from paragonsr.config.schema import Config
from paragonsr.config.sections import LoggerOptions, PathOptions, TrainOptions, ValOptions
from paragonsr.data.options import IGNORED_KEYS, PairedOptions, SingleOptions
from paragonsr.discriminators.options import DiscriminatorOptions, PatchGANOptions
from paragonsr.errors import UserError
from paragonsr.losses.options import LossOptions
from paragonsr.optim.options import CosinePeriodsOptions, CosineRestartsOptions, LibraryOptions

REDUX = json.loads((Path(__file__).parent / "redux_keys.json").read_text())
OURS: dict[str, tuple[set[str], dict[str, str], tuple[str, ...]]] = {
    "": (set(Config.model_fields), upstream.IGNORED_TOP, ()),
    "datasets": (set(PairedOptions.model_fields) | set(SingleOptions.model_fields), IGNORED_KEYS, ("datasets", "*")),
    "path": (set(PathOptions.model_fields), upstream.IGNORED_PATH, ("path",)),
    "train": (set(TrainOptions.model_fields), upstream.IGNORED_TRAIN, ("train",)),
    "val": (set(ValOptions.model_fields), upstream.IGNORED_VAL, ("val",)),
    "logger": (set(LoggerOptions.model_fields), upstream.IGNORED_LOGGER, ("logger",)),
}
BASE: dict[str, Any] = {
    "name": "hers",
    "scale": 2,
    "datasets": {
        "train": {
            "type": "pairedimagedataset",
            "dataroot_gt": "hr",
            "dataroot_lq": "lq",
            "lq_size": 32,
            "batch_size_per_gpu": 4,
        }
    },
    "network_g": {"type": "paragonsr2_nano"},
    "path": {},
    "train": {
        "total_iter": 100,
        "optim_g": {"type": "AdamW", "lr": 1e-4},
        "losses": [{"type": "l1loss"}],
    },
    "val": {"val_enabled": False},
    "logger": {},
}


def _load(tmp_path: Path, *overrides: str, **change: Any) -> Any:
    path = tmp_path / "hers.yml"
    path.write_text(yaml.safe_dump(BASE | change))
    return load_config(path, overrides)


@pytest.mark.parametrize("section", sorted(OURS))
def test_every_key_of_redux_is_known(section: str) -> None:
    options, ignored, at = OURS[section]
    known = options | set(ignored) | set(upstream.REFUSED) | upstream.SILENT | set(upstream.RENAMED.get(at, {}))
    known |= two_stage_keys() | {SWITCH, "lq_resize_mode"} | {"network_d", "optim_d"}
    of_losses = {key for key in REDUX["keys"][section] if section == "train" and key.endswith("_opt")}
    unknown = {
        key for key in REDUX["keys"][section] if key not in known and not key.startswith(upstream.DEGRADATION_PREFIXES)
    }
    assert unknown - of_losses == set()


@pytest.mark.parametrize(("kind", "find"), [("losses", LossOptions.choose), ("network_g", find_preset)])
def test_every_type_of_redux_is_built_or_refused_by_name(kind: str, find: Callable[[str], Any]) -> None:
    built = {name for name in REDUX["types"][kind] if find(name) is not None}
    refused = {name for name in REDUX["types"][kind] if upstream.why_not_built(kind, name)}
    assert built | refused == set(REDUX["types"][kind])
    assert built & refused == set()


@pytest.mark.parametrize("name", sorted({*REDUX["types"]["network_d"]} - {*upstream.MULTI_SCALE}))
def test_a_discriminator_is_built_or_refused_by_name(name: str, tmp_path: Path) -> None:
    train = BASE["train"] | {"losses": [{"type": "l1loss"}, {"type": "ganloss"}]}
    if DiscriminatorOptions.choose(name) is not None:
        gan = _load(tmp_path, network_d={"type": name}, train=train).config.train.losses[1]
        assert isinstance(gan.network_d, DiscriminatorOptions.choose(name))  # type: ignore[arg-type]
        return
    with pytest.raises(UserError) as told:
        _load(tmp_path, network_d={"type": name}, train=train)
    assert str(told.value).count("\n") == 0
    assert f"network_d {name}: this discriminator is not built; there are" in str(told.value)


@pytest.mark.parametrize(("given", "scales"), [({}, 3), ({"num_d": 2}, 2)])
def test_multi_scale_training_of_redux_loads(given: dict[str, int], scales: int, tmp_path: Path) -> None:
    train = BASE["train"] | {"losses": [{"type": "l1loss"}, {"type": "MultiScaleGANLoss", "loss_weight": 0.2}]}
    theirs = {
        "type": "MultiscalePatchGANDiscriminatorSN",
        "input_nc": 3,
        "ndf": 32,
        "n_layers": 2,
        "use_sigmoid": False,
    }
    gan = _load(tmp_path, network_d=theirs | given, train=train).config.train.losses[1]
    assert (gan.type, gan.loss_weight) == ("ganloss", 0.2)
    assert gan.network_d == PatchGANOptions(num_feat=32, n_layers=2, num_d=scales)


def test_losses_of_gan_training_load(tmp_path: Path) -> None:
    """perceptualloss of traiNNer-redux and of Real-ESRGAN with their keys, and a logistic loss by another name."""
    redux = {"type": "PerceptualFP16Loss", "layer_weights": {"conv5_4": 1}, "criterion": "charbonnier", "name": "redux"}
    redux |= {"w_lambda": 0.01, "num_proj_fd": 256, "phase_weight_fd": 1.0, "stride_fd": 1, "clip_min": 0}
    realesrgan = {"type": "PerceptualLoss", "layer_weights": {"conv1_2": 0.1}, "vgg_type": "vgg19", "criterion": "l1"}
    realesrgan |= {"use_input_norm": True, "range_norm": False, "perceptual_weight": 0.7, "style_weight": 0}
    dists = {"type": "distsloss", "as_loss": True, "load_weights": True, "use_input_norm": True, "clip_min": 0}
    gan = {"type": "ganloss", "gan_type": "wgan_softplus"}
    train = BASE["train"] | {"losses": [redux, realesrgan, dists, gan]}
    losses = _load(tmp_path, train=train).config.train.losses
    assert [loss.loss_weight for loss in losses] == [1.0, 0.7, 1.0, 0.1]
    assert losses[3].gan_type == "vanilla"


def test_a_discriminator_that_learns_less_often_is_refused(tmp_path: Path) -> None:
    train = BASE["train"] | {"losses": [{"type": "l1loss"}, {"type": "ganloss"}], "net_d_iters": 2}
    with pytest.raises(UserError, match=r"train\.net_d_iters: the discriminator learns at every step"):
        _load(tmp_path, network_d={"type": "dunet"}, train=train)


def test_all_that_is_missing_comes_at_once_with_what_is_wrong(tmp_path: Path) -> None:
    train = BASE["train"] | {
        "losses": [{"type": "fliploss"}, {"type": "mseloss", "loss_wieght": 2}, {"type": "adistsloss"}],
        "scheduler": {"type": "KneeLR"},
    }
    val = {"metrics": {"topiq": {"type": "calculate_topiq"}}}
    datasets = {"train": BASE["datasets"]["train"] | {"type": "RealESRGANPairedDataset"}}
    with pytest.raises(UserError) as told:
        _load(tmp_path, train=train, val=val, datasets=datasets, network_g={"type": "artcnn_r8f64"})
    lines = str(told.value).splitlines()
    assert len(lines) == 6
    for said in (
        "train.losses.0 fliploss, train.losses.2 adistsloss: this perceptual loss is not built",
        "train.losses.0.loss_wieght: unknown key; did you mean 'loss_weight'",
        "train.scheduler KneeLR: this schedule is not built",
        "val.metrics.topiq calculate_topiq: this metric",
        "datasets.train RealESRGANPairedDataset: pairs and degraded HR images are not mixed",
        "network_g artcnn_r8f64: this network is neither built here",
    ):
        assert said in str(told.value)


@pytest.mark.parametrize("weight", [0, 0.0])
def test_a_loss_without_weight_is_no_loss(weight: float, tmp_path: Path) -> None:
    train = BASE["train"] | {
        "losses": [{"type": "ganloss", "loss_weight": weight}, {"type": "l1loss"}],
        "perceptual_opt": {"type": "PerceptualLoss", "loss_weight": weight},
    }
    loaded = _load(tmp_path, train=train)
    assert [loss.type for loss in loaded.config.train.losses] == ["l1loss"]
    assert loaded.warnings == ()


def test_a_type_that_a_plugin_adds_is_not_refused(tmp_path: Path) -> None:
    plugin = tmp_path / "of_hers.py"
    plugin.write_text(
        "from typing import Literal\n"
        "from paragonsr.losses.options import LossOptions\n"
        "class Own(LossOptions):\n"
        "    type: Literal['chcloss'] = 'chcloss'\n"
    )
    train = BASE["train"] | {"losses": [{"type": "CHCLoss"}]}
    loaded = _load(tmp_path, train=train, plugins=[str(plugin)])
    assert [loss.type for loss in loaded.config.train.losses] == ["chcloss"]


def test_renamed_keys_keep_their_value_and_their_line(tmp_path: Path) -> None:
    train = BASE["train"] | {"grad_clip": True, "grad_clip_max_norm": 100}
    config = _load(tmp_path, train=train, bfloat16=True).config
    assert (config.train.grad_clip_norm, config.amp_bf16) == (100.0, True)
    with pytest.raises(UserError, match=r"hers.yml:\d+: train.grad_clip_norm: should be a number, not 'much'"):
        _load(tmp_path, train=train | {"grad_clip_max_norm": "much"})


@pytest.mark.parametrize(
    "change", ["train.restart_scheduler=true", "train.restart_scheduler=false", "train.eco.enabled=false"]
)
def test_what_changes_nothing_is_taken_in_silence(change: str, tmp_path: Path) -> None:
    assert _load(tmp_path, change).warnings == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("train.eco.enabled=true", "train.eco: this curriculum is not built"),
        ("path.pretrain_network_g_ema=x.pth", "path.pretrain_network_g_ema: the average starts from"),
    ],
)
def test_what_would_change_the_training_is_refused(change: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        _load(tmp_path, change)


def test_a_set_of_hr_images_by_the_name_that_redux_gives_it(tmp_path: Path) -> None:
    datasets = {"train": {"type": "SingleGtDataset", "dataroot_gt": "hr", "lq_size": 32, "batch_size_per_gpu": 4}}
    config = _load(tmp_path, "datasets.train.lq_resize_mode=bicubic", datasets=datasets).config
    assert isinstance(config.train_set, SingleOptions)


def test_restarts_with_periods_and_with_torchs_keys(tmp_path: Path) -> None:
    basicsr = {"type": "CosineAnnealingRestartLR", "periods": [60, 40], "restart_weights": [1, 0.5], "eta_min": 1e-7}
    assert isinstance(
        _load(tmp_path, train=BASE["train"] | {"scheduler": basicsr}).config.train.scheduler, CosinePeriodsOptions
    )
    torchs = {"type": "CosineAnnealingRestartLR", "T_0": 50}
    assert isinstance(
        _load(tmp_path, train=BASE["train"] | {"scheduler": torchs}).config.train.scheduler, CosineRestartsOptions
    )
    with pytest.raises(UserError, match="each cycle needs its weight"):
        _load(tmp_path, train=BASE["train"] | {"scheduler": basicsr | {"restart_weights": [1]}})


def test_an_optimiser_of_the_library_by_its_own_name(tmp_path: Path) -> None:
    optim = {"type": "Adan_", "lr": 1e-3, "betas": [0.98, 0.92, 0.99], "weight_decay": 0.02}
    options = _load(tmp_path, train=BASE["train"] | {"optim_g": optim}).config.train.optim_g
    assert options == LibraryOptions(name="adan", lr=1e-3, weight_decay=0.02, arguments={"betas": [0.98, 0.92, 0.99]})
    with pytest.raises(UserError, match="unknown type 'adamm'"):
        _load(tmp_path, train=BASE["train"] | {"optim_g": optim | {"type": "adamm"}})


HR_ONLY = {"type": "RealESRGANDataset", "dataroot_gt": "hr", "lq_size": 32, "batch_size_per_gpu": 4}
OTF: dict[str, Any] = {
    "high_order_degradation": True,
    "high_order_degradations_debug": False,
    "blur_prob": 0.5,
    "resize_prob": [0.2, 0.7, 0.1],
    "resize_mode_list": ["bilinear", "nearest-exact"],
    "resize_mode_prob": [0.25, 0.75],
    "jpeg_range2": [40, 60],
    "queue_size": 120,
}


def _otf(tmp_path: Path, *overrides: str, **change: Any) -> Any:
    datasets = {"train": HR_ONLY | {"blur_sigma": [0.2, 1], "kernel_range": [5, 17]}}
    return _load(tmp_path, *overrides, **({"datasets": datasets} | OTF | change))


def _two_stages(loaded: Any) -> dict[str, Any]:
    options = loaded.config.train_set
    assert isinstance(options, SingleOptions)
    assert options.degradation is not None
    assert options.degradation.type == "realesrgan"
    return options.degradation.model_dump()


def test_the_degradation_of_redux_is_translated(tmp_path: Path) -> None:
    loaded = _otf(tmp_path)
    found = _two_stages(loaded)
    assert found["blur_prob"] == 0.5
    assert found["resize_mode_list"] == ["bilinear", "nearest-exact"]
    assert (found["jpeg_range"], found["jpeg_range2"]) == ([75, 95], [40, 60])
    assert (found["blur_sigma"], found["blur_sigma2"], found["kernel_range2"]) == ([0.2, 1], [0.2, 1], [5, 17])
    assert (found["gaussian_noise_prob"], found["poisson_scale_range"], found["final_sinc_prob"]) == (0, [0, 0], 0)
    assert len([note for note in loaded.warnings if "moved to datasets.train.degradation" in note]) == 1
    assert any("queue_size" in note for note in loaded.warnings)


def test_the_degradation_of_real_esrgan_is_translated(tmp_path: Path) -> None:
    tree = {key: value for key, value in OTF.items() if not key.startswith("high_order")}
    datasets = {"train": HR_ONLY | {"blur_kernel_size": 21, "final_sinc_prob": 0.8}}
    found = _two_stages(_load(tmp_path, datasets=datasets, second_blur_prob=0.7, **tree))
    assert (found["blur_prob2"], found["jpeg_range"], found["resize_range"]) == (0.7, [30, 95], [0.15, 1.5])


def test_a_mistake_in_a_translated_key_has_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as told:
        _otf(tmp_path, blur_prob=1.5)
    line = (tmp_path / "hers.yml").read_text().splitlines().index("blur_prob: 1.5") + 1
    assert f"hers.yml:{line}: datasets.train.degradation.blur_prob: should be less than or equal to 1" in str(
        told.value
    )


def test_a_degradation_that_is_off_is_off(tmp_path: Path) -> None:
    loaded = _otf(tmp_path, high_order_degradation=False)
    assert loaded.config.train_set.degrades() is None
    assert any("blur_prob" in note and "degradation while training was off" in note for note in loaded.warnings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataroot_lq_prob": 0.5}, "dataroot_lq_prob: pairs and degraded HR images are not mixed"),
        ({"webp_prob": 0.5}, "webp_prob: add it as a step of datasets.train.degradation"),
    ],
)
def test_parts_of_a_degradation_that_are_not_built_are_refused(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        _otf(tmp_path, **change)
    assert _two_stages(_otf(tmp_path, **dict.fromkeys(change, 0)))


@pytest.mark.parametrize(("mode", "filter_name"), [("area", "area"), ("nearest-exact", "nearest")])
def test_one_resize_instead_of_the_bicubic_one(mode: str, filter_name: str, tmp_path: Path) -> None:
    datasets = {"train": HR_ONLY | {"type": "SingleGtDataset"}}
    options = _load(tmp_path, f"datasets.train.lq_resize_mode={mode}", datasets=datasets).config.train_set
    assert options.degradation.model_dump()["steps"][0]["filters"] == {filter_name: 1.0}
