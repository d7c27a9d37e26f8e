"""Which device is taken, and what is said about a GPU that stands idle; with fakes, as no machine has all of them."""

from pathlib import Path

import pytest
import torch

from paragonsr import devices


@pytest.mark.parametrize(
    ("cuda", "mps", "taken"), [(False, False, "cpu"), (False, True, "mps"), (True, False, "cuda"), (True, True, "cuda")]
)
def test_the_best_device(cuda: bool, mps: bool, taken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert devices.best_device().type == taken


@pytest.mark.parametrize(
    ("machine", "build", "said"),
    [
        ("nvidia", None, "built without CUDA"),
        ("nvidia", "cuda", "CUDA does not find it"),
        ("amd", None, "built without ROCm"),
        ("amd", "hip", "ROCm does not find it"),
        ("none", None, ""),
        ("none", "cuda", ""),
    ],
)
def test_an_idle_gpu_is_named(machine: str, build: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "best_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(devices.shutil, "which", lambda name: "/bin/nvidia-smi" if machine == "nvidia" else None)
    exists = Path.exists
    fake = {"/dev/kfd": machine == "amd", "/proc/driver/nvidia/version": False}
    monkeypatch.setattr(Path, "exists", lambda path: fake.get(str(path), exists(path)))
    monkeypatch.setattr(torch.version, "cuda", "13.0" if build == "cuda" else None)
    monkeypatch.setattr(torch.version, "hip", "7.0" if build == "hip" else None)
    assert said in devices.idle_gpu()
    assert bool(said) == bool(devices.idle_gpu())


def test_nothing_is_idle_where_a_gpu_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "best_device", lambda: torch.device("cuda"))
    assert devices.idle_gpu() == ""


@pytest.mark.parametrize(("hip", "name"), [(None, "cuda:0"), ("7.0", "cuda:0 (ROCm)")])
def test_an_amd_gpu_is_named_as_one(hip: str | None, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", hip)
    assert devices.described(torch.device("cuda", 0)) == name
    assert devices.described(torch.device("cpu")) == "cpu"
