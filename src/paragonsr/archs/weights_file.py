"""Reading and writing of weights files: formats, wrappers, prefixes and detection of damage."""

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from paragonsr.archs.earlier_names import current_names
from paragonsr.archs.recognise import State
from paragonsr.errors import UserError
from paragonsr.files import write_atomically
from paragonsr.models import located

KEY = "paragonsr"
"""Entry of the safetensors metadata that contains ours, as JSON."""
HEADER = "paragonsr.header"
"""Byte tensor that contains the same, for programs that pass on nothing but tensors."""
DIGEST = "digest"
"""Entry of the safetensors metadata that contains the digest of the tensors."""
ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt")
"""Extensions of weights files."""
WRAPPERS = ("params_ema", "params-ema", "params", "state_dict", "model_state_dict", "model", "net", "generator")
"""Keys under which other trainers store the tensors; the first one present is used."""
PREFIXES = ("module.", "_orig_mod.", "netG.", "net_g.", "net_g_ema.", "generator.")
"""Prefixes that other trainers add to every name."""
LIGHTNING_PREFIXES = ("model.", "network.")
"""Prefixes in .ckpt files only; in other files a network's own names may begin like that."""
COPY_AGAIN = "It may be truncated: copy it again."


def write_weights(path: Path, state: State, metadata: dict[str, Any]) -> None:
    """Write tensors and metadata as safetensors, with a digest, atomically.

    Raises:
        UserError: the folder is absent, read-only or full.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    content = save(tensors, {KEY: json.dumps(metadata, sort_keys=True), DIGEST: digest(tensors)})
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UserError(
            f"the weights could not be written ({error.strerror})",
            where=str(path),
            fix="Check its folder and space.",
        ) from error


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Hash of names, dtypes, shapes and values."""
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def read_weights(path: Path | str, key: str | None = None) -> tuple[State, dict[str, Any] | None]:
    """Read the tensors of a weights file and our metadata, if present. Executes no code from the file.

    Wrappers (`params_ema`, `state_dict`, ...) are opened, prefixes of every name (`module.`, `netG.`, ...) are removed,
    values that are not tensors are dropped, and names of earlier versions are replaced by the current ones.

    Args:
        path: .safetensors, .pth, .pt or .ckpt.
        key: the wrapper to open, if a file contains several sets of weights.

    Raises:
        UserError: the file does not exist, is not a weights file, is truncated or damaged, contains code or values that
            are not finite, or has no such wrapper.
    """
    path = located(path)
    if not path.is_file():
        raise UserError("this weights file does not exist", where=str(path), fix="Check the path.")
    if path.suffix.lower() not in ENDINGS:
        raise UserError(
            f"weights end in {', '.join(ENDINGS)}, not in {path.suffix or 'nothing'}",
            where=str(path),
            fix="Give the path of a weights file.",
        )
    if path.suffix.lower() == ".safetensors":
        state, metadata = _read_safetensors(path)
        if key is not None:
            raise UserError(f"it has no {key!r}: a safetensors file contains one set of weights", where=str(path))
    else:
        state, metadata = _read_pickle(path, key), None
    header = state.pop(HEADER, None)
    if metadata is None and header is not None:
        metadata = _decoded(path, header)
    if metadata is None:
        more = LIGHTNING_PREFIXES if path.suffix.lower() == ".ckpt" else ()
        state = _without_prefix(state, (*PREFIXES, *more))
    _require_finite(path, state)
    return current_names(state), metadata


def read_metadata(path: Path | str) -> dict[str, Any] | None:
    """Read our metadata of a file, without its tensors; None for files not written by paragonsr.

    Raises:
        UserError: the file does not exist or is damaged.
    """
    path = located(path)
    if path.suffix.lower() != ".safetensors":
        return None
    if not path.is_file():
        raise UserError("this weights file does not exist", where=str(path), fix="Check the path.")
    return _read_safetensors(path, tensors=False)[1]


def _read_safetensors(path: Path, *, tensors: bool = True) -> tuple[State, dict[str, Any] | None]:
    try:
        with safe_open(path, framework="pt") as file:
            entries = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys() if tensors}  # noqa: SIM118
        metadata = json.loads(entries[KEY]) if KEY in entries else None
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise UserError(f"not a whole safetensors file ({error})", where=str(path), fix=COPY_AGAIN) from error
    if metadata is not None and not isinstance(metadata, dict):
        raise UserError("its metadata was not written by paragonsr", where=str(path), fix="Copy it again.")
    if tensors and DIGEST in entries and KEY in entries and entries[DIGEST] != digest(state):
        raise UserError(
            "the weights are damaged: they do not match their digest", where=str(path), fix="Copy it again."
        )
    return state, metadata


def _decoded(path: Path, header: Tensor) -> dict[str, Any]:
    try:
        metadata = json.loads(bytes(header.tolist()).decode())
    except (ValueError, TypeError) as error:
        raise UserError(f"{HEADER} is damaged ({error})", where=str(path), fix=COPY_AGAIN) from error
    if not isinstance(metadata, dict):
        raise UserError(f"{HEADER} was not written by paragonsr", where=str(path), fix=COPY_AGAIN)
    return metadata


def _read_pickle(path: Path, key: str | None) -> State:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            "the file contains more than tensors, and loading it could run code",
            where=str(path),
            fix="Ask its author for safetensors. Nothing in the file was run.",
        ) from error
    except Exception as error:  # a damaged or malicious file may make the reader raise anything
        raise UserError("not a whole PyTorch weights file", where=str(path), fix=COPY_AGAIN) from error
    if key is not None:
        content = _wrapped(path, content, key)
    while isinstance(content, dict):
        inner = next((content[name] for name in WRAPPERS if isinstance(content.get(name), dict)), None)
        if inner is None:
            break
        content = inner
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    others = len(content) - len(tensors) if isinstance(content, dict) else 0
    if not tensors or any(isinstance(v, dict | list) for v in content.values()):
        raise UserError("it holds no weights", where=str(path), fix="Give a file that maps names to tensors.")
    if others and not all(isinstance(v, int | float | str | Tensor | type(None)) for v in content.values()):
        raise UserError("it holds no weights", where=str(path), fix="Give a file that maps names to tensors.")
    return tensors


def _wrapped(path: Path, content: Any, key: str) -> Any:
    held = (
        [str(name) for name, value in content.items() if isinstance(value, dict)] if isinstance(content, dict) else []
    )
    if key not in held:
        raise UserError(
            f"it has no {key!r}", where=str(path), fix=f"It holds {', '.join(held) or 'one set of weights'}."
        )
    return content[key]


def _without_prefix(state: State, prefixes: Sequence[str]) -> State:
    """Remove a prefix that all names share."""
    while state:
        prefix = next((p for p in prefixes if all(name.startswith(p) for name in state)), None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _require_finite(path: Path, state: State) -> None:
    bad = [name for name, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        more = f" and {len(bad) - 1} more tensors" if len(bad) > 1 else ""
        raise UserError(
            f"{bad[0]}{more} are not finite (NaN or infinite): the training of these weights diverged",
            where=str(path),
            fix="Use weights of an earlier iteration.",
        )
