"""All networks of this package: importing this module registers them in `NetworkOptions.registry`.

For each defect of the published networks (A1-A12, R1-R6 in the tests) there is an option: its default is the fix, and
its `legacy` value computes what the published network computed. `published(**given)` sets every option to its legacy
value, for weights that were published or trained with the earlier implementation.
"""

from paragonsr.archs import classic_options, release_options, spandrel_options
from paragonsr.archs.network_options import NetworkOptions
from paragonsr.archs.paragon_options import ParagonOptions

__all__ = ["NETWORKS", "NetworkOptions", "ParagonOptions", "classic_options", "release_options", "spandrel_options"]

NETWORKS: dict[str, type[ParagonOptions]] = {
    name: options for name, options in NetworkOptions.registry.items() if issubclass(options, ParagonOptions)
}
"""Every network of our families by its name in `network_g.type`."""
