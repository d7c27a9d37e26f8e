"""A trained network as a folder that can be published; nothing in it names the machine or its user."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import yaml
from PIL import Image

from paragonsr.archs.complexity import count_parameters
from paragonsr.data.images import read_image
from paragonsr.data.walk import image_files
from paragonsr.errors import UserError
from paragonsr.export.card import card
from paragonsr.export.convert import convert, convert_for_spandrel
from paragonsr.export.onnx import export_onnx
from paragonsr.export.openmodeldb import Statement, as_text, describe, model_id
from paragonsr.export.packages import require
from paragonsr.export.source import Source, open_source
from paragonsr.inference.benchmark import Table, benchmark
from paragonsr.inference.model import Upscaler, load
from paragonsr.resize import downscale
from paragonsr.run_description import read_description

PICTURES = 3
"""Pairs of pictures."""
CROP = 128
"""Side of their LR crops."""


@dataclass(frozen=True)
class Published:
    """The folder, and the id of the model, which is the name of its files."""

    folder: Path
    model: str
    table: Table


def publish(run: Path, target: Path, said: Statement, *, validation: Path | None = None) -> Published:
    """Make a folder with everything that a published model needs; it appears whole or not at all.

    Args:
        run: folder of a run.
        target: folder to be made; it may exist if it is empty.
        said: statement of the author.
        validation: folder of HR images for the values and the pictures; by default the run's.

    Raises:
        UserError: not a run, the target is not empty, or the validation images no longer exist.
        ExportError, ParityError: see `export_onnx`; nothing is made then.
    """
    config = read_description(run)["config"]
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError("exists, and is not an empty folder", where=str(target), fix="Choose another name.")
    source = open_source(run)
    found = (config["datasets"].get("val") or {}) if validation is None else {}
    hr = validation or _root(found.get("dataroot_gt"))
    if hr is None:
        raise UserError("the run has no validation images", where=str(run), fix="Give a folder with --validation.")
    lr = _root(found.get("dataroot_lq"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".publish-") as folder:
        made = Path(folder) / "made"
        made.mkdir()
        name = model_id(source.metadata["name"], source.scale)
        table = _fill(made, name, source, said, config, (hr, lr))
        if target.exists():
            target.rmdir()
        made.rename(target)
    return Published(target, name, table)


def push(folder: Path, repository: str) -> str:
    """Upload a folder to a model repository of Hugging Face, made if needed; returns its address.

    Raises:
        UserError: huggingface_hub is not installed, or refuses.
    """
    require("publish", "huggingface_hub")
    import huggingface_hub

    try:
        api = huggingface_hub.HfApi()
        api.create_repo(repository, exist_ok=True)
        api.upload_folder(folder_path=str(folder), repo_id=repository)
    except Exception as error:  # it has many exception types, and those of its HTTP client
        raise UserError(
            f"Hugging Face did not take it: {error}", where=repository, fix="Sign in with `hf auth login`."
        ) from error
    return f"https://huggingface.co/{repository}"


def _fill(
    made: Path, name: str, source: Source, said: Statement, config: dict[str, Any], sets: tuple[Path, Path | None]
) -> Table:
    upscaler = load(source.path, device="cpu")
    table = benchmark(upscaler, *sets)
    weights = convert(source, made / f"{name}.safetensors")
    files = {f"{name}.safetensors": "weights for paragonsr"}
    graph = export_onnx(source, made / f"{name}_fp32_op18.onnx").path
    described = convert_for_spandrel(source, made / f"{name}-spandrel.safetensors")
    if described.metadata["arch"] == source.metadata["arch"] and "network" in source.metadata["options"]:
        described.path.unlink()  # spandrel has this network: the weights themselves are what it loads
        described = weights
    else:
        files[described.path.name] = "weights for chaiNNer, ComfyUI and other programs with spandrel"
    files[graph.name] = "the same network for ONNX Runtime, TensorRT and others"
    pictures = _pictures(made, upscaler, table, *sets)
    text = card(
        said,
        title=name,
        metadata=source.metadata,
        parameters=count_parameters(source.network),
        table=table,
        pictures=pictures,
        files=files,
        paired=sets[1] is not None,
    )
    (made / "README.md").write_text(text, encoding="utf-8")
    entry = describe(
        source.metadata["name"], described.metadata, said, [described.path, graph], pictures, _training(source, config)
    )
    (made / f"{name}.json").write_text(as_text(entry), encoding="utf-8")
    settings = yaml.safe_dump(without_places(config), sort_keys=False, allow_unicode=True)
    (made / "config.yml").write_text(settings, encoding="utf-8")
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(made.iterdir())]
    (made / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return table


def _training(source: Source, config: dict[str, Any]) -> dict[str, Any]:
    """Facts of the training, under their names in OpenModelDB."""
    training, iterations = config["datasets"]["train"], source.metadata.get("iteration")
    return {
        "trainingIterations": iterations,
        "trainingBatchSize": round(source.metadata["samples"] / iterations) if iterations else None,
        "trainingHRSize": training["gt_size"] or training["lq_size"] * source.scale,
        "trainingOTF": bool(training.get("degradation")),
    }


def _pictures(made: Path, upscaler: Upscaler, table: Table, hr: Path, lr: Path | None) -> list[tuple[str, str]]:
    """Write the images with the largest gain over bicubic, cropped around their middle: names of LR and SR."""
    metric = next(iter(table.metrics))
    gains = {row.name: row.network[metric] - row.bicubic[metric] for row in table.rows}
    files = {Path(name).stem: name for name in sorted(image_files(hr))}
    pairs: list[tuple[str, str]] = []
    for name in sorted(gains, key=gains.__getitem__, reverse=True):
        stem = Path(name).stem
        if stem not in files or len(pairs) == PICTURES:
            continue
        given = None if lr is None else next((f for f in image_files(lr) if Path(f).stem.startswith(stem)), None)
        small = _downscaled(hr / files[stem], upscaler.scale) if lr is None or given is None else read_image(lr / given)
        top, left = (max(0, (size - CROP) // 2) for size in small.shape[:2])
        crop = np.ascontiguousarray(small[top : top + CROP, left : left + CROP])
        names = f"before_{len(pairs) + 1}.png", f"after_{len(pairs) + 1}.png"
        for file, pixels in zip(names, (crop, upscaler.upscale(crop)), strict=True):
            Image.fromarray(pixels).save(made / file, optimize=True)
        pairs.append(names)
    return pairs


def _downscaled(file: Path, scale: int) -> np.ndarray:
    image = read_image(file)
    image = image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]
    return image if scale == 1 else downscale(image, scale)


def _root(given: Any) -> Path | None:
    roots = given if isinstance(given, list) else [given]
    return Path(roots[0]) if roots and roots[0] else None


def without_places(value: Any) -> Any:
    """A configuration in which every path is only its last part."""
    if isinstance(value, dict):
        return {key: without_places(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_places(inner) for inner in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return PureWindowsPath(value).name if "\\" in value else PurePosixPath(value).name
    return value
