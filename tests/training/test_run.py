"""Whole small runs in this process: their output, and that they follow the configuration."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import paragonsr
from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.weights import read_weights, save_weights
from paragonsr.config import load_config
from paragonsr.data.images import write_png
from paragonsr.errors import UserError
from paragonsr.training.engine.validation import Validator
from paragonsr.training.reporting.record import read_steps, read_validations
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]


def _train(path: Path, *overrides: str, fresh: bool = False) -> TrainResult:
    return train(load_config(path, overrides).config, fresh=fresh)


def _weights(outcome: TrainResult) -> dict[str, torch.Tensor]:
    (latest,) = (outcome.folder / "models").glob(f"net_g*_{outcome.iteration}.safetensors")
    return load_file(latest)


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_d28_what_a_run_writes_and_under_which_names(tiny_config: Configure) -> None:
    outcome = _train(tiny_config())
    folder = outcome.folder
    assert outcome.reason == "finished"
    assert sorted(path.name for path in (folder / "models").iterdir()) == [
        "best.safetensors",
        "first.safetensors",
        "net_g_ema_12.safetensors",
        "net_g_ema_6.safetensors",
    ]
    assert sorted(path.name for path in (folder / "training_states").iterdir()) == ["12.state", "6.state"]
    described = json.loads((folder / "run.json").read_text())
    assert described["state"] == "completed"
    assert described["config"]["train"]["total_iter"] == 12
    assert described["environment"]["torch"] == torch.__version__
    assert set(described["data"]) == {"train", "val"}
    assert described["best"]["protocol"] == "psnr_y/crop=2/bt601-studio/uint8/mean-of-images"
    assert (folder / "visualization" / "comparison.png").is_file()
    log = (folder / "train.log").read_text()
    assert "iter 12/12" in log
    assert f"paragonsr2_nano x2, {described['parameters']} parameters, on cpu in float32\n" in log
    assert "psnr is psnr_y/crop=2/bt601-studio/uint8/mean-of-images" in log

    events = EventAccumulator(str(folder / "tb"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    wanted = "val/psnr metrics/val/psnr losses/l1 losses/mse lr grad_norm perf/it_s perf/samples_s perf/data_wait"
    assert set(wanted.split()) | {"perf/peak_memory_gb", "loss_share/l1", "loss_share/mse"} <= tags
    assert [event.step for event in events.Scalars("val/psnr")] == [6, 12]
    assert [event.step for event in events.Scalars("losses/l1")] == [4, 6, 8, 12]

    steps = read_steps(folder)
    assert steps["samples_seen"].tolist() == [4.0 * i for i in range(1, 13)]
    assert [validation.iteration for validation in read_validations(folder)] == [6, 12]


def test_d7_the_best_weights_are_those_of_the_best_validation(tiny_config: Configure) -> None:
    outcome = _train(tiny_config({"val.val_freq": 3}))
    values = {v.iteration: v.deciding("psnr").value for v in read_validations(outcome.folder)}
    best = max(values, key=values.__getitem__)
    assert outcome.best is not None
    assert (outcome.best["iteration"], outcome.best["value"]) == (best, values[best])
    assert paragonsr.load(outcome.weights).scale == 2


def test_d7_better_weights_that_a_crash_has_left_behind_stay(tiny_config: Configure) -> None:
    path = tiny_config({"val.val_freq": 3})
    file = _train(path, "train.total_iter=6").folder / "models" / "best.safetensors"
    tensors, metadata = read_weights(file)
    assert metadata is not None
    after_the_checkpoint = metadata["best"] | {"value": 99.0, "iteration": 8}
    save_weights(file, tensors, metadata | {"best": after_the_checkpoint})
    outcome = _train(path)
    assert outcome.iteration == 12
    assert outcome.best == after_the_checkpoint
    assert (read_weights(file)[1] or {})["best"] == after_the_checkpoint


def test_d17_d31_accumulation_makes_the_step_of_one_large_batch(tiny_config: Configure) -> None:
    whole = _train(tiny_config({"datasets.train.batch_size_per_gpu": 8}, name="whole"))
    cut = _train(
        tiny_config({"datasets.train.batch_size_per_gpu": 2, "datasets.train.accum_iter": 4}, name="accumulated")
    )
    one, other = read_steps(whole.folder), read_steps(cut.folder)
    assert one["samples_seen"].tolist() == other["samples_seen"].tolist()
    for value in ("loss/l1", "loss/mse", "grad_norm"):
        np.testing.assert_allclose(one[value][:2], other[value][:2], rtol=1e-5)
    weights, others = _weights(whole), _weights(cut)
    for name in weights:
        torch.testing.assert_close(weights[name], others[name], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("optimiser", ["SOAP", "Muon"])
def test_an_optimiser_of_matrices_accumulates_too(tiny_config: Configure, optimiser: str) -> None:
    changes = {"train.optim_g": {"type": optimiser, "lr": 1e-3}, "train.total_iter": 4}
    runs = []
    for size, count in ((8, 1), (2, 4)):
        batch = {"datasets.train.batch_size_per_gpu": size, "datasets.train.accum_iter": count}
        runs.append(_train(tiny_config(changes | batch, name=f"of{size}")))
    one, other = (read_steps(outcome.folder) for outcome in runs)
    np.testing.assert_allclose(one["loss/l1"], other["loss/l1"], rtol=2e-3)


def test_d31_the_seed_decides_weights_and_order(tiny_config: Configure) -> None:
    runs = [_train(tiny_config({"manual_seed": seed}, name=f"run{n}")) for n, seed in enumerate([1, 1, 2])]
    assert _same(_weights(runs[0]), _weights(runs[1]))
    assert not _same(_weights(runs[0]), _weights(runs[2]))


def test_workers_and_prefetching_change_nothing(tiny_config: Configure) -> None:
    one = _train(tiny_config({"datasets.train.num_worker_per_gpu": 1}, name="one"))
    many = _train(
        tiny_config({"datasets.train.num_worker_per_gpu": 4, "datasets.train.prefetch_factor": 5}, name="many")
    )
    assert _same(_weights(one), _weights(many))


@pytest.mark.parametrize("optimiser", ["Adam", "AdamW", "NAdam", "AdamWScheduleFree", "Prodigy", "SOAP", "Muon"])
def test_every_optimiser_resumes_to_the_bit(tiny_config: Configure, optimiser: str) -> None:
    written = {"type": optimiser, "lr": 1e-3, "weight_decay": 1e-4} | {"SOAP": {"renew_every": 4}}.get(optimiser, {})
    changes = {"train.optim_g": written, "train.ema_decay": 0.0}
    straight = _train(tiny_config(changes, name="straight"))
    path = tiny_config(changes, name="halted")
    _train(path, "train.total_iter=6")
    assert _same(_weights(straight), _weights(_train(path)))


@pytest.mark.parametrize(
    "scheduler",
    [
        {"type": "MultiStepLR", "milestones": [4, 8], "gamma": 0.5},
        {"type": "cosine"},
        {"type": "CosineAnnealingWarmRestarts", "T_0": 5},
        {"type": "WSD"},
        {"type": "OneCycleLR"},
    ],
    ids=lambda scheduler: scheduler["type"],
)
def test_the_optimisers_rate_is_the_schedules(tiny_config: Configure, scheduler: dict[str, object]) -> None:
    path = tiny_config({"train.scheduler": scheduler, "train.warmup_iter": 3})
    config = load_config(path).config
    from paragonsr.training.assembly import learning_rate

    steps = read_steps(_train(path).folder)
    assert steps["lr"].tolist() == [learning_rate(config)(i, config.train.optim_g.lr) for i in range(12)]
    assert steps["lr"][0] < config.train.optim_g.lr / 2, "D29: the first step is warm"


def test_plateau_lowers_the_real_rate_and_says_so(tiny_config: Configure) -> None:
    changes = {
        "train.scheduler": {"type": "ReduceLROnPlateau", "patience": 3, "threshold": 50.0, "factor": 0.5},
        "val.val_freq": 3,
    }
    outcome = _train(tiny_config(changes))
    assert read_steps(outcome.folder)["lr"].tolist() == [1e-3] * 6 + [5e-4] * 3 + [2.5e-4] * 3
    entries = [json.loads(line) for line in (outcome.folder / "journal.jsonl").read_text().splitlines()]
    assert [(e["iteration"], e["setting"], e["from"], e["to"], e["outcome"]) for e in entries[:2]] == [
        (6, "lr_factor/plateau", 1.0, 0.5, "applied"),
        (9, "lr_factor/plateau", 0.5, 0.25, "applied"),
    ]


def test_d16_a_ramped_loss_has_its_weight_once(tiny_config: Configure) -> None:
    ramp = {"type": "mseloss", "loss_weight": 0.0, "start_iter": 4, "target_iter": 8, "target_weight": 2.0}
    outcome = _train(tiny_config({"train.losses": [{"type": "l1loss"}, ramp]}))
    weights = read_steps(outcome.folder)["loss_weight/mse"].tolist()
    assert weights == [0.0] * 5 + [0.5, 1.0, 1.5] + [2.0] * 4


def test_gradient_clipping_is_in_force(tiny_config: Configure) -> None:
    sgd_like = {"type": "Adam", "lr": 1e-3, "eps": 1e6}
    changes = {"train.optim_g": sgd_like, "train.ema_decay": 0.0, "train.total_iter": 1}
    moved = {}
    for norm in (1e-3, 1e-6):
        outcome = _train(tiny_config(changes | {"train.grad_clip_norm": norm}, name=f"clip{norm}"))
        config = load_config(tiny_config(changes)).config
        torch.manual_seed(config.manual_seed)
        initial = config.network.build(scale=2).state_dict()
        moved[norm] = float(sum((v - initial[k]).double().square().sum() for k, v in _weights(outcome).items()) ** 0.5)
    assert moved[1e-3] / moved[1e-6] > 100


def test_a_finished_run_is_extended(tiny_config: Configure) -> None:
    path = tiny_config()
    _train(path)
    assert _train(path).iteration == 12
    log = path.parent / "experiments" / "tiny" / "train.log"
    assert "this run is complete: a larger train.total_iter extends it" in log.read_text()
    outcome = _train(path, "train.total_iter=18")
    assert outcome.iteration == 18
    assert "  best " in log.read_text().partition("iter 16/18")[2].splitlines()[0], "the best is known from the start"
    assert len(read_steps(outcome.folder)["lr"]) == 18


def test_a_changed_run_is_not_resumed(tiny_config: Configure) -> None:
    path = tiny_config()
    _train(path)
    with pytest.raises(UserError) as caught:
        _train(path, "train.optim_g.lr=2e-3", "network_g.type=paragonsr2_micro")
    said = str(caught.value)
    assert "train.optim_g.lr: was 0.001, is 0.002" in said
    assert "network_g.type: was 'paragonsr2_nano', is 'paragonsr2_micro'" in said
    assert "--fresh" in said


def test_a_run_that_saved_nothing_may_be_changed(tiny_config: Configure) -> None:
    path = tiny_config()
    with pytest.raises(UserError, match="MS-SSIM with 5 scales needs"):
        _train(path, "train.losses.0.type=mssimloss")
    assert _train(path, "train.losses.0.type=mssimloss", "train.losses.0.scales=auto").iteration == 12


def test_changed_images_are_not_resumed(tiny_config: Configure, photographs: Callable[..., Path]) -> None:
    path = tiny_config()
    _train(path)
    config = load_config(path, [f"datasets.train.dataroot_gt={photographs('others', 6, seed=5)}"]).config
    with pytest.raises(UserError, match="the training images: fingerprint was"):
        train(config)


def test_fresh_archives_the_old_folder(tiny_config: Configure) -> None:
    path = tiny_config()
    first = _train(path)
    second = _train(path, "train.optim_g.lr=2e-3", fresh=True)
    assert first.folder == second.folder
    archives = list(first.folder.parent.glob("tiny_archived_*"))
    assert len(archives) == 1
    assert (archives[0] / "run.json").is_file()


def test_only_the_last_states_are_kept(tiny_config: Configure) -> None:
    outcome = _train(tiny_config({"logger.save_checkpoint_freq": 2, "logger.keep_last": 3}))
    assert sorted(int(p.stem) for p in (outcome.folder / "training_states").iterdir()) == [8, 10, 12]
    assert len(list((outcome.folder / "models").glob("net_g_ema_*"))) == 3


def test_pretrained_weights_are_the_beginning(tiny_config: Configure) -> None:
    first = _train(tiny_config())
    changes = {"path.pretrain_network_g": str(first.weights), "train.total_iter": 1, "train.ema_decay": 0.0}
    changes["train.optim_g"] = {"type": "Adam", "lr": 1e-12}
    second = _train(tiny_config(changes, name="second"))
    expected = load_file(first.weights)
    for name, value in _weights(second).items():
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-5)


def test_every_image_of_every_set_has_a_picture(tiny_config: Configure, photographs: Callable[..., Path]) -> None:
    sets = {"val": ["a", "a/deeper"], "val_2": ["b"]}
    changes: dict[str, object] = {"val.save_img": True, "train.total_iter": 1}
    for phase, folders in sets.items():
        for folder in folders:
            photographs(folder, 1)
        changes[f"datasets.{phase}"] = {"type": "singleimagedataset", "dataroot_gt": str(photographs(folders[0], 2))}
    outcome = _train(tiny_config(changes))
    pictures = {path.name for path in (outcome.folder / "visualization").rglob("*_000001.png")}
    names = "photo_00_a_0000 photo_00_a_0001 photo_00_b_0000 photo_01_a_0002 photo_01_b_0001".split()
    assert pictures == {f"{name}_000001.png" for name in names}


def test_a_warm_start_lists_what_it_skips_in_one_line(tiny_config: Configure) -> None:
    weights = _train(tiny_config()).weights
    path = tiny_config({"path.pretrain_network_g": str(weights), "path.strict_load_g": False}, name="deeper")
    outcome = _train(path, "network_g.num_blocks=4", "train.total_iter=1")
    (line,) = [text for text in (outcome.folder / "train.log").read_text().splitlines() if "do not fit" in text]
    skipped = set(line.rpartition(": ")[2].split(", "))
    assert skipped == load_file(outcome.weights).keys() - load_file(weights).keys() | {
        "hidden.6.weight",
        "hidden.6.bias",
    }


def test_several_validation_sets_and_the_first_decides(
    tiny_config: Configure, photographs: Callable[..., Path]
) -> None:
    other = {"type": "singleimagedataset", "dataroot_gt": str(photographs("other", 3, seed=3)), "name": "other"}
    outcome = _train(tiny_config({"datasets.val_2": other}))
    last = read_validations(outcome.folder)[-1]
    assert list(last.metrics) == ["val", "other"]
    assert outcome.best is not None
    assert outcome.best["value"] in [v.metrics["val"]["psnr"].value for v in read_validations(outcome.folder)]


def test_validation_in_tiles_gives_the_same_figures(tiny_config: Configure) -> None:
    whole = _train(tiny_config(name="whole"))
    tiled = _train(tiny_config({"val.tile_size": 16, "val.tile_overlap": 16}, name="tiled"))
    one = read_validations(whole.folder)[-1].deciding("psnr").value
    other = read_validations(tiled.folder)[-1].deciding("psnr").value
    assert one == pytest.approx(other, abs=0.01)


def test_saved_images(tiny_config: Configure) -> None:
    outcome = _train(tiny_config({"val.save_img": True}))
    images = sorted(path.name for path in (outcome.folder / "visualization" / "photo_00").iterdir())
    assert images == ["photo_00_000006.png", "photo_00_000012.png"]


def test_a_budget_of_samples_is_a_shorter_run(tiny_config: Configure) -> None:
    outcome = _train(tiny_config(), "train.budget=24 samples")
    assert outcome.iteration == 6
    assert [v.iteration for v in read_validations(outcome.folder)] == [3, 6]


def test_a_budget_of_seconds_is_planned_once(tiny_config: Configure) -> None:
    path = tiny_config()
    outcome = _train(path, "train.budget=2s")
    steps = read_steps(outcome.folder)
    assert len(steps["lr"]) == outcome.iteration > 1
    assert "ms per step measured; budget 2s" in (outcome.folder / "train.log").read_text()
    assert _train(path, "train.budget=2s").iteration == outcome.iteration, "nothing is measured again"


def test_published_weights_are_gone_on_from_as_the_network_they_were(tiny_config: Configure, tmp_path: Path) -> None:
    published = NanoOptions.published().build(scale=2)
    save_file(published.state_dict(), tmp_path / "published.safetensors")
    path = tiny_config({"train.optim_g.lr": 1e-12, "train.ema_decay": 0.0})
    outcome = _train(path, f"path.pretrain_network_g={tmp_path / 'published.safetensors'}")
    lr = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        torch.testing.assert_close(paragonsr.load(outcome.weights).network(lr), published.eval()(lr), atol=1e-5, rtol=0)
    assert "structure: dual" in (outcome.folder / "train.log").read_text()


def test_an_exactly_reproduced_image_is_left_out_and_said_so(tiny_config: Configure, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    write_png(flat / "grey.png", np.full((64, 64, 3), 128, np.uint8))
    # An untrained network whose detail starts at zero outputs its skip upsampler, which reproduces a flat image.
    path = tiny_config({"train.optim_g.lr": 1e-12, "network_g.detail_gain": 1e-12})
    outcome = _train(path, f"datasets.val.dataroot_gt=[{tmp_path / 'val'},{flat}]")
    value = read_validations(outcome.folder)[-1].deciding("psnr")
    assert value.exact == 1
    assert np.isfinite(value.value)
    assert "(1 reproduced exactly, left out)" in (outcome.folder / "train.log").read_text()


def _states(folder: Path) -> set[str]:
    return {path.name for path in (folder / "training_states").iterdir()}


def test_a_run_goes_back_to_a_state_and_is_resumed_by_the_same_command(tiny_config: Configure) -> None:
    path = tiny_config({"logger.save_checkpoint_freq": 4, "train.total_iter": 12})
    folder = _train(path).folder
    best = (folder / "models" / "best.safetensors").read_bytes()
    back = (f"path.resume_state={folder / 'training_states' / '4.state'}", "train.ema_decay=0.99")
    assert _train(path, *back, "train.total_iter=9").iteration == 9
    (aside,) = folder.glob("archive_*")
    assert {file.name for file in aside.iterdir()} == {"8.state", "12.state", "best.safetensors"}
    assert (aside / "best.safetensors").read_bytes() == best
    assert _states(folder) == {"4.state", "8.state", "9.state"}
    assert read_steps(folder)["iteration"].tolist() == list(range(1, 10))

    outcome = _train(path, *back, "train.total_iter=14")
    assert "resuming after iteration 9" in (folder / "train.log").read_text()
    assert outcome.iteration == 14
    assert outcome.weights.is_file()
    assert read_steps(folder)["iteration"].tolist() == list(range(1, 15))
    assert len(list(folder.glob("archive_*"))) == 1


def test_a_run_begins_from_a_state_of_another(tiny_config: Configure) -> None:
    path = tiny_config()
    state = _train(path).folder / "training_states" / "12.state"
    outcome = _train(path, f"path.resume_state={state}", "name=longer", "train.total_iter=13", "val.val_freq=100")
    assert outcome.iteration == 13
    assert outcome.weights.is_file(), "the best weights are of this run"
    assert read_steps(outcome.folder)["iteration"].tolist() == [13]


def test_a_state_of_another_network_is_refused_by_name(tiny_config: Configure) -> None:
    path = tiny_config()
    state = _train(path).folder / "training_states" / "12.state"
    with pytest.raises(UserError) as caught:
        _train(path, f"path.resume_state={state}", "name=other", "train.optim_g.type=NAdam", "network_g.num_feat=8")
    said = str(caught.value)
    assert "12.state: this run was started with other settings" in said
    assert "network_g.num_feat: was 16, is 8" in said
    assert "train.optim_g.type: was 'AdamW', is 'NAdam'" in said
    assert "pretrain_network_g" in said
    assert not (path.parent / "experiments" / "other" / "run.json").exists()


def test_a_damaged_description_of_the_run(tiny_config: Configure) -> None:
    path = tiny_config()
    file = _train(path).folder / "run.json"
    file.write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        _train(path)
    assert _train(path, fresh=True).iteration == 12


def test_the_first_validation_is_rehearsed_on_the_largest_image(
    tiny_config: Configure, photographs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photographs("mixed", 2)
    photographs("mixed/deep", 1, height=200, width=208)
    measured: list[tuple[int, ...]] = []
    whole = Validator._values

    def values(self: Validator, *given: Any) -> dict[str, float]:
        measured.append(given[2].shape)
        if given[2].shape[0] == 200:
            raise RuntimeError("no memory for that")
        return whole(self, *given)

    monkeypatch.setattr(Validator, "_values", values)
    path = tiny_config({"datasets.val.dataroot_gt": str(folder)})
    with pytest.raises(RuntimeError, match="no memory"):
        _train(path)
    assert measured == [(200, 208, 3)], "before the first step, and the largest"
    assert not (path.parent / "experiments").exists()
