"""The arms of a comparison: names, differences, refusals."""

from collections.abc import Callable
from pathlib import Path

import pytest

from paragonsr.config import load_config
from paragonsr.errors import UserError
from paragonsr.evidence.arms import check_comparable, differing_keys, make_arms, said_once, write_config
from paragonsr.evidence.options import Kind
from paragonsr.evidence.runner import planned_runs

Configure = Callable[..., Path]


def test_a_resolved_configuration_loads_to_the_same(tiny_config: Configure, tmp_path: Path) -> None:
    config = load_config(tiny_config(), ["train.budget=20it", "fair=true"]).config
    write_config(config, tmp_path / "resolved.yml")
    loaded = load_config(tmp_path / "resolved.yml")
    assert loaded.config == config


def test_arms_take_turns(tiny_config: Configure, tmp_path: Path) -> None:
    arms = make_arms([tiny_config()], vary=["manual_seed=1,2", "scale=2,3"])
    assert [arm.name for arm in arms][:2] == ["manual_seed=1 scale=2", "manual_seed=1 scale=3"]
    order = [(planned.seed, planned.arm.name) for planned in planned_runs(arms[:2], range(5, 7), tmp_path)]
    first, second = (arm.name for arm in arms[:2])
    assert order == [(5, second), (5, first), (6, first), (6, second)]


@pytest.mark.parametrize(
    ("vary", "kind"),
    [
        ("val.metrics.psnr.crop_border=2,4", Kind.VALIDATION),
        ("val.tile_size=0,32", Kind.VALIDATION),
        ("val.val_freq=6,3", Kind.VALIDATION),
        ("datasets.val.dataroot_gt=a,b", Kind.VALIDATION),
        ("datasets.train.dataroot_gt=a,b", Kind.DATA),
        ("scale=2,3", Kind.DATA),
    ],
)
def test_what_does_not_compare_is_refused_unless_told(tiny_config: Configure, vary: str, kind: Kind) -> None:
    arms = make_arms([tiny_config()], vary=[vary])
    with pytest.raises(UserError, match=f"differ in their {kind}") as caught:
        check_comparable(arms, set(Kind) - {kind})
    assert vary.partition("=")[0] in str(caught.value)
    check_comparable(arms, [kind])


@pytest.mark.parametrize(
    "vary",
    [
        "datasets.train.batch_size_per_gpu=4,8",
        "datasets.train.name=a,b",
        "train.total_iter=12,24",
        "val.save_img=true,false",
    ],
)
def test_what_compares_is_not_refused(tiny_config: Configure, vary: str) -> None:
    check_comparable(make_arms([tiny_config()], vary=[vary]))


def test_a_budget_of_samples_keeps_the_validation_points(tiny_config: Configure) -> None:
    path = tiny_config({"train.total_iter": 1000, "val.val_freq": 100})
    arms = make_arms([path], vary=["datasets.train.batch_size_per_gpu=4,8"], budget="4k samples")
    assert [arm.config.val.val_freq for arm in arms] == [100, 50]
    check_comparable(arms)


def test_where_nothing_is_measured_there_is_nothing_to_compare(tiny_config: Configure) -> None:
    arms = make_arms([tiny_config()], vary=["train.optim_g.lr=1e-3,1e-4"], overrides=["val.val_enabled=false"])
    with pytest.raises(UserError, match="nothing can be compared"):
        check_comparable(arms)
    arms = make_arms([tiny_config()], vary=["datasets.val.name=a,b"])
    with pytest.raises(UserError, match="nothing can be compared"):
        check_comparable(arms, [Kind.VALIDATION])


def test_fair_switches_the_automations_off(tiny_config: Configure) -> None:
    changes = {"train.training_automations": {"enabled": True, "early_stopping": {"enabled": True}}}
    path = tiny_config(changes)
    config = load_config(path, ["fair=true"]).config
    assert not config.train.training_automations.enabled
    assert not config.train.dynamic_loss_scheduling.enabled
    with pytest.raises(UserError, match="fixed schedule"):
        load_config(path, ["fair=true", "train.scheduler.type=ReduceLROnPlateau"])


def test_one_arm_is_no_comparison(tiny_config: Configure) -> None:
    with pytest.raises(UserError, match="needs at least two arms"):
        make_arms([tiny_config()])
    with pytest.raises(UserError, match="has no values to vary"):
        make_arms([tiny_config()], vary=["lr"])


def test_arms_whose_folders_would_be_the_same_are_refused(tiny_config: Configure) -> None:
    with pytest.raises(UserError, match="two arms have the name 'rate < 1' in file names"):
        make_arms([tiny_config()], more=["rate > 1: train.optim_g.lr=1e-3", "rate < 1: train.optim_g.lr=1e-4"])


def test_differing_keys_name_what_only_one_arm_has(tiny_config: Configure) -> None:
    arms = make_arms([tiny_config()], vary=["train.scheduler.type=cosine,WSD"])
    differing = differing_keys(arms)
    assert differing["train.scheduler.decay_share"] == [None, 0.2]
    assert "name" not in differing


def test_what_is_to_be_said_of_several_arms_is_said_once() -> None:
    assert said_once({"a": ["one", "two"], "b": ["two", "one"]}) == ["one", "two"]
    assert said_once({"a": ["one"], "b": ["one", "two"], "c": []}) == ["a, b: one", "b: two"]
