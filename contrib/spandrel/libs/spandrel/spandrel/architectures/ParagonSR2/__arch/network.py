"""All networks as one class, whose tensors are those of the network itself and one with its options."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn

from spandrel.util import store_hyperparameters

from .options import BLOCKS, make_options
from .paragonsr2 import build as build_classic
from .paragonsr2_release import build as build_release

HEADER = "paragonsr.header"
"""Tensor of bytes: the name of the network, its scale and its options as JSON."""


@store_hyperparameters()
class ParagonSR2(nn.Module):
    """
    Args:
        network (str): paragonsr2_nano ... paragonsr2_xl, paragonsr2_realtime, _stream, _photo or _pro.
        scale (int): Upsampling factor.
        options (dict): Options that differ from the defaults of this network.
    """

    hyperparameters = {}

    def __init__(
        self,
        *,
        network: str = "paragonsr2_nano",
        scale: int = 2,
        options: dict[str, Any] = {},
    ):
        super().__init__()
        made = make_options(network, options)
        build = build_release if network in BLOCKS else build_classic
        self.num_feat = made.num_feat
        self.described = {"arch": network, "scale": scale, "options": options}
        self.network = build(made, scale=scale)
        self.register_state_dict_post_hook(_outward)
        self.register_load_state_dict_pre_hook(_inward)

    def forward(self, x):
        return self.network(x)


def _outward(
    module: ParagonSR2, state: dict[str, Any], prefix: str, local_metadata: Any
) -> None:
    for key in [key for key in state if key.startswith(f"{prefix}network.")]:
        state[prefix + key.removeprefix(f"{prefix}network.")] = state.pop(key)
    described = json.dumps(module.described).encode()
    state[prefix + HEADER] = torch.tensor(list(described), dtype=torch.uint8)


def _inward(
    module: ParagonSR2, state: dict[str, Any], prefix: str, *rest: Any
) -> None:
    state.pop(prefix + HEADER, None)
    own = {f"{prefix}network.{key}" for key in module.network.state_dict()}
    for key in [key for key in state if key.startswith(prefix)]:
        value, name = state.pop(key), f"{prefix}network.{key.removeprefix(prefix)}"
        # files of published weights hold fixed filters that another option replaces
        if name in own or ".sharp" not in name:
            state[name] = value
