"""paragonsr publish RUN OUT"""

from pathlib import Path
from typing import Annotated

import typer


def publish(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Argument(help="Folder to be made.")],
    repository: Annotated[str, typer.Option("--repo", help="USER/NAME on Hugging Face, where the files will be.")],
    licence: Annotated[str, typer.Option(help="SPDX id of the model's licence: MIT, CC-BY-4.0, ...")],
    data: Annotated[str, typer.Option(help="Training images and their licence, as text.")],
    description: Annotated[str, typer.Option(help="What the model is for.")] = "Super-resolution of photographs.",
    author: Annotated[
        str | None, typer.Option(help="Your id on OpenModelDB; default: USER.", show_default=False)
    ] = None,
    tags: Annotated[str, typer.Option(help="Tags of OpenModelDB, separated by commas.")] = "general-upscaler,photo",
    validation: Annotated[
        Path | None, typer.Option(help="Folder of HR images for values and pictures; default: the run's.")
    ] = None,
    push: Annotated[bool, typer.Option("--push", help="Upload the folder to --repo.")] = False,
) -> None:
    """Make a folder to publish: weights, ONNX, model card, entry for OpenModelDB, pictures, values, checksums.

    Examples:

        paragonsr publish experiments/2x_Nano out/ --repo me/2x-Nano --licence MIT --data "my photographs, CC0"

        paragonsr publish experiments/2x_Nano out/ --repo me/2x-Nano --licence MIT --data "DIV2K, research only" --push
    """
    from paragonsr.errors import UserError
    from paragonsr.export.openmodeldb import Statement, canonical
    from paragonsr.export.publish import publish as make
    from paragonsr.export.publish import push as upload

    user, slash, name = repository.partition("/")
    if not (user and slash and name) or "/" in name:
        raise UserError(f"{repository!r} is not a repository", where="--repo", fix="Write USER/NAME.")
    chosen = tuple(filter(None, (canonical(tag) for tag in tags.split(","))))
    if not chosen:
        raise UserError("OpenModelDB needs at least one tag", where="--tags", fix="Write for example photo.")
    said = Statement(
        author=canonical(author or user),
        licence=licence,
        data=data,
        description=description,
        tags=chosen,
        address=f"https://huggingface.co/{repository}/resolve/main",
    )
    done = make(run, out, said, validation=validation)
    for file in sorted(done.folder.iterdir()):
        typer.echo(f"  {file.name:40} {file.stat().st_size / 1024:8.1f} KiB")
    mean = done.table.mean()
    typer.echo(
        f"{done.folder}: {done.model}, PSNR-Y {mean.network['psnr_y']:.2f} dB, bicubic {mean.bicubic['psnr_y']:.2f}"
    )
    if push:
        typer.echo(f"uploaded to {upload(done.folder, repository)}")
