"""Labels in a file: ``labels.csv``, and a list of the classes to test on."""

import posixpath
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from qsel.data.pictures import DataError, composed
from qsel.data.walk import refuse

TABLE = "labels.csv"
COLUMNS = ["file", "fine", "coarse"]


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
            values that are missing or unknown.
    """
    table = root / TABLE
    there = {composed(path.relative_to(root).as_posix()): path for path in images}
    labels: dict[str, list[str]] = {}
    problems = []
    rows = _rows(table)
    for row in rows.itertuples():
        file, *row_labels = row[1:]
        name = posixpath.normpath(file.replace("\\", "/"))
        wrong = ""
        if empty := [c for c in rows if not getattr(row, c)]:
            wrong = f"{empty[0]} is empty; fill it in"
        elif len(row_labels) > 2 and row_labels[2] not in ("train", "test"):
            wrong = f"split is {row_labels[2]!r}; give train or test"
        elif name not in there:
            wrong = f"there is no image {file!r} below {root}; give paths from there"
        elif name in labels:
            wrong = f"{file!r} has a label already; give it one"
        if wrong:
            problems.append(f"{table}, line {row.Index + 2}: {wrong}")
        labels[name] = row_labels
    refuse(table, problems)
    if unlabelled := [name for name in there if name not in labels]:
        raise DataError(
            f"{there[unlabelled[0]]}: {TABLE} has no label for it ({len(unlabelled)} "
            "such images); add a line for it or take it out of the folder"
        )
    # by path: the order of lines changes nothing
    return [Labelled(path, *labels[name]) for name, path in there.items()]


def _rows(table: Path) -> pd.DataFrame:
    """The columns that count, without lines that are empty."""
    expected = f"expected a UTF-8 table with the columns {', '.join(COLUMNS)}"
    try:
        rows = pd.read_csv(
            table,
            dtype=str,
            index_col=False,
            keep_default_na=False,
            na_values=[""],
            skipinitialspace=True,
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )
    except (OSError, ValueError) as error:  # what pandas raises is a ValueError
        raise DataError(f"{table}: cannot be read ({error}); {expected}") from None
    if missing := [column for column in COLUMNS if column not in rows]:
        raise DataError(
            f"{table}: no column {missing[0]!r} among {', '.join(map(str, rows))}; "
            f"{expected}; rename the file if it is no label table"
        )
    rows = rows.dropna(how="all").fillna("")
    rows = rows[[column for column in (*COLUMNS, "split") if column in rows]]
    rows = rows.map(lambda value: composed(value.strip()))
    if "split" in rows:
        rows["split"] = rows["split"].str.lower()
    return rows


def read_classes(file: Path, root: Path) -> list[str]:
    """The fine classes that a text file lists, one a line.

    Empty lines and lines that begin with # are passed over.

    Raises:
        DataError: no such file, not UTF-8, or no class in it.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError(
            f"{file}: cannot be read ({error}); give test=FILE with a path from "
            f"{root}, or an absolute one, of a UTF-8 text with one fine class a line"
        ) from None
    names = [composed(line.strip()) for line in lines]
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise DataError(f"{file}: names no class; give one fine class a line")
    return names
