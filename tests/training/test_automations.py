"""The automations in real small runs: they act, their decisions replay, and a resume changes nothing."""

import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from paragonsr.automation.protocol import CLOCK_COLUMNS
from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.training.memory import PeakMemory
from paragonsr.training.record import read_steps, read_validations
from paragonsr.training.replay import replay
from paragonsr.training.run import Outcome, train
from paragonsr.training.store import read_state
from paragonsr.training.trial import Trial

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


def _train(path: Path, *overrides: str) -> Outcome:
    return train(load_config(path, overrides).config)


def _journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    latest = max((folder / "models").glob("net_g*"), key=lambda file: int(file.stem.split("_")[-1]))
    return load_file(latest)


@pytest.fixture
def whole(tiny_config: Configure) -> Outcome:
    """A run with everything on, to its end."""
    return _train(tiny_config(ALL_ON, name="whole"))


def test_d4_d19_they_act_once_and_every_decision_replays(whole: Outcome) -> None:
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
    log = (whole.folder / "train.log").read_text()
    for entry in journal:
        assert log.count(f"iter {entry['iteration']}  {entry['automation']}: {entry['setting']} ") == 1


def test_replay_names_a_difference_and_exits_non_zero(whole: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    main_exits(["replay", str(whole.folder)], 0)
    assert "all as in the journal" in capsys.readouterr().out
    file = whole.folder / "journal.jsonl"
    lines = file.read_text().splitlines()
    entry = json.loads(lines[1])
    lines[1] = json.dumps(entry | {"to": 7})
    file.write_text("\n".join(lines) + "\n")
    main_exits(["replay", str(whole.folder)], 1)
    assert "decision 2: the journal has" in capsys.readouterr().err
    main_exits(["replay", str(whole.folder / "models")], 2)


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


@pytest.mark.parametrize("stop", [15, 65, 105, 150])
def test_d24_resumed_in_the_middle_of_an_action_it_is_the_same_to_the_bit(
    tiny_config: Configure, whole: Outcome, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_config(ALL_ON | {"path.readings": str(whole.folder)}, name="cut")
    interrupted = _interrupted_after(stop, path, monkeypatch)
    assert interrupted.reason == "interrupted"
    assert interrupted.iteration < whole.iteration
    resumed = _train(path)
    assert resumed.iteration == whole.iteration
    assert _journal(resumed.folder) == _journal(whole.folder)
    one, other = read_steps(whole.folder), read_steps(resumed.folder)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert read_validations(whole.folder) == read_validations(resumed.folder)
    states = [read_state(run.folder / "training_states" / f"{whole.iteration}.state") for run in (whole, resumed)]
    for name, tensor in states[0][0].items():
        assert torch.equal(tensor, states[1][0][name]), name
    assert states[0][1]["parts"] == states[1][1]["parts"]


def _interrupted_after(iteration: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    from paragonsr.training.state import TrainingState

    whole = TrainingState.advance

    def advance(self: TrainingState, samples: int, iterations: int) -> None:
        whole(self, samples, iterations)
        if self.iteration >= iteration:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "advance", advance)
        return _train(path)


def _failing_above(size: int, times: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make the network run out of memory, `times` times, when it trains on more than `size` samples."""
    failed: list[int] = []
    from paragonsr.archs.paragonsr2 import CompactParagonSR2 as ParagonSR2

    forward = ParagonSR2.forward

    def limited(self: nn.Module, images: torch.Tensor) -> torch.Tensor:
        if self.training and torch.is_grad_enabled() and len(images) > size and len(failed) < times:
            failed.append(len(images))
            raise torch.OutOfMemoryError("injected")
        return forward(self, images)  # type: ignore[arg-type]

    monkeypatch.setattr(ParagonSR2, "forward", limited)
    return failed


def test_h5_running_out_of_memory_loses_no_sample(tiny_config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _train(tiny_config({"train.observe_every": 6}, name="plain"))
    with monkeypatch.context() as patch:
        failed = _failing_above(2, 100, patch)
        redone = _train(tiny_config({"train.observe_every": 6}, name="redone"))
    assert failed == [4], "once: the smaller size is kept"
    one, other = read_steps(plain.folder), read_steps(redone.folder)
    assert one["samples_seen"].tolist() == other["samples_seen"].tolist() == [4.0 * i for i in range(1, 13)]
    assert other["out_of_memory"].tolist() == [1.0] + [0.0] * 11
    assert other["micro_batch"].tolist() == [2.0] * 12
    np.testing.assert_allclose(one["loss/l1"], other["loss/l1"], rtol=1e-4)
    assert [(e["automation"], e["setting"], e["to"]) for e in _journal(redone.folder)] == [
        ("memory_guard", "micro_batch", 2)
    ]
    assert list(replay(redone.folder).differences()) == []


def test_another_error_is_not_taken_for_a_lack_of_memory(
    tiny_config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paragonsr.archs.paragonsr2 import CompactParagonSR2 as ParagonSR2

    def broken(self: nn.Module, images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        return images.repeat_interleave(2, -1).repeat_interleave(2, -2)

    monkeypatch.setattr(ParagonSR2, "forward", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        _train(tiny_config())


def test_a_trial_that_ended_the_process_counts_as_failed(tiny_config: Configure) -> None:
    path = tiny_config(ALL_ON | {"train.total_iter": 20, "logger.save_checkpoint_freq": 20})
    folder = _train(path).folder
    trial = Trial(folder)
    trial.begin(20, 8, 8)
    longer = _train(path, "train.total_iter=60")
    assert not (folder / "trial.json").exists()
    facts = [json.loads(line) for line in (folder / "facts.jsonl").read_text().splitlines()]
    assert facts == [{"iteration": 20, "kind": "interrupted trial", "figures": {"batch_size": 8.0, "micro_batch": 8.0}}]
    state = read_state(folder / "training_states" / f"{longer.iteration}.state")[1]
    assert state["parts"]["automation.dynamic_batch_size_optimizer"]["ceiling"] == 8


def test_d3_a_decay_reaches_the_optimiser_and_the_state_before_it_is_kept(whole: Outcome) -> None:
    decay = next(e for e in _journal(whole.folder) if isinstance(e["to"], dict))
    _, rest = read_state(whole.folder / "training_states" / "before_decay.state")
    assert rest["iteration"] == decay["iteration"]
    assert rest["parts"]["controls"]["lr_factors"] == {}
    lr = read_steps(whole.folder)["lr"]
    assert lr[decay["iteration"] - 1] == 1e-3
    assert lr[-1] < 0.5e-3, "the optimiser's rate is what the journal says"


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


def test_a_budget_of_seconds_changes_the_total_and_still_ends_annealed(tiny_config: Configure) -> None:
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
    assert spent == pytest.approx(3, rel=0.3)
    assert steps["lr"][-1] < 0.02e-3
    assert list(replay(outcome.folder).differences()) == []


def test_clock_columns_are_all_that_a_record_lends(whole: Outcome) -> None:
    assert set(CLOCK_COLUMNS) == {"seconds", "data_wait", "peak_memory", "total_memory"}
    assert set(CLOCK_COLUMNS) <= read_steps(whole.folder).keys()


CAPPED = """
import ctypes, resource, sys
import psutil
import paragonsr.training.step as step

whole, count, limit = step.Optimisation.step, iter(range(100)), float(sys.argv.pop(1))

def capped(*given, **named):
    if next(count) == 3:
        ctypes.CDLL(None).malloc_trim(0)
        size = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (int(size + limit * 2**20),) * 2)
    return whole(*given, **named)

step.Optimisation.step = capped
from paragonsr.cli import main
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's limit on a process' memory")
def test_a_process_whose_memory_is_capped_trains_on_all_samples(tiny_config: Configure) -> None:
    changes = {
        "num_threads": 1,
        "train.total_iter": 6,
        "datasets.train.batch_size_per_gpu": 256,
        "datasets.train.lq_size": 32,
        "datasets.train.num_worker_per_gpu": 0,
        "train.losses": [{"type": "l1loss"}],
        "val.val_enabled": False,
    }
    free = _train(tiny_config(changes, name="free"))
    one = read_steps(free.folder)
    for megabytes in ("90", "60", "40"):  # how much a process can still free differs from one to the next
        path = tiny_config(changes, name=f"capped{megabytes}")
        done = subprocess.run(
            [sys.executable, "-c", CAPPED, megabytes, "train", str(path)],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        other = read_steps(free.folder.parent / path.stem)
        assert one["samples_seen"].tolist() == other["samples_seen"].tolist()
        np.testing.assert_allclose(one["loss/l1"], other["loss/l1"], rtol=1e-3)
        if other["out_of_memory"].sum() > 0:
            break
    assert other["out_of_memory"].sum() > 0
    assert other["micro_batch"][-1] < 256


def test_h8_peak_memory_is_that_since_the_last_reading() -> None:
    memory = PeakMemory(torch.device("cpu"), limit_gb=None)
    memory()
    before, total = memory()
    block = mmap.mmap(-1, 64 << 20)  # what goes back to the system when it is closed
    block.write(bytes(64 << 20))
    during, _ = memory()
    block.close()
    memory()
    after, _ = memory()
    assert during - before > 60 << 20
    assert during - after > 60 << 20
    assert total > during
    assert PeakMemory(torch.device("cpu"), limit_gb=1.0)()[1] == 2**30


def test_h10_running_out_of_memory_in_a_validation_changes_no_figure(
    tiny_config: Configure, photographs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from paragonsr.archs.paragonsr2 import CompactParagonSR2 as ParagonSR2

    large = {"datasets.val.dataroot_gt": str(photographs("large", 1, height=200, width=220))}
    plain = _train(tiny_config(large, name="plain"))
    forward, failed = ParagonSR2.forward, []

    def limited(self: nn.Module, images: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled() and images.shape[-1] * images.shape[-2] > 8000:
            failed.append(images.shape)
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory")
        return forward(self, images)  # type: ignore[arg-type]

    monkeypatch.setattr(ParagonSR2, "forward", limited)
    tiled = _train(tiny_config(large, name="tiled"))
    assert failed
    for one, other in zip(read_validations(plain.folder), read_validations(tiled.folder), strict=True):
        assert one.deciding("psnr").value == pytest.approx(other.deciding("psnr").value, abs=1e-3)


FAILING_RANK = """
import os
import torch
from paragonsr.archs.paragonsr2 import CompactParagonSR2
forward = CompactParagonSR2.forward

def limited(self, images):
    if torch.is_grad_enabled() and os.environ["RANK"] == "1" and len(images) > 1:
        raise torch.OutOfMemoryError("injected")
    return forward(self, images)

CompactParagonSR2.forward = limited
from paragonsr.cli import main
main()
"""


def test_two_processes_agree_when_one_runs_out_of_memory(tiny_config: Configure, tmp_path: Path) -> None:
    changes = {"datasets.train.batch_size_per_gpu": 2, "train.observe_every": 6}
    alone = _train(tiny_config(changes | {"datasets.train.batch_size_per_gpu": 4}, name="alone"))
    path = tiny_config(changes, name="together")
    script = tmp_path / "failing.py"
    script.write_text(FAILING_RANK)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, str(script), "train", str(path)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = alone.folder.parent / "together"
    one, other = read_steps(alone.folder), read_steps(folder)
    assert one["samples_seen"].tolist() == other["samples_seen"].tolist()
    assert other["out_of_memory"].tolist() == [1.0] + [0.0] * 11, "both redid the first step"
    assert other["micro_batch"].tolist() == [1.0] * 12
    np.testing.assert_allclose(one["loss/l1"][:3], other["loss/l1"][:3], rtol=1e-4)
    np.testing.assert_allclose(one["grad_norm"][:3], other["grad_norm"][:3], rtol=1e-3)
    assert [(e["automation"], e["to"]) for e in _journal(folder)] == [("memory_guard", 1)]
