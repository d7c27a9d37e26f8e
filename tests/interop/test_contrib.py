"""contrib/spandrel: what is proposed to spandrel computes what we compute."""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tools.spandrel_contrib import TARGET, files
from torch import nn

from paragonsr.archs.options import NETWORKS
from paragonsr.archs.spandrel_adapter import import_spandrel
from paragonsr.archs.weights import load_network, read_weights, save_metadata
from paragonsr.archs.weights_file import HEADER
from paragonsr.export.convert import convert_for_spandrel
from paragonsr.export.source import Source

pytestmark = pytest.mark.skipif(find_spec("spandrel") is None, reason="needs the extra spandrel")

SMALL: dict[str, dict[str, Any]] = {
    "nano": {"use_attention": True, "attention_window": 8},
    "s": {"structure": "dual", "num_feat": 8, "use_attention": True, "attention_window": 8},
    "m": {"num_feat": 8, "num_groups": 1, "num_blocks": 2},
    "realtime": {"num_feat": 8},
    "stream": {"num_feat": 8, "skip_upsampler": "bicubic"},
    "photo": {"num_feat": 8, "num_groups": 1, "num_blocks": 2, "window_size": 8},
    "pro": {"num_feat": 16, "num_groups": 1, "num_blocks": 2, "window_size": 8, "positions": "none"},
}


@pytest.fixture(scope="module")
def contrib() -> Any:
    """The package as if it lay in spandrel's own folder of architectures."""
    import_spandrel()
    architectures = importlib.import_module("spandrel.architectures")
    architectures.__path__.append(str(TARGET.parents[1]))
    return importlib.import_module("spandrel.architectures.ParagonSR2")


def trained(options: Any, scale: int = 2) -> nn.Module:
    network: nn.Module = options.build(scale=scale).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def assert_same(theirs: nn.Module, ours: nn.Module) -> None:
    image = torch.rand(1, 3, 19, 22)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(image), ours(image), rtol=0, atol=1e-6)


def test_it_is_generated_from_the_package() -> None:
    for name, content in files().items():
        assert (TARGET / name).read_text(encoding="utf-8") == content, f"run python -m tools.spandrel_contrib ({name})"


def test_it_imports_nothing_of_the_package() -> None:
    sources = list(TARGET.parent.rglob("*.py"))
    assert len(sources) > 7
    assert not [file.name for file in sources if "from paragonsr" in file.read_text(encoding="utf-8")]


@pytest.mark.parametrize("kind", SMALL)
def test_a_converted_file_says_everything(contrib: Any, tmp_path: Path, kind: str) -> None:
    options = NETWORKS[f"paragonsr2_{kind}"](**SMALL[kind])
    network = trained(options, 3)
    source = Source(network, save_metadata(options, 3) | {"name": "x"}, Path("x"))
    written = convert_for_spandrel(source, tmp_path / "x.safetensors")
    state = load_file(written.path)
    architecture = contrib.ParagonSR2Arch()
    assert HEADER in state
    assert architecture.detect(state)
    descriptor = architecture.load(state)
    assert (descriptor.scale, descriptor.architecture.id) == (3, "ParagonSR2")
    assert_same(descriptor.model, network)
    again = architecture.load(descriptor.model.state_dict())
    assert again.model.hyperparameters == descriptor.model.hyperparameters
    assert_same(again.model, network)


@pytest.mark.parametrize("kind", ["nano", "micro", "tiny", "s", "m", "realtime", "stream", "photo"])
def test_published_tensors_are_enough(contrib: Any, kind: str) -> None:
    small = {"num_groups": 2, "num_blocks": 1} if kind in ("m", "photo") else {}
    network = trained(NETWORKS[f"paragonsr2_{kind}"].published(**small))
    architecture = contrib.ParagonSR2Arch()
    assert architecture.detect(network.state_dict())
    assert_same(architecture.load(network.state_dict()).model, network)


def test_published_files(contrib: Any, shared: Path) -> None:
    for path in sorted((shared / "weights").glob("*.safetensors")):
        assert_same(contrib.ParagonSR2Arch().load(read_weights(path)[0]).model, load_network(path))


def test_no_other_network_is_taken(contrib: Any) -> None:
    from spandrel.architectures.Compact import Compact
    from spandrel.architectures.SPAN import SPAN

    architecture = contrib.ParagonSR2Arch()
    for other in (Compact(num_feat=8, num_conv=2), SPAN(num_in_ch=3, num_out_ch=3)):
        assert not architecture.detect(other.state_dict())
