"""torch's optimisers without its compiler.

torch imports its compiler when an optimiser is made and at its first step, only to keep these methods out of compiled
code: 1.6 s of CPU time and 100 MiB. Here the network and the losses are compiled, never the optimiser.
"""

from functools import cache
from inspect import unwrap
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=type[Optimizer])

KEPT_OUT = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
"""Methods that torch keeps out of compiled code."""


def eager(kind: Kind) -> Kind:
    """Class decorator: replace the methods KEPT_OUT by those beneath, which compute the same.

    A method that this torch does not wrap, or does not have, stays as it is.
    """
    for name in KEPT_OUT:
        if hasattr(Optimizer, name):
            setattr(kind, name, unwrap(getattr(Optimizer, name)))
    return kind


@cache
def eager_torch(name: str) -> Any:
    """Optimiser of torch.optim by its name, for steps that are neither compiled nor differentiated."""
    kind = getattr(torch.optim, name)
    return eager(type(name, (kind,), {"step": torch.no_grad()(unwrap(kind.step)), "__doc__": kind.__doc__}))
