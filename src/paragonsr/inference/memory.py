"""Running out of memory, whichever allocator says so."""

import torch

_SAID = ("can't allocate memory", "bad_alloc", "could not create a primitive")
"""How torch's CPU allocator, C++ and oneDNN put it; none has a type of its own. oneDNN's sentence may mean something
else, which a second attempt in smaller pieces then shows."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: on a GPU, in torch's CPU allocator, or in Python itself."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID)


def release(device: torch.device) -> None:
    """Hand cached blocks back, so that smaller pieces find room after a failed attempt."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
