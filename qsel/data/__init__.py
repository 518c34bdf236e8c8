"""Data sets: each becomes a ``ZeroShot`` of images with a ``Hierarchy``."""

import inspect
import os
from pathlib import Path
from urllib.parse import parse_qsl

from qsel.data.loading import DataError, ImageSet, check_images
from qsel.data.splits import ZeroShot, split_fine_classes, validation, zero_shot

__all__ = [
    "DataError",
    "ImageSet",
    "ZeroShot",
    "check_images",
    "load",
    "source_name",
    "split_source",
    "split_fine_classes",
    "validation",
    "zero_shot",
]


def load(source: str | os.PathLike, **options) -> ZeroShot:
    """The data set called ``source``, or the one that lies there.

    Args:
        source: "synthcars" (drawn by the package), or a folder: Stanford Cars 196 in
            either of its layouts, or your own ``coarse/fine/image.jpg``. Options may
            follow a question mark: "cars?parts=train&coarse=body9".
        options: handed to ``synthcars``, ``cars196`` or ``folder``.

    Raises:
        DataError: nothing there, an option that the data set does not have, or
            anything wrong with the data.
    """
    source, written = split_source(source)
    source = os.path.expanduser(source)  # not every shell does so after DATA=
    options = written | options
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


def split_source(source: str | os.PathLike) -> tuple[str, dict[str, object]]:
    """The part before the question mark, and the options after it.

    Numbers are read as numbers; ``parts`` may hold several, with commas.

    Example:
        >>> split_source("cars?parts=train,test&seed=1")
        ('cars', {'parts': ('train', 'test'), 'seed': 1})
    """
    source, _, query = str(source).partition("?")
    options: dict[str, object] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        options[name] = tuple(text.split(",")) if name == "parts" else _number(text)
    return source, options


def source_name(source: str | os.PathLike) -> str:
    """The source without the folders around it, as records and commands name it.

    Example:
        >>> source_name("/somewhere/stanford_cars?parts=train")
        'stanford_cars?parts=train'
    """
    path, question_mark, query = str(source).partition("?")
    name = path if path == "synthcars" else Path(path).resolve().name
    return name + question_mark + query


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _check_options(loader, options: dict) -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(loader).parameters.items()
        if name != "root"
    }
    accepted = list(defaults)
    for option, value in options.items():
        if option not in accepted:
            raise DataError(
                f"{loader.__name__} has no option {option!r}; "
                f"it has {', '.join(accepted)}"
            )
        whole = isinstance(defaults[option], int)
        if (whole and not isinstance(value, int)) or (
            isinstance(defaults[option], float) and not isinstance(value, int | float)
        ):
            raise DataError(
                f"{loader.__name__}: {option} is {value!r}; expected a "
                f"{'whole ' * whole}number"
            )
