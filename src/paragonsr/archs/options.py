"""Options of the networks; the registry is `NETWORKS`.

Wherever the published networks had a defect (A1-A12, R1-R6 in the tests), an option names it: its default is the mend
and its `legacy` value computes what the published network computed. `published(**given)` is a network with every
option at its legacy value, for weights that were published or trained with the earlier implementation.
"""

from typing import Annotated

from paragonsr.archs.classic_options import (
    LOptions,
    MicroOptions,
    MOptions,
    NanoOptions,
    SOptions,
    TinyOptions,
    XLOptions,
    XSOptions,
)
from paragonsr.archs.network_options import NetworkOptions
from paragonsr.archs.paragon_options import ParagonOptions
from paragonsr.archs.release_options import PhotoOptions, ProOptions, RealtimeOptions, StreamOptions
from paragonsr.archs.spandrel_options import SpandrelOptions
from paragonsr.options import one_of

_OURS: tuple[type[ParagonOptions], ...] = (
    NanoOptions, MicroOptions, TinyOptions, XSOptions, SOptions, MOptions, LOptions, XLOptions,
    RealtimeOptions, StreamOptions, PhotoOptions, ProOptions,
)  # fmt: skip

NETWORKS: dict[str, type[ParagonOptions]] = {variant.tag(): variant for variant in _OURS}
"""Every network of the two families by the name that `network_g.type` gives it."""
KINDS: dict[str, type[NetworkOptions]] = {**NETWORKS, SpandrelOptions.tag(): SpandrelOptions}
"""Everything that `network_g.type`, or a weights file, can name."""

NetworkChoice = Annotated[NetworkOptions, one_of(*_OURS, SpandrelOptions)]
"""Field type: options of one network, chosen by `type`."""
