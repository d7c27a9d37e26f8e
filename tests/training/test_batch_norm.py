"""Networks with BatchNorm: never one sample at a time, and statistics that only an update changes."""

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paragonsr.automation.batch_size import BatchSize
from paragonsr.automation.options import BatchSizeOptions
from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.data.sampling import Batch
from paragonsr.losses.options import L1Options
from paragonsr.training.checkpoint.files import read_state
from paragonsr.training.control.controller import Hyperparameters
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.step import TrainStep, micro_batches
from paragonsr.training.replay import replay
from paragonsr.training.run import train

CPU = DeviceContext(torch.device("cpu"), None, False)
DAT = {
    "network_g": {
        "type": "spandrel",
        "network": "DAT",
        "arguments": {
            "upsampler": "pixelshuffledirect",
            "img_size": 16,
            "embed_dim": 16,
            "split_size": [4, 4],
            "depth": [2],
            "num_heads": [2],
            "expansion_factor": 2,
        },
    },
}


class Normalised(nn.Module):
    """A network with BatchNorm that fails as if memory had run out when more than `limit` samples pass at once."""

    def __init__(self, limit: int = 99) -> None:
        super().__init__()
        self.limit = limit
        self.first, self.norm, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 12, 1)
        self.seen: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(images))
        features = self.norm(self.first(images))
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("injected")
        return nn.functional.pixel_shuffle(self.last(features), 2)


def _batch(count: int) -> Batch:
    hr = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return Batch(np.ascontiguousarray(hr[:, ::2, ::2]), hr, tuple(range(count)), ("random",) * count)


def _step(limit: int = 99) -> TrainStep:
    torch.manual_seed(0)
    network = Normalised(limit)
    return TrainStep(network, Objective([L1Options()], CPU), torch.optim.SGD(network.parameters(), lr=0.1), CPU)


def _run(step: TrainStep, count: int, size: int, *, halves: bool = False) -> None:
    step.step(_batch(count), Hyperparameters(count, size, None), {"l1": 1.0}, 0.1, halves=halves)


@given(st.integers(2, 40), st.integers(2, 40), st.booleans())
def test_no_micro_batch_has_one_sample(count: int, size: int, halves: bool) -> None:
    halves = halves and count % 2 == 0 and count >= 4
    parts = [len(micro.hr) for micro in micro_batches(_batch(count), size, halves=halves, smallest=2)]
    assert sum(parts) == count
    assert min(parts) >= 2
    assert max(parts) <= max(size, 3)
    if halves:
        assert count // 2 in np.cumsum(parts)


@pytest.mark.parametrize(
    ("count", "size", "halves", "parts"),
    [(5, 2, False, [2, 3]), (7, 3, False, [3, 2, 2]), (2, 2, True, [2]), (6, 2, True, [3, 3]), (8, 4, True, [4, 4])],
)
def test_the_micro_batches_that_pass(count: int, size: int, halves: bool, parts: list[int]) -> None:
    step = _step()
    _run(step, count, size, halves=halves)
    assert step.main.network.seen == parts


def test_running_out_of_memory_stops_at_two_samples_and_leaves_no_trace_in_the_statistics() -> None:
    plain, redone = _step(), _step(limit=2)
    _run(plain, 8, 2)
    _run(redone, 8, 8)
    assert redone.main.network.seen == [8, 4, 2, 2, 2, 2]
    for a, b in zip(plain.main.network.state_dict().values(), redone.main.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(Exception, match="out of memory even with two samples at a time"):
        _run(_step(limit=1), 8, 8)


def test_a_skipped_update_leaves_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    step = _step()
    _run(step, 4, 4)
    before = {k: v.clone() for k, v in step.main.network.state_dict().items()}
    gradient = step.objective.gradient

    def broken(*args: object) -> object:
        result = gradient(*args)  # type: ignore[arg-type]
        result.total.fill_(float("nan"))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(step.objective, "gradient", broken)
        _run(step, 4, 4)
    assert all(torch.equal(v, before[k]) for k, v in step.main.network.state_dict().items())
    _run(step, 4, 4)
    assert not torch.equal(step.main.network.norm.running_mean, before["norm.running_mean"])


def test_the_batch_size_automation_does_not_go_below_two() -> None:
    free, bound = (BatchSize(BatchSizeOptions(min_batch_size=1), 8, 8, 1, fewest) for fewest in (1, 2))
    assert (free.smallest, bound.smallest) == (1, 2)
    for automation, fitting in ((free, 1), (bound, 2)):
        (decision,) = automation._failed(2, "memory ran out", 1)
        assert decision.value == fitting


needs_spandrel = pytest.mark.skipif(find_spec("spandrel") is None, reason="needs the extra spandrel")


@needs_spandrel
def test_a_run_resumes_to_the_bit_and_is_replayed(tiny_config: Callable[..., Path]) -> None:
    straight = train(load_config(tiny_config(DAT, name="straight"), []).config)
    path = tiny_config(DAT, name="resumed")
    train(load_config(path, ["train.total_iter=6"]).config)
    resumed = train(load_config(path, []).config)
    one, other = (read_state(run.folder / "training_states" / "12.state")[0] for run in (straight, resumed))
    assert any("running_mean" in name for name in one)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert not list(replay(straight.folder).differences())


@needs_spandrel
@pytest.mark.parametrize("command", ["check", "train"])
def test_one_sample_at_a_time_is_refused(
    tiny_config: Callable[..., Path], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"datasets.train.batch_size_per_gpu": 1, "datasets.train.accum_iter": 4}
    with pytest.raises(SystemExit) as ended:
        main([command, str(tiny_config(DAT | changes))])
    assert ended.value.code == 2
    assert "needs at least two samples at a time" in capsys.readouterr().err


SHARED = """
import torch
import torch.distributed as dist
from torch import nn
from paragonsr.training.engine.batch_norm import RunningStatistics
from paragonsr.training.engine.device_context import DeviceContext

dist.init_process_group("gloo")
rank = dist.get_rank()
network = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1))
network[0](torch.full((2, 2, 4, 4), 10.0 * rank))
RunningStatistics(network).average(DeviceContext(torch.device("cpu"), None, False, rank, 2))
assert network[0].running_mean.tolist() == [0.5, 0.5], network[0].running_mean
assert network[0].num_batches_tracked == 1
dist.destroy_process_group()  # else gloo's threads may end the process with an abort
"""


def test_two_processes_share_their_statistics(tmp_path: Path) -> None:
    script = tmp_path / "share.py"
    script.write_text(SHARED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
