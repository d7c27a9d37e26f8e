"""Writes src/paragonsr/archs/costs.json: what each of our networks costs, so that `paragonsr archs` builds none.

python -m tools.costs
"""

import json
from pathlib import Path
from typing import Any

from paragonsr.archs import table
from paragonsr.archs.options import NETWORKS

FILE = Path(table.__file__).with_name("costs.json")


def costs() -> dict[str, dict[str, dict[str, Any]]]:
    """Name of a network -> scale -> its costs."""
    own = [kind for kind in NETWORKS.values() if kind.__module__.startswith("paragonsr.")]
    return {kind.tag(): {str(scale): table.measured_costs(kind, scale) for scale in kind.scales} for kind in own}


if __name__ == "__main__":
    FILE.write_text(json.dumps(costs(), sort_keys=True).replace("}}, ", "}},\n") + "\n", encoding="utf-8")
