"""The automations in small real runs: they act, their decisions can be replayed, and a resume changes nothing."""

import json
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from paragonsr.automation.protocol import CLOCK_COLUMNS, Decay
from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.training import assembly
from paragonsr.training import time_plan as planning
from paragonsr.training.checkpoint.files import read_state
from paragonsr.training.control.size_probe import SizeProbe
from paragonsr.training.replay import replay
from paragonsr.training.reporting.record import read_steps, read_validations
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]

ALL_ON: dict[str, Any] = {
    "train.total_iter": 240,
    "train.observe_every": 10,
    "train.training_automations": {
        "dynamic_batch_size_optimizer": {"enabled": True, "mode": "throughput", "adjustment_frequency": 10},
        "adaptive_gradient_clipping": {"enabled": True, "gradient_history_size": 20},
        "early_stopping": {"enabled": True, "patience": 60, "min_improvement": 5.0},
    },
    "val.val_freq": 10,
    "logger.save_checkpoint_freq": 1000,
}


def _train(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


def _journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    latest = max((folder / "models").glob("net_g*"), key=lambda file: int(file.stem.split("_")[-1]))
    return load_file(latest)


@pytest.fixture(scope="module")
def whole(module_config: Configure) -> TrainResult:
    """A finished run with everything enabled; must not be changed."""
    return _train(module_config(ALL_ON, name="whole"))


@pytest.fixture
def copied(whole: TrainResult, tmp_path: Path) -> Path:
    """A copy of its folder, which may be changed."""
    return shutil.copytree(whole.folder, tmp_path / "copied")


def test_d4_d19_they_act_once_and_every_decision_replays(whole: TrainResult) -> None:
    journal = _journal(whole.folder)
    acting = {entry["automation"] for entry in journal}
    assert {"dynamic_batch_size_optimizer", "adaptive_gradient_clipping", "early_stopping"} <= acting
    assert {entry["outcome"] for entry in journal} == {"applied"}
    for one, other in pairwise(journal):
        assert one != other, "nothing is repeated"
    assert whole.reason.startswith("early_stopping: psnr has not improved by 5")
    made = replay(whole.folder)
    assert len(made.again) == len(journal)
    assert list(made.differences()) == []


def test_h12_a_decision_is_one_line_of_the_log_and_one_scalar_and_one_text_of_the_board(whole: TrainResult) -> None:
    journal = _journal(whole.folder)
    log = (whole.folder / "train.log").read_text()
    for entry in journal:
        line = re.escape(f"iter {entry['iteration']}  {entry['automation']}: {entry['setting']}") + r"\b[^/]"
        assert len(re.findall(line, log)) == 1
    events = EventAccumulator(str(whole.folder / "tb"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    for kind, tags in (("setting", events.Tags()["scalars"]), ("automation", events.Tags()["tensors"])):
        read = events.Scalars if kind == "setting" else events.Tensors
        shown = [(event.step, tag) for tag in tags if tag.startswith("automation/") for event in read(tag)]
        expected = [(e["iteration"], f"automation/{e[kind]}") for e in journal]
        assert sorted((step, tag.removesuffix("/text_summary")) for step, tag in shown) == sorted(expected)


def _edit(file: Path, line: int, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    lines = file.read_text().splitlines()
    lines[line] = json.dumps(change(json.loads(lines[line])))
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("key", ["iteration", "automation", "setting", "from", "to", "reason", "values", "outcome"])
def test_replay_names_what_was_changed_in_the_journal_and_exits_non_zero(
    copied: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _edit(copied / "journal.jsonl", 1, lambda entry: entry | {key: 7})
    main_exits(["replay", str(copied)], 1)
    assert "decision 2: the journal has" in capsys.readouterr().err


def test_replay_finds_what_the_journal_lacks(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main_exits(["replay", str(copied)], 0)
    assert f"{len(_journal(copied))} decisions, all as in the journal" in capsys.readouterr().out
    file = copied / "journal.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    main_exits(["replay", str(copied)], 1)
    assert "the journal has none, the replay early_stopping" in capsys.readouterr().err
    main_exits(["replay", str(copied / "models")], 2)


def test_replay_finds_a_changed_observation(copied: Path) -> None:
    def better(line: dict[str, Any]) -> dict[str, Any]:
        line["metrics"]["val"]["psnr"]["value"] += 10
        return line

    kept = (copied / "validations.jsonl").read_text()
    _edit(copied / "validations.jsonl", 4, better)
    assert list(replay(copied).differences()), "a validation decides when the rate falls"
    (copied / "validations.jsonl").write_text(kept)
    assert not list(replay(copied).differences())
    file = copied / "observations.bin"
    head, _, rows = file.read_bytes().partition(b"\n")
    columns = json.loads(head)["columns"]
    table = np.frombuffer(rows, "<f8").reshape(-1, len(columns)).copy()
    table[5, columns.index("grad_norm")] *= 100
    file.write_bytes(head + b"\n" + table.tobytes())
    assert list(replay(copied).differences()), "a gradient decides where it is clipped"


def test_a_lengthened_run_replays_with_what_each_part_was_trained_with(tiny_config: Configure) -> None:
    section = {"intelligent_learning_rate_scheduler": {"enabled": True}}
    changes = {"train.total_iter": 30, "train.observe_every": 5, "train.training_automations": section}
    path = tiny_config(changes | {"val.val_freq": 10})
    folder = _train(path).folder
    _train(path, "train.total_iter=50")
    clipping = "train.training_automations.adaptive_gradient_clipping"
    _train(path, "train.total_iter=80", f"{clipping}.enabled=true", f"{clipping}.gradient_history_size=10")
    _train(path, "train.total_iter=80", f"{clipping}.enabled=true", f"{clipping}.gradient_history_size=10")
    description = json.loads((folder / "run.json").read_text())
    assert [(e["until"], e["config"]["train"]["total_iter"]) for e in description["earlier"]] == [(30, 30), (50, 50)]
    made = [(e["iteration"], e["setting"]) for e in _journal(folder)]
    decay = "lr_factor/intelligent_learning_rate_scheduler"
    assert [setting for _, setting in made if setting == decay] == [decay] * 3
    assert any(setting == "grad_clip" and iteration > 50 for iteration, setting in made)
    assert list(replay(folder).differences()) == []


def test_a_run_that_goes_on_from_another_ones_state_says_that_it_cannot_be_replayed(
    tiny_config: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    state = _train(tiny_config(name="first")).folder / "training_states" / "12.state"
    other = _train(tiny_config({"path.resume_state": str(state), "train.total_iter": 16}, name="second"))
    main_exits(["replay", str(other.folder)], 2)
    assert "the record begins at iteration 12, in the middle of another run" in capsys.readouterr().err


def main_exits(arguments: list[str], code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert (ended.value.code or 0) == code


def test_dry_run_journals_and_changes_nothing(tiny_config: Configure) -> None:
    changes = {"train.total_iter": 100, "train.observe_every": 10, "val.val_freq": 100}
    plain = _train(tiny_config(changes, name="plain"))
    section = {"adaptive_gradient_clipping": {"enabled": True, "dry_run": True, "gradient_history_size": 20}}
    dry = _train(tiny_config(changes | {"train.training_automations": section}, name="dry"))
    journal = _journal(dry.folder)
    assert {entry["outcome"] for entry in journal} == {"dry run"}
    one, other = _weights(plain.folder), _weights(dry.folder)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_trial_that_ended_the_process_counts_as_failed(tiny_config: Configure) -> None:
    path = tiny_config(ALL_ON | {"train.total_iter": 20, "logger.save_checkpoint_freq": 20})
    folder = _train(path).folder
    trial = SizeProbe(folder)
    trial.begin(20, 8, 8)
    longer = _train(path, "train.total_iter=60")
    assert not (folder / "size_probe.json").exists()
    measurements = [json.loads(line) for line in (folder / "measurements.jsonl").read_text().splitlines()]
    assert measurements == [
        {"iteration": 20, "kind": "interrupted size probe", "values": {"batch_size": 8.0, "micro_batch": 8.0}}
    ]
    state = read_state(folder / "training_states" / f"{longer.iteration}.state")[1]
    assert state["parts"]["automation.dynamic_batch_size_optimizer"]["ceiling"] == 8


def test_d3_the_optimisers_rate_is_what_the_journal_says(whole: TrainResult) -> None:
    journal, steps = _journal(whole.folder), read_steps(whole.folder)
    decay = next(e for e in journal if isinstance(e["to"], dict))
    _, rest = read_state(whole.folder / "training_states" / "before_decay.state")
    assert rest["iteration"] == decay["iteration"]
    assert rest["parts"]["controller"]["lr_factors"] == {}
    factors: dict[str, Decay] = {}
    for iteration, position, lr in zip(steps["iteration"], steps["position"], steps["lr"], strict=True):
        made = [e for e in journal if e["iteration"] < iteration and e["setting"].startswith("lr_factor/")]
        factors |= {e["setting"]: Decay(**e["to"]) for e in made}
        assert lr == 1e-3 * np.prod([factor.factor(position) for factor in factors.values()])
    assert steps["lr"][-1] < 0.5e-3


def test_h6_a_grown_batch_makes_several_iterations_a_step(
    tiny_config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paragonsr.automation import batch_size

    monkeypatch.setattr(batch_size, "PAYS_PER_DOUBLING", 0.0)
    monkeypatch.setattr(batch_size.NoiseScale, "value", property(lambda self: 1e4 if self.measured else None))
    section = {"dynamic_batch_size_optimizer": {"enabled": True, "adjustment_frequency": 10, "max_batch_size": 8}}
    changes = {
        "train.total_iter": 61,
        "train.observe_every": 10,
        "train.training_automations": section,
        "train.scheduler": {"type": "MultiStepLR", "milestones": [41], "gamma": 0.5},
        "val.val_freq": 15,
    }
    outcome = _train(tiny_config(changes))
    steps = read_steps(outcome.folder)
    assert outcome.iteration == 61
    assert steps["samples_seen"].tolist() == (4 * steps["iteration"]).tolist()
    assert set(steps["batch_size"]) == {4.0, 8.0}
    grown = steps["batch_size"] == 8
    np.testing.assert_array_equal(np.diff(steps["iteration"], prepend=0), np.where(grown, 2, 1))
    assert read_validations(outcome.folder)[0].iteration in (15, 16)
    expected = 1e-3 * np.where(steps["position"] >= 41, 0.5, 1) * np.where(steps["position"] >= 30, 2**0.5, 1)
    late = steps["position"] >= 40
    np.testing.assert_allclose(steps["lr"][late], expected[late])


class Slowing:
    """Recorded clock and memory of a machine that is half as fast from iteration 40 on."""

    def __init__(self, *given: object) -> None: ...

    def step(self, iteration: int) -> dict[str, float]:
        seconds = 0.03 if iteration <= 40 else 0.06
        return {"seconds": seconds, "data_wait": 0.0, "peak_memory": 1e8, "total_memory": 1e9}

    def validation(self, iteration: int, seconds: float) -> float:
        return 0.12


def test_a_budget_of_seconds_changes_the_total_and_still_ends_annealed(
    tiny_config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "LiveSystemStats", Slowing)
    monkeypatch.setattr(planning, "measured_step", lambda *given: SimpleNamespace(seconds=0.03))
    changes = {
        "train.total_iter": 100,
        "train.budget": "3s",
        "train.observe_every": 5,
        "train.scheduler": {"type": "CosineAnnealingLR"},
        "val.val_freq": 1000,
        "logger.save_checkpoint_freq": 100000,
    }
    outcome = _train(tiny_config(changes))
    steps = read_steps(outcome.folder)
    spent = steps["seconds"].sum() + sum(v.seconds for v in read_validations(outcome.folder))
    assert spent == pytest.approx(3, rel=0.05)
    assert 65 <= outcome.iteration <= 70, "of 100 that were planned"
    assert steps["lr"][-1] < 0.01e-3
    assert list(replay(outcome.folder).differences()) == []


def test_d20_the_keys_that_other_parts_read_have_their_effect(tiny_config: Configure) -> None:
    sections = {"early_stopping": {"enabled": True, "save_best": False}}
    quiet = {"train.training_automations": sections, "train.dynamic_loss_scheduling": {"enable_monitoring": False}}
    outcome = _train(tiny_config(quiet))
    assert not (outcome.folder / "models" / "best.safetensors").exists()
    assert outcome.weights.name == "net_g_ema_12.safetensors"
    events = EventAccumulator(str(outcome.folder / "tb"))
    events.Reload()
    assert "losses/l1" in events.Tags()["scalars"]
    assert not [tag for tag in events.Tags()["scalars"] if tag.startswith("loss_share/")]


def test_clock_columns_are_all_that_a_record_lends(whole: TrainResult) -> None:
    assert set(CLOCK_COLUMNS) == {"seconds", "data_wait", "peak_memory", "total_memory"}
    assert set(CLOCK_COLUMNS) <= read_steps(whole.folder).keys()
