"""Table of all registered networks and their costs."""

from collections.abc import Iterator
from typing import Any

from paragonsr.archs.complexity import count_macs, count_parameters
from paragonsr.archs.network_options import NetworkOptions
from paragonsr.archs.options import NETWORKS
from paragonsr.errors import UserError

SIDE = 80
"""Side of the LR image for which multiply-accumulates are counted; larger than the local pooling, and a multiple of
the windows."""


def rows(scale: int) -> Iterator[dict[str, Any]]:
    """One row per network: name, family, parameters, macs_per_megapixel (of output), receptive_field, scales, ...

    `receptive_field` is the number of LR pixels around a pixel, None for the whole image.

    Raises:
        UserError: no network supports this scale.
    """
    kinds = [kind for kind in NETWORKS.values() if scale in kind.scales]
    if not kinds:
        raise UserError(f"no network has scale {scale}", where="--scale")
    return (_row(kind, scale) for kind in kinds)


def _row(kind: type[NetworkOptions], scale: int) -> dict[str, Any]:
    network = kind.model_validate({}).build(scale=scale)
    macs = count_macs(network, SIDE, SIDE)
    output = (SIDE * scale) ** 2 / 1e6
    return {
        "name": kind.tag(),
        "family": kind.family,
        "parameters": count_parameters(network),
        "macs_per_megapixel": round(macs / output),
        "receptive_field": network.receptive_field,
        "scales": list(kind.scales),
        "precisions": list(kind.precisions),
        "purpose": kind.purpose,
    }
