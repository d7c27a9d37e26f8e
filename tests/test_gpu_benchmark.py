"""`benchmarks/gpu.sh` without a GPU: what it would measure on one, and its way to the end on a CPU."""

import json
import sys
from pathlib import Path

import pytest
import torch
from benchmarks import gpu

CPU = torch.device("cpu")


def test_on_cuda_both_precisions_are_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "has_fast_bf16", lambda device: True)
    found = {name: (dtype, mode) for name, dtype, mode in gpu.variants(torch.device("cuda"))}
    assert len(found) == 6
    assert found["fp32 eager"] == (None, None)
    assert found["bf16 CUDA graphs"] == (torch.bfloat16, "reduce-overhead")


def test_a_processor_without_bf16_measures_fp32_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "has_fast_bf16", lambda device: False)
    assert gpu.variants(CPU) == [("fp32 eager", None, None)]


def test_without_cuda_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gpu, "best_device", lambda: CPU)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert "there is no CUDA device. Try the code with --dry." in capsys.readouterr().err


@pytest.mark.slow
def test_a_variant_that_fails_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", fails)
    monkeypatch.setattr(gpu, "best_device", lambda: CPU)
    monkeypatch.setattr(
        gpu, "variants", lambda device: [("fp32 eager", None, None), ("bf16 compiled", None, "default")]
    )
    monkeypatch.setattr(gpu, "DRY", (gpu.Case("paragonsr2_nano", 2, 8),))
    file = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu", "--dry", "--json", str(file)])
    gpu.main()
    assert "bf16 compiled failed: RuntimeError: no compiler" in capsys.readouterr().out
    found = json.loads(file.read_text())["networks"]["paragonsr2_nano"]
    assert found["fp32 eager, ms"] > 0
    assert found["roofline of fp32 eager, share"] > 0
    assert {"batch of 1, samples/s", "batch of 2, samples/s", "batch of 4, samples/s"} <= found.keys()
    assert found["busy with fp32 eager, share"] > 0
    for place in ("the CPU", "the device"):
        assert found[f"degradation on {place}, samples/s"] > 0
        assert 0 <= found[f"degradation on {place}, wait of a step, share"] <= 1
