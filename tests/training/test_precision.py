"""Precision, memory layout and compiling: the request, the device's capabilities, and the messages."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from paragonsr.config import load_config
from paragonsr.training.engine import compiling
from paragonsr.training.engine.compiling import compiled_if_it_pays
from paragonsr.training.engine.device_context import DeviceContext, open_device_context
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

    def forward(self, lr: Tensor) -> Tensor:
        half: Tensor = self.network(lr) * 0.5
        return half


def _failing(network: nn.Module) -> nn.Module:
    raise RuntimeError("no compiler\nand a long trace")


@pytest.mark.parametrize(
    ("fake", "seconds", "said"),
    [
        (_failing, {}, "the compiler failed (RuntimeError: no compiler): training in eager mode"),
        (_Half, {}, "output differs by"),
        (nn.Sequential, {"Sequential": 2.0}, "takes 2.00 times as long: training in eager mode"),
        (nn.Sequential, {"Sequential": 0.5}, "2.00 times as fast (output differs by 0.0e+00): in use"),
    ],
)
def test_compiling_is_checked_before_use(
    monkeypatch: pytest.MonkeyPatch, fake: Callable[..., nn.Module], seconds: dict[str, float], said: str
) -> None:
    monkeypatch.setattr(torch, "compile", fake)
    measure = compiling._measure

    def timed(network: nn.Module, *given: object) -> tuple[Tensor, float]:
        return measure(network, *given)[0], seconds.get(type(network).__name__, 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(compiling, "_measure", timed)
    network = nn.Conv2d(3, 3, 3)
    lines: list[str] = []
    chosen = compiled_if_it_pays(network, torch.rand(1, 3, 8, 8), CPU, lines.append)
    assert said in lines[0]
    assert (chosen is network) is ("in use" not in said)
    assert network.weight.grad is None


def test_a_run_that_asks_for_compiling_says_what_became_of_it(tiny_config: Configure) -> None:
    outcome = _run(tiny_config(), "use_compile=true")
    assert outcome.reason == "finished"
    assert (outcome.folder / "train.log").read_text().count("use_compile: ") == 1
    assert not any("_orig_mod" in name for name in load_file(outcome.weights))
