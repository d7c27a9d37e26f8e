"""Export of a network as ONNX for every batch and image size, checked before the file is written."""

import copy
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paragonsr.errors import UserError
from paragonsr.export.packages import require
from paragonsr.export.parity import Parity, ParityError, Size, check_parity, inferred_scale
from paragonsr.export.precision import cast_ends, store_as_bf16
from paragonsr.export.source import Source, place_for
from paragonsr.files import write_atomically

OPSET = 18
"""Opset written by torch's exporter; it cannot be converted to an older one (because of `Pad`)."""
NEWEST_OPSET = 23
PRECISIONS = ("fp32", "fp16", "fp16-fp32io", "bf16")
"""Precisions that need no images to be made; int8 is in `quantise`."""
AXES = {0: "batch_size", 2: "height", 3: "width"}
"""Dynamic axes of the input, with the names that other programs expect."""


class ExportError(UserError):
    """torch cannot convert the network to a graph."""


@dataclass(frozen=True)
class Exported:
    """An ONNX file and its differences from the network."""

    path: Path
    precision: str
    opset: int
    parity: Parity


def export_onnx(
    source: Source, target: Path, *, precision: str = "fp32", opset: int = OPSET, size: Size | None = None
) -> Exported:
    """Write `input` (N, 3, H, W) in [0, 1] -> `output` (N, 3, scale H, scale W), not clamped, for every N, H and W.

    The file is written only after ONNX Runtime has computed the same output with it as PyTorch with the network.

    Args:
        source: the network.
        target: the file, or a folder, where the name follows the convention 2x-Name_fp32_op18.onnx.
        precision: fp32; fp16: weights, input and output; fp16-fp32io: the same with float32 input and output; bf16:
            stored weights, computed in fp32.
        opset: ONNX opset, 18 or newer.
        size: fixed height and width, with N = 1; required for networks of other projects whose code depends on the
            image size (SwinIR, DAT).

    Raises:
        UserError: a package or folder is missing, or the opset is not supported.
        ExportError: torch cannot convert this network to a graph.
        ParityError: the graph differs from the network. Nothing is written then.
    """
    if not OPSET <= opset <= NEWEST_OPSET:
        raise UserError(f"opset {opset} is not supported", fix=f"Choose {OPSET} to {NEWEST_OPSET}.")
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision {precision!r}", fix=f"Choose one of {', '.join(PRECISIONS)}.")
    shape = "" if size is None else f"_1x3x{size[0]}x{size[1]}"
    path = place_for(target, f"{source.name}{shape}_{precision}_op{opset}.onnx")
    try:
        proto = build_graph(source, opset, size, precision)
        parity = check_parity(proto, source.network, source.scale, precision, size)
    except ParityError as error:
        if size is not None:
            raise
        raise ParityError(error.what, fix="Exporting for a single image size may work: --size 256x256.") from error
    describe(proto, source, precision, opset, parity)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, proto.SerializeToString())
    return Exported(path, precision, opset, parity)


def build_graph(source: Source, opset: int = OPSET, size: Size | None = None, precision: str = "fp32") -> Any:
    """ModelProto of the network. With dynamic sizes, it is traced with other sizes than those of the check.

    Raises:
        UserError: a package is missing.
        ExportError: torch cannot convert this network to a graph.
    """
    require("export", "onnx", "onnxscript", "onnxruntime")
    half = precision in ("fp16", "fp16-fp32io")
    network: nn.Module = copy.deepcopy(source.network)
    getattr(network, "freeze", lambda: None)()
    if half:
        network = network.half()
    image = torch.rand(
        (2, 3, 35, 51) if size is None else (1, 3, *size), dtype=torch.float16 if half else torch.float32
    )
    axes = None if size else ({axis: torch.export.Dim(name) for axis, name in AXES.items()},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations and its advice about tracing
        try:
            program = torch.onnx.export(
                network,
                (image,),
                dynamo=True,
                dynamic_shapes=axes,
                input_names=["input"],
                output_names=["output"],
                opset_version=opset,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # tracing in torch may raise anything
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            said = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
            raise ExportError(f"torch cannot convert {source.arch} to a graph: {said}") from error
    assert program is not None
    proto = program.model_proto
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.functions):
        del part.metadata_props[:]  # torch's own, with paths of this machine's source files
    if precision == "fp16-fp32io":
        cast_ends(proto)
    if precision == "bf16":
        store_as_bf16(proto)
    if inferred_scale(proto, size) is None:
        _state_size(proto, source.scale)
    return proto


def _state_size(proto: Any, scale: int) -> None:
    """Append a reshape to the input's shape times the scale, which the output already has.

    For networks whose intermediate sizes shape inference cannot derive from the input: other programs use it to find
    the scale.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    graph, factors = proto.graph, np.array([1, 1, scale, scale], dtype=np.int64)
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name == "output":
                node.output[index] = "unshaped"
    graph.initializer.append(numpy_helper.from_array(factors, "shape_factors"))
    graph.node.append(helper.make_node("Shape", ["input"], ["input_shape"]))
    graph.node.append(helper.make_node("Mul", ["input_shape", "shape_factors"], ["output_shape"]))
    graph.node.append(helper.make_node("Reshape", ["unshaped", "output_shape"], ["output"]))


def describe(proto: Any, source: Source, precision: str, opset: int, parity: Parity) -> None:
    """Describe the model in the file: our metadata as JSON, and the few entries that other programs read, as text."""
    written = next(entry.version for entry in proto.opset_import if entry.domain == "")
    if written != opset:
        raise ExportError(f"torch wrote opset {written}, not {opset}")
    proto.producer_name = "paragonsr"
    proto.doc_string = f"{source.name}: RGB in [0, 1], scale {source.scale}"
    export = {
        "precision": precision,
        "opset": opset,
        "max_difference": parity.worst,
        "tolerance": parity.tolerance,
        # Needed for tiling, and not visible in the graph.
        "receptive_field": getattr(source.network, "receptive_field", None),
        "grid": getattr(source.network, "grid", 1),
    }
    entries = {
        "name": source.name,
        "architecture": source.metadata["arch"],
        "scale": str(source.scale),
        "precision": precision,
        "color_space": "RGB",
        "paragonsr": json.dumps(source.metadata | {"export": export}, sort_keys=True),
    }
    for key, value in entries.items():
        proto.metadata_props.add(key=key, value=value)


def tensorrt_command(path: Path, precision: str, size: Size | None) -> str:
    """Command that makes a TensorRT engine of a file, for images of 8 x 8 to 1080 x 1920, best at 540 x 960."""
    words = ["trtexec", f"--onnx={path.name}", f"--saveEngine={path.stem}.engine"]
    if size is None:
        sides = {"min": "8x8", "opt": "540x960", "max": "1080x1920"}
        words += [f"--{name}Shapes=input:1x3x{given}" for name, given in sides.items()]
    if precision.startswith("fp16"):
        words.append("--fp16")
    if precision == "fp16":
        words += ["--inputIOFormats=fp16:chw", "--outputIOFormats=fp16:chw"]
    if precision == "bf16":
        words.append("--bf16")
    return " ".join(words)
