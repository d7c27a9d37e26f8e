"""A real comparison of tiny runs: pairing, planning, interruption, tables."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from paragonsr.archs.weights import read_weights
from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.errors import UserError
from paragonsr.evidence.arms import check_comparable, differing_keys, make_arms, write_config
from paragonsr.evidence.course import legs
from paragonsr.evidence.runs import Run, find_runs

Configure = Callable[..., Path]


def _compare(*arguments: object) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["compare", *map(str, arguments)])
    assert caught.value.code == 0


def test_a_varied_loss_weight_end_to_end(
    tiny_config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = (tiny_config(), "--vary", "train.losses.1.loss_weight=0.5,0", "--seeds", 2, "--out", out, "--fair")
    _compare(*command)
    said = capsys.readouterr().out
    assert "train.losses.1.loss_weight: 0.5 | 0" in said
    assert "with 2 seeds no interval can be given" in said
    runs = {run.name: run for run in find_runs(out / "runs")}
    assert set(runs) == {f"loss_weight={w}_seed{s}" for w in ("0.5", "0") for s in (0, 1)}
    for seed in (0, 1):
        one, other = (runs[f"loss_weight={w}_seed{seed}"] for w in ("0.5", "0"))
        # The first step's L1 is measured before any update: same weights and same samples.
        assert one.steps["loss/l1"][0] == other.steps["loss/l1"][0]
        assert one.steps["loss/l1"][-1] != other.steps["loss/l1"][-1]
    assert runs["loss_weight=0_seed0"].steps["loss/l1"][0] != runs["loss_weight=0_seed1"].steps["loss/l1"][0]

    found = json.loads((out / "compare.json").read_text())
    outcome = next(o for o in found["outcomes"] if o["arm"] == "loss_weight=0")
    finals = [[runs[f"loss_weight={w}_seed{s}"].curve("psnr")[1][-1] for s in (0, 1)] for w in ("0", "0.5")]
    assert outcome["finals"] == finals[0]
    assert outcome["difference"]["mean"] == pytest.approx(np.mean(finals[0]) - np.mean(finals[1]))
    assert outcome["difference"]["low"] is None

    before = {run.name: run.description["started"] for run in runs.values()}
    _compare(*command)
    assert {run.name: run.description["started"] for run in find_runs(out / "runs")} == before, "nothing is run again"


def test_a_comparison_that_was_killed_goes_on(tiny_config: Configure, tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = tiny_config({"train.total_iter": 60, "logger.save_checkpoint_freq": 5, "val.val_freq": 20})
    command = [sys.executable, "-m", "paragonsr", "compare", str(path), "--vary", "train.optim_g.lr=1e-3,1e-4"]
    command += ["--seeds", "1", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    second = out / "runs" / "lr=1e-4_seed0" / "training_states"
    end = time.monotonic() + 120
    while not (second.exists() and any(second.glob("*.state"))):
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert Run(out / "runs" / "lr=1e-3_seed0").ended
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    assert all(run.ended and run.iteration == 60 for run in find_runs(out / "runs"))
    assert (out / "compare.json").exists()


def test_networks_that_differ_begin_with_equal_weights_where_they_agree(tiny_config: Configure, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _compare(
        *(tiny_config(), "--vary", "network_g.num_blocks=3,4", "--seeds", 1, "--out", out),
        *("--set", "train.optim_g.lr=1e-12", "--set", "train.ema_decay=0"),
    )
    states = [
        read_weights(Run(out / "runs" / f"num_blocks={n}_seed0").folder / "models" / "best.safetensors")[0]
        for n in (3, 4)
    ]
    shared = [name for name in states[0] if name in states[1] and states[0][name].shape == states[1][name].shape]
    assert len(shared) >= 6
    for name in shared:
        torch.testing.assert_close(states[0][name], states[1][name], rtol=0, atol=1e-6)


def test_an_option_that_only_changes_the_start_is_not_undone(tiny_config: Configure, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _compare(
        *(tiny_config(), "--vary", "network_g.layer_scale=0.1,0.5", "--seeds", 1, "--out", out),
        *("--set", "network_g.structure=dual", "--set", "train.optim_g.lr=1e-12", "--set", "train.ema_decay=0"),
    )
    states = [
        read_weights(Run(out / "runs" / f"layer_scale={s}_seed0").folder / "models" / "best.safetensors")[0]
        for s in (0.1, 0.5)
    ]
    differing = {name for name in states[0] if not torch.allclose(states[0][name], states[1][name], atol=1e-6)}
    assert differing
    assert all("ls1" in name or "ls2" in name for name in differing)


def test_seconds_are_planned_once_for_all_seeds(
    tiny_config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    path = tiny_config({"val.val_freq": 1000})
    _compare(path, "--vary", "train.optim_g.lr=1e-3,1e-4", "--seeds", 2, "--budget", "1s", "--out", out)
    said = capsys.readouterr().out
    assert said.count("ms per step measured; budget 1s: ") == 2
    assert "val.val_freq" in said
    totals = json.loads((out / "plan.json").read_text())["totals"]
    for run in find_runs(out / "runs"):
        assert run.total == run.iteration == totals[run.name.rsplit("_", 1)[0]]
        assert run.config["train"]["budget"] is None


def test_a_resolved_configuration_loads_to_the_same(tiny_config: Configure, tmp_path: Path) -> None:
    config = load_config(tiny_config(), ["train.budget=20it", "fair=true"]).config
    write_config(config, tmp_path / "resolved.yml")
    loaded = load_config(tmp_path / "resolved.yml")
    assert loaded.config == config


def test_arms_take_turns(tiny_config: Configure, tmp_path: Path) -> None:
    arms = make_arms([tiny_config()], vary=["manual_seed=1,2", "scale=2,3"])
    assert [arm.name for arm in arms][:2] == ["manual_seed=1 scale=2", "manual_seed=1 scale=3"]
    order = [(leg.seed, leg.arm.name) for leg in legs(arms[:2], range(5, 7), tmp_path)]
    first, second = (arm.name for arm in arms[:2])
    assert order == [(5, second), (5, first), (6, first), (6, second)]


@pytest.mark.parametrize(
    ("vary", "allowed", "said"),
    [
        ("val.metrics.psnr.crop_border=2,4", "data", "differ in their validation"),
        ("datasets.train.dataroot_gt=a,b", "validation", "differ in their data"),
    ],
)
def test_what_does_not_compare_is_refused_unless_told(
    tiny_config: Configure, vary: str, allowed: str, said: str
) -> None:
    arms = make_arms([tiny_config()], vary=[vary])
    with pytest.raises(UserError, match=said) as caught:
        check_comparable(arms, [allowed])
    assert vary.partition("=")[0] in str(caught.value)
    check_comparable(arms, ["data", "validation"])
    check_comparable(make_arms([tiny_config()], vary=["datasets.train.batch_size_per_gpu=4,8"]), [])


def test_fair_switches_the_automations_off(tiny_config: Configure) -> None:
    changes = {"train.training_automations": {"enabled": True, "early_stopping": {"enabled": True}}}
    path = tiny_config(changes)
    config = load_config(path, ["fair=true"]).config
    assert not config.train.training_automations.enabled
    assert not config.train.dynamic_loss_scheduling.enabled
    with pytest.raises(UserError, match="fixed schedule"):
        load_config(path, ["fair=true", "train.scheduler.type=ReduceLROnPlateau"])


def test_one_arm_is_no_comparison(tiny_config: Configure) -> None:
    with pytest.raises(UserError, match="needs two arms"):
        make_arms([tiny_config()])
    with pytest.raises(UserError, match="varies nothing"):
        make_arms([tiny_config()], vary=["lr"])


def test_differing_keys_name_what_only_one_arm_has(tiny_config: Configure) -> None:
    path = tiny_config()
    arms = make_arms([path], vary=["train.scheduler.type=cosine,WSD"])
    differing = differing_keys(arms)
    assert differing["train.scheduler.decay_share"] == [None, 0.2]
    assert "name" not in differing


def test_runs_lists_them(tiny_config: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_config()
    with pytest.raises(SystemExit):
        main(["train", str(path)])
    capsys.readouterr()
    root = path.parent / "experiments"
    for arguments in ([], ["--json"], ["--sort", "best"]):
        with pytest.raises(SystemExit) as caught:
            main(["runs", str(root), *arguments])
        assert caught.value.code == 0
    table = capsys.readouterr().out
    assert "12/12" in table
    assert '"state": "ended"' in table


def test_arms_are_changes_and_may_be_added_later(tiny_config: Configure, tmp_path: Path) -> None:
    out, path = tmp_path / "out", tiny_config({"val.val_freq": 1000})
    command = (path, "--seeds", 1, "--budget", "1s", "--out", out)
    slow = ("--arm", "slow start: train.warmup_iter=5; train.scheduler={type: cosine}")
    _compare(*command, *slow)
    before = {run.name: run.description["started"] for run in find_runs(out / "runs")}
    assert set(before) == {"tiny_seed0", "slow_start_seed0"}
    _compare(*command, *slow, "--arm", "large: datasets.train.lq_size=24")
    runs = {run.name: run for run in find_runs(out / "runs")}
    assert {name: runs[name].description["started"] for name in before} == before, "nothing is run again"
    assert runs["slow_start_seed0"].config["train"]["scheduler"]["type"] == "CosineAnnealingLR"
    totals = json.loads((out / "plan.json").read_text())["totals"]
    assert totals["slow start"] == totals["tiny"], "the same step has the same budget of iterations"
    assert totals["large"] < totals["tiny"]
    with pytest.raises(SystemExit) as refused:
        main(["compare", *map(str, command), "--arm", "slow start: train.warmup_iter=6"])
    assert refused.value.code == 2
    with pytest.raises(SystemExit) as refused:
        main(["compare", *map(str, command), "--arm", "nothing"])
    assert refused.value.code == 2
