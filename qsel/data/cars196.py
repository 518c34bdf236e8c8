"""Stanford Cars 196: 16,185 photographs of 196 car models.

Two layouts are in use, and both are read; ``root`` is the folder or its parent.

torchvision's::

    stanford_cars/cars_train/*.jpg, cars_test/*.jpg
    stanford_cars/cars_test_annos_withlabels.mat
    stanford_cars/devkit/cars_train_annos.mat, cars_meta.mat

Mirrors nest them, as cars_train/cars_train/*.jpg and car_devkit/devkit/*.mat; that is
read too, and the tables are found beside the image folders as well.

metric learning's::

    cars196/car_ims/*.jpg
    cars196/cars_annos.mat

The images' official train and test parts divide every class, so they are joined
first; the zero-shot split then trains on classes 1-98 and tests on 99-196, or the other
way round in the second fold.
"""

import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from qsel.data.car_classes import car_classes
from qsel.data.images import DataError, ImageSet
from qsel.data.pictures import without_unreadable
from qsel.data.splits import ZeroShot, zero_shot
from qsel.data.walk import is_litter
from qsel.hierarchy import Hierarchy

PARTS = ("train", "test")
COARSE = ("token22", "body9")
WHERE = (
    "fetch it from Kaggle (rickyyyyyyy/torchvision-stanford-cars) or Hugging Face "
    "(tanganke/stanford_cars)"
)
FOLDER_NAMES = ("stanford_cars", "cars196")
# Any of these says that a folder is meant to be Stanford Cars, if only half of it
MARKS = ("cars_train", "cars_test", "devkit", "car_ims", "cars_annos.mat")
TABLE_OF = {"train": "cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}


def cars196(
    root: str | os.PathLike,
    parts: Iterable[str] = PARTS,
    coarse: str = "token22",
    skip_bad: int = 0,
    fold: int = 1,
) -> ZeroShot:
    """Stanford Cars 196 as the zero-shot split 1-98 / 99-196, or swapped.

    Args:
        root: the folder in either layout, or its parent.
        parts: official image parts to join; ``("train",)`` where only that exists.
        coarse: "token22", the word before the year in the class name (what the
            paper's 22 types must be, by inference), or "body9", nine body types.
        skip_bad: so many images that cannot be decoded are left out, and named by
            ``skipped`` of the result. If above 0, every image is decoded first.
        fold: 1 trains on classes 1-98 and tests on 99-196, as the paper does; 2 trains
            on 99-196 and tests on 1-98.

    Raises:
        DataError: a part, table or image that is missing, or classes that are not
            those of the data set.
    """
    given = (parts,) if isinstance(parts, str) else tuple(parts)
    parts = tuple(part for part in PARTS if part in given)  # in the official order
    if not parts or set(given) - set(PARTS):
        raise DataError(
            f"parts is {given}; give ('train', 'test'), ('train',) or ('test',)"
        )
    if coarse not in COARSE:
        raise DataError(f"coarse is {coarse!r}; give one of {', '.join(COARSE)}")
    if fold not in (1, 2):
        raise DataError(
            f"fold is {fold!r}; give 1 (train on classes 1-98, test on 99-196) or 2 "
            "(train on 99-196, test on 1-98)"
        )
    base = _find(Path(root))
    if base is None:
        raise DataError(
            f"{root}: no Stanford Cars 196 here; expected {', '.join(MARKS[:3])} "
            f"(torchvision's layout) or {', '.join(MARKS[3:])} (metric learning's); "
            f"{WHERE}"
        )
    torchvision = any((base / mark).exists() for mark in MARKS[:3])
    if (base / "car_ims").exists() or not torchvision:
        labelled = _metric_learning_layout(base, parts)
    else:
        labelled = _torchvision_layout(base, parts)
    paths, classes = zip(*labelled, strict=True)
    if {*classes} != {*range(1, len(car_classes()) + 1)}:
        raise DataError(
            f"{base}: its classes run from {min(classes)} to {max(classes)}; expected "
            f"images of each from 1 to {len(car_classes())}; {WHERE}"
        )
    good, bad = without_unreadable(str(base), paths, skip_bad)
    fine_names = tuple(car.name for car in car_classes())
    above = [getattr(car, coarse) for car in car_classes()]
    coarse_names = tuple(dict.fromkeys(above))
    labels = Hierarchy(
        torch.tensor(classes)[good] - 1,
        torch.tensor([coarse_names.index(name) for name in above]),
        fine_names,
        coarse_names,
    )
    marks = [f"{parts[0]} part"] if parts != PARTS else []
    half = len(fine_names) // 2
    trained = fine_names[:half]
    if fold == 2:
        trained = fine_names[half:]
        marks.append(f"trained on classes {half + 1}-{len(fine_names)}")
    name = f"cars196 ({', '.join(marks)})" if marks else "cars196"
    images = ImageSet.from_files(name, [paths[i] for i in good], labels)
    split = zero_shot(images, trained)
    skipped = tuple(paths[i].relative_to(base).as_posix() for i in bad)
    return replace(split, skipped=skipped)


def is_cars196(root: str | os.PathLike) -> bool:
    """Whether a folder, or its child, looks like Stanford Cars in either layout."""
    return _find(Path(root)) is not None


def _find(root: Path) -> Path | None:
    if not root.is_dir():
        return None
    children = [p for p in _inside(root) if p.name.lower() in FOLDER_NAMES]
    for base in (root, *children):
        if any((base / mark).exists() for mark in MARKS):
            return base
    return None


def _torchvision_layout(base: Path, parts: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Every image of the parts with its class, 1 to 196."""
    labelled = []
    for part in parts:
        images, table = base / f"cars_{part}", _table(base, TABLE_OF[part])
        for path in (images, table):
            if not path.exists():
                raise _absent(base, path, part)
        _check_names(base)
        images = _innermost(images)
        names, classes = _annotations(table, "fname", "class")
        _check_same_files(images, names, table)
        labelled += zip([images / name for name in names], classes, strict=True)
    return labelled


def _metric_learning_layout(
    base: Path, parts: tuple[str, ...]
) -> list[tuple[Path, int]]:
    """Every image of the parts with its class, 1 to 196."""
    table, images = base / "cars_annos.mat", base / "car_ims"
    if not images.is_dir():
        raise DataError(f"{images}: no such folder, but {table.name} is here; {WHERE}")
    images = _innermost(images)
    names, *labels = _annotations(table, "relative_im_path", "class", "test")
    _check_names(base)
    names = [name.removeprefix("car_ims/") for name in names]
    _check_same_files(images, names, table)
    labelled = []
    for part in parts:
        rows = [*zip(names, *labels, strict=True)]
        found = [(images / name, c) for name, c, t in rows if t == (part == "test")]
        if not found:
            raise _absent(base, table, part)
        labelled += found
    return labelled


def _table(base: Path, name: str) -> Path:
    """Where a table lies, at most two folders deep; if nowhere, where it belongs."""
    places = (path for deep in ("", "*/", "*/*/") for path in base.glob(deep + name))
    return next(places, base / "devkit" / name)


def _absent(base: Path, path: Path, part: str) -> DataError:
    other = PARTS[1 - PARTS.index(part)]
    source = shlex.quote(f"{base}?parts={other}")
    return DataError(
        f"{path}: the official {part} part is not here, or not its labels; go without "
        f"it by --data {source}, or {WHERE}"
    )


def _innermost(folder: Path) -> Path:
    """The folder itself, or the only one in it, and so on, down to the images."""
    while len(inside := _inside(folder)) == 1 and inside[0].is_dir():
        folder = inside[0]
    return folder


def _inside(folder: Path) -> list[Path]:
    """What a folder holds, without litter, sorted."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        raise DataError(f"{folder}: cannot be opened; check its permissions") from None
    return [
        folder / name
        for name in names
        if not (is_litter(name) or is_litter(name, folder=True))
    ]


def _read_mat(path: Path, variable: str) -> np.ndarray:
    from scipy.io import loadmat  # half a second: not before it is needed

    if not path.is_file():
        raise DataError(f"{path}: no such file; {WHERE}")
    try:
        return np.atleast_1d(loadmat(path, squeeze_me=True)[variable])
    except Exception as error:  # scipy raises many types on a broken file
        raise DataError(
            f"{path}: no MATLAB table of {variable} that can be read ({error}); {WHERE}"
        ) from None


def _annotations(path: Path, name: str, *numbers: str) -> list[list]:
    """The columns of an annotation table: names of files, and whole numbers."""
    rows = _read_mat(path, "annotations")
    try:
        columns = [[str(value) for value in rows[name]]]
        return columns + [rows[field].astype(np.int64).tolist() for field in numbers]
    except (IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected the fields {', '.join([name, *numbers])}, the last of "
            f"whole numbers ({error}); is it the right file?"
        ) from None


def _check_names(base: Path) -> None:
    path = _table(base, "cars_meta.mat")
    joint = base / "cars_annos.mat"  # holds the class names too
    path = path if path.exists() or not joint.exists() else joint
    given = [str(name) for name in _read_mat(path, "class_names")]
    expected = [car.name for car in car_classes()]
    if len(given) != len(expected):
        raise DataError(
            f"{path}: {len(given)} class names, expected {len(expected)}; {WHERE}"
        )
    for number, (name, known) in enumerate(zip(given, expected, strict=True), start=1):
        # letters and digits only: some copies write "C/V" as "C-V"
        if re.sub(r"\W", "", name) != re.sub(r"\W", "", known):
            raise DataError(
                f"{path}: class {number} is named {name!r}, expected {known!r}; {WHERE}"
            )


def _check_same_files(images: Path, names: list[str], table: Path) -> None:
    there = {p.name for p in _inside(images)}
    if absent := [name for name in names if name not in there]:
        raise DataError(
            f"{images / absent[0]}: {table.name} has a label for it, but there is no "
            f"such image ({len(absent)} of {len(names)} are missing); {WHERE}"
        )
    if extra := sorted(there - set(names)):
        raise DataError(
            f"{images / extra[0]}: {table.name} has no label for it ({len(extra)} such "
            "files); take it out of the folder"
        )
