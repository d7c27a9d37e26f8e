"""Conversion to safetensors that describe their network, and the description for OpenModelDB."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.release_options import RealtimeOptions
from paragonsr.archs.weights import load_network, read_metadata, save_metadata, save_weights
from paragonsr.cli import main
from paragonsr.export.source import open_source


def command(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["convert", *map(str, arguments)])
    return int(ended.value.code or 0)


def same(a: torch.nn.Module, b: torch.nn.Module) -> None:
    image = torch.rand(1, 3, 9, 14)
    with torch.no_grad():
        torch.testing.assert_close(a(image), b(image), rtol=0, atol=0)


@pytest.mark.parametrize("wrapper", ["params_ema", "params", "state_dict", None])
def test_published_weights_say_afterwards_what_they_are(tmp_path: Path, wrapper: str | None) -> None:
    options = RealtimeOptions.published(num_feat=16)
    network = options.build(scale=4).eval()
    state = network.state_dict()
    # BasicSR stores the trained weights and their average; the average is used.
    others = {"params": {k: torch.zeros_like(v) for k, v in state.items()}} if wrapper == "params_ema" else {}
    torch.save(others | {wrapper: state} if wrapper else state, tmp_path / "4x_Realtime.pth")
    assert command(tmp_path / "4x_Realtime.pth", tmp_path) == 0
    converted = tmp_path / "4x-Realtime.safetensors"
    metadata = read_metadata(converted)
    assert metadata is not None
    assert (metadata["arch"], metadata["scale"], metadata["name"]) == ("paragonsr2_realtime", 4, "Realtime")
    assert metadata["options"]["skip_upsampler"] == "published"
    same(load_network(converted), network)


def test_options_are_given_by_name(tmp_path: Path) -> None:
    network = NanoOptions.published(use_attention=False, upsampler_alpha=0.1).build().eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    arguments = ["--arch", "paragonsr2_nano", "--scale", "2", "--set", "upsampler_alpha=0.1", "--name", "Mine"]
    assert command(tmp_path / "w.pth", tmp_path / "out.safetensors", *arguments) == 0
    metadata = read_metadata(tmp_path / "out.safetensors")
    assert metadata is not None
    assert metadata["options"]["upsampler_alpha"] == 0.1
    assert metadata["name"] == "Mine"
    same(load_network(tmp_path / "out.safetensors"), network)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "upsampler_alpha"], "is not an option"),
        (["--set", "alpha=1", "--arch", "paragonsr2_nano"], "does not take alpha"),
        (["--set", "num_feat=13", "--arch", "paragonsr2_nano"], "of another shape"),
        (["--arch", "nano"], "unknown network nano"),
        (["--scale", "4"], "weights of paragonsr2_nano x2, which does not accept scale=4"),
        (["--set", "foo=1"], "weights of paragonsr2_nano x2, which does not accept foo=1"),
    ],
)
def test_what_does_not_fit_is_told(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(NanoOptions.published().build().state_dict(), tmp_path / "w.pth")
    assert command(tmp_path / "w.pth", tmp_path / "out.safetensors", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_malicious_pickle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"params_ema": {"conv_in.weight": torch.rand(3)}, "extra": Bomb()}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"params": Bomb()}))
    for name in ("zip.pth", "plain.pth"):
        assert command(tmp_path / name, tmp_path / "out.safetensors") == 2
        assert "more than tensors" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["plain.pth", "zip.pth"]
    # Loaded without protection, the files do run code.
    pickle.loads((tmp_path / "plain.pth").read_bytes())
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize(
    ("name", "plain"),
    [("2xNano", "Nano"), ("2x_Mine", "Mine"), ("4x-2xNano", "Nano"), ("Nano", "Nano"), ("2xl", "2xl"), ("12", "12")],
)
def test_the_scale_stands_once_in_an_exported_name(tmp_path: Path, name: str, plain: str) -> None:
    options = NanoOptions(num_feat=4, num_blocks=1)
    file = tmp_path / "w.safetensors"
    save_weights(file, options.build(scale=2).state_dict(), save_metadata(options, 2) | {"name": name})
    assert open_source(file).name == f"2x-{plain}"
