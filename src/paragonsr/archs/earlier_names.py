"""Names of tensors in files written by earlier versions, and their current names."""

from torch import Tensor

EARLIER = (("act_in.weight", "body.", "hidden."),)
"""Tensor that only the network in question has, then the earlier and the current beginning of a name. spandrel takes
any file with `body.0.weight` and `body.1.weight` for its network Compact."""


def current_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors of earlier versions, also where a prefix stands before every name, as in a resume state."""
    renamed = tensors
    for mark, earlier, current in EARLIER:
        for prefix in [name.removesuffix(mark) for name in tensors if name.endswith(mark)]:
            old, new = prefix + earlier, prefix + current
            renamed = {new + k.removeprefix(old) if k.startswith(old) else k: v for k, v in renamed.items()}
    return renamed
