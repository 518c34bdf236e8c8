"""Data sets: each becomes a ``ZeroShot`` of images with a ``Hierarchy``."""

import inspect
import os
from pathlib import Path

from qsel.data.loading import DataError, ImageSet, check_images
from qsel.data.splits import ZeroShot, split_fine_classes, validation, zero_shot

__all__ = [
    "DataError",
    "ImageSet",
    "ZeroShot",
    "check_images",
    "load",
    "split_fine_classes",
    "validation",
    "zero_shot",
]


def load(source: str | os.PathLike, **options) -> ZeroShot:
    """The data set called ``source``, or the one that lies there.

    Args:
        source: "synthcars" (drawn by the package), or a folder: Stanford Cars 196 in
            either of its layouts, or your own ``coarse/fine/image.jpg``.
        options: handed to ``synthcars``, ``cars196`` or ``folder``.

    Raises:
        DataError: nothing there, an option that the data set does not have, or
            anything wrong with the data.
    """
    # imported here: a user's folder should not wait for what draws SynthCars
    if source == "synthcars":
        from qsel.data.synthcars import synthcars

        _check_options(synthcars, options)
        return synthcars(**options)
    from qsel.data.cars196 import cars196, is_cars196
    from qsel.data.folder import folder

    if not Path(source).is_dir():
        what = "a file" if Path(source).exists() else "neither a data set nor a folder"
        raise DataError(
            f"{str(source)!r} is {what}; give 'synthcars', the folder of Stanford Cars "
            "196, or a folder of images as coarse/fine/image.jpg"
        )
    loader = cars196 if is_cars196(source) else folder
    _check_options(loader, options)
    return loader(source, **options)


def _check_options(loader, options: dict) -> None:
    accepted = [p for p in inspect.signature(loader).parameters if p != "root"]
    for option in options:
        if option not in accepted:
            raise DataError(
                f"{loader.__name__} has no option {option!r}; "
                f"it has {', '.join(accepted)}"
            )
