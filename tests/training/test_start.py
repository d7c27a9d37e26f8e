"""The start of a run: what it does not import, and the backward pass that makes this possible."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

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
