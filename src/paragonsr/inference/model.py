"""Loading trained networks and upscaling images with them."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from paragonsr.archs.skip_upsampler import build_skip_upsampler
from paragonsr.archs.weights import load_network
from paragonsr.devices import best_device
from paragonsr.errors import UserError
from paragonsr.inference.ensemble import Ensemble
from paragonsr.inference.onnx_network import OnnxNetwork
from paragonsr.inference.precision import has_fast_bf16
from paragonsr.inference.tiler import BLEND, retry_on_oom, strips

log = logging.getLogger(__name__)
Tile = int | Literal["auto"]
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
AUTO = {"cpu": 256, "cuda": 1024, "mps": 512}
"""Side of a tile in LR pixels for `auto`. On a CPU, activations stay in the cache at 256; 512 was up to 1.8 times as
slow. Besides, an image that does not fit into memory would kill the process there without an exception."""
OVERLAP = 16
"""Context around a tile in LR pixels, if the receptive field is unknown or too large."""
MOST_OVERLAP = 64
"""Largest receptive field, in LR pixels, that is used as the context."""


class Upscaler:
    """Network ready for inference.

    Args:
        network: maps N x 3 x h x w in [0, 1] to N x 3 x scale h x scale w.
        scale: HR side / LR side.
        device: device to compute on.
        precision: fp32, bf16 or fp16, by autocast. If the device does not support it, fp32 is used, with a warning.
        ensemble: average over the eight flips and rotations, which takes eight times as long.
    """

    def __init__(
        self, network: nn.Module, scale: int, device: torch.device, precision: str = "fp32", ensemble: bool = False
    ) -> None:
        self._dtype = _autocast_dtype(precision, device)
        self.network = network.eval().requires_grad_(False).to(device)
        if device.type == "cpu":
            # Images have this layout anyway, and oneDNN is up to 7 times as fast with it.
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.scale, self.device, self.ensemble = scale, device, ensemble
        self._enlarge_alpha = build_skip_upsampler("bicubic", scale, 0.0, "replicate", "classic").to(device)
        self._compute = Ensemble(self.network) if ensemble else self.network

    @property
    def computes_in(self) -> str:
        """Precision that is really used: fp32, bf16 or fp16."""
        return next(name for name, dtype in PRECISIONS.items() if dtype == self._dtype)

    def replace_network(self, network: nn.Module) -> None:
        """Compute with another module, which must compute the same."""
        self.network = network.eval()
        self._compute = Ensemble(network) if self.ensemble else network

    @property
    def overlap(self) -> int:
        """Context that a tile needs, in LR pixels."""
        field = getattr(self.network, "receptive_field", None)
        return OVERLAP if field is None or field > MOST_OVERLAP else max(int(field), 1)

    def tile_side(self, tile: Tile, overlap: int) -> int:
        """Side of a tile's core in LR pixels; 0 for no tiles."""
        side = AUTO.get(self.device.type, AUTO["cpu"]) if tile == "auto" else tile
        size = getattr(self.network, "size", None)
        if size is None:
            return side
        room = min(size) - 2 * (overlap + min(BLEND, overlap))
        if room < 4 * BLEND:
            raise UserError(f"this file accepts only images of {size[0]} x {size[1]}: too small for tiles")
        return min(side or room, room)

    def upscale(self, image: np.ndarray, *, tile: Tile = "auto", overlap: int | None = None) -> np.ndarray:
        """Upscale one image.

        Args:
            image: h x w (grey), or h x w x 1, 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha); uint8, uint16, or float in
                [0, 1]. Alpha is upscaled by bicubic interpolation with MATLAB's kernel.
            tile: side of a tile in LR pixels; 0 processes the image as a whole, "auto" uses tiles of 256 (1024 on a
                GPU) for larger images.
            overlap: context around a tile in LR pixels; by default the network's receptive field.

        Returns:
            scale h x scale w, with the same channels and type: uint8, uint16, or float32 clipped to [0, 1].

        Raises:
            UserError: the image has another shape or type.
        """
        if image.ndim not in (2, 3) or not image.size or (image.ndim == 3 and image.shape[2] > 4):
            shape = " x ".join(map(str, image.shape))
            raise UserError(f"an image is height x width, or height x width x 1 to 4, not {shape}")
        batch = image.reshape(1, *image.shape[:2], -1)
        return self.upscale_batch(batch, tile=tile, overlap=overlap).reshape(
            image.shape[0] * self.scale, image.shape[1] * self.scale, *image.shape[2:]
        )

    def upscale_batch(self, images: np.ndarray, *, tile: Tile = "auto", overlap: int | None = None) -> np.ndarray:
        """Upscale images of equal size at once: N x h x w x C to N x scale h x scale w x C; see `upscale`."""
        count, height, width, channels = images.shape
        dtype = images.dtype.type if images.dtype in (np.uint8, np.uint16) else np.float32
        out = np.empty((count, height * self.scale, width * self.scale, channels), dtype)
        self.upscale_into(out, lambda y, x: images[:, y, x], height, width, tile=tile, overlap=overlap)
        return out

    @torch.inference_mode()
    def upscale_into(
        self,
        out: NDArray[Any],
        read: Callable[[slice, slice], np.ndarray],
        height: int,
        width: int,
        *,
        tile: Tile = "auto",
        overlap: int | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        """Upscale images that may be larger than memory, into an array that may be larger than memory, too.

        Only one tile with its SR image, and one row of SR tiles as float32, are held in memory.

        Args:
            out: N x scale height x scale width x channels; uint8, uint16 or float32; for example a np.memmap.
            read: returns N x rows x columns x channels for two slices; uint8, uint16, or float in [0, 1].
            height: height of the LR images.
            width: width of the LR images.
            tile: as in `upscale`.
            overlap: as in `upscale`.
            progress: called between rows of tiles with the finished share of the rows, in (0, 1); starts over if memory
                runs out and tiles are halved.
        """
        context = self.overlap if overlap is None else overlap
        side = self.tile_side(tile, context)
        channels = out.shape[-1]

        def attempt(side: int) -> None:
            for top, rows in strips(
                lambda lr: self._run(lr, channels),
                lambda y, x: self._to_tensor(read(y, x)),
                *(height, width, self.scale),
                tile=side,
                overlap=context,
                grid=getattr(self.network, "grid", 1),
            ):
                below = top + rows.shape[-2]
                out[:, top:below] = _samples(rows, out.dtype)
                if below < out.shape[1]:
                    progress(below / out.shape[1])

        with self._autocast():
            retry_on_oom(attempt, side or max(height, width), self.device)

    def _to_tensor(self, images: np.ndarray) -> Tensor:
        """Convert N x h x w x C samples to N x C x h x w float32 in [0, 1]."""
        if images.dtype == np.uint8:
            return torch.from_numpy(np.array(images, order="C")).to(self.device).permute(0, 3, 1, 2).float() / 255
        if images.dtype == np.uint16:
            floats = torch.from_numpy(images.astype(np.float32)).to(self.device)
            return floats.permute(0, 3, 1, 2) / 65535
        if np.issubdtype(images.dtype, np.floating):
            return torch.from_numpy(np.array(images, dtype=np.float32, order="C")).to(self.device).permute(0, 3, 1, 2)
        raise UserError(f"an image is uint8, uint16 or float in [0, 1], not {images.dtype}")

    def _run(self, images: Tensor, channels: int) -> Tensor:
        """Upscale N x C x h x w, C = 1 to 4; the second or fourth channel is alpha."""
        colours = images[:, : channels - (channels in (2, 4))]
        grey = colours.shape[1] == 1
        sr = self._compute(colours.expand(-1, 3, -1, -1) if grey else colours).float()
        if grey:
            sr = sr.mean(1, keepdim=True)
        if channels in (1, 3):
            return cast(Tensor, sr)
        alpha = self._enlarge_alpha(images[:, -1:].expand(-1, 3, -1, -1))[:, :1]
        return torch.cat([sr, alpha], 1)

    def _autocast(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._dtype is None else torch.autocast(self.device.type, self._dtype)


def _autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Autocast dtype; None for fp32."""
    if precision not in PRECISIONS:
        raise UserError(f"{precision!r} is not a precision", fix=f"Use one of {', '.join(PRECISIONS)}.")
    dtype = PRECISIONS[precision]
    lacking = (dtype == torch.float16 and device.type == "cpu") or (
        dtype == torch.bfloat16 and not has_fast_bf16(device)
    )
    if lacking:
        log.warning("%s would be slower than fp32 on this %s: computing in fp32", precision, device.type)
    return None if lacking else dtype


def _samples(sr: Tensor, dtype: np.dtype[Any]) -> np.ndarray:
    """Convert N x C x h x w floats to N x h x w x C samples, rounded half to even as in the measuring protocol."""
    sr = sr.clamp(0, 1)  # a copy; the rest works in place, because a strip of a large image is large
    if dtype == np.float32:
        return sr.permute(0, 2, 3, 1).cpu().numpy()
    levels = sr.mul_(np.iinfo(dtype).max).round_()
    samples = levels.to(torch.uint8 if dtype == np.uint8 else torch.int32).permute(0, 2, 3, 1).cpu().numpy()
    return samples.astype(dtype, copy=False)


def _device(wanted: str | torch.device | None) -> torch.device:
    if wanted is None:
        return best_device()
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # depends on the backend
        said = str(error).splitlines()[0]
        raise UserError(
            f"{str(wanted)!r} cannot be used: {said}", where="device", fix="Use cpu, which is always available."
        ) from error
    return device


def load(
    path: str | Path,
    arch: str | None = None,
    scale: int | None = None,
    device: str | torch.device | None = None,
    *,
    precision: str = "fp32",
    ensemble: bool = False,
    **options: Any,
) -> Upscaler:
    """Load weights: ours restore themselves from their header, published ones by `arch`, `scale` and `options`.

    Args:
        path: .safetensors, .pth or .onnx; or the name of a model that comes with the package.
        arch: name of the network, where the file does not say it and its tensors leave it open.
        scale: of the network, in the same cases.
        device: where to compute; the GPU if there is one.
        precision: fp32, bf16 or fp16. An ONNX file has its own.
        ensemble: mean over the eight flips and rotations, which takes eight times as long.
        options: options of the network; they win over what the file says.

    Raises:
        UserError: no weights, or weights of something else.
    """
    chosen = _device(device)
    network: nn.Module
    if Path(path).suffix.lower() == ".onnx":
        if arch is not None or options:
            raise UserError("an ONNX file is a whole network: arch and options cannot be chosen", where=str(path))
        if precision != "fp32":
            raise UserError(
                f"an ONNX file computes in its own precision, not in {precision}",
                where=str(path),
                fix="Leave the precision out; paragonsr export --precision fp16 writes a file in half precision.",
            )
        network = OnnxNetwork(Path(path), scale)
    else:
        with torch.random.fork_rng():  # building a network draws its initial weights
            network = load_network(path, arch=arch, scale=scale, **options)
    return Upscaler(network, cast(int, network.scale), chosen, precision, ensemble)
