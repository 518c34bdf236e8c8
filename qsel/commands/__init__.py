"""Commands that work on the book, and options that they share with the others."""

from typing import Annotated

import typer

Data = Annotated[
    str,
    typer.Option(
        help="'synthcars' (drawn by the package), the folder of Stanford Cars 196, or "
        "a folder of images as coarse/fine/image.jpg. Options follow a question mark: "
        "'stanford_cars?parts=train&coarse=body9'."
    ),
]
Preset = Annotated[
    str,
    typer.Option(
        help="smoke: seconds, shows that it runs. laptop: minutes on a CPU. frozen: a "
        "linear layer on a frozen trunk. paper: ResNet-101 at 224 px, for a GPU."
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Notebooks at once; default: one for each GPU, or up to 4 on a CPU.",
    ),
]
