"""Time budgets in a comparison: measured once for equal steps, reported once, stored."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from paragonsr.config import Config
from paragonsr.errors import UserError
from paragonsr.evidence.arms import Arm, make_arms
from paragonsr.evidence.planning import ROUNDS, planned
from paragonsr.training.engine.estimate import Estimate

Configure = Callable[..., Path]
Make = Callable[..., list[Arm]]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations whose step was measured. A step takes 10 ms per sample, sometimes more."""
    found: list[Config] = []

    def estimate(config: Config) -> Estimate:
        found.append(config)
        return Estimate(1, "cpu", 0.01 * config.batch * (1 + len(found) % 3), 0.0)

    monkeypatch.setattr("paragonsr.evidence.planning.estimate", estimate)
    return found


@pytest.fixture
def arms_of(tiny_config: Configure) -> Make:
    """Arms of a run of 1000 iterations: arms_of("name: key=value", ..., budget="10s")."""
    path = tiny_config({"train.total_iter": 1000, "val.val_freq": 100})
    return lambda *more, budget=None: make_arms([path], more=more, budget=budget)


RATE, STOP = (
    "rate: train.optim_g.lr=1e-4",
    "stop: train.training_automations.early_stopping={enabled: true, patience: 50}",
)
DATA, LARGE = "data: datasets.train.dataroot_gt=elsewhere", "large: datasets.train.batch_size_per_gpu=8"


def test_equal_steps_are_measured_and_said_once(arms_of: Make, tmp_path: Path, timed: list[Config]) -> None:
    said: list[str] = []
    arms = planned(arms_of(RATE, STOP, DATA, budget="10s"), tmp_path, said.append)
    assert len(timed) == ROUNDS
    assert {arm.config.train.total_iter for arm in arms} == {250}
    assert {arm.config.val.val_freq for arm in arms} == {25}
    assert {arm.config.train.budget for arm in arms} == {None}
    assert [text.splitlines()[0] for text in said] == [
        "tiny, rate, data: 40.0 ms per step measured; budget 10s: 250 iterations",
        "stop: 40.0 ms per step measured; budget 10s: 250 iterations",
    ], "its patience is in the table of the last"
    assert "early_stopping.patience" in said[1]


def test_a_slower_step_gets_fewer_iterations(arms_of: Make, tmp_path: Path, timed: list[Config]) -> None:
    arms = planned(arms_of(LARGE, budget="10s"), tmp_path, lambda text: None)
    assert [arm.config.train.total_iter for arm in arms] == [250, 125]
    assert len(timed) == 2 * ROUNDS


def test_arms_may_be_added_and_keep_their_plan(arms_of: Make, tmp_path: Path, timed: list[Config]) -> None:
    planned(arms_of(RATE, budget="10s"), tmp_path, lambda text: None)
    said: list[str] = []
    arms = planned(arms_of(RATE, DATA, LARGE, budget="10s"), tmp_path, said.append)
    assert [arm.config.train.total_iter for arm in arms] == [250, 250, 250, 125]
    assert len(timed) == 2 * ROUNDS, "what was measured counts for those that were added"
    assert [text.partition(":")[0] for text in said] == ["data", "large"]
    planned(arms_of(RATE, DATA, LARGE, budget="10s"), tmp_path, pytest.fail)


def test_an_added_arm_of_another_length_keeps_its_length(arms_of: Make, tmp_path: Path) -> None:
    planned(arms_of(RATE), tmp_path, pytest.fail)
    arms = planned(arms_of(RATE, "longer: train.total_iter=2000"), tmp_path, pytest.fail)
    assert [arm.config.train.total_iter for arm in arms] == [1000, 1000, 2000]


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (["rate: train.optim_g.lr=1e-5"], "rate: train.optim_g.lr was 0.0001, is 1e-05"),
        ([LARGE], "the arm 'rate' is missing"),
    ],
)
def test_a_comparison_that_changed_is_refused(arms_of: Make, tmp_path: Path, later: list[str], said: str) -> None:
    planned(arms_of(RATE), tmp_path, pytest.fail)
    before = (tmp_path / "plan.json").read_text()
    with pytest.raises(UserError, match="other arms") as refused:
        planned(arms_of(*later), tmp_path, pytest.fail)
    assert said in str(refused.value)
    assert (tmp_path / "plan.json").read_text() == before
    assert list(json.loads(before)["arms"]) == ["tiny", "rate"]
