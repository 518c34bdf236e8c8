"""The command that describes a data set."""

from pathlib import Path
from typing import Annotated

import typer

from qsel.cli.options import Data


def data_command(
    data: Data = "synthcars",
    sheet: Annotated[
        Path | None,
        typer.Option(help="Write a contact sheet of training images to this file."),
    ] = None,
    check: Annotated[
        bool, typer.Option(help="Decode every image, and name those that cannot be.")
    ] = False,
) -> None:
    """Describe a data set: classes, images, what can be a reference.

    Example: `qsel data --data my_photos --check --sheet sheet.png`
    """
    from qsel.data import check_images, load
    from qsel.data.contact import check_sheet, contact_sheet, save_sheet
    from qsel.data.splits import shortcomings

    if sheet:
        check_sheet(sheet)  # said before the data is read
    split = load(data)
    print(split.name)
    for part, images in (("train", split.train), ("test", split.test)):
        labels = images.hierarchy
        print(
            f"  {part}: {len(images):,} images, {len(labels.fine_names)} fine and "
            f"{len(labels.coarse_names)} coarse classes (fingerprint "
            f"{images.fingerprint})"
        )
    references = split.train.hierarchy.references()
    print(f"  {len(references):,} training images can be a reference")
    for line in shortcomings(split):
        print(f"  {line}")
    if check:
        check_images(split.train, split.test)
        print("  every image can be decoded")
    if sheet:
        save_sheet(contact_sheet(split.train), sheet)
        print(f"  contact sheet: {sheet}")
