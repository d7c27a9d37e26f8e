"""The start of a run: what it does not import, and the backward pass that makes this possible."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from paragonsr.optim.eager import KEPT_OUT, eager, eager_torch
from paragonsr.training.engine.backward import backward

HEAVY = ["torch._dynamo", "torch._inductor", "sympy", "torchvision", "spandrel", "scipy", "onnxruntime"]
"""Seconds of CPU time in all. A plain run needs none of them, neither for its steps nor for saving."""
SHOW = f"""
import sys
sys.argv = ["paragonsr", "train", *sys.argv[1:]]
from paragonsr.cli import main
try:
    main()
finally:
    print("imported:", *[name for name in {HEAVY} if name in sys.modules])
"""


@pytest.mark.parametrize("optimiser", ["AdamW", "SOAP"])
def test_a_plain_run_imports_no_compiler(tiny_config: Callable[..., Path], optimiser: str) -> None:
    config = tiny_config({"train.total_iter": 2, "val.val_freq": 2, "train.optim_g": {"type": optimiser, "lr": 1e-3}})
    done = subprocess.run([sys.executable, "-c", SHOW, str(config)], capture_output=True, text=True, check=True)
    assert "finished after iteration 2" in done.stdout
    assert done.stdout.splitlines()[-1] == "imported:"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_backward_pass_is_that_of_torch(dtype: torch.dtype) -> None:
    image, gradient = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    found = []
    for pass_back in (backward, lambda sr, given: sr.backward(given.to(sr.dtype))):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.PReLU(), nn.Conv2d(4, 3, 3, padding=1)).to(dtype)
        for _ in range(2):  # gradients of micro-batches add up
            pass_back(network(image.to(dtype)), gradient)
        found.append([p.grad for p in network.parameters()])
    for own, plain in zip(*found, strict=True):
        assert own is not None
        assert plain is not None
        assert torch.equal(own, plain)


def test_optimisers_are_the_same_where_torch_wraps_no_method(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(torch.optim.Optimizer):
        def __init__(self, parameters: list[nn.Parameter]) -> None:
            super().__init__(parameters, {"lr": 0.5})

        def step(self) -> None:  # type: ignore[override]
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.sub_(parameter.grad, alpha=group["lr"])

    for name in KEPT_OUT:
        monkeypatch.setattr(torch.optim.Optimizer, name, inspect.unwrap(getattr(torch.optim.Optimizer, name)))
        assert not hasattr(getattr(torch.optim.Optimizer, name), "__wrapped__")
    monkeypatch.setattr(torch.optim, "Bare", Bare, raising=False)
    parameter = nn.Parameter(torch.ones(2))
    optimiser = eager_torch("Bare")([parameter])
    parameter.sum().backward()
    optimiser.step()
    assert parameter.tolist() == [0.5, 0.5]
    optimiser.load_state_dict(optimiser.state_dict())
    optimiser.zero_grad()
    assert parameter.grad is None


def test_a_method_that_torch_does_not_have_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim.Optimizer, "zero_grad")
    kind = eager(type("Later", (torch.optim.Optimizer,), {}))
    assert not hasattr(kind, "zero_grad")
    assert "state_dict" in vars(kind)
