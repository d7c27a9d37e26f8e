"""Optimisers of the pytorch-optimizer library (extra `opt`)."""

import inspect
from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer

from paragonsr.errors import UserError
from paragonsr.optim.options import LibraryOptions


def build(options: LibraryOptions, *, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Build the optimiser of that name.

    Raises:
        UserError: the library is not installed, or the optimiser does not accept these arguments.
    """
    try:
        import pytorch_optimizer
    except ImportError:
        raise UserError(
            f"the optimiser {options.name} needs the package pytorch-optimizer",
            where="train.optim_g",
            fix="pip install 'paragonsr[opt]'",
        ) from None
    make = pytorch_optimizer.load_optimizer(options.name)
    known = set(inspect.signature(make.__init__).parameters) - {"self", "params", "args", "kwargs"}
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in options.arguments.items()}
    arguments["lr"] = options.first_lr
    if options.weight_decay:
        arguments["weight_decay"] = options.weight_decay
    unknown = sorted(set(arguments) - known)
    if unknown:
        raise UserError(
            f"{options.name} does not accept {', '.join(unknown)}",
            where="train.optim_g",
            fix=f"It accepts {', '.join(sorted(known))}.",
        )
    try:
        return make(list(parameters), **arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"{options.name} cannot be created: {error}", where="train.optim_g") from None
