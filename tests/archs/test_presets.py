"""Networks by the names of traiNNer-redux and BasicSR: the published sizes, found again by spandrel, and trained."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from paragonsr.archs.preset_options import PRESETS, built_preset
from paragonsr.archs.spandrel_options import SpandrelOptions
from paragonsr.config import load_config
from paragonsr.errors import UserError

pytestmark = pytest.mark.skipif(find_spec("spandrel") is None, reason="spandrel is not installed")

PARAMETERS = {
    "compact": 621_424,
    "ultracompact": 325_488,
    "superultracompact": 52_968,
    "dctlsa": 885_328,
    "omnisr": 805_376,
    "plksr": 7_386_096,
    "plksr_tiny": 2_370_544,
    "realplksr": 7_389_680,
    "realplksr_tiny": 2_372_080,
    "realcugan": 1_406_812,
    "safmn": 239_520,
    "seemore_t": 231_804,
    "span": 2_621_964,
    "span_s": 2_236_728,
    "fdat_light": 1_909_467,
    "mosr_t": 609_888,
    "esrgan_lite": 5_021_155,
    "swinir_s": 929_628,
    "swin2sr_s": 1_024_824,
}
"""Parameters of the small ones at x4."""
LARGE = {
    "atd": 20_260_929,
    "dat": 14_802_051,
    "dat_s": 11_212_131,
    "dat_2": 11_212_131,
    "drct": 14_139_579,
    "drct_l": 27_580_719,
    "esrgan": 16_697_987,
    "grl_b": 20_201_299,
    "grl_s": 3_487_715,
    "grl_t": 906_192,
    "hat_s": 9_621_183,
    "hat_m": 20_772_507,
    "hat_l": 40_846_575,
    "rcan": 15_592_355,
    "rgt": 13_365_543,
    "rgt_s": 10_198_767,
    "swinir_m": 11_900_199,
    "swinir_l": 28_013_059,
}
"""Parameters of the large ones at x4."""


def _network(name: str, scale: int = 4, **given: Any) -> torch.nn.Module:
    preset = built_preset(name, scale, given)
    network: torch.nn.Module = SpandrelOptions(network=preset.network, arguments=dict(preset.arguments)).build(
        scale=scale
    )
    return network


def _trains(network: torch.nn.Module, scale: int) -> None:
    """One step on a small patch moves what is trained; the image is as much larger as it should be."""
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    image = torch.rand(2, 3, 16, 16)
    upscaled = network.train()(image)
    assert upscaled.shape == (2, 3, 16 * scale, 16 * scale)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    upscaled.square().mean().backward()
    optimiser.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 3  # some gradients are too small to move a weight in one step


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_small_one(name: str) -> None:
    network = _network(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    _trains(network, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LARGE))
def test_a_large_one(name: str) -> None:
    network = _network(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == LARGE[name]
    _trains(network, 4)


RESTORE = ("nafnet",)
"""These do not upscale."""
CLASSES = ("hat", "swinir", "swin2sr")
"""These are only a class, whose own defaults do not work; the test of the exports trains them with arguments."""
NON_COMMERCIAL = ("srformer", "srformer_light")
"""These need spandrel_extra_arches."""
OTHERS = sorted(set(PRESETS) - {*PARAMETERS, *LARGE, *RESTORE, *CLASSES, *NON_COMMERCIAL})


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_the_others_are_built(name: str) -> None:
    _trains(_network(name), 4)


@pytest.mark.skipif(find_spec("spandrel_extra_arches") is not None, reason="spandrel_extra_arches is installed")
def test_a_network_of_the_other_package_names_its_pip_line() -> None:
    with pytest.raises(UserError, match="pip install spandrel_extra_arches"):
        _network("srformer")


@pytest.mark.parametrize("scale", [2, 4])
def test_esrgan_folds_the_image_first_below_x4(scale: int) -> None:
    network = _network("esrgan_lite", scale, num_blocks=1)
    first = next(network.parameters())
    assert first.shape[1] == {2: 12, 4: 3}[scale]
    assert network(torch.rand(1, 3, 9, 10)).shape == (1, 3, 9 * scale, 10 * scale)
    unfolded = _network("esrgan_lite", scale, num_blocks=1, use_pixel_unshuffle=False)
    assert next(unfolded.parameters()).shape[1] == 3


@pytest.mark.parametrize("scale", [2, 4])
def test_basicsrs_rrdbnet_with_its_own_arguments(scale: int) -> None:
    network = _network("RRDBNet", scale, num_in_ch=3, num_out_ch=3, num_feat=16, num_block=1)
    assert next(network.parameters()).shape[:2] == (16, {2: 12, 4: 3}[scale])
    assert network(torch.rand(1, 3, 9, 10)).shape == (1, 3, 9 * scale, 10 * scale)


@pytest.mark.parametrize(
    ("scale", "fast", "network"), [(2, False, "UpCunet2x"), (2, True, "UpCunet2x_fast"), (3, False, "UpCunet3x")]
)
def test_realcugan_has_a_class_for_each_scale(scale: int, fast: bool, network: str) -> None:
    assert built_preset("RealCUGAN", scale, {"fast": fast}).network == network


def _config(tmp_path: Path, network: dict[str, Any]) -> Any:
    tree = {
        "name": "hers",
        "scale": 4,
        "datasets": {
            "train": {"type": "singleimagedataset", "dataroot_gt": "hr", "lq_size": 32, "batch_size_per_gpu": 4}
        },
        "network_g": network,
        "train": {"total_iter": 9, "optim_g": {"type": "AdamW", "lr": 1e-4}, "losses": [{"type": "l1loss"}]},
        "val": {"val_enabled": False},
    }
    (tmp_path / "hers.yml").write_text(yaml.safe_dump(tree))
    return load_config(tmp_path / "hers.yml").config.network


@pytest.mark.parametrize(
    ("network", "name", "arguments"),
    [
        ({"type": "Compact"}, "Compact", {}),
        (
            {"type": "SRVGGNetCompact", "num_in_ch": 3, "num_conv": 8, "upscale": 4},
            "Compact",
            {"num_in_ch": 3, "num_conv": 8},
        ),
        ({"type": "span_s", "num_blocks": 6}, "SPAN", {"feature_channels": 48, "norm": False}),
        ({"type": "superultracompact", "num_conv": 4}, "Compact", {"num_feat": 24, "num_conv": 4}),
        (
            {"type": "MoSR_T", "upsampler": "geoensemblepixelshuffle"},
            "MoSR",
            {"n_block": 5, "dim": 48, "upsampler": "gps"},
        ),
        ({"type": "realplksr", "upsampler": "dysample"}, "RealPLKSR", {"layer_norm": True, "dysample": True}),
        ({"type": "realplksr", "upsampler": "pixelshuffle"}, "RealPLKSR", {"layer_norm": True}),
    ],
)
def test_a_configuration_names_it(
    network: dict[str, Any], name: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    options = _config(tmp_path, network)
    assert isinstance(options, SpandrelOptions)
    assert (options.network, options.arguments) == (name, arguments)


def test_an_argument_that_it_does_not_have_is_refused(tmp_path: Path) -> None:
    options = _config(tmp_path, {"type": "compact", "num_blocks": 3})
    with pytest.raises(UserError, match="Compact has no argument num_blocks"):
        options.build(scale=4)
