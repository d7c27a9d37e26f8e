"""Out of memory in training and in validation: no sample is lost, and no value changes."""

import json
import mmap
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from paragonsr.archs.paragonsr2 import CompactParagonSR2
from paragonsr.config import load_config
from paragonsr.training.engine.memory import PeakMemory
from paragonsr.training.engine.step import TrainStep
from paragonsr.training.replay import replay
from paragonsr.training.reporting.record import read_steps, read_validations
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]


def _train(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


def _journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def _failing_above(size: int, times: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make the network run out of memory, `times` times, when it trains on more than `size` samples."""
    failed: list[int] = []
    forward = CompactParagonSR2.forward

    def limited(self: nn.Module, images: torch.Tensor) -> torch.Tensor:
        if self.training and torch.is_grad_enabled() and len(images) > size and len(failed) < times:
            failed.append(len(images))
            raise torch.OutOfMemoryError("injected")
        return forward(self, images)  # type: ignore[arg-type]

    monkeypatch.setattr(CompactParagonSR2, "forward", limited)
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


class Trained:
    """LR patches that went through the network in completed attempts."""

    def __init__(self, patch: pytest.MonkeyPatch, fails: Callable[[int, int, int], bool]) -> None:
        self.patches: Counter[bytes] = Counter()
        self.given_up = 0
        attempt, forward = TrainStep._attempt, CompactParagonSR2.forward
        passes: list[torch.Tensor] = []
        steps = 0

        def attempted(train_step: TrainStep, *given: Any) -> Any:
            nonlocal steps
            passes.clear()
            measured = attempt(train_step, *given)
            if measured is None:
                self.given_up += 1
            else:
                steps += 1
                self.patches.update(image.numpy().tobytes() for images in passes for image in images)
            return measured

        def counted(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
            if network.training and torch.is_grad_enabled():
                if fails(steps, len(passes), len(images)):
                    raise torch.OutOfMemoryError("injected")
                passes.append(images.detach())
            return forward(network, images)  # type: ignore[arg-type]

        patch.setattr(TrainStep, "_attempt", attempted)
        patch.setattr(CompactParagonSR2, "forward", counted)


@pytest.mark.parametrize(("at_step", "at_pass"), [(0, 1), (5, 0), (5, 1), (11, 1)])
def test_h5_the_trained_samples_are_those_of_a_run_with_memory_enough(
    tiny_config: Configure, monkeypatch: pytest.MonkeyPatch, at_step: int, at_pass: int
) -> None:
    changes = {"datasets.train.batch_size_per_gpu": 2, "datasets.train.accum_iter": 2}
    with monkeypatch.context() as patch:
        plain = Trained(patch, lambda step, number, size: False)
        one = _train(tiny_config(changes, name="plain"))
    with monkeypatch.context() as patch:
        redone = Trained(patch, lambda step, number, size: step == at_step and number == at_pass and size == 2)
        other = _train(tiny_config(changes, name="redone"))
    assert (plain.given_up, redone.given_up) == (0, 1)
    assert sum(plain.patches.values()) == 4 * 12
    assert redone.patches == plain.patches
    values = [read_steps(run.folder) for run in (one, other)]
    for name in ("loss/l1", "grad_norm"):
        np.testing.assert_allclose(values[0][name], values[1][name], rtol=1e-3)


def test_another_error_is_not_taken_for_a_lack_of_memory(
    tiny_config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: nn.Module, images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        return images.repeat_interleave(2, -1).repeat_interleave(2, -2)

    monkeypatch.setattr(CompactParagonSR2, "forward", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        _train(tiny_config())


CAPPED = """
import ctypes, resource, sys
import psutil
import paragonsr.training.engine.step as step

whole, count, limit = step.TrainStep.step, iter(range(100)), float(sys.argv.pop(1))

def capped(*given, **named):
    if next(count) == 3:
        ctypes.CDLL(None).malloc_trim(0)
        size = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (int(size + limit * 2**20),) * 2)
    return whole(*given, **named)

step.TrainStep.step = capped
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
    path = tiny_config(changes, name="capped")
    # Separate large blocks, which are returned to the system when freed; otherwise free heap memory of earlier steps
    # would count, which differs between processes.
    allocator = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", CAPPED, "90", "train", str(path)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | allocator,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    other = read_steps(free.folder.parent / "capped")
    assert one["samples_seen"].tolist() == other["samples_seen"].tolist()
    np.testing.assert_allclose(one["loss/l1"], other["loss/l1"], rtol=1e-3)
    assert other["out_of_memory"].sum() > 0
    assert other["micro_batch"][-1] < 256


def test_h8_peak_memory_is_that_since_the_last_reading() -> None:
    memory = PeakMemory(torch.device("cpu"), limit_gb=None)
    memory()
    before, total = memory()
    block = mmap.mmap(-1, 64 << 20)  # returned to the system when it is closed
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
    large = {"datasets.val.dataroot_gt": str(photographs("large", 1, height=200, width=220))}
    plain = _train(tiny_config(large, name="plain"))
    forward, failed = CompactParagonSR2.forward, []

    def limited(self: nn.Module, images: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled() and images.shape[-1] * images.shape[-2] > 8000:
            failed.append(images.shape)
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory")
        return forward(self, images)  # type: ignore[arg-type]

    monkeypatch.setattr(CompactParagonSR2, "forward", limited)
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
    changes: dict[str, Any] = {"datasets.train.batch_size_per_gpu": 2, "train.observe_every": 6}
    alone = _train(tiny_config(changes | {"datasets.train.batch_size_per_gpu": 4}, name="alone"))
    batch = {"enabled": True, "mode": "throughput", "adjustment_frequency": 6}
    changes["train.training_automations"] = {"dynamic_batch_size_optimizer": batch}
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
    assert other["micro_batch"].tolist() == [1.0] * 12, "the mean of both is what each of them has"
    np.testing.assert_allclose(one["loss/l1"][:3], other["loss/l1"][:3], rtol=1e-4)
    np.testing.assert_allclose(one["grad_norm"][:3], other["grad_norm"][:3], rtol=1e-3)
    assert [(e["automation"], e["to"]) for e in _journal(folder)] == [("dynamic_batch_size_optimizer", 1)]
