"""Weights in files: what is written restores the network without being told what it was."""

import json
import logging
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from paragonsr.archs.base import PublishedUpsampler
from paragonsr.archs.options import NETWORKS, NetworkOptions
from paragonsr.errors import UserError

KEY = "paragonsr"
"""Entry of the safetensors metadata that holds ours, as JSON."""
WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "generator")
"""Keys under which other trainers' .pth files hold the tensors; the first one present counts."""

log = logging.getLogger(__name__)

State = dict[str, Tensor]


def network_metadata(network: nn.Module) -> dict[str, Any]:
    """What a file must say for `load_network` to build the same network: arch, scale and all its options."""
    options = cast(NetworkOptions, network.options)
    return {"arch": options.name(), "scale": network.scale, "options": options.model_dump(exclude={"type"})}


def save_weights(path: Path | str, state: State, metadata: dict[str, Any]) -> None:
    """Write tensors and metadata as safetensors, atomically: a reader finds the old file or the new one, whole.

    Args:
        path: ends in .safetensors; its folder exists.
        state: name to tensor, on any device.
        metadata: JSON-able; at least what `network_metadata` gives.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    content = save(tensors, {KEY: json.dumps(metadata, sort_keys=True)})
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's 0600 would hide the file from others
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_weights(path: Path | str) -> tuple[State, dict[str, Any] | None]:
    """Tensors of a .safetensors, .pth or .pt file and our metadata, if it has them. Executes no code from the file.

    Raises:
        UserError: no such file, not weights, truncated, or a pickle of something other than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("there is no such weights file", where=str(path), fix="check the path")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pth", ".pt"):
        return _read_pickle(path), None
    raise UserError(
        f"weights end in .safetensors, .pth or .pt, not in {path.suffix or 'nothing'}",
        where=str(path),
        fix="give the weights file itself",
    )


def load_network(path: Path | str, arch: str | None = None, scale: int | None = None, **options: Any) -> nn.Module:
    """The network of a weights file, in eval mode on the CPU, every tensor loaded.

    A file of ours says what it is. Any other is taken for a published one: every option that mends a defect takes its
    legacy value, and arch, scale and the optional parts are found from the tensors unless given.

    Args:
        path: .safetensors, .pth or .pt.
        arch: name in NETWORKS.
        scale: enlargement.
        options: options of the network; they win over the file's metadata and over what was found.

    Raises:
        UserError: unreadable file, unknown arch or option, tensors that do not fit.
    """
    state, metadata = read_weights(path)
    where = str(path)
    if arch is not None and arch not in NETWORKS:
        raise UserError(f"there is no network {arch}", where=where, fix=f"choose one of {', '.join(NETWORKS)}")
    if metadata is None:
        network = _build_published(where, state, arch, scale, options)
        log.warning(
            "%s does not say how it was trained; taken for a published %s x%s: every mended defect has its old value "
            "(upsampler_alpha %g); options that you give win",
            where, network.options.name(), network.scale, network.options.upsampler_alpha,  # type: ignore[union-attr, operator]
        )  # fmt: skip
    else:
        network = _build_recorded(where, metadata, arch, scale, options)
    _load_strictly(where, network, _trained(state, network))
    return network.eval()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _read_safetensors(path: Path) -> tuple[State, dict[str, Any] | None]:
    try:
        with safe_open(path, framework="pt") as file:
            entries = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return state, json.loads(entries[KEY]) if KEY in entries else None
    except (SafetensorError, json.JSONDecodeError) as error:
        raise UserError(
            f"not a whole safetensors file ({error})", where=str(path), fix="it may be truncated: copy it again"
        ) from error


def _read_pickle(path: Path) -> State:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            "the file holds more than tensors, and loading it could run code",
            where=str(path),
            fix="ask its author for safetensors; it was not opened",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(
            "not a whole PyTorch weights file", where=str(path), fix="it may be truncated: copy it again"
        ) from error
    while isinstance(content, dict):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError("no weights in it", where=str(path), fix="give a file that maps names to tensors")
    return {str(name).removeprefix("module.").removeprefix("_orig_mod."): v for name, v in content.items()}


def _build_recorded(
    where: str, metadata: dict[str, Any], arch: str | None, scale: int | None, options: dict[str, Any]
) -> nn.Module:
    recorded = metadata.get("arch")
    if recorded not in NETWORKS or metadata.get("scale") is None:
        raise UserError(f"written for a network {recorded} that is unknown here", where=where, fix="update paragonsr")
    for name, given, found in (("arch", arch, recorded), ("scale", scale, metadata["scale"])):
        if given is not None and given != found:
            raise UserError(
                f"these are weights of {recorded} x{metadata['scale']}, not of {name} {given}",
                where=where,
                fix=f"leave {name} out: the file says what it is",
            )
    made = _options(where, NETWORKS[recorded], metadata.get("options", {}) | options)
    return made.build(scale=metadata["scale"])


