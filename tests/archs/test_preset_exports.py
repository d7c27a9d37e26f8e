"""Each network of the presets, with few blocks: found again by spandrel, trained for a step, and exported."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from paragonsr.archs.preset_options import PRESETS, built_preset
from paragonsr.archs.spandrel_adapter import import_spandrel
from paragonsr.archs.spandrel_options import SpandrelOptions
from paragonsr.archs.weights import save_metadata
from paragonsr.export.onnx import ExportError, export_onnx
from paragonsr.export.source import Source

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("spandrel") is None, reason="spandrel is not installed"),
    pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed"),
]

GROUPS: dict[str, dict[str, Any]] = {
    "ATD": {"depths": [2], "num_heads": [6]},
    "CRAFT": {"depths": [2], "num_heads": [6]},
    "DAT": {"depth": [2], "num_heads": [6]},
    "DRCT": {"depths": [6], "num_heads": [6]},
    "ESRGAN": {"num_blocks": 1},
    "FDAT": {"num_groups": 1, "depth_per_group": 1},
    "GRL": {"depths": [2]},
    "HAT": {"depths": [2], "num_heads": [6]},
    "MoESR": {"n_blocks": 1, "n_block": 1},
    "MoSR": {"n_block": 2},
    "OmniSR": {"res_num": 1},
    "PLKSR": {"n_blocks": 2},
    "RCAN": {"n_resgroups": 1, "n_resblocks": 2},
    "RGT": {"depth": [2], "num_heads": [6]},
    "RealPLKSR": {"n_blocks": 2},
    "SAFMN": {"n_blocks": 2},
    "Swin2SR": {"depths": [2], "num_heads": [6]},
    "SwinIR": {"depths": [2], "num_heads": [6]},
}
"""Arguments with which a network has few blocks."""
NEEDED: dict[str, dict[str, Any]] = {
    "hat": {"window_size": 16},
    "swinir": {"window_size": 8, "upsampler": "pixelshuffle"},
    "swin2sr": {"window_size": 8, "upsampler": "pixelshuffle"},
    "nafnet": {"middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]},
}
"""Arguments of presets that are only a class, whose own defaults do not work (windows of 7 for sides of 64) or are not
for RGB."""
EVERY_SIZE = {
    "Compact",
    "DITN",
    "ESRGAN",
    "FDAT",
    "MoESR",
    "MoSR",
    "NAFNet",
    "OmniSR",
    "PLKSR",
    "RCAN",
    "RealPLKSR",
    "SPAN",
    "UpCunet",
}
"""The others export for one size each, or not at all."""
REFUSED = {"ATD": "aten.sort", "SeemoRe": "SeemoRe"}
"""Networks that torch cannot convert -> what the message says."""
RESTORE = ("nafnet",)
"""These do not upscale."""
NON_COMMERCIAL = ("srformer", "srformer_light")
"""These need spandrel_extra_arches."""


def _few_blocks(name: str) -> tuple[SpandrelOptions, int]:
    preset = PRESETS[name]
    given = GROUPS.get(preset.network, {}) | NEEDED.get(name, {})
    for heads in ("num_heads", "num_heads_window", "num_heads_stripe"):
        if "depths" in given and heads in preset.arguments:
            given[heads] = preset.arguments[heads][:1]
    scale = 1 if name in RESTORE else 4
    built = built_preset(name, scale, given)
    return SpandrelOptions(network=built.network, arguments=dict(built.arguments)), scale


@pytest.mark.parametrize("name", sorted(set(PRESETS) - set(NON_COMMERCIAL)))
def test_a_preset_is_recognised_and_exported(name: str, tmp_path: Path) -> None:
    options, scale = _few_blocks(name)
    network = options.build(scale=scale)
    network.train()(torch.rand(2, 3, 16, 16)).square().mean().backward()
    learnt = [parameter.grad is not None and bool(parameter.grad.any()) for parameter in network.parameters()]
    assert sum(learnt) > len(learnt) / 6, "blocks behind a scale that starts at 0 have no gradient yet (NAFNet)"
    network.eval()
    found = import_spandrel().ModelLoader().load_from_state_dict(dict(network.state_dict()))
    assert found.scale == scale
    kind = PRESETS[name].network
    source = Source(network, save_metadata(options, scale) | {"name": name}, tmp_path / "weights")
    size = None if kind in EVERY_SIZE else (64, 64)
    if kind in REFUSED:
        with pytest.raises(ExportError, match=REFUSED[kind]):
            export_onnx(source, tmp_path / "net.onnx", size=size)
        assert not list(tmp_path.iterdir())
        return
    exported = export_onnx(source, tmp_path / "net.onnx", size=size)
    assert exported.path.is_file()
    assert exported.parity.worst < 1e-4
