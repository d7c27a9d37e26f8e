"""Memory of training: its peak, and what is kept for the next step."""

import ctypes
import os
import platform
from pathlib import Path

import psutil
import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""Value that, written to clear_refs, makes the kernel reset the peak of resident memory (proc(5))."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
KEPT = 256 * 2**20
"""Bytes of freed memory that this process keeps."""
_LARGEST = 32 * 2**20
"""Largest block that may be kept; glibc allows no more."""
_BY_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
"""Environment variables by which the user decides instead (mallopt(3))."""


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one, up to KEPT, unless the environment sets it; without effect on
    other C libraries.

    By default it returns most of it to the kernel, which then hands over the same pages anew, cleared: several thousand
    page faults in a step on a CPU.
    """
    if platform.libc_ver()[0] == "glibc" and not any(name in os.environ for name in _BY_USER):
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
        libc.mallopt(_TRIM_THRESHOLD, KEPT)


class PeakMemory:
    """Peak memory of the device since the last call, and its total memory, in bytes.

    On a GPU: the memory reserved by the allocator plus what other processes hold. On a CPU: resident memory of this
    process; its current value where the kernel keeps no peak (anything but Linux).

    Args:
        device: training device.
        limit_gb: total memory to assume, in GiB; None for the real total.
    """

    def __init__(self, device: torch.device, limit_gb: float | None) -> None:
        self._device = device
        self._limit = None if limit_gb is None else limit_gb * 2**30
        self._total = float(psutil.virtual_memory().total)
        self._process = psutil.Process()
        self._has_peak = device.type != "cuda" and _STATUS.exists() and _CLEAR.exists()

    def __call__(self) -> tuple[float, float]:
        """Peak and total, in bytes."""
        peak, total = self._gpu() if self._device.type == "cuda" else (self._resident(), self._total)
        return peak, total if self._limit is None else min(total, self._limit)

    def _gpu(self) -> tuple[float, float]:
        free, total = torch.cuda.mem_get_info(self._device)
        others = total - free - torch.cuda.memory_reserved(self._device)
        peak = torch.cuda.max_memory_reserved(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        return float(max(others, 0) + peak), float(total)

    def _resident(self) -> float:
        if not self._has_peak:
            return float(self._process.memory_info().rss)
        status = _STATUS.read_text(encoding="ascii", errors="replace")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        try:
            _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        except OSError:  # a container may forbid it
            self._has_peak = False
        return float(peak.split()[1]) * 1024
