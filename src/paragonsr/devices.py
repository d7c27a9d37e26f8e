"""Choice of the device, and messages about unused GPUs."""

import shutil
from pathlib import Path

import torch


def best_device() -> torch.device:
    """Choose a CUDA GPU (ROCm builds of PyTorch also call AMD GPUs cuda), else Apple's GPU (MPS), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def described(device: torch.device) -> str:
    """Name of a device for messages: "cuda (ROCm)" for an AMD GPU."""
    return f"{device} (ROCm)" if device.type == "cuda" and torch.version.hip else str(device)


def idle_gpu() -> str:
    """Advice for a GPU that this PyTorch cannot use; empty if there is none, or if a GPU is in use."""
    if best_device().type != "cpu":
        return ""
    install = "install the build of PyTorch that pytorch.org gives for this machine"
    if shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists():
        if torch.version.cuda is None:
            return f"there is an NVIDIA GPU, but this PyTorch is built without CUDA: {install}"
        return "there is an NVIDIA GPU, but CUDA does not find it: look at nvidia-smi and CUDA_VISIBLE_DEVICES"
    if Path("/dev/kfd").exists():
        if torch.version.hip is None:
            return f"there is an AMD GPU, but this PyTorch is built without ROCm: {install}"
        return "there is an AMD GPU, but ROCm does not find it: look at rocminfo and HIP_VISIBLE_DEVICES"
    return ""
