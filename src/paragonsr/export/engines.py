"""Engines that compute a network for `upscale`, `validate` and `serve`: ONNX Runtime and OpenVINO."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paragonsr.archs.weights import save_metadata
from paragonsr.errors import UserError
from paragonsr.export.onnx import ExportError, build_graph
from paragonsr.export.packages import require
from paragonsr.export.source import Source
from paragonsr.inference.engine import Engine, EngineNetwork
from paragonsr.inference.model import Upscaler
from paragonsr.inference.onnx_network import OnnxNetwork
from paragonsr.models import located

log = logging.getLogger(__name__)

ENGINES = ("auto", "torch", "onnxruntime", "openvino")
EXTRAS = {"onnxruntime": "export", "openvino": "openvino"}


def use_engine(upscaler: Upscaler, engine: str, weights: Path) -> Upscaler:
    """Let an engine compute the network of an upscaler; done in place.

    Args:
        upscaler: as loaded.
        engine: one of ENGINES. auto measures the installed engines on the first image if there is a graph: the file
            itself, or one of the same name beside the weights. onnxruntime and openvino make the graph, which takes
            seconds, and are used if they compute the same on the first image.
        weights: what the upscaler was loaded from.

    Raises:
        UserError: an unknown engine, a missing package, or an engine that cannot compute this file.
    """
    if engine not in ENGINES:
        raise UserError(f"unknown engine {engine!r}", where="--engine", fix=f"Use one of {', '.join(ENGINES)}.")
    network = upscaler.network
    own = "onnxruntime" if isinstance(network, OnnxNetwork) else "torch"
    if engine == "torch" and own != "torch":
        raise UserError("torch cannot compute an ONNX file", where="--engine", fix="Use auto.")
    if engine == own:
        return upscaler
    if engine != "auto":
        require(EXTRAS[engine], engine)
    if upscaler.device.type != "cpu" or upscaler.computes_in != "fp32":
        if engine != "auto":
            log.warning("%s computes on the CPU in fp32 only; continuing with %s", engine, own)
        return upscaler
    names = [name for name in EXTRAS if name != own and find_spec(name)] if engine == "auto" else [engine]
    graph = _graph(upscaler, located(weights), make=engine != "auto") if names else None
    if graph is not None:
        upscaler.replace_network(
            EngineNetwork(network, {name: _session(name, graph) for name in names}, forced=engine != "auto")
        )
    return upscaler


def _graph(upscaler: Upscaler, weights: Path, *, make: bool) -> bytes | None:
    """The network as float32 ONNX for every size; None if there is none."""
    network = upscaler.network
    file = weights.with_suffix(".onnx")
    if isinstance(network, OnnxNetwork):
        return weights.read_bytes() if network.size is None and network.dtype == np.float32 else None
    if not make:
        return file.read_bytes() if file.is_file() else None
    options: Any = network.options
    try:
        metadata = save_metadata(options, upscaler.scale) | {"name": weights.stem}
        content: bytes = build_graph(Source(network, metadata, weights)).SerializeToString()
    except ExportError as error:
        log.warning("%s; continuing with torch", error)
        return None
    return content


def _session(name: str, graph: bytes) -> Engine:
    """Start an engine at the first call, so that what is not needed costs nothing."""
    started: list[Engine] = []

    def run(image: np.ndarray) -> np.ndarray:
        if not started:
            started.append(_started(name, graph))
        return started[0](image)

    return run


def _started(name: str, graph: bytes) -> Engine:
    if name == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0].name
        return lambda image: np.asarray(session.run(None, {entry: image})[0])
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = core.compile_model(core.read_model(graph), "CPU", settings)
    return lambda image: np.array(compiled(image)[0])
