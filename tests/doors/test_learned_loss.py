"""A loss with its own network: whatever happens to the run, that network is the same."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from paragonsr.archs.classic_options import NanoOptions
from paragonsr.config.load import load_config
from paragonsr.data.sampling import Batch
from paragonsr.losses.options import L1Options, LossOptions
from paragonsr.optim.ema import EMA
from paragonsr.optim.options import AdamOptions
from paragonsr.registry import import_plugins
from paragonsr.training.checkpoint.files import read_state
from paragonsr.training.checkpoint.state import TrainingState
from paragonsr.training.control.controller import Hyperparameters
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.learner import Learner
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.step import TrainStep
from paragonsr.training.reporting.record import read_steps
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]
STRANGERS = str(Path(__file__).with_name("strangers.py"))
CHANGES: dict[str, Any] = {
    "plugins": [STRANGERS],
    "train.losses": [{"type": "l1loss"}, {"type": "criticloss", "loss_weight": 0.1}],
}
WEIGHTS = {"l1": 1.0, "critic": 0.1}


def _train(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


def _batch(count: int, seed: int = 0) -> Batch:
    hr = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return Batch(np.ascontiguousarray(hr[:, ::2, ::2]), hr, tuple(range(count)), ("random",) * count)


def _step(dtype: torch.dtype | None = None) -> TrainStep:
    import_plugins([STRANGERS])
    kind = LossOptions.choose("criticloss")
    assert kind is not None
    torch.manual_seed(0)
    context = DeviceContext(torch.device("cpu"), dtype, channels_last=False)
    network = NanoOptions().build(scale=2)
    objective = Objective([L1Options(), kind(loss_weight=0.1)], context)  # type: ignore[call-arg]
    optimiser = AdamOptions(lr=1e-3).build(parameters=network.parameters())
    return TrainStep(network, objective, optimiser, context)


def _weights(step: TrainStep) -> list[torch.Tensor]:
    networks = [step.main.network, *(learner.network for learner in step.learners.values())]
    return [p.detach().clone() for network in networks for p in network.parameters()]


def _run(step: TrainStep, micro: int, seed: int = 0) -> Any:
    return step.step(_batch(4, seed), Hyperparameters(4, micro, None), WEIGHTS, 1e-3, {"critic": 1e-3})


def test_the_critic_gets_the_gradient_of_its_own_loss_alone() -> None:
    step = _step()
    learner = step.learners["critic"]
    before = [p.detach().clone() for p in learner.network.parameters()]
    result = _run(step, 4)
    gradients = [p.grad for p in learner.network.parameters()]
    sr = _step().main.network(torch.from_numpy(_batch(4).lq).permute(0, 3, 1, 2) / 255)
    hr = torch.from_numpy(_batch(4).hr).permute(0, 3, 1, 2) / 255
    fresh = _step().learners["critic"]
    loss, measured = fresh.loss.own_loss(sr.detach(), hr)
    loss.backward()
    for mine, other in zip(gradients, fresh.network.parameters(), strict=True):
        torch.testing.assert_close(mine, other.grad, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(result.learners["critic"].values["real"], measured["real"].detach())
    assert any(not torch.equal(a, b) for a, b in zip(before, learner.network.parameters(), strict=True))


@pytest.mark.parametrize("micro", [1, 2, 3])
def test_micro_batches_make_the_same_step(micro: int) -> None:
    whole, parts = _step(), _step()
    one, other = _run(whole, 4), _run(parts, micro)
    for a, b in zip(_weights(whole), _weights(parts), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)
    for name in ("loss", "real", "fake"):
        torch.testing.assert_close(one.learners["critic"].values[name], other.learners["critic"].values[name])


def test_memory_that_runs_out_in_the_critic_repeats_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, failing = _step(), _step()
    failed: list[int] = []
    accumulate = Learner.accumulate

    def limited(self: Learner, sr: torch.Tensor, hr: torch.Tensor, share: float) -> None:
        accumulate(self, sr, hr, share)
        if len(sr) > 2:
            failed.append(len(sr))
            raise torch.OutOfMemoryError("injected")

    _run(plain, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "accumulate", limited)
        result = _run(failing, 4)
    assert (failed, result.out_of_memory, result.micro_batch) == ([4], 1, 2)
    for a, b in zip(_weights(plain), _weights(failing), strict=True):
        assert torch.equal(a, b)


def test_a_gradient_that_is_not_finite_skips_the_update_of_the_critic_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    step = _step()
    learner = step.learners["critic"]
    before = _weights(step)
    own_loss = learner.loss.own_loss
    monkeypatch.setattr(
        learner.loss, "own_loss", lambda sr, hr: (own_loss(sr, hr)[0] * float("nan"), own_loss(sr, hr)[1])
    )
    result = _run(step, 4)
    assert (float(result.finite), float(result.learners["critic"].finite)) == (1.0, 0.0)
    count = len(list(step.main.network.parameters()))
    after = _weights(step)
    assert any(not torch.equal(a, b) for a, b in zip(before[:count], after[:count], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before[count:], after[count:], strict=True))


def test_a_rollback_takes_both_networks_back() -> None:
    step = _step()
    state = TrainingState(EMA(step.main.network, 0.0, 0.75), step)
    _run(step, 4)
    state.keep()
    kept = _weights(step)
    followed = [_run(step, 4, seed=1) and _weights(step), _run(step, 4, seed=2) and _weights(step)]
    state.roll_back()
    assert all(torch.equal(a, b) for a, b in zip(kept, _weights(step), strict=True))
    _run(step, 4, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(followed[0], _weights(step), strict=True)), "optimisers went back too"


def test_fp16_scales_the_gradients_of_both_networks() -> None:
    exact, scaled = _step(), _step(torch.float16)
    assert scaled.main.scaler.is_enabled()
    assert scaled.learners["critic"].scaler.is_enabled()
    before = _weights(scaled)[-1]
    for _ in range(12):  # the scale starts too large, and is halved until nothing overflows
        other = _run(scaled, 2)
        if float(other.learners["critic"].finite):
            break
        assert torch.equal(_weights(scaled)[-1], before), "an overflow skips the update"
    assert float(other.learners["critic"].finite) == 1.0
    assert scaled.learners["critic"].scaler.get_scale() < 65536
    one = _run(exact, 2)
    torch.testing.assert_close(
        one.learners["critic"].grad_norm, other.learners["critic"].grad_norm, rtol=5e-2, atol=1e-3
    )


def test_what_it_measures_its_own_rate_and_its_own_weights_are_written(tiny_config: Configure) -> None:
    automations = {"lower": {"enabled": True}}
    plugin = Path(tiny_config().parent / "lower.py")
    plugin.write_text(LOWER)
    changes = CHANGES | {"plugins": [STRANGERS, str(plugin)], "train.training_automations": automations}
    result = _train(tiny_config(changes))
    steps = read_steps(result.folder)
    assert np.isfinite(steps["learner/critic/real"]).all()
    assert (steps["learner/critic/finite"] == 1).all()
    saved = load_file(result.folder / "models" / "net_d_12.safetensors")
    tensors, rest = read_state(result.folder / "training_states" / "12.state")
    for name, tensor in saved.items():
        assert torch.equal(tensor, tensors[f"now.learner.critic.network.{name}"])
    assert rest["parts"]["controller"]["learner_factors"] == {"critic": 0.5}
    assert rest["learned"]["learners"]["critic"]["optimiser"]["param_groups"][0]["lr"] == pytest.approx(0.5e-3)


LOWER = """
from paragonsr.automation.options import AutomationOptions
from paragonsr.automation.protocol import Decision, Steps


