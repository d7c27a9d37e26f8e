from __future__ import annotations

import json
from typing import Any

import torch
from typing_extensions import override

from spandrel.util import KeyCondition, get_seq_len

from ...__helpers.model_descriptor import (
    Architecture,
    ImageModelDescriptor,
    ModelTiling,
    StateDict,
)
from .__arch.network import HEADER, ParagonSR2
from .__arch.options import PUBLISHED

_ALPHAS = {12: 0.4, 16: 0.45, 96: 0.55, 128: 0.6}
"""Width of the first published family -> its sharpening; 0.5 for the others."""


class ParagonSR2Arch(Architecture[ParagonSR2]):
    def __init__(self) -> None:
        super().__init__(
            id="ParagonSR2",
            detect=KeyCondition.has_any(
                # written by `paragonsr convert --for spandrel`: all options, as JSON
                HEADER,
                # published weights
                KeyCondition.has_all(
                    "conv_in.weight",
                    "conv_mid.weight",
                    "up.0.weight",
                    "base.sharp.h.weight",
                ),
                KeyCondition.has_all(
                    "conv_in.weight",
                    "conv_fuse.weight",
                    "upsampler_net.up_conv.weight",
                    "magic_upsampler.sharpen.conv_h.weight",
                ),
            ),
        )

    @override
    def load(self, state_dict: StateDict) -> ImageModelDescriptor[ParagonSR2]:
        if HEADER in state_dict:
            header = json.loads(bytes(state_dict[HEADER].tolist()).decode())
            network, scale = header["arch"], header["scale"]
            options = header["options"]
        elif "up.0.weight" in state_dict:
            network, scale, options = _release(state_dict)
        else:
            network, scale, options = _classic(state_dict)

        model = ParagonSR2(network=network, scale=scale, options=options)

        return ImageModelDescriptor(
            model,
            state_dict,
            architecture=self,
            purpose="Restoration" if scale == 1 else "SR",
            tags=[network.removeprefix("paragonsr2_"), f"{model.num_feat}nf"],
            supports_half=True,
            supports_bfloat16=True,
            scale=scale,
            input_channels=3,
            output_channels=3,
            tiling=ModelTiling.SUPPORTED,
        )


def _scale(weight: torch.Tensor) -> int:
    return round((weight.shape[0] / weight.shape[1]) ** 0.5)


def _release(state: StateDict) -> tuple[str, int, dict[str, Any]]:
    """Published realtime, stream, photo or pro."""
    first = "body.0.blocks.0."
    if f"{first}token_ca.token_dict" in state:
        network = "paragonsr2_pro"
    elif f"{first}norm.scale" in state:
        network = "paragonsr2_photo"
    elif f"{first}dw3.weight" in state:
        network = "paragonsr2_stream"
    else:
        network = "paragonsr2_realtime"
    attention = any(".attn." in key or ".window_attn." in key for key in state)
    return (
        network,
        _scale(state["up.0.weight"]),
        PUBLISHED[network]
        | {
            "num_feat": state["conv_in.weight"].shape[0],
            "num_groups": get_seq_len(state, "body"),
            "num_blocks": get_seq_len(state, "body.0.blocks"),
            "attention_mode": "sdpa" if attention else "none",
        },
    )


def _classic(state: StateDict) -> tuple[str, int, dict[str, Any]]:
    """Published nano to xl."""
    block = "body.0.blocks.0."
    num_feat = state["conv_in.weight"].shape[0]
    hidden = state[f"{block}transformer.project_in.weight"].shape[0]
    return (
        "paragonsr2_s",
        _scale(state["upsampler_net.up_conv.weight"]),
        PUBLISHED["paragonsr2_s"]
        | {
            "num_feat": num_feat,
            "num_groups": get_seq_len(state, "body"),
            "num_blocks": get_seq_len(state, "body.0.blocks"),
            "fast_body_mode": False,
            "expansion": (hidden + 0.5) / num_feat,
            "band": state[f"{block}context.dwconv_w.weight"].shape[3],
            "upsampler_alpha": _ALPHAS.get(num_feat, 0.5),
            "use_attention": any(".attention." in key for key in state),
            "use_channel_mod": any(".channel_mod." in key for key in state),
            "use_norm": any(".norm.offset" in key for key in state),
            "use_content_aware": any(key.startswith("content_processor.") for key in state),
        },
    )


__all__ = ["ParagonSR2Arch", "ParagonSR2"]
