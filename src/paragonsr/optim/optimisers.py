"""Optimisers from torch, and two from their authors' libraries."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from paragonsr.errors import UserError
from paragonsr.optim.eager import eager_torch
from paragonsr.optim.options import OptimiserOptions, ProdigyOptions, ScheduleFreeOptions


def build_torch(options: OptimiserOptions, *, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Build Adam, AdamW or NAdam of torch, with fused kernels if the class has them."""
    arguments = options.model_dump(exclude={"type"}) | {"lr": options.first_lr}
    arguments["betas"] = tuple(arguments["betas"])
    if options.type == "NAdam":
        arguments["decoupled_weight_decay"] = True
    else:
        arguments["fused"] = True
    optimiser: Optimizer = eager_torch(options.type)(parameters, **arguments)
    return optimiser


def build_schedule_free(options: ScheduleFreeOptions, *, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Build AdamWScheduleFree of the schedulefree library."""
    try:
        import schedulefree
    except ImportError:
        raise _missing("schedulefree", options) from None
    optimiser = schedulefree.AdamWScheduleFree(
        list(parameters),
        lr=options.first_lr,
        betas=tuple(options.betas),
        eps=options.eps,
        weight_decay=options.weight_decay,
    )
    optimiser.train()
    return optimiser


def build_prodigy(options: ProdigyOptions, *, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Build Prodigy of the prodigyopt library."""
    try:
        import prodigyopt
    except ImportError:
        raise _missing("prodigyopt", options) from None
    return prodigyopt.Prodigy(
        list(parameters),
        lr=options.first_lr,
        betas=tuple(options.betas),
        eps=options.eps,
        weight_decay=options.weight_decay,
        d_coef=options.d_coef,
    )


def _missing(package: str, options: OptimiserOptions) -> UserError:
    return UserError(
        f"the optimiser {options.type} needs the package {package}",
        where="train.optim_g",
        fix="pip install 'paragonsr[opt]'",
    )


@contextmanager
def evaluation_weights(optimiser: Optimizer) -> Iterator[None]:
    """Context in which the parameters hold the weights to evaluate (a schedule-free optimiser trains on others).

    Afterwards they are restored bit for bit: the optimiser's own conversion rounds, and saving a run must not change
    it.
    """
    evaluate, train = (getattr(optimiser, name, None) for name in ("eval", "train"))
    if evaluate is None or train is None:
        yield
        return
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    trained = [p.detach().clone() for p in parameters]
    evaluate()
    try:
        yield
    finally:
        train()
        with torch.no_grad():
            torch._foreach_copy_(parameters, trained)


def flatten(optimiser: Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Optimiser state as named tensors, and the rest as JSON-serialisable values."""
    state = optimiser.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{key}"] = value
            else:
                numbers[f"{index}.{key}"] = value
    return tensors, {"numbers": numbers, "param_groups": state["param_groups"]}


def unflatten(optimiser: Optimizer, tensors: dict[str, torch.Tensor], rest: dict[str, Any]) -> None:
    """Restore what `flatten` returned."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in (tensors | rest["numbers"]).items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": rest["param_groups"]})
    for parameter, entries in optimiser.state.items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                # In the parameter's own memory layout, because fused kernels iterate over both in parallel.
                entries[key] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
