"""Size and speed of a network in every engine, in turns, by CPU time on one thread.

python benchmarks/engines.py [--side 1024] [--turns 3] [--hr FOLDER] [NETWORK...]

NETWORK is weights, the name of a model that comes with the package, or of a network with random weights: one of ours,
paragonsr2_s, or a preset, superultracompact. Each network is upscaled x2.
Tiles are of 256 x 256. It prints MP of output per second of CPU time: the median of the turns, the smallest and largest
ratio to torch in one turn, and the size of the file; with --hr, also PSNR-Y in dB on that folder of HR images.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from paragonsr.archs.options import NETWORKS, NetworkOptions
from paragonsr.archs.preset_options import built_preset, find_preset
from paragonsr.archs.spandrel_options import SpandrelOptions
from paragonsr.archs.weights import save_metadata, save_weights
from paragonsr.export.convert import convert_for_spandrel
from paragonsr.export.engines import use_engine
from paragonsr.export.ncnn import export_ncnn
from paragonsr.export.onnx import export_onnx
from paragonsr.export.openvino import export_openvino
from paragonsr.export.source import Source, open_source
from paragonsr.inference.benchmark import benchmark
from paragonsr.inference.model import Upscaler, load
from paragonsr.models import located


def engines(weights: Path, folder: Path) -> dict[str, tuple[Upscaler, int]]:
    """Engine -> network that runs in it, and bytes of its files."""
    source = open_source(weights)
    found: dict[str, tuple[Upscaler, int]] = {"torch": (load(weights, device="cpu"), located(weights).stat().st_size)}
    onnx = export_onnx(source, folder / "net.onnx").path
    for name in ("onnxruntime", "openvino"):
        path = onnx if name == "onnxruntime" else export_openvino(source, folder / "net.xml")[0]
        size = sum(file.stat().st_size for file in {path, path.with_suffix(".bin")} if file.is_file())
        found[name] = use_engine(load(weights, device="cpu"), name, weights), size
    param, _ = export_ncnn(source, folder / "net.param")
    found["ncnn"] = _ncnn(param, source), param.stat().st_size + param.with_suffix(".bin").stat().st_size
    if source.metadata["arch"] == "spandrel":
        return found
    converted = convert_for_spandrel(source, folder / "spandrel.safetensors").path
    if (load(converted, device="cpu").network.options.tag()) == "spandrel":  # type: ignore[union-attr]
        found["spandrel's Compact"] = load(converted, device="cpu"), converted.stat().st_size
    return found


def _ncnn(param: Path, source: Source) -> Upscaler:
    import ncnn

    class Network(torch.nn.Module):
        scale, receptive_field = source.scale, getattr(source.network, "receptive_field", None)

        def __init__(self) -> None:
            super().__init__()
            self.net = ncnn.Net()
            self.net.opt.num_threads = torch.get_num_threads()
            self.net.load_param(str(param))
            self.net.load_model(str(param.with_suffix(".bin")))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            extractor = self.net.create_extractor()
            given = np.ascontiguousarray(image[0].numpy())  # ncnn keeps no reference to it
            extractor.input("data", ncnn.Mat(given))
            return torch.from_numpy(np.array(extractor.extract("output")[1])[None])

    return Upscaler(Network(), source.scale, torch.device("cpu"))


def measure(weights: Path, side: int, turns: int, hr: Path | None) -> None:
    """Print the table of one network."""
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        found = engines(weights, Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in found}
        results = {name: network.upscale(image) for name, (network, _) in found.items()}  # warm
        for _ in range(turns):
            for name, (network, _) in found.items():
                begun = time.process_time()
                network.upscale(image)
                seconds[name].append(time.process_time() - begun)
        megapixels = results["torch"].shape[0] * results["torch"].shape[1] / 1e6
        print(f"\n{weights.stem}, {side} x {side}, CPU time, one thread, {turns} turns")
        for name, (_, size) in found.items():
            ratios = [own / its for own, its in zip(seconds["torch"], seconds[name], strict=True)]
            differing = int((results[name] != results["torch"]).sum())
            print(
                f"{name:20} {size / 1024:8.0f} KiB {megapixels / statistics.median(seconds[name]):8.2f} MP/s"
                f"  {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) of torch"
                f"  {differing} samples differ, by {np.abs(results[name].astype(int) - results['torch']).max()}"
            )
        for name, (network, _) in found.items() if hr else ():
            print(f"{name:20} {benchmark(network, hr).mean().network['psnr_y']:.4f} dB on {hr}")


def _options(name: str) -> NetworkOptions:
    if name in NETWORKS:
        return NETWORKS[name]()
    preset = built_preset(name, 2, {})
    return SpandrelOptions(network=preset.network, arguments=dict(preset.arguments))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["nano", "paragonsr2_s", "superultracompact"])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--hr", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name in given.networks:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(name)
            if name in NETWORKS or find_preset(name):
                path = Path(folder) / f"{name}.safetensors"
                options = _options(name)
                save_weights(path, options.build(scale=2).state_dict(), save_metadata(options, 2))
            measure(path, given.side, given.turns, given.hr)
