"""Copies the networks into contrib/spandrel, in spandrel's layout and without anything of this package.

python -m tools.spandrel_contrib
"""

import re
from pathlib import Path
from typing import Any

from paragonsr.archs.options import NETWORKS
from paragonsr.archs.release_options import ReleaseOptions

ROOT = Path(__file__).parents[1]
ARCHS = ROOT / "src" / "paragonsr" / "archs"
TARGET = ROOT / "contrib/spandrel/libs/spandrel/spandrel/architectures/ParagonSR2/__arch"
MODULES = ("attention", "blocks", "skip_upsampler", "paragonsr2", "release_blocks", "paragonsr2_release")
OPTIONS = '''"""Options of the networks: what no tensor shows. Generated."""

from types import SimpleNamespace
from typing import Any

ClassicOptions = ReleaseOptions = SimpleNamespace

DEFAULTS: dict[str, dict[str, Any]] = {defaults}
"""Options of each network as trained today."""
PUBLISHED: dict[str, dict[str, Any]] = {published}
"""Options of each network as it was first published."""
BLOCKS = {blocks}


def make_options(network: str, given: dict[str, Any]) -> SimpleNamespace:
    """Options of a network, with the given ones and the defaults of the others."""
    options = SimpleNamespace(**(DEFAULTS[network] | given))
    if network in BLOCKS:
        options.block = BLOCKS[network]
        dropped = options.export_safe and not options.export_keeps_attention
        options.has_attention = options.attention_mode in ("sdpa", "flex") and not dropped
        return options
    half = 2 if options.fast_body_mode else 1
    options.body_size = max(1, options.num_groups // half), max(1, options.num_blocks // half)
    return options
'''


def files() -> dict[str, str]:
    """Generated files of the folder `__arch`, by name."""
    copied = {f"{module}.py": _copied((ARCHS / f"{module}.py").read_text(encoding="utf-8")) for module in MODULES}
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    return {**copied, "options.py": _options(), "__init__.py": "", "LICENSE": licence}


def _copied(source: str) -> str:
    source = re.sub(r"from paragonsr\.archs\.(classic_options|release_options) import", "from .options import", source)
    return re.sub(r"from paragonsr\.archs\.", "from .", source)


def _options() -> str:
    defaults = {name: _values(kind()) for name, kind in NETWORKS.items()}
    published = {name: _values(kind.published()) for name, kind in NETWORKS.items()}
    blocks = {name: kind.block for name, kind in NETWORKS.items() if issubclass(kind, ReleaseOptions)}
    text = OPTIONS
    for key, value in (("defaults", defaults), ("published", published), ("blocks", blocks)):
        text = text.replace(f"{{{key}}}", repr(value))
    return text


def _values(options: Any) -> dict[str, Any]:
    values: dict[str, Any] = options.model_dump(exclude={"type", "use_channels_last", "in_chans"})
    return values


if __name__ == "__main__":
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (TARGET / name).write_text(content, encoding="utf-8")
