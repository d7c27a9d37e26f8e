"""Device, precision and processes of a run, and notes on requests that could not be met."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist

from paragonsr.config import Config
from paragonsr.devices import best_device, idle_gpu
from paragonsr.errors import UserError
from paragonsr.inference.precision import has_fast_bf16
from paragonsr.training.engine.memory import keep_freed_memory
from paragonsr.training.engine.peers import find_peers, naming_lost_peers


@dataclass(frozen=True)
class DeviceContext:
    """Device, precision and rank of one process."""

    device: torch.device
    dtype: torch.dtype | None
    """Autocast dtype; None computes in float32."""
    channels_last: bool
    rank: int = 0
    world: int = 1
    notes: tuple[str, ...] = ()
    """One sentence for each request that could not be met."""

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes files and prints messages."""
        return self.rank == 0

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory layout of image tensors and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[object]:
        """Autocast context for the network's forward pass."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Gradient scaler; enabled only for float16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean of a float64 array over all processes."""
        if self.world == 1:
            return values
        tensor = torch.from_numpy(values).to(self.device)
        dist.all_reduce(tensor)
        return (tensor / self.world).cpu().numpy()

    def max_over_processes(self, seconds: float) -> float:
        """Maximum of a time over all processes, in seconds."""
        if self.world == 1:
            return seconds
        longest = torch.tensor(seconds, dtype=torch.float64, device=self.device)
        dist.all_reduce(longest, dist.ReduceOp.MAX)
        return float(longest)

    def any_process(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return bool(self.mean(np.array([float(flag)]))[0] > 0)

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Context that the main process runs alone; the others enter it afterwards."""
        if self.world > 1 and not self.is_main_process:
            dist.barrier()
        yield
        if self.world > 1 and self.is_main_process:
            dist.barrier()


def _precision(config: Config, device: torch.device) -> tuple[torch.dtype | None, list[str]]:
    if not config.use_amp:
        return None, []
    if device.type == "cuda":
        if not config.amp_bf16:
            return torch.float16, []
        if has_fast_bf16(device):
            return torch.bfloat16, []
        return None, ["bf16 was requested, but this GPU does not support it: training in fp32"]
    if device.type == "mps":
        return None, ["mixed precision was requested, but MPS trains in fp32"]
    if not config.amp_bf16:
        return None, ["fp16 was requested, but a CPU does not support it: training in fp32"]
    if has_fast_bf16(device):
        return torch.bfloat16, []
    return None, ["bf16 was requested, but it is much slower on this CPU: training in fp32"]


@contextmanager
def open_device_context(config: Config) -> Iterator[DeviceContext]:
    """Choose device and precision; join the process group if torchrun started several processes.

    Raises:
        UserError: there are more processes than GPUs, or a process was lost.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    local = int(os.environ.get("LOCAL_RANK", 0))
    best = best_device() if config.num_gpu != 0 else torch.device("cpu")
    cuda = best.type == "cuda"
    if cuda and local >= torch.cuda.device_count():
        raise UserError(
            f"no GPU for local process {local}: this machine has {torch.cuda.device_count()}",
            where="torchrun",
            fix=f"Start it with --nproc-per-node={torch.cuda.device_count()}.",
        )
    device = torch.device("cuda", local) if cuda else best
    dtype, notes = _precision(config, device)
    if isinstance(config.num_gpu, int) and config.num_gpu > world and cuda:
        notes.append(f"num_gpu is {config.num_gpu}, but this is a single process: use torchrun for several GPUs")
    if config.num_gpu not in (0, "auto") and device.type == "cpu":
        notes.append(f"num_gpu is {config.num_gpu}, but no usable GPU was found: training on the CPU")
    if config.num_gpu != 0 and (idle := idle_gpu()):
        notes.append(idle)
    if cuda:
        torch.cuda.set_device(device)
    if device.type == "cpu":
        keep_freed_memory()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.fast_matmul
    torch.backends.cudnn.benchmark = not config.deterministic
    if torch.are_deterministic_algorithms_enabled() != config.deterministic:  # the call imports torch's compiler
        torch.use_deterministic_algorithms(config.deterministic)
    torch.autograd.set_detect_anomaly(config.detect_anomaly)
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    if world > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    try:
        peers = find_peers(rank, world) if world > 1 else []
        with naming_lost_peers(peers):
            yield DeviceContext(device, dtype, config.use_channels_last, rank, world, tuple(notes))
    finally:
        if world > 1:
            dist.destroy_process_group()
