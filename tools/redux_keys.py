"""Extracts the names that a checkout of traiNNer-redux knows: python -m tools.redux_keys CHECKOUT.

Reads schemas/redux-config.schema.json, which traiNNer-redux generates from its options, and writes
tests/config/redux_keys.json: only the names, sorted.
"""

import json
import sys
from pathlib import Path

SECTIONS = {
    "ReduxOptions": "",
    "DatasetOptions": "datasets",
    "PathOptions": "path",
    "TrainOptions": "train",
    "ValOptions": "val",
    "LogOptions": "logger",
}
OTHER = {"WandbOptions", "OnnxOptions", "EcoOptions"}
TARGET = Path(__file__).parents[1] / "tests" / "config" / "redux_keys.json"


def names(schema: dict[str, dict[str, dict[str, object]]]) -> dict[str, dict[str, list[str]]]:
    """Keys by section, and the types of losses and of networks."""
    definitions = schema["$defs"]
    keys = {
        title: sorted(definitions[section]["properties"])  # type: ignore[call-overload]
        for section, title in SECTIONS.items()
    }
    types = set(definitions) - set(SECTIONS) - OTHER
    discriminators = {name for name in types if "discriminator" in name or name.startswith(("dunet", "metagan"))}
    losses = {name for name in types if name.endswith("loss")}
    return {
        "keys": keys,
        "types": {
            "losses": sorted(losses),
            "network_d": sorted(discriminators),
            "network_g": sorted(types - losses - discriminators),
        },
    }


if __name__ == "__main__":
    read = json.loads((Path(sys.argv[1]) / "schemas" / "redux-config.schema.json").read_text())
    TARGET.write_text(json.dumps(names(read), indent=1) + "\n")
