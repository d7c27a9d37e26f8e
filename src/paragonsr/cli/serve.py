"""paragonsr serve [FOLDER]"""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    folder: Annotated[
        Path, typer.Argument(help="Folder of models: .safetensors, .pth, .onnx, in any folder below.")
    ] = Path("experiments"),
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 7860,
    max_upload: Annotated[float, typer.Option(help="Largest image file, MiB.")] = 32,
    max_megapixels: Annotated[float, typer.Option(help="Largest image, millions of pixels.")] = 8,
    keep: Annotated[int, typer.Option(min=1, help="Models that stay loaded.")] = 2,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; the GPU if there is one.")] = None,
) -> None:
    """A web page on this machine only: drop an image, choose a model, compare with a slider, download."""
    from paragonsr.errors import UserError

    if not folder.is_dir():
        raise UserError("this folder does not exist", where=str(folder), fix="Give the folder that holds your models.")
    from paragonsr.serve.models import Models
    from paragonsr.serve.server import Limits, Server

    limits = Limits(upload=int(max_upload * 2**20), pixels=int(max_megapixels * 1e6))
    try:
        server = Server(Models(folder, keep, device), port, limits)
    except OSError as error:
        raise UserError(
            f"port {port} cannot be used ({error.strerror})", where="--port", fix="Choose another one, or 0."
        ) from error
    with server:
        typer.echo(f"{len(server.models.names())} models of {folder} at {server.url}  (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("\nended")
