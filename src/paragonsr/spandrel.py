"""Plugin for spandrel, so that programs which load models with it (chaiNNer and others) can load ours.

    import paragonsr.spandrel
    paragonsr.spandrel.install()
    model = spandrel.ModelLoader().load_from_file("2x-Nano.safetensors")

spandrel sees only tensors, but our networks have options that no tensor shows (the skip upsampler, its sharpening, the
size of an attention window); they are stored in the header of the file. So `install` also makes spandrel's loader pass
on that header as an additional tensor named HEADER, which `load` removes again. Files written by
`paragonsr convert --for spandrel` contain that tensor.
"""

import functools
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paragonsr.archs.earlier_names import current_names
from paragonsr.archs.options import NetworkOptions
from paragonsr.archs.recognise import make_options, recognise, with_taps_of
from paragonsr.archs.spandrel_adapter import import_spandrel
from paragonsr.archs.weights import read_metadata
from paragonsr.archs.weights_file import HEADER
from paragonsr.errors import UserError

ID = "ParagonSR2"
MARKS = ("magic_upsampler.sharpen.conv_h.weight", "base.sharp.h.weight")
"""Tensors of the published networks, which identify them without a header."""


def install() -> None:
    """Register our networks in spandrel's global registry and all of its loaders; repeated calls have no effect.

    Raises:
        UserError: spandrel is not installed.
    """
    spandrel = import_spandrel()
    if ID in spandrel.MAIN_REGISTRY:
        return
    # Before Compact, for which spandrel takes files of earlier versions.
    spandrel.MAIN_REGISTRY.add(spandrel.ArchSupport.from_architecture(_architecture(spandrel), before=("Compact",)))
    loader = spandrel.ModelLoader
    loader.load_state_dict_from_file = _with_header(loader.load_state_dict_from_file)


def _with_header(load: Any) -> Any:
    @functools.wraps(load)
    def load_state_dict_from_file(self: Any, path: str | Path) -> dict[str, Any]:
        state: dict[str, Any] = load(self, path)
        header = read_metadata(path)
        if header is not None:
            state[HEADER] = torch.tensor(list(json.dumps(header).encode()), dtype=torch.uint8)
        return state

    return load_state_dict_from_file


def _architecture(spandrel: Any) -> Any:
    """Entry of spandrel's registry. Its base class exists only after spandrel is imported."""

    class ParagonSR2Architecture(spandrel.Architecture):
        def __init__(self) -> None:
            super().__init__(id=ID, name="ParagonSR2", detect=_is_ours)

        def load(self, state: dict[str, Any]) -> Any:
            options, scale, tensors = _read(current_names(state))
            network = options.build(scale=scale).eval()
            return spandrel.ImageModelDescriptor(
                network,
                with_taps_of(network, tensors),
                architecture=self,
                purpose="Restoration" if scale == 1 else "SR",
                tags=[options.tag().removeprefix("paragonsr2_")],
                supports_half="fp16" in options.precisions,
                supports_bfloat16="bf16" in options.precisions,
                scale=scale,
                input_channels=3,
                output_channels=3,
                tiling=spandrel.ModelTiling.SUPPORTED,
            )

    return ParagonSR2Architecture()


def _is_ours(state: dict[str, Any]) -> bool:
    return HEADER in state or any(mark in state for mark in MARKS)


def _read(state: dict[str, Any]) -> tuple[NetworkOptions, int, dict[str, Tensor]]:
    header = state.pop(HEADER, None)
    if header is None:
        found = recognise("the weights", state, None, None, {})
        if found is None:
            raise UserError(
                "not the weights of a published ParagonSR2 network", fix="Give safetensors written by paragonsr."
            )
        return *found, state
    described = json.loads(bytes(header.cpu().tolist()).decode())
    kind = NetworkOptions.choose(described["arch"])
    if kind is None:
        raise UserError(f"these are weights of {described['arch']}, which is unknown here", fix="Update paragonsr.")
    options = make_options("the weights", kind, described["options"])
    return options, described["scale"], state
