"""The same bits for any order, number of workers and processes, and after a resume."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.doors.test_strangers import assert_same_runs

from paragonsr.config.load import load_config
from paragonsr.data.sampling import Prefetcher
from paragonsr.degradation.base import Degradation
from paragonsr.degradation.options import DegradationOptions
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]
STEPS: list[dict[str, Any]] = [
    {"type": "blur", "prob": 0.8, "kernels": {"iso": 1, "aniso": 1, "sinc": 1, "motion": 1}},
    {"type": "resize", "factor": [0.5, 1.3], "phase": 0.5, "antialias": 0.5},
    {
        "type": "one_of",
        "branches": [
            {"weight": 2, "steps": [{"type": "gaussian_noise"}, {"type": "sharpen", "prob": 0.5}]},
            {"steps": [{"type": "poisson_noise"}]},
            {"steps": [{"type": "sensor_noise"}]},
        ],
    },
    {"type": "jpeg", "times": [1, 2], "shift_prob": 0.5},
    {"type": "to_lr"},
    {"type": "one_of", "branches": [{"steps": [{"type": kind}]} for kind in ("webp", "h264", "mpeg2", "vp9")]},
    {"type": "quantise", "prob": 0.3},
    {"type": "chroma", "prob": 0.3},
]
PIPELINE = {"type": "pipeline", "steps": STEPS}
KINDS = {"pipeline": PIPELINE, "realesrgan": {"type": "realesrgan"}}
SCRIPT = """
import hashlib, json, sys
import numpy as np
from paragonsr.degradation.options import DegradationOptions
given, order = json.loads(sys.argv[1]), json.loads(sys.argv[2])
options = DegradationOptions.choose(given["type"]).model_validate(given)
degradation = options.build(scale=2, seed=5)
hr = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
made = {n: degradation.degrade(hr, n) for n in order}
print(hashlib.sha256(b"".join(made[n].tobytes() for n in sorted(made))).hexdigest())
"""


def _built(given: dict[str, Any], seed: int = 5) -> Degradation:
    kind = DegradationOptions.choose(given["type"])
    assert kind is not None
    built = kind.model_validate(given).build(scale=2, seed=seed)
    assert isinstance(built, Degradation)
    return built


@pytest.fixture
def hr() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_differ_and_each_is_the_same_in_any_order_and_process(kind: str, hr: np.ndarray) -> None:
    import json

    degradation = _built(KINDS[kind])
    made = {n: degradation.degrade(hr, n) for n in range(12)}
    assert {image.shape for image in made.values()} == {(24, 20, 3)}
    assert len({image.tobytes() for image in made.values()}) == 12
    digest = hashlib.sha256(b"".join(made[n].tobytes() for n in range(12))).hexdigest()
    for threads, order in (("1", list(range(12))), ("2", [7, 3, 11, 0, 1, 2, 10, 9, 8, 6, 5, 4])):
        told = subprocess.run(
            [sys.executable, "-c", SCRIPT, json.dumps(KINDS[kind]), json.dumps(order)],
            env=os.environ | {"OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.strip() == digest


def test_the_seed_changes_every_sample(hr: np.ndarray) -> None:
    one, other = _built(PIPELINE, 0), _built(PIPELINE, 1)
    assert all((one.degrade(hr, n) != other.degrade(hr, n)).any() for n in range(5))


def test_a_step_that_is_added_at_the_end_changes_nothing_before_it(hr: np.ndarray) -> None:
    added = {"type": "thick_lines", "share": 0}
    _, short = _built(PIPELINE).explained(hr, 3)
    _, long = _built({"type": "pipeline", "steps": [*STEPS, added]}).explained(hr, 3)
    assert {name: long[name] for name in short} == short


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_do_not_depend_on_the_workers(workers: int, tiny_config: Configure) -> None:
    options = load_config(tiny_config({"datasets.train.degradation": PIPELINE})).config.train_set
    sampler = options.sampler(options.open(2, "train"), 2, seed=3)
    plain = sampler.batch(0, 8).lq
    assert plain is not None
    with Prefetcher(sampler, workers=workers) as ahead:
        parts = [ahead.batch(first, 2).lq for first in range(0, 8, 2)]
    np.testing.assert_array_equal(np.concatenate([part for part in parts if part is not None]), plain)


def _train(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_is_the_same_as_an_uninterrupted_one(kind: str, tiny_config: Configure) -> None:
    changes = {"train.total_iter": 20, "train.observe_every": 5, "val.val_freq": 5, "logger.save_checkpoint_freq": 10}
    for phase in ("train", "val"):
        changes[f"datasets.{phase}.degradation"] = KINDS[kind]  # type: ignore[assignment]
    whole = _train(tiny_config(changes, name="whole"))
    parts = tiny_config(changes, name="parts")
    _train(parts, "train.total_iter=10")
    assert_same_runs(whole, _train(parts, "datasets.train.num_worker_per_gpu=3"))


def test_a_validation_set_is_degraded_once_by_a_fixed_seed(tiny_config: Configure) -> None:
    config = load_config(tiny_config({"datasets.val.degradation": PIPELINE})).config
    packed = config.datasets["val"].open(2, "val")
    degradation = _built(PIPELINE, seed=0)
    for index in range(len(packed)):
        np.testing.assert_array_equal(packed.lq(index), degradation.degrade(packed.hr(index), index))
    other = load_config(tiny_config({"datasets.val.degradation": {"type": "pipeline", "steps": STEPS[:1]}})).config
    assert other.datasets["val"].open(2, "val").fingerprint != packed.fingerprint
