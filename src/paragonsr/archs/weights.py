"""Weights in files: what is written restores the network without being told what it was."""

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from paragonsr.archs.network_options import SCALES
from paragonsr.archs.options import NetworkOptions
from paragonsr.archs.recognise import State, few, make_options, recognise, shapes, with_taps_of
from paragonsr.archs.spandrel_options import SpandrelOptions
from paragonsr.errors import UserError
from paragonsr.files import write_atomically
from paragonsr.models import located

KEY = "paragonsr"
"""Entry of the safetensors metadata that holds ours, as JSON."""
WRAPPERS = ("params_ema", "params-ema", "params", "state_dict", "model_state_dict", "model", "net", "generator")
"""Keys under which other trainers' .pth files hold the tensors; the first one present counts."""

log = logging.getLogger(__name__)


def save_metadata(options: NetworkOptions, scale: int) -> dict[str, Any]:
    """What a file must say for `load_network` to build the same network: arch, scale and all its options."""
    return {"arch": options.tag(), "scale": scale, "options": options.model_dump(exclude={"type"})}


def save_weights(path: Path | str, state: State, metadata: dict[str, Any]) -> None:
    """Write tensors and metadata as safetensors, atomically: a reader finds the old file or the new one, whole.

    Args:
        path: ends in .safetensors; its folder exists.
        state: name to tensor, on any device.
        metadata: JSON-able; at least what `save_metadata` gives.

    Raises:
        UserError: the folder is absent, read-only or full.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    content = save(tensors, {KEY: json.dumps(metadata, sort_keys=True)})
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UserError(
            f"the weights could not be written ({error.strerror})",
            where=str(path),
            fix="Check its folder and space.",
        ) from error


def read_weights(path: Path | str) -> tuple[State, dict[str, Any] | None]:
    """Tensors of a .safetensors, .pth or .pt file and our metadata, if it has them. Executes no code from the file.

    Raises:
        UserError: no such file, not weights, truncated, or a pickle of something other than tensors.
    """
    path = located(path)
    if not path.is_file():
        raise UserError("this weights file does not exist", where=str(path), fix="Check the path.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pth", ".pt"):
        return _read_pickle(path), None
    raise UserError(
        f"weights end in .safetensors, .pth or .pt, not in {path.suffix or 'nothing'}",
        where=str(path),
        fix="Give the weights file itself.",
    )


def read_metadata(path: Path | str) -> dict[str, Any] | None:
    """What a file of ours says about itself, without reading its tensors; None for any other file.

    Raises:
        UserError: no such file, or a damaged one.
    """
    path = located(path)
    if path.suffix != ".safetensors":
        return None
    if not path.is_file():
        raise UserError("this weights file does not exist", where=str(path), fix="Check the path.")
    return _read_safetensors(path, tensors=False)[1]


def load_network(path: Path | str, arch: str | None = None, scale: int | None = None, **options: Any) -> nn.Module:
    """The network of a weights file, in eval mode on the CPU, every tensor loaded.

    A file of ours says what it is. Any other is taken for a published one: every option that fixes a defect takes its
    legacy value, and arch, scale and the optional parts are found from the tensors unless given. Where no network of
    ours has these tensors, spandrel is asked.

    Args:
        path: .safetensors, .pth or .pt; or the name of a model that comes with the package.
        arch: name of a network.
        scale: HR side / LR side.
        options: options of the network; they win over the file's metadata and over what was found.

    Raises:
        UserError: unreadable file, unknown arch or option, tensors that do not fit.
    """
    state, metadata = read_weights(path)
    where = str(path)
    if arch is not None and NetworkOptions.choose(arch) is None:
        known = ", ".join(NetworkOptions.registry.names())
        raise UserError(f"unknown network {arch}", where=where, fix=f"Choose one of {known}.")
    if metadata is None:
        found = None if arch == SpandrelOptions.tag() else recognise(where, state, arch, scale, options)
        if found is None:
            _refuse_what_does_not_fit(where, state, {"arch": arch, "scale": scale} | options)
            return _load_foreign(where, state, scale, options)
        made, scale = found
        log.warning(
            "%s does not say how it was trained; taken for a published %s x%d: every fixed defect keeps its old value "
            "(upsampler_alpha %g); options that you give take precedence",
            *(where, made.tag(), scale, made.upsampler_alpha),
        )
        return _build_and_load(where, made, scale, state)
    return _build_and_load(where, *_recorded(where, metadata, arch, scale, options), state)


def starting_options(options: NetworkOptions, path: Path | str) -> NetworkOptions:
    """The options a network must be built with to continue from a weights file; those in `options` take precedence.

    The file's own where it says what they are and is of the same arch, else those of the published network.

    Raises:
        UserError: unreadable file.
    """
    _, metadata = read_weights(path)
    if metadata is None:
        return type(options).published(**options.given())
    if metadata.get("arch") != options.tag():
        return options
    return make_options(str(path), type(options), metadata.get("options", {}) | options.given())


def load_into(
    network: nn.Module, options: NetworkOptions, scale: int, path: Path | str, *, strict: bool = True
) -> list[str]:
    """Copy a file's tensors into a network that stands already.

    Args:
        network: what `options.build(scale=scale)` made.
        options, scale: what it was built from.
        path: .safetensors, .pth or .pt.
        strict: every tensor must fit. Otherwise - a warm start from another scale or size - those that fit by name and
            shape are taken over.

    Returns:
        Names of the network's tensors that found no counterpart and keep their values; none when strict.

    Raises:
        UserError: unreadable file; tensors that do not fit; not strict, and nothing fits.
    """
    state, metadata = read_weights(path)
    state = with_taps_of(network, state)
    recorded = (metadata or {}).get("options", {})
    differing = [k for k, v in options.model_dump(exclude={"type"}).items() if k in recorded and recorded[k] != v]
    if differing:
        log.warning("%s was trained with another value of %s; yours counts", path, ", ".join(differing))
    if strict:
        _load_strictly(
            str(path), network, options, scale, state, "path.strict_load_g: false loads the tensors that fit"
        )
        return []
    own = network.state_dict()
    fitting = {name: v for name, v in state.items() if name in own and own[name].shape == v.shape}
    if not fitting:
        raise UserError(
            f"no tensor of it fits {options.tag()} x{scale}; it holds {few(shapes(state))}",
            where=str(path),
            fix="A warm start (strict_load_g: false) needs weights of the same family and width.",
        )
    network.load_state_dict(fitting, strict=False)
    return [name for name in own if name not in fitting]


def _read_safetensors(path: Path, *, tensors: bool = True) -> tuple[State, dict[str, Any] | None]:
    try:
        with safe_open(path, framework="pt") as file:
            entries = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys() if tensors}  # noqa: SIM118
        metadata = json.loads(entries[KEY]) if KEY in entries else None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"not a whole safetensors file ({error})", where=str(path), fix="It may be truncated: copy it again."
        ) from error
    if metadata is not None and not isinstance(metadata, dict):
        raise UserError("its metadata was not written by paragonsr", where=str(path), fix="Copy it again.")
    return state, metadata


def _read_pickle(path: Path) -> State:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            "the file holds more than tensors, and loading it could run code",
            where=str(path),
            fix="Ask its author for safetensors. Nothing in the file was run.",
        ) from error
    except Exception as error:  # what a damaged or hostile file makes the reader raise is open
        raise UserError(
            "not a whole PyTorch weights file", where=str(path), fix="It may be truncated: copy it again."
        ) from error
    while isinstance(content, dict):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError("it holds no weights", where=str(path), fix="Give a file that maps names to tensors.")
    return {str(name).removeprefix("module.").removeprefix("_orig_mod."): v for name, v in content.items()}


def _recorded(
    where: str, metadata: dict[str, Any], arch: str | None, scale: int | None, options: dict[str, Any]
) -> tuple[NetworkOptions, int]:
    recorded = metadata.get("arch")
    kind = NetworkOptions.choose(str(recorded))
    if kind is None or metadata.get("scale") not in SCALES:
        raise UserError(f"written for the unknown network {recorded}", where=where, fix="Update paragonsr.")
    for name, given, found in (("arch", arch, recorded), ("scale", scale, metadata["scale"])):
        if given is not None and given != found:
            raise UserError(
                f"these are weights of {recorded} x{metadata['scale']}, not of {name} {given}",
                where=where,
                fix=f"Leave {name} out: the file says what it is.",
            )
    return make_options(where, kind, metadata.get("options", {}) | options), metadata["scale"]


def _build_and_load(where: str, options: NetworkOptions, scale: int, state: State) -> nn.Module:
    network = options.build(scale=scale)
    fitting = with_taps_of(network, state)
    _load_strictly(where, network, options, scale, fitting, "what you give takes precedence over what the file says")
    return network.eval()


def _refuse_what_does_not_fit(where: str, state: State, given: dict[str, Any]) -> None:
    """Say which published network it is, where only what the user gives besides is not its own."""
    found = recognise(where, state, None, None, {})
    if found is not None:
        said = ", ".join(f"{name}={value}" for name, value in given.items() if value is not None)
        raise UserError(
            f"these are weights of {found[0].tag()} x{found[1]}, which does not accept {said}",
            where=where,
            fix="Leave it out, or see the options of the network.",
        )


def _load_foreign(where: str, state: State, scale: int | None, options: dict[str, Any]) -> nn.Module:
    """A network that spandrel finds in the tensors of a file which says nothing."""
    from paragonsr.archs.spandrel_adapter import detect

    found, tensors = detect(where, state)
    if scale not in (None, found["scale"]):
        raise UserError(f"these are weights for x{found['scale']}, not x{scale}", where=where, fix="Leave scale out.")
    values = {"network": found["network"], "arguments": found["arguments"] | options.get("arguments", {})}
    made = make_options(where, SpandrelOptions, options | values)
    log.warning("%s does not say what it is; spandrel finds %s x%d in it", where, made.network, found["scale"])
    return _build_and_load(where, made, found["scale"], tensors)


def _load_strictly(where: str, network: nn.Module, options: NetworkOptions, scale: int, state: State, fix: str) -> None:
    expected, found = shapes(network.state_dict()), shapes(state)
    missing = {k: v for k, v in expected.items() if k not in found}
    unknown = {k: v for k, v in found.items() if k not in expected}
    other = {k: v for k, v in found.items() if k in expected and expected[k] != v}
    if missing or unknown or other:
        parts = [
            f"{len(these)} {what} ({few(these)})"
            for what, these in (("missing", missing), ("unknown", unknown), ("of another shape", other))
            if these
        ]
        raise UserError(
            f"the tensors are not those of {options.tag()} x{scale} with these options: {'; '.join(parts)}",
            where=where,
            fix=f"Check arch, scale and options against what it was trained with; {fix}.",
        )
    network.load_state_dict(state, strict=True)
