"""Export for OpenVINO, checked in OpenVINO before the files are written."""

import tempfile
from pathlib import Path

import numpy as np

from paragonsr.export.onnx import build_graph
from paragonsr.export.packages import require
from paragonsr.export.parity import TOLERANCE, Parity, compare
from paragonsr.export.source import Source, place_for
from paragonsr.files import write_atomically


def export_openvino(source: Source, target: Path, *, half: bool = False) -> tuple[Path, Parity]:
    """Write `.xml` and `.bin`: `input` (N, 3, H, W) in [0, 1] -> `output`, for every N, H and W.

    Args:
        source: the network.
        target: the .xml file, or a folder, where the name is 2x-Name_openvino.xml.
        half: store weights in half precision; input and output stay float32.

    Returns:
        path of the .xml file, and the differences from the network.

    Raises:
        UserError: a package is missing, or the target has another extension.
        ExportError: torch cannot convert this network to a graph.
        ParityError: OpenVINO computes something else than the network. Nothing is written then.
    """
    require("openvino", "openvino")
    import openvino

    path = place_for(target, f"{source.name}_openvino.xml")
    core = openvino.Core()
    model = core.read_model(build_graph(source).SerializeToString())
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "net.xml"
        openvino.save_model(model, made, compress_to_fp16=half)
        compiled = core.compile_model(core.read_model(made), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

        parity = compare(
            lambda image: np.asarray(compiled(image)[0]), source.network, TOLERANCE["fp16" if half else "fp32"]
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path.with_suffix(".bin"), made.with_suffix(".bin").read_bytes())
        write_atomically(path, made.read_bytes())
    return path, parity
