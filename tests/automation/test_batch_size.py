"""The batch-size automation on a simulated machine."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paragonsr.automation.batch_size import MOST_PROBES, TURNS, BatchSize
from paragonsr.automation.memory_guard import MemoryGuard
from paragonsr.automation.noise_scale import NoiseScale
from paragonsr.automation.options import BatchSizeOptions
from paragonsr.automation.protocol import Decision, Measurements, Steps

Make = Callable[..., Steps]
TOTAL_MEMORY = 12e9


@dataclass
class Machine:
    """Memory and time of a step as straight lines over the micro-batch, with a little noise."""

    base: float = 1e9
    per_sample: float = 50e6
    overhead: float = 0.02
    """Fixed overhead of a pass, in seconds."""
    sample_seconds: float = 1e-3
    noise: float = 0.01
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def peak(self, micro: int) -> float:
        return self.base + self.per_sample * micro

    def seconds(self, batch: int, micro: int) -> float:
        passes = -(-batch // micro)
        return passes * self.overhead + batch * self.sample_seconds


@dataclass
class Run:
    """An automation whose decisions act on a simulated run."""

    automation: BatchSize
    machine: Machine
    make_steps: Make
    batch: int = 32
    micro: int = 32
    noise_scale: float = 1e5
    rate: float = 1.0
    peaks: list[float] = field(default_factory=list)
    made: list[tuple[int, Decision]] = field(default_factory=list)
    probes: set[tuple[int, str]] = field(default_factory=set)

    def windows(self, first: int, count: int) -> None:
        for window in range(first, first + count):
            self.window(window * 50)

    def window(self, iteration: int) -> None:
        machine, micro, failures = self.machine, self.micro, 0
        while machine.peak(micro) > TOTAL_MEMORY:
            micro, failures = (micro + 1) // 2, failures + 1
        half = 1 + self.noise_scale / (self.batch / self.automation.world / 2)
        whole = 1 + self.noise_scale / self.batch
        each = machine.seconds(self.batch // self.automation.world, micro)
        values = {
            "batch_size": self.batch,
            "micro_batch": micro,
            "out_of_memory": np.array([failures] + [0] * 49),
            "seconds": each * (1 + machine.noise * machine.random.normal(size=50)),
            "peak_memory": machine.peak(micro) * (1 + 0.002 * machine.random.normal()),
            "total_memory": TOTAL_MEMORY,
            "half_grad_norm": np.sqrt(half) * np.where(np.arange(50) % 10 == 0, 1.0, np.nan),
            "grad_norm": np.sqrt(whole),
        }
        self.peaks.append(machine.peak(micro) / TOTAL_MEMORY)
        for decision in self.automation.observe(self.make_steps(iteration, **values)):
            self.apply(iteration, decision)

    def apply(self, iteration: int, decision: Decision) -> None:
        self.made.append((iteration, decision))
        value = decision.value
        assert isinstance(value, int | float)
        if decision.probe:
            self.probes.add((iteration, decision.reason))
        if decision.setting == "batch_size":
            assert value != self.batch
            self.batch = int(value)
        elif decision.setting == "micro_batch":
            assert value != self.micro
            self.micro = int(value)
        else:
            assert decision.setting == "lr_factor/dynamic_batch_size_optimizer"
            self.rate = float(value)


def _run(make_steps: Make, machine: Machine, batch: int = 32, micro: int = 32, **options: object) -> Run:
    chosen = BatchSizeOptions(enabled=True, **options)  # type: ignore[arg-type]
    return Run(BatchSize(chosen, batch, micro, 1), machine, make_steps, batch, micro)


def test_the_largest_batch_inside_the_target_is_found_with_few_probes(make_steps: Make) -> None:
    # Speed keeps rising, because a pass is almost all overhead.
    run = _run(make_steps, Machine(overhead=1.0, sample_seconds=1e-4, per_sample=20e6))
    run.windows(1, 60)
    best = max(b for b in range(32, 1000, 32) if 1e9 + 20e6 * b <= 0.85 * TOTAL_MEMORY)
    assert run.batch == run.micro == best
    assert len(run.probes) <= MOST_PROBES
    before = len(run.peaks)
    run.windows(61, 20)
    assert max(run.peaks[before:]) <= 0.9, "the peak of the next 1000 steps"
    assert run.rate == pytest.approx((best / 32) ** 0.5)


def test_a_batch_grows_only_where_speed_rises_enough(make_steps: Make) -> None:
    run = _run(make_steps, Machine(overhead=1e-4, sample_seconds=1e-3, per_sample=20e6))
    run.windows(1, 60)
    assert (run.batch, run.micro, run.rate) == (32, 32, 1.0)
    assert run.made, "it was tried"


@pytest.mark.parametrize("trend", [0.9, 1.0, 1.1])
@pytest.mark.parametrize(("gain", "kept"), [(1.35, False), (1.40, False), (1.43, True), (1.6, True)])
def test_a_busier_or_quieter_machine_does_not_decide(make_steps: Make, trend: float, gain: float, kept: bool) -> None:
    """A doubled batch must give sqrt(2) times the samples/s, whatever the load does from window to window."""

    class Drifting(Machine):
        def seconds(self, batch: int, micro: int) -> float:
            return batch / 1000 / (gain if batch > 32 else 1) * trend ** len(run.peaks)

    run = _run(make_steps, Machine(), max_batch_size=64)
    run.machine = Drifting(per_sample=20e6, noise=0)
    run.windows(1, 12)
    sizes = [int(d.value) for _, d in run.made if d.setting == "batch_size"]
    assert sizes[:3] == [64, 32, 64]
    assert (run.batch, len(sizes)) == ((64, 3) if kept else (32, 4))
    assert run.rate == pytest.approx(2**0.5 if kept else 1)


@pytest.mark.parametrize(("gain", "kept"), [(1.04, False), (1.06, True)])
def test_another_micro_batch_must_win_by_the_margin(make_steps: Make, gain: float, kept: bool) -> None:
    class Cached(Machine):
        def seconds(self, batch: int, micro: int) -> float:
            return batch / 1000 / (gain if micro == 16 else 1)

    run = _run(make_steps, Cached(noise=0), mode="throughput")
    run.windows(1, 12)
    assert run.micro == (16 if kept else 32)


def test_a_window_in_which_the_machine_stalled_spoils_one_turn_only(make_steps: Make) -> None:
    automation = _run(make_steps, Machine()).automation
    automation.batch, automation.micro, automation.probed = 64, 64, [64, 64]
    for stalled in range(4):
        automation.before_probe, automation.memory[64] = [32, 32], 0.5
        automation.turns = [100.0 if size == "old" else 180.0 for size in TURNS]
        automation.turns[stalled] *= 0.9
        automation.batch, automation.micro = 64, 64
        (decision,) = automation._judge([32, 32])
        assert decision.setting == "lr_factor/dynamic_batch_size_optimizer"


def test_a_batch_grows_only_up_to_the_noise_scale(make_steps: Make) -> None:
    run = _run(make_steps, Machine(overhead=1.0, sample_seconds=1e-4, per_sample=20e6))
    run.noise_scale = 100.0
    run.windows(1, 60)
    assert run.batch == 96
    silent = _run(make_steps, Machine(overhead=1.0, sample_seconds=1e-4))
    silent.noise_scale = 30.0
    silent.windows(1, 60)
    assert silent.batch == 32


def test_max_batch_size_bounds(make_steps: Make) -> None:
    run = _run(make_steps, Machine(overhead=1.0, sample_seconds=1e-4, per_sample=1e6), max_batch_size=70)
    run.windows(1, 60)
    assert run.batch == 64


def test_throughput_keeps_the_batch(make_steps: Make) -> None:
    run = _run(make_steps, Machine(overhead=0.1), batch=32, micro=4, mode="throughput")
    run.windows(1, 60)
    assert (run.batch, run.micro, run.rate) == (32, 32, 1.0)


def test_throughput_finds_a_smaller_micro_batch_that_is_faster(make_steps: Make) -> None:
    class Cached(Machine):
        def seconds(self, batch: int, micro: int) -> float:
            return batch * self.sample_seconds * (2 if micro > 16 else 1)

    run = _run(make_steps, Cached(), mode="throughput")
    run.windows(1, 60)
    assert (run.batch, run.micro) == (32, 16)


def test_d4_memory_above_the_limit_shrinks_the_micro_batch_at_once_and_once(make_steps: Make) -> None:
    run = _run(make_steps, Machine(per_sample=330e6), mode="throughput")  # 11.6 of 12 GB
    run.window(50)
    assert run.micro == 16
    run.windows(2, 60)
    assert max(run.peaks[1:]) <= 0.9
    assert run.batch == 32
    assert len(run.made) <= 5, "the reduction, and one probe in turns: nothing is repeated"


def test_h5_running_out_of_memory_is_remembered(make_steps: Make) -> None:
    run = _run(make_steps, Machine(per_sample=600e6), mode="throughput")  # 32 need 20 GB
    run.windows(1, 80)
    assert run.micro == 16
    assert run.automation.ceiling == 32
    assert run.batch == 32
    assert max(run.peaks[1:]) < 1


def test_an_interrupted_trial_counts_as_failed(make_steps: Make) -> None:
    run = _run(make_steps, Machine(overhead=1.0, sample_seconds=1e-4, per_sample=20e6))
    run.windows(1, 4)
    facts = Measurements(200, "interrupted size probe", {"batch_size": 64.0, "micro_batch": 64.0})
    for decision in run.automation.observe(facts):
        run.apply(200, decision)
    run.windows(5, 60)
    assert run.batch == run.micro == 32
    assert run.automation.ceiling == 64


def test_without_room_nothing_is_tried(make_steps: Make) -> None:
    run = _run(make_steps, Machine(base=10e9, per_sample=10e6, overhead=1.0), min_batch_size=32)
    run.windows(1, 60)
    assert run.made == []


@pytest.mark.parametrize("mode", ["maximize", "throughput"])
def test_a_dry_run_asks_for_one_size_and_claims_nothing_about_what_was_not_tried(make_steps: Make, mode: str) -> None:
    run = _run(make_steps, Machine(overhead=1.0, sample_seconds=1e-4), mode=mode)
    wished = []
    for window in range(1, 60):
        micro = run.micro
        run.window(50 * window)
        wished += run.made
        run.made, run.batch, run.micro = [], 32, micro  # no decision is applied
    assert wished
    assert len({iteration for iteration, _ in wished}) == 1
    assert all(decision.probe for _, decision in wished)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(middle=st.integers(1, 29), seed=st.integers(0, 100))
def test_h7_resumed_in_the_middle_it_decides_the_same(make_steps: Make, middle: int, seed: int) -> None:
    runs = []
    for resume in (False, True):
        machine = Machine(overhead=0.05, random=np.random.default_rng(seed), noise=0.05)
        run = _run(make_steps, machine)
        run.windows(1, middle)
        if resume:
            state = json.loads(json.dumps(run.automation.state_dict()))
            run.automation = BatchSize(run.automation.options, 32, 32, 1)
            run.automation.load_state_dict(state)
        run.windows(middle + 1, 30 - middle)
        runs.append(run)
    assert runs[0].made == runs[1].made
    assert runs[0].automation.state_dict() == runs[1].automation.state_dict()


def test_two_processes_ask_for_the_batch_of_both(make_steps: Make) -> None:
    options = BatchSizeOptions(enabled=True)
    run = Run(BatchSize(options, 16, 16, 2), Machine(overhead=1.0, sample_seconds=1e-4), make_steps, 32, 16)
    run.windows(1, 8)
    grown = [d for _, d in run.made if d.setting == "batch_size"]
    assert [d.value for d in grown][:1] == [64]
    assert run.batch == 2 * run.micro


def test_the_noise_scale_of_known_gradients() -> None:
    random, scale = np.random.default_rng(0), NoiseScale()
    mean = np.full(100, 0.1)  # |G|^2 = 1
    for _ in range(64):
        samples = mean + random.normal(0, 0.5, (32, 100))  # tr(Sigma) = 25
        scale.add(16, np.linalg.norm(samples[:16].mean(0)), 32, np.linalg.norm(samples.mean(0)))  # type: ignore[arg-type]
    assert scale.value == pytest.approx(25, rel=0.2)


def test_the_memory_guard_keeps_what_worked(make_steps: Make) -> None:
    guard = MemoryGuard()
    assert guard.observe(make_steps(50)) == ()
    failed = np.zeros(50)
    failed[-1] = 2
    (decision,) = guard.observe(make_steps(100, out_of_memory=failed, micro_batch=2))
    assert (decision.setting, decision.value) == ("micro_batch", 2)
