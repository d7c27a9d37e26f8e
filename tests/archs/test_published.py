"""The published networks, under the options' legacy values: counts, names, shapes, outputs."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from paragonsr.archs.complexity import count_macs, count_parameters
from paragonsr.archs.options import NETWORKS
from paragonsr.archs.weights import load_network

# fmt: off
COUNTS = [  # scale, options, parameters: the published tables
    ("nano", 2, {}, 10_595), ("nano", 3, {}, 17_135), ("nano", 4, {}, 26_291),
    ("nano", 2, {"use_attention": False}, 10_354), ("nano", 2, {"use_content_aware": False}, 8_278),
    ("nano", 2, {"use_attention": False, "use_content_aware": False}, 8_037),
    ("micro", 2, {}, 19_429), ("micro", 2, {"fast_body_mode": False}, 22_230), ("micro", 4, {}, 47_269),
    ("tiny", 2, {}, 42_484), ("tiny", 2, {"fast_body_mode": False}, 60_448), ("tiny", 3, {}, 68_524),
    ("xs", 2, {}, 77_755), ("xs", 2, {"fast_body_mode": False}, 146_070), ("xs", 2, {"use_attention": False}, 73_636),
    ("s", 2, {}, 215_262), ("s", 2, {"fast_body_mode": False}, 579_232), ("s", 3, {}, 319_182), ("s", 4, {}, 464_670),
    ("s", 2, {"use_attention": False, "use_content_aware": False}, 156_147),
    ("m", 2, {}, 1_785_092), ("m", 2, {"fast_body_mode": True}, 635_090), ("m", 4, {}, 2_228_228),
    ("l", 2, {}, 5_153_788), ("l", 2, {"fast_body_mode": True}, 1_710_748), ("xl", 2, {}, 14_481_548),
    ("xl", 4, {}, 16_252_556), ("xl", 2, {"fast_body_mode": True}, 4_368_908),
    ("realtime", 2, {}, 16_780), ("realtime", 4, {}, 44_620), ("stream", 2, {}, 110_092), ("stream", 4, {}, 221_068),
    ("photo", 2, {}, 745_292), ("photo", 4, {}, 1_188_428), ("pro", 2, {}, 1_993_420), ("pro", 4, {}, 2_436_556),
]
# fmt: on


def build(name: str, scale: int, options: dict[str, Any]) -> nn.Module:
    with torch.device("meta"):
        return NETWORKS[f"paragonsr2_{name}"].published(**options).build(scale=scale)


@pytest.mark.parametrize(("name", "scale", "options", "parameters"), COUNTS)
def test_parameter_counts(name: str, scale: int, options: dict[str, Any], parameters: int) -> None:
    assert count_parameters(build(name, scale, options)) == parameters


@pytest.mark.parametrize(
    ("file", "name", "options"),
    [(name, name, {}) for name in ("nano", "micro", "tiny", "xs", "s", "m", "l", "xl")]
    + [(name, name, {}) for name in ("realtime", "stream", "photo", "pro")]
    + [
        ("s_fullbody", "s", {"fast_body_mode": False}),
        ("nano_noattn_nocontent", "nano", {"use_attention": False, "use_content_aware": False}),
    ],
)
def test_names_and_shapes_in_order(shared: Path, file: str, name: str, options: dict[str, Any]) -> None:
    lines = (shared / "spec" / "keys" / f"keys_paragonsr2_{file}.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    expected = [(row[0], tuple(ast.literal_eval(row[1]))) for row in rows]
    assert [(k, tuple(v.shape)) for k, v in build(name, 2, options).state_dict().items()] == expected


@pytest.mark.parametrize("name", ["nano", "realtime", "stream"])
def test_published_weights_give_their_golden_outputs(shared: Path, name: str) -> None:
    stem = shared / "weights" / f"2x_paragonsr2_{name}_fidelity"
    network = load_network(f"{stem}.safetensors")
    assert network.options.tag() == f"paragonsr2_{name}"
    golden = np.load(f"{stem}.golden.npz")
    with torch.no_grad():
        sr = network(torch.from_numpy(golden["input"]))
    assert (sr - torch.from_numpy(golden["output"])).abs().max() < 1e-4


def test_the_default_nano_is_no_larger_than_the_published_one() -> None:
    default = NETWORKS["paragonsr2_nano"]().build(scale=2)
    published = NETWORKS["paragonsr2_nano"].published().build(scale=2)
    assert count_parameters(default) == 9_212
    assert count_macs(default, 64, 64) <= count_macs(published, 64, 64)
