"""Running out of memory, whichever allocator says so."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: on a GPU, in torch's CPU allocator, or in Python itself."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # torch has no type of its own for this one.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release(device: torch.device) -> None:
    """Hand cached blocks back, so that smaller pieces find room after a failed attempt."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
