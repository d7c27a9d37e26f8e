"""The benchmark table compared with published values, and the command that prints it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from paragonsr import resize
from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.weights import save_metadata, save_weights
from paragonsr.cli import main
from paragonsr.data.images import write_png
from paragonsr.errors import UserError
from paragonsr.inference.benchmark import benchmark
from paragonsr.inference.model import Upscaler


class Nearest(torch.nn.Module):
    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        return F.interpolate(lr, scale_factor=2.0, mode="nearest")


NEAREST = Upscaler(Nearest(), 2, torch.device("cpu"))


@pytest.mark.parametrize(("scale", "psnr"), [(2, 33.6734), (3, 30.4033), (4, 28.4290)])
@pytest.mark.parametrize("given", [True, False])
def test_bicubic_on_set5(shared: Path, scale: int, psnr: float, given: bool) -> None:
    folder = shared / "data" / "benchmark" / "Set5"

    class Repeat(torch.nn.Module):
        def forward(self, lr: torch.Tensor) -> torch.Tensor:
            return F.interpolate(lr, scale_factor=float(scale), mode="nearest")

    lr = folder / f"LR_bicubic_x{scale}" if given else None
    table = benchmark(Upscaler(Repeat(), scale, torch.device("cpu")), folder / "HR", lr)
    assert len(table.rows) == 5
    assert table.mean().bicubic["psnr_y"] == pytest.approx(psnr, abs=1e-4)
    assert f"crop={scale}" in table.protocol["psnr_y"]


def test_bicubic_measured_as_a_network_equals_bicubic(photographs: Callable[..., Path]) -> None:
    hr = photographs("hr", 2, height=33, width=46)

    class Bicubic(torch.nn.Module):
        def forward(self, lr: torch.Tensor) -> torch.Tensor:
            image = (lr[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
            return torch.from_numpy(resize.upscale(image, 2)).permute(2, 0, 1)[None].float() / 255

    table = benchmark(Upscaler(Bicubic(), 2, torch.device("cpu")), hr)
    for row in table.rows:
        assert row.network == row.bicubic


def test_an_exactly_reproduced_image_is_left_out_of_the_mean_and_said_so(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, block in (("flat", np.full((24, 24, 3), 90)), ("rough", random.integers(0, 256, (24, 24, 3)))):
        write_png(tmp_path / f"{name}.png", block.astype(np.uint8))
    table = benchmark(NEAREST, tmp_path)
    assert table.rows[0].network["psnr_y"] == np.inf
    assert table.mean().network["psnr_y"] == table.rows[1].network["psnr_y"]
    assert "1 of 2 images were reproduced exactly" in "\n".join(table.lines())
    assert json.loads(json.dumps(table.as_dict(), allow_nan=False))["images"]["flat.png"]["network"]["psnr_y"] == "inf"


def test_unpaired_and_missing_folders_name_the_folders(tmp_path: Path, photographs: Callable[..., Path]) -> None:
    hr, lr = photographs("hr", 2), photographs("lr", 1, height=32, width=36)
    with pytest.raises(UserError, match="1 HR image without LR image") as caught:
        benchmark(NEAREST, hr, lr)
    assert caught.value.where == f"{hr} and {lr}"
    assert "dataroot" not in str(caught.value)
    with pytest.raises(UserError, match="does not exist"):
        benchmark(NEAREST, tmp_path / "nowhere")


def test_the_command_prints_and_writes_the_table(
    tmp_path: Path, photographs: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    hr = photographs("hr", 2)
    lr = tmp_path / "lr"
    lr.mkdir()
    for file in sorted(hr.iterdir()):
        write_png(lr / f"{file.stem}x2.png", resize.downscale(np.asarray(Image.open(file)), 2))
    options = NanoOptions()
    weights = tmp_path / "nano.safetensors"
    save_weights(weights, options.build(scale=2).state_dict(), save_metadata(options, 2))
    out = tmp_path / "table.json"
    lines = tmp_path / "table.csv"
    arguments = ["validate", "--model", weights, "--hr", hr, "--scale", "2", "--json", out, "--csv", lines]
    for more in ([], ["--lr", lr]):
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in (*arguments, *more)])
        assert caught.value.code == 0
    said = capsys.readouterr().out
    one, other = said[: len(said) // 2], said[len(said) // 2 :]
    assert one == other, "LR files and LR made from HR give the same table"
    written = json.loads(out.read_text())
    assert f"{written['mean']['network']['psnr_y']:.3f}" in one
    assert written["protocol"]["psnr_y"] in one
    assert list(written["images"]) == ["photo_00.png", "photo_01.png"]
    mean = lines.read_text().splitlines()[-1].split(",")
    assert (mean[0], float(mean[1])) == ("mean", written["mean"]["network"]["psnr_y"])
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in (*arguments, "--set", "nothing=1")])
    assert caught.value.code == 2
    assert "does not take nothing" in capsys.readouterr().err
