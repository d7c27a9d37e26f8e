"""Precision, memory layout and compiling: the request, the device's capabilities, and the messages."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from paragonsr.archs.classic_options import NanoOptions
from paragonsr.config import load_config
from paragonsr.losses.options import L1Options, MSEOptions, MSSSIMLossOptions
from paragonsr.training.engine import compiling
from paragonsr.training.engine.compiling import compiled_if_it_pays
from paragonsr.training.engine.device_context import DeviceContext, open_device_context
from paragonsr.training.engine.objective import Objective
from paragonsr.training.reporting.record import read_steps
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]
CPU = DeviceContext(torch.device("cpu"), None, False)


def _run(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


@pytest.mark.parametrize("supported", [True, False])
def test_bf16_runs_where_the_cpu_has_it_and_falls_back_aloud_where_not(
    tiny_config: Configure, monkeypatch: pytest.MonkeyPatch, supported: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    plain = _run(tiny_config(name="plain"))
    mixed = _run(tiny_config(name="mixed"), "use_amp=true", "amp_bf16=true")
    said = "training in fp32" in (mixed.folder / "train.log").read_text()
    assert said is not supported
    losses = [read_steps(outcome.folder)["loss/l1"] for outcome in (plain, mixed)]
    assert np.array_equal(*losses) is not supported
    np.testing.assert_allclose(*losses, rtol=0.02)
    assert {t.dtype for t in load_file(mixed.weights).values()} == {torch.float32}


def test_fp16_on_a_cpu_is_said_to_be_fp32(tiny_config: Configure) -> None:
    with open_device_context(load_config(tiny_config(), ["use_amp=true"]).config) as device_context:
        assert device_context.dtype is None
        assert any("fp16" in note for note in device_context.notes)


def test_the_memory_layout_changes_only_rounding(tiny_config: Configure) -> None:
    runs = [_run(tiny_config(name=name), f"use_channels_last={name == 'nhwc'}") for name in ("nhwc", "nchw")]
    steps = [read_steps(outcome.folder) for outcome in runs]
    np.testing.assert_allclose(steps[0]["loss/l1"], steps[1]["loss/l1"], rtol=1e-4)


def test_without_a_gpu_a_request_for_several_is_answered(tiny_config: Configure) -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without GPU")
    with open_device_context(load_config(tiny_config(), ["num_gpu=2"]).config) as device_context:
        assert any("no usable GPU" in note for note in device_context.notes)


class _Half(nn.Module):
    """Computes something different from the network it was made from."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *images: Tensor) -> Tensor:
        half: Tensor = self.network(*images) * 0.5
        return half


class _Same(nn.Module):
    """Computes the same."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *images: Tensor) -> Tensor:
        same: Tensor = self.network(*images)
        return same


def _failing(network: nn.Module) -> nn.Module:
    raise RuntimeError("no compiler\nand a long trace")


ALL = "network and losses"


@pytest.mark.parametrize(
    ("fake", "seconds", "used", "said"),
    [
        (_failing, {}, "", "the compiler failed (RuntimeError: no compiler): training in eager mode"),
        (
            _Half,
            {"the network": 0.1, ALL: 0.1},
            "",
            "the result of a compiled step differs by 5.0e-01: training in eager",
        ),
        (_Same, {"the network": 2.0, ALL: 2.0}, "", "0.50 times as fast, 1.05 times are required: training in eager"),
        (_Same, {"the network": 0.96, ALL: 2.0}, "", "1.04 times as fast, 1.05 times are required"),
        (_Same, {"the network": 0.5, ALL: 0.6}, "network", "with the network compiled, a step is 2.00 times as fast"),
        (
            _Same,
            {"the network": 0.6, ALL: 0.5},
            "both",
            "with network and losses compiled, a step is 2.00 times as fast",
        ),
        (_Same, {"eager": 1e-3}, "", "the run takes about 1 s, too short to repay compiling"),
    ],
)
def test_compiling_is_checked_before_use(
    monkeypatch: pytest.MonkeyPatch, fake: Callable[..., nn.Module], seconds: dict[str, float], used: str, said: str
) -> None:
    monkeypatch.setattr(torch, "compile", fake)
    monkeypatch.setattr(
        compiling, "_in_turns", lambda variants, *given: {v.name: [seconds.get(v.name, 1.0)] for v in variants}
    )
    network = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.PixelShuffle(2))
    objective = Objective([L1Options(), MSEOptions()], CPU)
    lines: list[str] = []
    images = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)
    forward, losses = compiled_if_it_pays(network, objective, images, 1000, CPU, lines.append)
    assert said in lines[0]
    assert (forward is not network, losses is not objective) == (bool(used), used == "both")
    assert network[0].weight.grad is None
    assert not network[1].running_mean.any(), "statistics of BatchNorm are those of before"


@pytest.mark.slow
def test_a_compiled_step_is_the_eager_step() -> None:
    torch.manual_seed(0)
    network = NanoOptions().build(scale=2)
    objective = Objective([L1Options(), MSSSIMLossOptions(scales=1, loss_weight=0.1)], CPU)
    images = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32)
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "MARGIN", 0.0)
        forward, losses = compiled_if_it_pays(network, objective, images, 10**9, CPU, lines.append)
    assert "in use" in lines[0]
    assert forward is not network
    eager = compiling.Variant("eager", network, objective)
    both = compiling.Variant("both", forward, losses)
    for a, b in zip(compiling._gradients(eager, images, CPU), compiling._gradients(both, images, CPU), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_run_that_asks_for_compiling_says_what_became_of_it(tiny_config: Configure) -> None:
    outcome = _run(tiny_config(), "use_compile=true")
    assert outcome.reason == "finished"
    assert (outcome.folder / "train.log").read_text().count("use_compile: ") == 1
    assert not any("_orig_mod" in name for name in load_file(outcome.weights))
