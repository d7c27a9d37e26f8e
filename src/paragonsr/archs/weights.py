"""Weights in files: what is written restores the network without being told what it was."""

import logging
from pathlib import Path
from typing import Any

from torch import nn

from paragonsr.archs.network_options import SCALES
from paragonsr.archs.options import NetworkOptions
from paragonsr.archs.recognise import State, few, make_options, recognise, shapes, with_taps_of
from paragonsr.archs.spandrel_options import SpandrelOptions
from paragonsr.archs.weights_file import read_metadata, read_weights, write_weights
from paragonsr.errors import UserError

__all__ = [
    "load_into",
    "load_network",
    "read_metadata",
    "read_weights",
    "save_metadata",
    "save_weights",
    "starting_options",
]

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
    write_weights(Path(path), state, metadata)


def load_network(
    path: Path | str, arch: str | None = None, scale: int | None = None, *, key: str | None = None, **options: Any
) -> nn.Module:
    """The network of a weights file, in eval mode on the CPU, every tensor loaded.

    A file of ours says what it is. Any other is taken for a published one: every option that fixes a defect takes its
    legacy value, and arch, scale and the optional parts are found from the tensors unless given. Where no network of
    ours has these tensors, spandrel is asked.

    Args:
        path: .safetensors, .pth, .pt or .ckpt.
        arch: name of a network.
        scale: HR side / LR side.
        key: see `read_weights`.
        options: options of the network; they win over the file's metadata and over what was found.

    Raises:
        UserError: unreadable file, unknown arch or option, tensors that do not fit.
    """
    state, metadata = read_weights(path, key)
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


def starting_options(options: NetworkOptions, path: Path | str, key: str | None = None) -> NetworkOptions:
    """The options a network must be built with to continue from a weights file; those in `options` take precedence.

    The file's own where it says what they are and is of the same arch, else those of the published network.

    Raises:
        UserError: unreadable file.
    """
    _, metadata = read_weights(path, key)
    if metadata is None:
        return type(options).published(**options.given())
    if metadata.get("arch") != options.tag():
        return options
    return make_options(str(path), type(options), options.current(metadata.get("options", {})) | options.given())


def load_into(
    network: nn.Module,
    options: NetworkOptions,
    scale: int,
    path: Path | str,
    *,
    strict: bool = True,
    key: str | None = None,
) -> list[str]:
    """Copy a file's tensors into a network that stands already.

    Args:
        network: what `options.build(scale=scale)` made.
        options, scale: what it was built from.
        path: .safetensors, .pth, .pt or .ckpt.
        key: see `read_weights`.
        strict: every tensor must fit. Otherwise - a warm start from another scale or size - those that fit by name and
            shape are taken over.

    Returns:
        Names of the network's tensors that found no counterpart and keep their values; none when strict.

    Raises:
        UserError: unreadable file; tensors that do not fit; not strict, and nothing fits.
    """
    state, metadata = read_weights(path, key)
    state = _by_our_names(str(path), options, network, with_taps_of(network, state))
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


def _by_our_names(where: str, options: NetworkOptions, network: nn.Module, state: State) -> State:
    """Weights of another project's network by the names that spandrel gives its tensors (ESRGAN has three sets)."""
    if not isinstance(options, SpandrelOptions) or shapes(state) == shapes(network.state_dict()):
        return state
    from paragonsr.archs.spandrel_adapter import detect

    try:
        found, tensors = detect(where, state)
    except UserError:
        return state  # what does not fit is named by the comparison with the network
    return tensors if found["network"].lower() == options.network.lower() else state


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
    return make_options(where, kind, kind.current(metadata.get("options", {})) | kind.current(options)), metadata[
        "scale"
    ]


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
