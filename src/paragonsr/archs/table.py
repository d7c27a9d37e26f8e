"""Table of all registered networks and their costs."""

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
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
    costs = stored_costs().get(kind.tag(), {}).get(str(scale)) or measured_costs(kind, scale)
    return {
        "name": kind.tag(),
        "family": kind.family,
        **costs,
        "scales": list(kind.scales),
        "precisions": list(kind.precisions),
        "purpose": kind.purpose,
    }


@cache
def stored_costs() -> dict[str, dict[str, dict[str, Any]]]:
    """Costs of our own networks: name -> scale -> `measured_costs`, as written by tools/costs.py."""
    costs: dict[str, dict[str, dict[str, Any]]] = json.loads(
        resources.files(__package__).joinpath("costs.json").read_text(encoding="utf-8")
    )
    return costs


def measured_costs(kind: type[NetworkOptions], scale: int) -> dict[str, Any]:
    """Costs of a network with its default options, which is built and run for it."""
    network = kind.model_validate({}).build(scale=scale)
    output = (SIDE * scale) ** 2 / 1e6
    return {
        "parameters": count_parameters(network),
        "macs_per_megapixel": round(count_macs(network, SIDE, SIDE) / output),
        "receptive_field": network.receptive_field,
    }
