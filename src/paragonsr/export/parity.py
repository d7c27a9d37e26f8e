"""Parity check of exported graphs: a graph is written only if it computes the same as the network, at every size.

Some published ONNX files of this family were wrong: one had lost its attention, another its weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from paragonsr.errors import UserError

SHAPES = ((1, 64, 64), (1, 1, 7), (2, 37, 53), (1, 181, 240))
"""Batch, height and width of the test images; none is the size that the graph was traced with."""
TOLERANCE = {"fp32": 1e-4, "fp16": 1 / 255, "fp16-fp32io": 1 / 255, "bf16": 1 / 255}
"""Maximum difference from the network in fp32, by precision, where 1 is white: a fortieth of an 8-bit step, and one
step."""
SIDES = (16, 64, 256, 512)
"""Sides of square inputs for which shape inference must find the scale, as other programs do."""


class ParityError(UserError):
    """An exported graph differs from its network."""


@dataclass(frozen=True)
class Parity:
    """Differences between a graph and its network.

    Attributes:
        differences: (batch, height, width) -> largest difference, relative to the largest output if that is above 1.
        tolerance: maximum allowed difference.
    """

    differences: dict[tuple[int, int, int], float]
    tolerance: float

    @property
    def worst(self) -> float:
        """Largest difference."""
        return max(self.differences.values())


Size = tuple[int, int]
"""Height and width."""
Run = Callable[[np.ndarray], np.ndarray]
"""An engine with a network in it: N x 3 x h x w float32 to N x 3 x H x W."""


def check_parity(model: Any, network: nn.Module, scale: int, precision: str, size: Size | None = None) -> Parity:
    """Compare a graph in ONNX Runtime with its network.

    Args:
        model: the ModelProto.
        network: in eval mode, on the CPU, fp32.
        scale: scale of the network.
        precision: a key of TOLERANCE; input and output are float16 if it is fp16.
        size: fixed size of the graph; None if batch, height and width are dynamic.

    Raises:
        ParityError: sizes, values or the scale differ, or the graph does not run at some size.
    """
    import onnxruntime

    found = inferred_scale(model, size)
    if found != scale:
        raise ParityError(f"shape inference finds scale {found} in the graph, but the network has {scale}")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(image: np.ndarray) -> np.ndarray:
        given = image.astype(np.float16 if precision == "fp16" else np.float32)
        return np.asarray(session.run(["output"], {"input": given})[0], dtype=np.float32)

    return compare(run, network, TOLERANCE[precision], size)


def compare(
    run: Run, network: nn.Module, tolerance: float, size: Size | None = None, *, single: bool = False
) -> Parity:
    """Compare what an engine computes with what the network computes.

    Args:
        run: N x 3 x h x w float32 in [0, 1] to N x 3 x scale h x scale w.
        network: in eval mode, on the CPU, fp32.
        tolerance: maximum allowed difference.
        size: the only height and width of the engine's file; None for all of SHAPES.
        single: whether the engine computes one image at a time.

    Raises:
        ParityError: sizes or values differ, or the engine does not run at some size.
    """
    shapes = [(1 if single else n, *sides) for n, *sides in SHAPES] if size is None else [(1, *size)]
    parity = Parity({(n, h, w): _difference(run, network, (n, h, w)) for n, h, w in shapes}, tolerance)
    if not parity.worst <= tolerance:  # also true for NaN
        shown = ", ".join(f"{n} x {h} x {w}: {d:.1e}" for (n, h, w), d in parity.differences.items())
        raise ParityError(f"the graph differs from the network by more than {tolerance:.1e} ({shown})")
    return parity


def inferred_scale(model: Any, size: Size | None) -> float | None:
    """Scale found by shape inference, without running anything; None if it finds none.

    Checked at all SIDES, or at the fixed size of the graph.

    Raises:
        ParityError: the graph is only for one image size.
    """
    import onnx

    fixed = [dim.dim_value for i, dim in enumerate(model.graph.input[0].type.tensor_type.shape.dim) if i != 1]
    if any(fixed) and size is None:
        raise ParityError("torch made a graph for a single image size only")
    scales = set()
    for height, width in [(side, side) for side in SIDES] if size is None else [size]:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        for dim, count in zip(copy.graph.input[0].type.tensor_type.shape.dim, (1, 3, height, width), strict=True):
            dim.dim_value = count
        copy.graph.output[0].type.tensor_type.ClearField("shape")
        del copy.graph.value_info[:]
        inferred = onnx.shape_inference.infer_shapes(copy, data_prop=True)
        upscaled = inferred.graph.output[0].type.tensor_type.shape.dim[2:]
        scales |= {dim.dim_value / given for dim, given in zip(upscaled, (height, width), strict=False)}
    return scales.pop() if len(scales) == 1 and 0 not in scales else None


def _difference(run: Run, network: nn.Module, shape: tuple[int, int, int]) -> float:
    batch, height, width = shape
    image = np.random.default_rng(0).random((batch, 3, height, width), dtype=np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image)).numpy()
    try:
        found = run(image)
    except Exception as error:  # each engine has its own exception types
        raise ParityError(f"the graph does not run on {batch} x 3 x {height} x {width}: {error}") from error
    if found.shape != expected.shape:
        raise ParityError(f"the graph turns {image.shape} into {found.shape}, but the network into {expected.shape}")
    return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))
