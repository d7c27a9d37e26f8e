"""Options shared by `init` and `train`."""

from typing import Annotated

import typer

ScaleOption = Annotated[
    int | None, typer.Option(help="Upscaling factor: 2, 3, 4 or 8. [default: 2]", show_default=False)
]
SizeOption = Annotated[
    str | None, typer.Option(help="Size of the network: nano, tiny or s. [default: nano]", show_default=False)
]
ForOption = Annotated[
    str | None,
    typer.Option("--for", help="Length of training: 10min, 6h, 20000it. [default: 30min]", show_default=False),
]
