"""What configurations of other trainers hold: every key and name of traiNNer-redux is read, or refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from paragonsr.archs.preset_options import find_preset
from paragonsr.config import load_config, upstream
from paragonsr.config.schema import Config
from paragonsr.config.sections import LoggerOptions, PathOptions, TrainOptions, ValOptions
from paragonsr.data.options import IGNORED_KEYS, PairedOptions, SingleOptions
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


@pytest.mark.parametrize("name", REDUX["types"]["network_d"])
def test_a_discriminator_is_refused_in_one_line_with_its_loss(name: str, tmp_path: Path) -> None:
    train = BASE["train"] | {"losses": [{"type": "l1loss"}, {"type": "ganloss"}], "net_d_iters": 2}
    with pytest.raises(UserError) as told:
        _load(tmp_path, network_d={"type": name}, train=train)
    assert str(told.value).count("\n") == 0
    assert "train.losses.1 ganloss, network_d, train.net_d_iters: training with a discriminator" in str(told.value)


def test_all_that_is_missing_comes_at_once_with_what_is_wrong(tmp_path: Path) -> None:
    train = BASE["train"] | {
        "losses": [{"type": "perceptualloss"}, {"type": "mseloss", "loss_wieght": 2}, {"type": "distsloss"}],
        "scheduler": {"type": "KneeLR"},
    }
    val = {"metrics": {"topiq": {"type": "calculate_topiq"}}}
    datasets = {"train": BASE["datasets"]["train"] | {"type": "RealESRGANDataset"}}
    with pytest.raises(UserError) as told:
        _load(tmp_path, train=train, val=val, datasets=datasets, network_g={"type": "artcnn_r8f64"})
    lines = str(told.value).splitlines()
    assert len(lines) == 6
    for said in (
        "train.losses.0 perceptualloss, train.losses.2 distsloss: perceptual losses",
        "train.losses.0.loss_wieght: unknown key; did you mean 'loss_weight'",
        "train.scheduler KneeLR: this schedule is not built",
        "val.metrics.topiq calculate_topiq: this metric",
        "datasets.train RealESRGANDataset: degradation while training",
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
        ("datasets.train.lq_resize_mode=area", "lq_resize_mode: LR images are made by the bicubic resize"),
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
