"""How much memory training takes at its peak."""

from pathlib import Path

import psutil
import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""Written to clear_refs, makes the kernel reset the peak of resident memory (proc(5))."""


class PeakMemory:
    """Peak of the device's memory since the last reading, and its size, in bytes.

    On a GPU: what the allocator had reserved, and what other processes hold. On a CPU: resident memory of this
    process; where the kernel keeps no peak (not Linux), its present value.

    Args:
        device: what is trained on.
        limit_gb: GiB that count as all there is; None for what there really is.
    """

    def __init__(self, device: torch.device, limit_gb: float | None) -> None:
        self._device = device
        self._limit = None if limit_gb is None else limit_gb * 2**30
        self._total = float(psutil.virtual_memory().total)
        self._process = psutil.Process()
        self._has_peak = device.type != "cuda" and _STATUS.exists() and _CLEAR.exists()

    def __call__(self) -> tuple[float, float]:
        """Peak and total."""
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
