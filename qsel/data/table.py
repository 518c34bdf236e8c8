"""Labels in a file: ``labels.csv``, and a list of the classes to test on."""

import csv
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from qsel.data.pictures import DataError, composed
from qsel.data.walk import first, refuse

TABLE = "labels.csv"
COLUMNS = ("file", "fine", "coarse")


class Labelled(NamedTuple):
    """An image with its labels, and the part that it belongs to, if it says so."""

    path: Path
    fine: str
    coarse: str
    part: str = ""  # "train", "test", "val", or none


def from_table(root: Path, images: list[Path]) -> list[Labelled]:
    """The images below a folder, in their order, as ``root/labels.csv`` labels them.

    Raises:
        DataError: no such table, lines without an image, images without a line, or
            values that are missing or unknown; all of a kind are named at once.
    """
    table = root / TABLE
    there: dict[str, Path] = {}
    for path in images:
        name = composed(path.relative_to(root).as_posix())
        if name in there:
            raise DataError(
                f"{path}: another image has a name that looks the same; rename one"
            )
        there[name] = path
    labels: dict[str, tuple[str, str, str]] = {}
    problems = []
    for line, row in _rows(table):
        where = f"{table}, line {line}"
        wrong = ""
        file, fine, coarse = (row[column] for column in COLUMNS)
        part = row.get("split", "").lower()
        if empty := [column for column, value in row.items() if not value]:
            problems.append((where, f"{empty[0]} is empty; fill it in"))
            continue
        name = file if file in there else _plain(file)
        if part not in ("", "train", "test"):
            wrong = f"split is {row['split']!r}; give train or test"
        elif name not in there:
            wrong = (
                f"there is no image {file!r} below {root}; give paths relative to that "
                "folder"
            )
        elif name in labels:
            wrong = f"{file!r} has a label already; give it one"
        if wrong:
            problems.append((where, wrong))
        labels[name] = fine, coarse, part
    refuse(table, problems)
    if unlabelled := [name for name in there if name not in labels]:
        raise DataError(
            f"{there[unlabelled[0]]}: {TABLE} has no label for it ({len(unlabelled)} "
            "such images); add a line for it or take it out of the folder"
        )
    # by path: the order of lines changes nothing
    return [Labelled(path, *labels[name]) for name, path in there.items()]


def read_classes(file: Path, root: Path) -> list[str]:
    """The fine classes that a text file lists, one a line.

    Empty lines and lines that begin with # are passed over.

    Raises:
        DataError: no such file, not UTF-8, or no class in it.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(
            f"{file}: there is no such file; give test=FILE with a path from {root}, "
            "or an absolute one"
        ) from None
    except (OSError, UnicodeError) as error:
        raise DataError(
            f"{file}: cannot be read ({error}); expected a UTF-8 text with one fine "
            "class a line"
        ) from None
    names = [composed(line.strip()) for line in lines]
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise DataError(f"{file}: names no class; give one fine class a line")
    return list(dict.fromkeys(names))


def check_classes(file: Path, given: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a list of classes that names others than those of the data.

    Raises:
        DataError: the unknown names.
    """
    if unknown := sorted(set(given).difference(known)):
        raise DataError(
            f"{file}: {len(unknown)} of {len(given)} names are no fine classes of the "
            f"data: {first([*map(repr, unknown)])}; they are called "
            f"{first([*map(repr, known)])}"
        )


def _plain(file: str) -> str:
    """A written path as the walk through the folder gives it."""
    return posixpath.normpath(composed(file).replace("\\", "/"))


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """The line number of each row, and its values in the columns that count."""
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
    columns = [c for c in (*COLUMNS, "split") if c in found]
    return [
        (line, {c: composed((row[c] or "").strip()) for c in columns})
        for line, row in rows
    ]
