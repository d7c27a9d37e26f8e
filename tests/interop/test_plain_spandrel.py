"""Converted networks in spandrel as it is installed elsewhere: a process that never imports this package."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import paragonsr
from paragonsr.archs.classic_options import MicroOptions, NanoOptions, SOptions, XSOptions
from paragonsr.archs.release_options import StreamOptions
from paragonsr.archs.weights import load_network, read_metadata, save_metadata, save_weights
from paragonsr.archs.weights_file import HEADER, read_weights
from paragonsr.cli import main
from paragonsr.export.compact_form import run_compact, to_compact

pytestmark = pytest.mark.skipif(find_spec("spandrel") is None, reason="needs the extra spandrel")
PROGRAM = Path(__file__).parent / "plain_spandrel.py"

COMPACT: dict[str, tuple[Any, int]] = {
    "luma x2": (NanoOptions(luma_body=True), 2),
    "rgb x4": (NanoOptions(), 4),
    "luma x3": (NanoOptions(luma_body=True, num_feat=8), 3),
    "x1": (NanoOptions(num_feat=8), 1),
    "s": (SOptions(num_feat=24), 2),
    "bicubic": (XSOptions(num_feat=16, skip_upsampler="bicubic", upsampler_alpha=0), 2),
    "zero padding": (MicroOptions(skip_padding="zero"), 2),
}


def convert(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["convert", *map(str, arguments)])
    return int(ended.value.code or 0)


def trained(options: Any, scale: int) -> nn.Module:
    """A network whose detail is as large as a trained one's."""
    network: nn.Module = options.build(scale=scale).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def in_plain_spandrel(weights: Path, images: dict[str, np.ndarray]) -> tuple[str, dict[str, np.ndarray]]:
    given, out = weights.with_suffix(".given.npz"), weights.with_suffix(".out.npz")
    np.savez(given, **images)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, PROGRAM, weights, given, out]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), dict(np.load(out))


@pytest.mark.parametrize("kind", COMPACT)
def test_the_chain_is_the_network_up_to_the_border(kind: str) -> None:
    options, scale = COMPACT[kind]
    network = trained(options, scale)
    tensors, _ = to_compact(network)  # type: ignore[arg-type]
    for height, width in ((1, 1), (1, 7), (8, 2), (37, 53)):
        image = torch.rand(2, 3, height, width)
        with torch.no_grad():
            torch.testing.assert_close(run_compact(tensors, scale, image), network(image), rtol=0, atol=1e-5)


def test_real_photographs_in_a_process_of_its_own(tmp_path: Path, shared: Path, capsys: Any) -> None:
    assert convert("nano", tmp_path / "2x-nano.safetensors", "--for", "spandrel") == 0
    assert "Compact x2" in capsys.readouterr().out
    files = sorted((shared / "data/benchmark/Set5/LR_bicubic_x2").glob("*.png"))
    images = {
        file.stem: np.asarray(Image.open(file).convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 255
        for file in files
    }
    assert len(images) == 5
    said, results = in_plain_spandrel(tmp_path / "2x-nano.safetensors", images)
    assert said == "Compact 2 True"
    network = load_network("nano")
    for name, image in images.items():
        with torch.no_grad():
            expected = network(torch.from_numpy(image)).clamp(0, 1).numpy()
        assert np.abs(results[name] - expected).max() < 1e-5, name


def test_a_converted_file_is_a_network_here_too(tmp_path: Path) -> None:
    assert convert("nano", tmp_path, "--for", "spandrel") == 0
    image = (torch.rand(13, 18, 3) * 255).to(torch.uint8).numpy()
    ours, theirs = (paragonsr.load(w, device="cpu").upscale(image) for w in ("nano", tmp_path / "2x-nano.safetensors"))
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert (read_metadata(tmp_path / "2x-nano.safetensors") or {})["options"]["network"] == "Compact"


def test_weights_of_a_training_are_only_unsupported(tmp_path: Path) -> None:
    options = NanoOptions(luma_body=True)
    save_weights(tmp_path / "w.safetensors", options.build().state_dict(), save_metadata(options, 2))
    with pytest.raises(AssertionError, match="UnsupportedModelError"):
        in_plain_spandrel(tmp_path / "w.safetensors", {})


@pytest.mark.parametrize("options", [StreamOptions(num_feat=8), SOptions(num_feat=8, use_attention=True)])
def test_others_carry_their_options_as_a_tensor(tmp_path: Path, options: Any, capsys: Any) -> None:
    from paragonsr.archs.spandrel_adapter import import_spandrel
    from paragonsr.spandrel import ID, install

    network = options.build(scale=2).eval()
    save_weights(tmp_path / "w.safetensors", network.state_dict(), save_metadata(options, 2))
    assert convert(tmp_path / "w.safetensors", tmp_path / "out.safetensors", "--for", "spandrel") == 0
    assert "plug-in" in capsys.readouterr().out
    spandrel = import_spandrel()
    install()
    state = torch.load(_as_pth(tmp_path / "out.safetensors"), weights_only=True)
    assert HEADER in state
    model = spandrel.ModelLoader().load_from_state_dict(state)
    assert model.architecture.id == ID
    image = torch.rand(1, 3, 9, 11)
    for loaded in (load_network(tmp_path / "out.safetensors"), load_network(tmp_path / "out.pth"), model.model):
        with torch.no_grad():
            torch.testing.assert_close(loaded(image), network(image), rtol=0, atol=0)
    assert HEADER not in read_weights(tmp_path / "out.pth")[0]


def _as_pth(path: Path) -> Path:
    from safetensors.torch import load_file

    torch.save(load_file(path), path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def test_an_unknown_program_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("nano", tmp_path / "w.safetensors", "--for", "gimp") == 2
    assert "unknown program 'gimp'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
