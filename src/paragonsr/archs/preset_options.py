"""Networks by their names in traiNNer-redux and BasicSR: a class of spandrel with its arguments.

The arguments are those in which a preset of traiNNer-redux (architecture registry of June 2026) differs from the
defaults of spandrel's class; for HAT, SwinIR, DAT, RGT, ATD, DRCT and GRL they are those of the papers.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Preset(NamedTuple):
    """A network of spandrel without its scale."""

    network: str
    arguments: Mapping[str, Any]


def _transformer(network: str, groups: int, heads: int, blocks: int = 6, **arguments: Any) -> Preset:
    """`groups` groups of `blocks` blocks with `heads` heads each."""
    return Preset(network, {"depths": [blocks] * groups, "num_heads": [heads] * groups, **arguments})


def _dat(groups: int, split: list[int], blocks: int = 6, **arguments: Any) -> Preset:
    return Preset("DAT", {"split_size": split, "depth": [blocks] * groups, "num_heads": [6] * groups, **arguments})


def _rgt(groups: int) -> Preset:
    shape = {"split_size": [8, 32], "depth": [6] * groups, "num_heads": [6] * groups}
    return Preset("RGT", shape | {"mlp_ratio": 2.0})


def _grl(depths: list[int], heads: int, **arguments: Any) -> Preset:
    shape = {"depths": depths, "num_heads_window": [heads] * len(depths), "num_heads_stripe": [heads] * len(depths)}
    stripes = {"window_size": 32, "stripe_size": [64, 64], "stripe_shift": True, "anchor_window_down_factor": 4}
    return Preset("GRL", shape | stripes | {"mlp_ratio": 2.0} | arguments)


def _span(channels: int) -> Preset:
    return Preset("SPAN", {"feature_channels": channels, "norm": False})


_SWIN: dict[str, Any] = {"window_size": 8, "mlp_ratio": 2.0}
_SMALL: dict[str, Any] = {"embed_dim": 60, "upsampler": "pixelshuffledirect"} | _SWIN
_MIDDLE: dict[str, Any] = {"embed_dim": 180, "upsampler": "pixelshuffle"} | _SWIN
_LARGE: dict[str, Any] = {"embed_dim": 240, "upsampler": "nearest+conv", "resi_connection": "3conv"} | _SWIN
_HAT: dict[str, Any] = {"window_size": 16, "mlp_ratio": 2.0}
_DRCT: dict[str, Any] = {"upsampler": "pixelshuffle"}
_SRFORMER: dict[str, Any] = {"embed_dim": 180, "mlp_ratio": 2.0}

PRESETS: dict[str, Preset] = {
    "atd": _transformer(
        "ATD",
        6,
        6,
        img_size=96,
        embed_dim=210,
        window_size=16,
        num_tokens=128,
        reducted_dim=20,
        upsampler="pixelshuffle",
    ),
    "atd_light": Preset(
        "ATD",
        {
            "embed_dim": 48,
            "window_size": 16,
            "category_size": 128,
            "reducted_dim": 8,
            "convffn_kernel_size": 7,
            "mlp_ratio": 1,
            "upsampler": "pixelshuffledirect",
        },
    ),
    "compact": Preset("Compact", {}),
    "ultracompact": Preset("Compact", {"num_conv": 8}),
    "superultracompact": Preset("Compact", {"num_feat": 24, "num_conv": 8}),
    "craft": Preset("CRAFT", {}),
    "dat": _dat(6, [8, 32]),
    "dat_s": _dat(6, [8, 16], expansion_factor=2),
    "dat_2": _dat(6, [8, 32], expansion_factor=2),
    "dat_2_l": _dat(12, [8, 32], expansion_factor=2),
    "dat_light": _dat(1, [8, 32], 18, embed_dim=60, expansion_factor=2, resi_connection="3conv"),
    "dctlsa": Preset("DCTLSA", {}),
    "ditn_real": Preset("DITN", {}),
    "drct": Preset("DRCT", _DRCT),
    "drct_l": _transformer("DRCT", 12, 6, **_DRCT),
    "drct_xl": _transformer("DRCT", 14, 6, **_DRCT),
    "esrgan": Preset("ESRGAN", {}),
    "esrgan_lite": Preset("ESRGAN", {"num_filters": 32, "num_blocks": 12}),
    "fdat": Preset("FDAT", {"upsampler_type": "pixelshuffle"}),
    "fdat_tiny": Preset(
        "FDAT",
        {
            "embed_dim": 96,
            "num_groups": 2,
            "depth_per_group": 2,
            "num_heads": 3,
            "ffn_expansion_ratio": 1.5,
            "drop_path_rate": 0.05,
        },
    ),
    "fdat_light": Preset("FDAT", {"embed_dim": 108, "num_groups": 3, "depth_per_group": 2, "drop_path_rate": 0.08}),
    "fdat_medium": Preset("FDAT", {}),
    "fdat_medium_aligned": Preset("FDAT", {"embed_dim": 128}),
    "fdat_large": Preset("FDAT", {"embed_dim": 180, "depth_per_group": 4, "num_heads": 6}),
    "fdat_xl": Preset("FDAT", {"embed_dim": 180, "num_groups": 6, "depth_per_group": 6, "num_heads": 6}),
    "grl_t": _grl([4] * 4, 2, embed_dim=64, upsampler="pixelshuffledirect"),
    "grl_s": _grl([4] * 4, 2, embed_dim=128, upsampler="pixelshuffle"),
    "grl_b": _grl([4, 4, 8, 8, 8, 4, 4], 3, embed_dim=180, upsampler="pixelshuffle", local_connection=True),
    "hat_s": _transformer("HAT", 6, 6, embed_dim=144, compress_ratio=24, squeeze_factor=24, **_HAT),
    "hat_m": _transformer("HAT", 6, 6, embed_dim=180, **_HAT),
    "hat_l": _transformer("HAT", 12, 6, embed_dim=180, **_HAT),
    "moesr2": Preset("MoESR", {"expansion_factor": 8 / 3}),
    "mosr": Preset("MoSR", {}),
    "mosr_t": Preset("MoSR", {"n_block": 5, "dim": 48}),
    "omnisr": Preset("OmniSR", {"res_num": 5}),
    "plksr": Preset("PLKSR", {"ccm_type": "DCCM"}),
    "plksr_tiny": Preset("PLKSR", {"n_blocks": 12, "ccm_type": "DCCM", "kernel_size": 13, "use_ea": False}),
    "rcan": Preset("RCAN", {"norm": False}),
    "rcan_l": Preset("RCAN", {"n_feats": 96, "norm": False}),
    "rcan_unshuffle": Preset("RCAN", {"norm": False, "unshuffle_mod": True}),
    "realcugan": Preset("UpCunet", {}),
    "realplksr": Preset("RealPLKSR", {"layer_norm": True}),
    "realplksr_tiny": Preset("RealPLKSR", {"n_blocks": 12, "kernel_size": 13, "use_ea": False, "layer_norm": True}),
    "realplksr_large": Preset("RealPLKSR", {"dim": 96, "layer_norm": True}),
    "rgt_s": _rgt(6),
    "rgt": _rgt(8),
    "safmn": Preset("SAFMN", {"dim": 36}),
    "safmn_l": Preset("SAFMN", {"dim": 128, "n_blocks": 16}),
    "seemore_t": Preset("SeemoRe", {"num_experts": 3, "embedding_dim": 36, "lr_space": "exp"}),
    "span": _span(52),
    "span_s": _span(48),
    "span_f32": _span(32),
    "span_f64": _span(64),
    "span_f96": _span(96),
    "srformer": _transformer("SRFormer", 6, 6, img_size=48, window_size=24, upsampler="pixelshuffle", **_SRFORMER),
    "srformer_light": Preset("SRFormer", {"window_size": 16, "upsampler": "pixelshuffledirect"} | _SRFORMER),
    "swin2sr_s": Preset("Swin2SR", _SMALL),
    "swin2sr_m": _transformer("Swin2SR", 6, 6, **_MIDDLE),
    "swin2sr_l": _transformer("Swin2SR", 9, 8, **_LARGE),
    "swinir_s": Preset("SwinIR", _SMALL),
    "swinir_m": _transformer("SwinIR", 6, 6, img_size=48, **_MIDDLE),
    "swinir_l": _transformer("SwinIR", 9, 8, **_LARGE),
    "rrdbnet": Preset("ESRGAN", {}),
    "srvggnetcompact": Preset("Compact", {}),
    "hat": Preset("HAT", {}),
    "swinir": Preset("SwinIR", {}),
    "swin2sr": Preset("Swin2SR", {}),
    "nafnet": Preset("NAFNet", {}),
}
"""Name in lower case -> preset."""

NEUTRAL: dict[str, dict[str, tuple[Any, ...]]] = {
    "Compact": {"learn_residual": (True,)},
    "ESRGAN": {"num_in_ch": (3,), "num_out_ch": (3,), "in_nc": (3,), "out_nc": (3,)},
    "DAT": {"unshuffle_mod": (False,)},
    "DRCT": {"use_checkpoint": (False, True)},
    "RealPLKSR": {"in_ch": (3,), "out_ch": (3,), "upsampler": ("pixelshuffle",)},
    "SPAN": {"num_blocks": (6,), "num_in_ch": (3,), "num_out_ch": (3,)},
    "UpCunet": {"fast": (False,), "in_channels": (3,), "out_channels": (3,)},
}
"""Network -> arguments of others that spandrel's class has not, or names otherwise -> values that change nothing."""
VALUES: dict[str, dict[str, dict[Any, Any]]] = {
    "MoSR": {"upsampler": {"pixelshuffle": "ps", "geoensemblepixelshuffle": "gps", "dysample": "dys"}},
}
"""Network -> argument -> value as others write it -> spandrel's."""
SCALE_NAMES = ("scale", "upscale", "upscaling_factor", "upscale_factor")
"""Arguments with which other trainers repeat the scale."""


