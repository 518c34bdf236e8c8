"""Your own images: ``root/coarse/fine/image.jpg``, or any folders and a label table.

A fine class is named by its whole path, "coarse/fine": two folders of the same name
under two coarse classes are two classes. Where ``root/labels.csv`` lies, with the
columns ``file, fine, coarse``, it gives the labels and the folders mean nothing.
"""

import csv
import os
from collections import Counter
from pathlib import Path

from qsel.data.loading import DataError, ImageSet
from qsel.data.splits import ZeroShot, split_by_fraction
from qsel.hierarchy import Hierarchy, HierarchyError

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
TEXTS = {".txt", ".md", ".csv", ".json"}  # notes beside the images are left alone
TABLE = "labels.csv"
COLUMNS = ("file", "fine", "coarse")


def folder(
    root: str | os.PathLike, test_fraction: float = 0.5, seed: int = 0
) -> ZeroShot:
    """Images of your own hierarchy, split by fine class within each coarse class.

    Args:
        root: a folder as described above. Hidden files and .txt, .md, .csv and .json
            files are passed over; any other file that is no image is an error.
        test_fraction: of the fine classes; see ``splits.split_fine_classes``.
        seed: equal seeds give equal splits.

    Raises:
        DataError: no folder, no images, images at the wrong depth, a file that is no
            image, a class with a single image, labels that are no hierarchy, or too
            few classes to train on.
    """
    root = Path(root)
    if not root.is_dir():
        what = "a file" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}; give a folder of coarse/fine/image.jpg")
    if (root / TABLE).exists():
        paths, fine, coarse = _from_table(root)
    else:
        paths, fine, coarse = _from_folders(root)
    for name, count in Counter(fine).items():
        if count == 1:
            raise DataError(
                f"{paths[fine.index(name)]}: the only image of fine class {name!r}; a "
                "reference needs a second one: add an image or take the class out"
            )
    try:
        hierarchy = Hierarchy.from_names(fine, coarse)
        hierarchy.references()  # refuses what can never give a quadruplet
    except HierarchyError as error:
        raise DataError(f"{root}: {error}") from None
    images = ImageSet.from_files(root.resolve().name, paths, hierarchy)
    return split_by_fraction(images, test_fraction, seed)


def _from_folders(root: Path) -> tuple[list[Path], list[str], list[str]]:
    paths, fine, coarse = [], [], []
    for path in _images_below(root):
        names = path.relative_to(root).parts
        if len(names) != 3:
            raise DataError(
                f"{path}: an image {len(names) - 1} folders below {root}, expected 2; "
                f"move it to coarse/fine/{path.name}"
            )
        paths.append(path)
        fine.append(f"{names[0]}/{names[1]}")
        coarse.append(names[0])
    return paths, fine, coarse


def _images_below(root: Path) -> list[Path]:
    """Every image, sorted; refuses other files and folders that hold nothing."""
    images = []
    for here, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        seen = [name for name in sorted(files) if not name.startswith(".")]
        before = len(images)
        for path in (Path(here, name) for name in seen):
            if path.suffix.lower() in IMAGES:
                images.append(path)
            elif path.suffix.lower() not in TEXTS:
                raise DataError(
                    f"{path}: neither an image ({' '.join(sorted(IMAGES))}) nor text "
                    f"({' '.join(sorted(TEXTS))}); take it out of the folder"
                )
        if not folders and len(images) == before:
            raise DataError(
                f"{here}: no image in this folder; add some, or take the folder out"
            )
    return images


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be opened; check its permissions")


def _from_table(root: Path) -> tuple[list[Path], list[str], list[str]]:
    table = root / TABLE
    there = {path.relative_to(root).as_posix(): path for path in _images_below(root)}
    labels: dict[str, tuple[str, str]] = {}
    for line, row in _rows(table):
        file, fine, coarse = row
        where = f"{table}, line {line}"
        if file not in there:
            raise DataError(
                f"{where}: there is no image {file!r} below {root}; give paths "
                "relative to that folder, with /"
            )
        if file in labels:
            raise DataError(f"{where}: {file!r} has a label already; give it one")
        labels[file] = fine, coarse
    if unlabelled := [file for file in there if file not in labels]:
        raise DataError(
            f"{there[unlabelled[0]]}: {TABLE} has no label for it ({len(unlabelled)} "
            "such images); add a line for it or take it out of the folder"
        )
    files = list(there)  # sorted by path: the order of lines changes nothing
    fine = [labels[file][0] for file in files]
    coarse = [labels[file][1] for file in files]
    return [there[file] for file in files], fine, coarse


def _rows(table: Path):
    """(line number, (file, fine, coarse)) of each line."""
    expected = f"expected a UTF-8 table with the columns {', '.join(COLUMNS)}"
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True, skipinitialspace=True)
            found = reader.fieldnames or []
            if missing := [c for c in COLUMNS if c not in found]:
                raise DataError(
                    f"{table}: no column {missing[0]!r} among "
                    f"{', '.join(found) or 'nothing'}; "
                    f"{expected}; rename the file if it is no label table"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"{table}: cannot be read ({error}); {expected}") from None
    for line, row in rows:
        values = tuple((row[column] or "").strip() for column in COLUMNS)
        for column, value in zip(COLUMNS, values, strict=True):
            if not value:
                raise DataError(f"{table}, line {line}: {column} is empty; fill it in")
        yield line, values
