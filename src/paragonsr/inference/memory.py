"""Detection of out-of-memory errors of every allocator."""

import torch

_SAID = ("can't allocate memory", "bad_alloc", "could not create a primitive")
"""Messages of torch's CPU allocator, C++ and oneDNN, which have no exception type of their own. oneDNN's message may
have another cause; a second attempt in smaller pieces then shows it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means out of memory: on a GPU, in torch's CPU allocator, or in Python itself."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID)


def release(device: torch.device) -> None:
    """Free cached blocks, so that there is room for smaller pieces after a failed attempt."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