def _build_published(
    where: str, state: State, arch: str | None, scale: int | None, options: dict[str, Any]
) -> nn.Module:
    """The published network whose tensors these are; with none, the given arch, to be told what differs."""
    scale = scale or _find_scale(state)
    found = _find_parts(state)
    for kind in [NETWORKS[arch]] if arch else NETWORKS.values():
        fitting = {part: value for part, value in found.items() if part in kind.model_fields}
        if arch is None and set(options) - set(kind.model_fields):
            continue
        for guess in ({}, {"fast_body_mode": True}, {"fast_body_mode": False}) if kind.family == "seed" else ({},):
            made = _options(where, kind, kind.legacy | fitting | guess | options)
            with torch.device("meta"):
                network = made.build(scale=scale or 2)
            if _shapes(_trained(state, network)) == _shapes(network.state_dict()):
                return made.build(scale=scale or 2)
        if arch:
            return _options(where, kind, kind.legacy | fitting | options).build(scale=scale or 2)
    raise UserError(
        f"these are weights of no published network ({_few(_shapes(state))})",
        where=where,
        fix="say which network it is: arch, scale, and the options it was trained with",
    )


def _find_scale(state: State) -> int | None:
    """The scale of a published network: its sub-pixel convolution has scale^2 times as many outputs as inputs."""
    for name in ("upsampler_net.up_conv.weight", "up.0.weight"):
        if name in state and state[name].ndim == 4:
            return round(float(state[name].shape[0] / state[name].shape[1]) ** 0.5)
    return None


def _find_parts(state: State) -> dict[str, Any]:
    """Optional parts of a published network, by the names of its tensors."""
    marks = {
        "use_attention": ".attention.",
        "use_content_aware": "content_processor.",
        "use_channel_mod": ".channel_mod.",
        "use_norm": ".norm.offset",
    }
    found: dict[str, Any] = {part: any(mark in name for name in state) for part, mark in marks.items()}
    if not any(".attn." in name or ".window_attn." in name for name in state):
        found["attention_mode"] = "none"
    return found


def _options(where: str, kind: type[NetworkOptions], values: dict[str, Any]) -> NetworkOptions:
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{kind.name()} does not take {name}: {first['msg']}", where=where, fix="see the options of the network"
        ) from error


def _trained(state: State, network: nn.Module) -> State:
    """The tensors without the fixed taps of a published base, where the options chose another base."""
    if any(isinstance(module, PublishedUpsampler) for module in network.modules()):
        return state
    return {name: v for name, v in state.items() if not name.startswith(("magic_upsampler.", "base."))}


def warm_start(network: nn.Module, state: State) -> list[str]:
    """Copy what fits by name and shape into a network of another scale or size.

    Returns:
        Names of the network's tensors that were not found in `state` and keep their start.

    Raises:
        UserError: nothing fits.
    """
    own = network.state_dict()
    fitting = {name: v for name, v in state.items() if name in own and own[name].shape == v.shape}
    if not fitting:
        raise UserError(
            "no tensor of these weights fits the network",
            where=_few(_shapes(state)),
            fix="warm starts need weights of the same family and width",
        )
    network.load_state_dict(fitting, strict=False)
    return [name for name in own if name not in fitting]


def _load_strictly(where: str, network: nn.Module, state: State) -> None:
    expected, found = _shapes(network.state_dict()), _shapes(state)
    missing = {k: v for k, v in expected.items() if k not in found}
    unknown = {k: v for k, v in found.items() if k not in expected}
    other = {k: v for k, v in found.items() if k in expected and expected[k] != v}
    if missing or unknown or other:
        parts = [
            f"{len(these)} {what} ({_few(these)})"
            for what, these in (("missing", missing), ("unknown", unknown), ("of another shape", other))
            if these
        ]
        options = cast(NetworkOptions, network.options)
        raise UserError(
            f"the tensors are not those of {options.name()} x{network.scale}: {'; '.join(parts)}",
            where=where,
            fix="check arch, scale and options against what the weights were trained with",
        )
    network.load_state_dict(state, strict=True)


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _few(shapes: dict[str, tuple[int, ...]]) -> str:
    shown = [f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in list(shapes.items())[:3]]
    return ", ".join(shown) + (", ..." if len(shapes) > 3 else "")
