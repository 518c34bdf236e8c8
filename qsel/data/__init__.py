"""Data sets: each becomes a ``ZeroShot`` of images with a ``Hierarchy``."""

import inspect
import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from qsel.data.images import DataError, ImageSet, check_images
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
    "validation_of",
    "zero_shot",
]


def load(source: str | os.PathLike, **options) -> ZeroShot:
    """The data set called ``source``, or the one that lies there.

    Args:
        source: "synthcars" (drawn by the package), or a folder: Stanford Cars 196 in
            either of its layouts, or your own ``coarse/fine/image.jpg``. Options may
            follow a question mark: "cars?parts=train&coarse=body9". A question mark
            in the folder's own name may be written as %3F.
        options: handed to ``synthcars``, ``cars196`` or ``folder``.

    Raises:
        DataError: nothing there, an option that the data set does not have, or
            anything wrong with the data.
    """
    source, written = split_source(source)
    options = written | options
    # imported here: a user's folder should not wait for what draws SynthCars
    if source == "synthcars":
        from qsel.data.synthcars import synthcars

        _check_options(synthcars, options)
        return synthcars(**options)
    from qsel.data.cars196 import cars196, is_cars196
    from qsel.data.folder import folder

    if not os.path.isdir(source):
        there = os.path.exists(source)
        what = "a file" if there else "neither a data set nor a folder"
        raise DataError(
            f"{str(source)!r} is {what}; give 'synthcars', the folder of Stanford Cars "
            "196, or a folder of images as coarse/fine/image.jpg"
        )
    loader = cars196 if is_cars196(source) else folder
    _check_options(loader, options)
    return loader(source, **options)


def validation_of(source: str | os.PathLike) -> ZeroShot:
    """A data set's training half, parted to choose settings on; ``.notes`` says how.

    What is held out differs from what is trained on as the test half does: of Stanford
    Cars whole makes; of SynthCars the test half of another drawing, whose cars are as
    unseen as the test's and cost no training class; of a folder classes at random.

    Args:
        source: see ``load``.

    Raises:
        DataError: see ``load`` and ``validation``.
    """
    from qsel.data.car_classes import make
    from qsel.data.cars196 import is_cars196

    data = load(source)
    path, options = split_source(source)
    if path != "synthcars":
        return validation(data.train, make if is_cars196(path) else None)
    options["seed"] = options.get("seed", 0) + 1
    how = f"held out: the test half of the drawing with seed={options['seed']}"
    other = load(path, **options)
    return ZeroShot(f"{data.train.name} validation", data.train, other.test, (), (how,))


def split_source(source: str | os.PathLike) -> tuple[str, dict[str, object]]:
    """The part before the question mark, and the options after it.

    Numbers are read as numbers; ``parts`` may hold several, with commas. Where a folder
    has a question mark in its name, the options begin after the next one.

    Example:
        >>> split_source("cars?parts=train,test&seed=1")
        ('cars', {'parts': ('train', 'test'), 'seed': 1})
    """
    path, query = _halves(source)
    options: dict[str, object] = {}
    for name, text in _pairs(query):
        options[name] = text if name == "test" else _number(text)
        if name == "parts":
            options[name] = tuple(text.split(","))
    return path, options


def source_name(source: str | os.PathLike) -> str:
    """The source without the folders around it, as records and commands name it.

    A file that an option names keeps its path only if that begins at the data's folder.

    Example:
        >>> source_name("/somewhere/stanford_cars?parts=train")
        'stanford_cars?parts=train'
        >>> source_name("birds?test=/somewhere/unseen.txt&seed=1")
        'birds?test=unseen.txt&seed=1'
    """
    path, query = _halves(source)
    name = path
    if path != "synthcars":
        name = Path(path).resolve().name.replace("?", "%3F")
    options = query.split("&") if query else []
    for i, option in enumerate(options):
        if option.startswith("test="):
            options[i] = f"test={quote(_without_folders(option[5:], path))}"
    return name + ("?" + "&".join(options) if options else "")


def _without_folders(written: str, root: str) -> str:
    """A file's path from ``root`` on; of one that lies elsewhere the name alone."""
    file = Path(unquote(written)).expanduser()
    inside = Path(os.path.normpath(Path(root, file).absolute()))
    try:
        return inside.relative_to(Path(root).absolute()).as_posix()
    except ValueError:
        return file.name


def _halves(source: str | os.PathLike) -> tuple[str, str]:
    """Path and options; a folder that is there decides which "?" parts them."""
    # not every shell expands ~ after DATA=
    text = os.path.expanduser(os.fspath(source))
    path, query = text, ""
    while "?" in path and not os.path.isdir(path):
        path, _, end = path.rpartition("?")
        query = f"{end}?{query}" if query else end
    if not os.path.isdir(path):
        path, _, query = text.partition("?")
    if "%3F" in path.upper() and not os.path.isdir(path):
        path = re.sub("%3f", "?", path, flags=re.IGNORECASE)
    return path, query


def _pairs(query: str) -> list[tuple[str, str]]:
    halves = [pair.partition("=") for pair in query.split("&") if pair]
    return [(unquote(name), unquote(text)) for name, _, text in halves]


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
