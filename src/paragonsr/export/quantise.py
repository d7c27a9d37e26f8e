"""Export as ONNX with 8-bit integers, calibrated on photographs, and accepted by the PSNR that it keeps."""

import copy
import math
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paragonsr.data.images import read_image
from paragonsr.data.walk import image_files
from paragonsr.errors import UserError
from paragonsr.export.onnx import OPSET, build_graph, describe
from paragonsr.export.parity import ParityError, compare, inferred_scale
from paragonsr.export.source import Source, place_for
from paragonsr.files import write_atomically
from paragonsr.inference.benchmark import benchmark
from paragonsr.inference.model import Upscaler
from paragonsr.inference.onnx_network import OnnxNetwork
from paragonsr.resize import downscale
from paragonsr.run_description import has_description, read_description

IMAGES = 32
"""Most images for the calibration."""
SIDE = 96
"""Side of their crops, in LR pixels."""
NOISE_TOLERANCE = math.inf
"""Maximum difference on noise, for which the ranges are not made: the check shows that the graph runs at every size and
computes numbers. PSNR decides whether it is good enough."""
RANGE = 99.99
"""Percentile of the activations' magnitudes that the 8 bits span. The bundled nano loses 0.13 dB on Set5 with it, 0.19
with 99.95, and 0.21 with all of them (100)."""
MOST_LOSS = 0.1
"""Largest loss of PSNR in dB that is accepted unless told otherwise."""


@dataclass(frozen=True)
class Quantised:
    """An int8 file, and the PSNR-Y of the network in fp32 and of the file, in dB."""

    path: Path
    fp32: float
    int8: float


def export_int8(
    source: Source, target: Path, photographs: Path, validation: Path, loss: float = MOST_LOSS
) -> Quantised:
    """Write an ONNX file whose convolutions between the first and the last one compute with 8-bit integers.

    Args:
        source: the network.
        target: the file, or a folder, where the name is 2x-Name_int8_op18.onnx.
        photographs: folder of HR images for the ranges of the activations.
        validation: folder of HR images on which PSNR is compared.
        loss: largest accepted loss of PSNR-Y, in dB.

    Raises:
        UserError: a package is missing, or a folder holds no images.
        ExportError: torch cannot convert this network to a graph, or nothing in it can be quantised.
        ParityError: too much PSNR is lost. Nothing is written then.
    """
    path = place_for(target, f"{source.name}_int8_op{OPSET}.onnx")
    proto = build_graph(source)
    crops = list(_crops(photographs, source.scale))
    with tempfile.TemporaryDirectory() as folder:
        made = _quantised(proto, crops, Path(folder))
        if inferred_scale(made, None) != source.scale:
            raise ParityError(f"shape inference does not find scale {source.scale} in the graph")
        checked = Path(folder) / "checked.onnx"
        checked.write_bytes(made.SerializeToString())
        device, graph = torch.device("cpu"), OnnxNetwork(checked, source.scale)
        with torch.inference_mode():
            parity = compare(lambda image: graph(torch.from_numpy(image)).numpy(), source.network, NOISE_TOLERANCE)
        networks = (copy.deepcopy(source.network), graph)
        fp32, int8 = (
            benchmark(Upscaler(network, source.scale, device), validation).mean().network["psnr_y"]
            for network in networks
        )
    if not fp32 - int8 <= loss:  # also true for NaN
        raise ParityError(
            f"int8 loses {fp32 - int8:.3f} dB of PSNR ({fp32:.3f} to {int8:.3f}); {loss:g} is allowed (--max-loss)"
        )
    describe(made, source, "int8", OPSET, parity)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, made.SerializeToString())
    return Quantised(path, fp32, int8)


def folders_of_run(source: Source, images: Path | None, validation: Path | None) -> tuple[Path, Path]:
    """Folders for the calibration and the check: the given ones, else those of the run that the weights are of.

    Raises:
        UserError: one is not given, and there is no run.
    """
    given = {"train": images, "val": validation}
    folder = source.path.parent.parent
    if source.path.parent.name == "models" and has_description(folder):
        datasets = read_description(folder)["config"]["datasets"]
        for phase, chosen in given.items():
            roots = (datasets.get(phase) or {}).get("dataroot_gt")
            if chosen is None and roots:
                given[phase] = Path(roots if isinstance(roots, str) else roots[0])
    if given["train"] is None or given["val"] is None:
        raise UserError("int8 needs photographs", fix="Give folders of HR images with --images and --validation.")
    return given["train"], given["val"]


def _crops(folder: Path, scale: int) -> Iterator[np.ndarray]:
    """Middles of evenly chosen photographs, downscaled: 1 x 3 x h x w in [0, 1]."""
    files = sorted(image_files(folder)) if folder.is_dir() else []
    if not files:
        raise UserError("no images", where=str(folder), fix="Give a folder of HR photographs with --images.")
    for name in files[:: -(-len(files) // IMAGES)]:
        hr = read_image(folder / name)
        side = SIDE * scale
        top, left = (max(0, (size - side) // 2) for size in hr.shape[:2])
        hr = hr[top : top + side, left : left + side]
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        lr = hr if scale == 1 else downscale(hr, scale)
        yield np.ascontiguousarray(lr.transpose(2, 0, 1)[None], dtype=np.float32) / 255


def _quantised(proto: Any, crops: list[np.ndarray], folder: Path) -> Any:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(crops)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {"input": image}

    onnx.save(proto, folder / "made.onnx")
    quant_pre_process(folder / "made.onnx", folder / "fp32.onnx", skip_optimization=True, skip_symbolic_shape=True)
    plain = [
        node.name
        for node in proto.graph.node
        if node.op_type == "Conv" and all(entry.i == 1 for entry in node.attribute if entry.name == "group")
    ]
    # The first and the last decide on the image's own precision: without them, nano loses 0.04 dB instead of 0.12.
    with redirect_stdout(StringIO()):  # the package prints what it does
        quantize_static(
            folder / "fp32.onnx",
            folder / "int8.onnx",
            Reader(),
            quant_format=QuantFormat.QDQ,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": RANGE},
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=plain[1:-1],
        )
    made = onnx.load(folder / "int8.onnx")
    del made.metadata_props[:]
    return made
