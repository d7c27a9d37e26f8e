"""paragonsr serve [FOLDER]"""

from pathlib import Path
from typing import Annotated

import typer

from paragonsr.cli.upscale import ENGINE


def serve(
    folder: Annotated[
        Path, typer.Argument(help="Folder of models, searched recursively: .safetensors, .pth, .onnx.")
    ] = Path("experiments"),
    port: Annotated[int, typer.Option(help="Port; 0 uses a free one.")] = 7860,
    max_upload: Annotated[float, typer.Option(help="Maximum size of an image file, in MiB.")] = 32,
    max_megapixels: Annotated[float, typer.Option(help="Maximum size of an image, in megapixels.")] = 8,
    keep: Annotated[int, typer.Option(min=1, help="Number of models that stay loaded.")] = 2,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: the GPU if there is one.")] = None,
    engine: Annotated[str, typer.Option(help=ENGINE)] = "auto",
) -> None:
    """Serve a web page for this machine only: drop an image, choose a model, compare with a slider, download.

    Examples:

        paragonsr serve models/

        paragonsr serve experiments/ --port 0 --engine openvino
    """
    from paragonsr.errors import UserError

    if not folder.is_dir():
        raise UserError("this folder does not exist", where=str(folder), fix="Give the folder of your models.")
    from paragonsr.serve.models import Models
    from paragonsr.serve.server import Limits, Server

    limits = Limits(upload=int(max_upload * 2**20), pixels=int(max_megapixels * 1e6))
    try:
        server = Server(Models(folder, keep, device, engine), port, limits)
    except OSError as error:
        raise UserError(
            f"port {port} cannot be used ({error.strerror})", where="--port", fix="Choose another one, or 0."
        ) from error
    with server:
        typer.echo(f"{len(server.models.names())} models of {folder} at {server.url}  (Ctrl-C to stop)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("\nended")