def find_preset(name: str) -> Preset | None:
    """Preset of that name, case-insensitive; None if there is none."""
    return PRESETS.get(name.lower())


def presets_by_network() -> dict[str, list[str]]:
    """Names of the presets, by spandrel's name of the network."""
    found: dict[str, list[str]] = {}
    for name, preset in PRESETS.items():
        found.setdefault(preset.network, []).append(name)
    return found


def built_preset(name: str, scale: int, given: Mapping[str, Any]) -> Preset:
    """Class and arguments of a preset, combined with the user's arguments.

    Args:
        name: name of the preset.
        scale: scale of the run, which determines the structure of RealCUGAN and ESRGAN.
        given: arguments that differ from the preset's; neutral ones are dropped.
    """
    preset = PRESETS[name.lower()]
    neutral = NEUTRAL.get(preset.network, {})
    values = VALUES.get(preset.network, {})
    own = {
        key: values.get(key, {}).get(value, value) if isinstance(value, str) else value
        for key, value in given.items()
        if not (key in neutral and value in neutral[key]) and not (key in SCALE_NAMES and value == scale)
    }
    arguments = {**preset.arguments, **own}
    if preset.network == "UpCunet":
        fast = arguments.pop("fast", False)
        return Preset(f"UpCunet{scale}x{'_fast' if fast else ''}", arguments)
    if preset.network == "ESRGAN" and arguments.pop("use_pixel_unshuffle", True) and scale in (1, 2):
        # One architecture for all: an image is folded first where it is to become less than four times as large.
        fold = 4 // scale
        return Preset("ESRGAN", {"in_nc": 3 * fold**2, "shuffle_factor": fold, "scale": 4} | arguments)
    if preset.network == "RealPLKSR" and arguments.pop("upsampler", None) == "dysample":
        arguments["dysample"] = True
    return Preset(preset.network, arguments)
