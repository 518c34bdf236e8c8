"""Data sets: each becomes a ``ZeroShot`` of images with a ``Hierarchy``."""

import inspect
import os
from collections.abc import Callable
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
            follow a question mark: "cars?parts=train&coarse=body9".
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

        return synthcars(**_typed(synthcars, options))
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
    return loader(source, **_typed(loader, options))


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
        names = data.train.hierarchy.fine_names
        return validation(data.train, [*map(make, names)] if is_cars196(path) else None)
    options["seed"] = int(options.get("seed", 0)) + 1
    how = f"held out: the test half of the drawing with seed={options['seed']}"
    other = load(path, **options)
    return ZeroShot(f"{data.train.name} validation", data.train, other.test, (), (how,))


def split_source(source: str | os.PathLike) -> tuple[str, dict[str, str]]:
    """The part before the question mark, and the options after it.

    Example:
        >>> split_source("cars?parts=train,test&seed=1")
        ('cars', {'parts': 'train,test', 'seed': '1'})
    """
    # not every shell expands ~ after DATA=
    path, _, query = os.path.expanduser(os.fspath(source)).partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return path, {name: unquote(text) for name, _, text in pairs}


def source_name(source: str | os.PathLike) -> str:
    """The source without the folders around it, as records and commands name it.

    A file that an option names keeps its path only if that begins at the data's folder.

    Example:
        >>> source_name("/somewhere/stanford_cars?parts=train")
        'stanford_cars?parts=train'
        >>> source_name("birds?test=/somewhere/unseen.txt&seed=1")
        'birds?test=unseen.txt&seed=1'
    """
    path, options = split_source(source)
    name = path if path == "synthcars" else Path(path).resolve().name
    if "test" in options:
        options["test"] = _without_folders(options["test"], path)
    query = "&".join(f"{key}={quote(text, ',/')}" for key, text in options.items())
    return f"{name}?{query}" if query else name


def _without_folders(written: str, root: str) -> str:
    """A file's path from ``root`` on; of one that lies elsewhere the name alone."""
    file = Path(written).expanduser()
    inside = Path(os.path.normpath(Path(root, file).absolute()))
    try:
        return inside.relative_to(Path(root).absolute()).as_posix()
    except ValueError:
        return file.name


def _typed(loader: Callable, options: dict) -> dict:
    """The options of a loader; what is written is read as its defaults are."""
    known = dict(inspect.signature(loader).parameters)
    known.pop("root", None)
    typed = dict(options)
    for name, value in options.items():
        if name not in known:
            raise DataError(
                f"{loader.__name__} has no option {name!r}; it has {', '.join(known)}"
            )
        kind = type(known[name].default)
        if kind is tuple and isinstance(value, str):
            typed[name] = tuple(value.split(","))
        elif kind in (int, float) and isinstance(value, str):
            try:
                typed[name] = kind(value)
            except ValueError:
                raise DataError(
                    f"{loader.__name__}: {name} is {value!r}; expected a "
                    f"{'whole ' * (kind is int)}number"
                ) from None
    return typed
