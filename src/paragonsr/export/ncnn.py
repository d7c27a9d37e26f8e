"""Export for ncnn, the engine of Upscayl and others, checked in ncnn before the files are written."""

import copy
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paragonsr.export.onnx import ExportError
from paragonsr.export.packages import require
from paragonsr.export.parity import TOLERANCE, Parity, compare
from paragonsr.export.source import Source, place_for
from paragonsr.files import write_atomically

SHAPES = ("[1,3,64,80]", "[1,3,37,53]")
"""Two inputs that pnnx traces, so that height and width become free."""
BLOBS = (("in0", "data"), ("out0", "output"))
"""Names of input and output by pnnx, and those that Upscayl and realesrgan-ncnn-vulkan ask for."""


def export_ncnn(source: Source, target: Path, *, half: bool = False) -> tuple[Path, Parity]:
    """Write `.param` and `.bin`: `data` (3, H, W) in [0, 1] -> `output` (3, scale H, scale W).

    Args:
        source: the network.
        target: the .param file, or a folder, where the name is 2x-Name.param.
        half: store weights in half precision.

    Returns:
        path of the .param file, and the differences from the network.

    Raises:
        UserError: a package is missing, or the target has another extension.
        ExportError: pnnx cannot convert this network.
        ParityError: ncnn computes something else than the network. Nothing is written then.
    """
    require("ncnn", "pnnx", "ncnn")
    path = place_for(target, f"{source.name}.param")
    with tempfile.TemporaryDirectory() as folder:
        param, weights = _convert(source, Path(folder), half=half)
        parity = compare(_runner(param, weights), source.network, TOLERANCE["fp16" if half else "fp32"], single=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path.with_suffix(".bin"), weights.read_bytes())
        write_atomically(path, param.read_bytes())
    return path, parity


def _convert(source: Source, folder: Path, *, half: bool) -> tuple[Path, Path]:
    import pnnx

    network = copy.deepcopy(source.network)
    getattr(network, "freeze", lambda: None)()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations and its advice about tracing
        try:
            torch.jit.trace(network, torch.rand(1, 3, 64, 80), check_trace=False).save(str(folder / "net.pt"))
        except Exception as error:  # tracing in torch may raise anything
            raise ExportError(f"torch cannot trace {source.arch}: {error}") from error
    command = [
        *(pnnx.EXEC_PATH, folder / "net.pt"),
        *(f"inputshape={SHAPES[0]}f32", f"inputshape2={SHAPES[1]}f32", f"fp16={int(half)}"),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    param, weights = folder / "net.ncnn.param", folder / "net.ncnn.bin"
    if done.returncode or not param.is_file() or not weights.is_file():
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ExportError(f"pnnx cannot convert {source.arch}: {said[-1] if said else 'it says nothing'}")
    lines = param.read_text(encoding="utf-8").splitlines()
    param.write_text("\n".join(map(_renamed, lines)) + "\n", encoding="utf-8")
    return param, weights


def _renamed(line: str) -> str:
    names = dict(BLOBS)
    words = line.split(" ")
    return " ".join(names.get(word, word) for word in words)


def _runner(param: Path, weights: Path) -> Any:
    import ncnn

    net = ncnn.Net()
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise ExportError("ncnn cannot read what pnnx wrote: it lacks one of the layers")

    def run(image: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        given = np.ascontiguousarray(image[0])  # ncnn keeps no reference to it
        extractor.input("data", ncnn.Mat(given))
        status, found = extractor.extract("output")
        if status:
            raise RuntimeError(f"ncnn returned {status}")
        return np.array(found)[None]

    return run
