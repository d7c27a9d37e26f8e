"""Which published network the tensors of a file belong to, where the file does not say."""

from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from paragonsr.archs.network_options import NetworkOptions
from paragonsr.archs.options import NETWORKS
from paragonsr.archs.paragon_options import ParagonOptions
from paragonsr.errors import UserError

State = dict[str, Tensor]
"""Tensors by name."""
Kind = TypeVar("Kind", bound=NetworkOptions)


def recognise(
    where: str, state: State, arch: str | None, scale: int | None, options: dict[str, Any]
) -> tuple[ParagonOptions, int] | None:
    """Options and scale of the published network whose tensors these are; with none, the given arch, or nothing.

    Args:
        where: the file, for messages.
        state: its tensors.
        arch: name in NETWORKS; all are tried without it.
        scale: HR side / LR side; found from the sub-pixel convolution without it.
        options: what the user says; it wins over what the tensors show.
    """
    scale = scale or _scale(state) or 2
    parts = _parts(state)
    for kind in [NETWORKS[arch]] if arch else NETWORKS.values():
        given = kind.current(options)
        if set(given) - set(kind.model_fields) and arch is None:
            continue
        known = kind.legacy | {part: value for part, value in parts.items() if part in kind.model_fields}
        bodies: list[dict[str, Any]] = [{}]
        if kind.family == "classic":  # whose body may be halved
            bodies += [{"fast_body_mode": True}, {"fast_body_mode": False}]
        for body in bodies:
            made = make_options(where, kind, known | body | given)
            with torch.device("meta"), _Unfilled():
                network = made.build(scale=scale)
            if shapes(with_taps_of(network, state)) == shapes(network.state_dict()):
                return made, scale
        if arch:
            return make_options(where, kind, known | options), scale
    return None


class _Unfilled(TorchFunctionMode):
    """Skips the draw of initial values: on tensors without memory torch takes a second for it, to load its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is Tensor.normal_ else func(*args, **(kwargs or {}))


def make_options(where: str, kind: type[Kind], values: dict[str, Any]) -> Kind:
    """Options from values that a file or a user gave.

    Raises:
        UserError: an unknown name or a wrong value.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{kind.tag()} does not take {name}: {first['msg']}", where=where, fix="See the options of the network."
        ) from error


def with_taps_of(network: nn.Module, state: State) -> State:
    """The tensors with the fixed taps of this network's skip upsampler: only a published one keeps taps in files."""
    prefixes = ("magic_upsampler.", "base.")
    taps = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(prefixes)}
    if not taps:
        own = network.state_dict()
        return {name: tensor for name, tensor in state.items() if name in own or not name.startswith(prefixes)}
    return taps | state


def shapes(state: State) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def few(sizes: dict[str, tuple[int, ...]]) -> str:
    """The first three names and shapes, for a message."""
    shown = [f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in list(sizes.items())[:3]]
    return ", ".join(shown) + (", ..." if len(sizes) > 3 else "")


def _scale(state: State) -> int | None:
    """The scale of a published network: its sub-pixel convolution has scale^2 times as many outputs as inputs."""
    for name in ("upsampler_net.up_conv.weight", "up.0.weight"):
        if name in state and state[name].ndim == 4:
            return round(float(state[name].shape[0] / state[name].shape[1]) ** 0.5)
    return None


def _parts(state: State) -> dict[str, Any]:
    """Optional parts of a published network, by the names of its tensors."""
    marks = {
        "use_attention": ".attention.",
        "use_content_aware": "content_processor.",
        "use_channel_mod": ".channel_mod.",
        "use_norm": ".norm.offset",
    }
    found: dict[str, Any] = {part: any(mark in name for name in state) for part, mark in marks.items()}
    if not any(".attn." in name or ".window_attn." in name for name in state):
        found["attention_mode"] = "none"
    return found