class LowerOptions(AutomationOptions):
    section = "lower"
    target = "lower:Lower"


class Lower:
    name = "lower"
    watches = "learner/critic/real"
    may_change = "learner_lr/critic"

    def __init__(self, options, context):
        self.done = False

    def observe(self, observation):
        if self.done or not isinstance(observation, Steps):
            return ()
        self.done = True
        return (Decision(self.name, "learner_lr/critic", 0.5, "the critic is ahead"),)

    def state_dict(self):
        return {"done": self.done}

    def load_state_dict(self, state):
        self.done = state["done"]
"""


def test_pretrained_weights_of_the_critic_are_where_it_starts(tiny_config: Configure) -> None:
    first = _train(tiny_config(CHANGES, name="first"))
    weights = first.folder / "models" / "net_d_12.safetensors"
    changes = CHANGES | {"path.pretrain_network_d": str(weights), "train.total_iter": 1}
    changes["train.losses"] = [{"type": "l1loss"}, {"type": "criticloss", "loss_weight": 0.1, "lr": 1e-12}]
    second = _train(tiny_config(changes, name="second"))
    started = load_file(second.folder / "models" / "net_d_1.safetensors")
    for name, tensor in load_file(weights).items():
        torch.testing.assert_close(started[name], tensor, rtol=0, atol=1e-9)


def test_two_processes_train_the_critic_as_one(tiny_config: Configure) -> None:
    changes = CHANGES | {"train.total_iter": 6, "train.observe_every": 3, "datasets.train.batch_size_per_gpu": 2}
    path = tiny_config(changes, name="two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, str(root / "train.py"), str(path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    alone = _train(tiny_config(changes | {"datasets.train.batch_size_per_gpu": 4}, name="one"))
    folders = [path.parent / "experiments" / "two", alone.folder]
    (one, _), (other, _) = (read_state(folder / "training_states" / "6.state") for folder in folders)
    names = [name for name in one if name.startswith("now.learner.critic.network")]
    assert names
    for name in names:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-5)
