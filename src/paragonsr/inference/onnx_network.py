"""An ONNX file as a network, written by `export` or by other programs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paragonsr.errors import UserError

PROBE = 16
"""Side of the image that tells the scale of a file that does not say it."""


class OnnxNetwork(nn.Module):
    """Network that runs in ONNX Runtime, with torch tensors on any device as input and output.

    A graph for a single size only gets images of that size: smaller ones are padded with their border.

    Args:
        path: ONNX file with one input N x 3 x h x w and one output, float32 or float16.
        scale: upscaling factor, if the file does not contain it.

    Raises:
        UserError: ONNX Runtime is not installed, or the file is missing or not an upscaler of RGB images.
    """

    def __init__(self, path: Path, scale: int | None = None) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError:
            raise UserError("ONNX files need onnxruntime", fix="pip install 'paragonsr[export]'") from None
        if not path.is_file():
            raise UserError("does not exist", where=str(path))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        providers = [
            name
            for name in ("CUDAExecutionProvider", "CPUExecutionProvider")
            if name in onnxruntime.get_available_providers()
        ]
        try:
            self.session: Any = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime has a dozen exception types without a common base
            raise UserError(f"is not an ONNX model that ONNX Runtime can run: {error}", where=str(path)) from error
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        shape = inputs[0].shape if len(inputs) == 1 and len(outputs) == 1 else []
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise UserError("is not an upscaler: it must map N x 3 x h x w to N x 3 x H x W", where=str(path))
        self.dtype = np.float16 if inputs[0].type == "tensor(float16)" else np.float32
        self.single = isinstance(shape[0], int)
        """Whether it accepts only one image at a time."""
        self.size: tuple[int, int] | None = (shape[2], shape[3]) if all(isinstance(s, int) for s in shape[2:]) else None
        """The only accepted height and width; None for any."""
        self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)
        # In a graph for a single size, tiles have no room for the receptive field.
        exported = self._exported(path) if self.size is None else {}
        self.receptive_field: int | None = exported.get("receptive_field")
        self.grid: int = exported.get("grid", 1)
        self.scale = self._scale(path, scale)

    def _exported(self, path: Path) -> dict[str, Any]:
        """Metadata written by `paragonsr export`; empty for other files."""
        try:
            found: dict[str, Any] = json.loads(self.metadata.get("paragonsr", "{}")).get("export", {})
        except (ValueError, AttributeError) as error:
            raise UserError(f"has paragonsr metadata that cannot be read: {error}", where=str(path)) from error
        return found

    def _scale(self, path: Path, given: int | None) -> int:
        height, width = self.size or (PROBE, PROBE)
        try:
            sr = self._run(np.zeros((1, 3, height, width), self.dtype))
        except Exception as error:
            raise UserError(f"does not accept an image of {height} x {width}: {error}", where=str(path)) from error
        scale = sr.shape[-1] // width
        if sr.shape != (1, 3, scale * height, scale * width) or scale < 1:
            shape = " x ".join(map(str, sr.shape))
            raise UserError(f"makes {shape} from 1 x 3 x {height} x {width}: not an integer scale", where=str(path))
        if given not in (None, scale):
            raise UserError(f"has scale {scale}, not {given}", where=str(path))
        return scale

    def forward(self, image: Tensor) -> Tensor:
        """N x 3 x h x w in [0, 1] to N x 3 x scale h x scale w, float32, not clamped."""
        height, width = image.shape[-2:]
        if self.size is not None:
            bottom, right = self.size[0] - height, self.size[1] - width
            image = F.pad(image, (0, right, 0, bottom), mode="replicate")
        given = image.cpu().numpy().astype(self.dtype)
        parts = [given[i : i + 1] for i in range(len(given))] if self.single else [given]
        sr = torch.from_numpy(np.concatenate([self._run(part) for part in parts]).astype(np.float32))
        return sr[..., : height * self.scale, : width * self.scale].to(image.device)

    def _run(self, image: np.ndarray) -> np.ndarray:
        result: np.ndarray = self.session.run(None, {self.session.get_inputs()[0].name: image})[0]
        return result
