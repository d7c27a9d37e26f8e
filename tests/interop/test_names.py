"""Names of our tensors mean nothing to spandrel, and files with the earlier names still load."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from paragonsr.archs.branches import add_branches
from paragonsr.archs.classic_options import NanoOptions, SOptions
from paragonsr.archs.earlier_names import current_names
from paragonsr.archs.options import NETWORKS
from paragonsr.archs.spandrel_adapter import import_spandrel
from paragonsr.archs.weights import load_network, read_weights, save_metadata, save_weights
from paragonsr.archs.weights_file import digest
from paragonsr.training.checkpoint.files import read_state, write_state

EVERYTHING: dict[str, Any] = {"use_attention": True, "use_content_aware": True}
VARIANTS: dict[str, Any] = {
    **{name: kind() for name, kind in NETWORKS.items()},
    **{f"{name} published": kind.published() for name, kind in NETWORKS.items()},
    "luma": NanoOptions(luma_body=True),
    "compact with everything": SOptions(structure="compact", **EVERYTHING),
    "dual with everything": SOptions(structure="dual", use_norm=True, **EVERYTHING),
}


def earlier(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("hidden.", "body."): tensor.clone() for name, tensor in state.items()}


@pytest.mark.skipif(find_spec("spandrel") is None, reason="needs the extra spandrel")
@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_detector_of_spandrel_takes_our_tensors_for_its_own(variant: str, scale: int) -> None:
    detectors = [support for support in import_spandrel().MAIN_REGISTRY if support.architecture.id != "ParagonSR2"]
    assert len(detectors) > 30
    network: nn.Module = VARIANTS[variant].build(scale=scale)
    merged = network.state_dict()
    add_branches(network)
    for state in (merged, network.state_dict()):
        assert [support.architecture.id for support in detectors if support.detect(state)] == []


def test_the_earlier_names_would_be_taken() -> None:
    detectors = import_spandrel().MAIN_REGISTRY
    state = earlier(NanoOptions().build().state_dict())
    assert [support.architecture.id for support in detectors if support.detect(state)] == ["Compact"]


@pytest.mark.parametrize("options", [NanoOptions(luma_body=True), SOptions(num_feat=8)], ids=["luma", "rgb"])
def test_weights_with_the_earlier_names_load(tmp_path: Path, options: Any) -> None:
    network = options.build(scale=2).eval()
    old = earlier(network.state_dict())
    assert "body.0.weight" in old
    save_weights(tmp_path / "old.safetensors", old, save_metadata(options, 2))
    torch.save({"params": old}, tmp_path / "old.pth")
    image = torch.rand(1, 3, 9, 12)
    given = options.given() | {"structure": "compact"} | {k: v for k, v in options.model_dump().items() if k != "type"}
    for loaded in (
        load_network(tmp_path / "old.safetensors"),
        load_network(tmp_path / "old.pth", arch=options.tag(), scale=2, **given),
    ):
        with torch.no_grad():
            torch.testing.assert_close(loaded(image), network(image), rtol=0, atol=0)


def test_a_resume_state_with_the_earlier_names_is_read_with_the_current_ones(tmp_path: Path) -> None:
    network = NanoOptions().build()
    add_branches(network)
    names = [f"{part}.{name}" for part in ("now.network", "now.ema", "kept.network") for name in network.state_dict()]
    old = {name.replace("hidden.", "body."): torch.zeros(1) for name in names}
    assert old.keys() != set(names)
    write_state(tmp_path / "old.state", old, {"iteration": 3})
    assert read_state(tmp_path / "old.state")[0].keys() == set(names)


def test_other_networks_keep_their_body() -> None:
    for options in (SOptions(structure="dual"), NETWORKS["paragonsr2_realtime"]()):
        state = options.build(scale=2).state_dict()
        assert any(name.startswith("body.") for name in state)
        assert current_names(state) == state


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    old = earlier(NanoOptions().build().state_dict())
    save_file(old, tmp_path / "w.safetensors", {"paragonsr": "{}", "digest": digest(old)})
    assert "hidden.0.weight" in read_weights(tmp_path / "w.safetensors")[0]
