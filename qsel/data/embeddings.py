"""Quadruplets for embeddings and labels that come from a file."""

import zipfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pyarrow.parquet import ParquetFile

from qsel.data.files import check_output, written_whole
from qsel.hierarchy import Hierarchy
from qsel.selection import Quadruplets, Rule, select_quadruplets

COLUMNS = ("embeddings", "fine", "coarse")
ENDINGS = (".csv", ".parquet", ".npz")


def select_from_file(
    source: Path, out: Path, method: str = "method2", seed: int = 0
) -> tuple[int, int]:
    """Write a quadruplet for every sample of a file that can be a reference.

    Args:
        source: .npz with arrays embeddings (N, D), fine (N,), coarse (N,), or .parquet
            with columns embedding (lists of numbers), fine, coarse. Labels may be
            numbers or names.
        out: .csv, .parquet or .npz; columns reference, positive_positive,
            positive_negative, negative, each a row number of the source.
        method: see ``qsel.selection``.
        seed: of what is drawn at random.

    Returns:
        How many quadruplets were written, and how many samples cannot be a reference.

    Raises:
        ValueError: a file of another kind, a missing column, or values that do not
            fit; nothing is written then.
    """
    Rule(method)  # what is wrong with the call is said before the file is read
    check_output(out, ENDINGS)
    if out.resolve() == source.resolve():
        raise ValueError(f"{out} is the file to read; give another one to write")
    embeddings, fine, coarse = _read(source)
    try:
        labels = Hierarchy.from_names(fine, coarse)
        references = labels.references()
        chosen = select_quadruplets(
            embeddings,
            labels.fine,
            labels.coarse,
            references,
            method,
            torch.Generator().manual_seed(seed),
        )
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    names = [field.name for field in fields(Quadruplets)]
    table = pd.DataFrame(chosen.stack().T.numpy(), columns=names)
    with written_whole(out) as unfinished:
        if out.suffix.lower() == ".csv":
            table.to_csv(unfinished, index=False)
        elif out.suffix.lower() == ".parquet":
            table.to_parquet(unfinished, index=False)
        else:
            with unfinished.open("wb") as stream:
                np.savez(stream, **{name: table[name].to_numpy() for name in names})
    return len(table), len(labels) - len(references)


def _read(source: Path) -> tuple[torch.Tensor, list[str], list[str]]:
    readers = {".npz": _from_npz, ".parquet": _from_parquet}
    kind = source.suffix.lower()
    if kind not in readers:
        raise ValueError(f"{source}: expected a file ending in {', '.join(readers)}")
    if not source.is_file():
        raise ValueError(f"no file {source}; give the .npz or .parquet to select from")
    try:
        embeddings, fine, coarse = readers[kind](source)
    except Exception as error:  # numpy, zipfile and pyarrow raise what they like
        reason = str(error) or type(error).__name__
        raise ValueError(f"{source} cannot be read: {reason}") from error
    for name, column in (("fine", fine), ("coarse", coarse)):
        if column.ndim != 1:
            raise ValueError(
                f"{source}: {name} has shape {column.shape}; expected (N,)"
            )
        if (absent := pd.isna(column)).any():
            raise ValueError(
                f"{source}: {name} has no label in row {int(absent.argmax())}; give "
                "each embedding one"
            )
    native = embeddings.dtype.newbyteorder("=")
    if native not in (np.float16, np.float32, np.float64) or embeddings.ndim != 2:
        raise ValueError(
            f"{source}: embeddings are {embeddings.dtype} of shape {embeddings.shape}; "
            "expected float16, float32 or float64 of shape (N, D)"
        )
    named = [[str(label) for label in column] for column in (fine, coarse)]
    return torch.from_numpy(embeddings.astype(native, copy=False)), *named


def _from_parquet(source: Path) -> list[np.ndarray]:
    with ParquetFile(source) as file:
        names = file.schema_arrow.names
        wanted = ["embedding" if "embedding" in names else "embeddings", *COLUMNS[1:]]
        _check_names(names, wanted)
        table = file.read(columns=wanted)
    lists, fine, coarse = (table.column(name).to_pandas().to_numpy() for name in wanted)
    return [np.stack(lists), fine, coarse]


def _from_npz(source: Path) -> list[np.ndarray]:
    if not zipfile.is_zipfile(source):
        raise ValueError(
            "it is no .npz archive; numpy.savez(path, embeddings=…, fine=…, coarse=…) "
            "writes one"
        )
    with np.load(source, allow_pickle=False) as archive:
        _check_names(archive.files, COLUMNS)
        try:
            return [archive[name] for name in COLUMNS]
        except ValueError as error:  # names from pandas are Python objects
            raise ValueError(
                f"{error}; save names by fine.astype(str), embeddings by "
                "numpy.stack(list(embeddings))"
            ) from None


def _check_names(names: Sequence[str], wanted: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in names]:
        raise ValueError(
            f"it has no {missing[0]!r}; it holds {', '.join(names) or 'nothing'}, "
            f"expected {', '.join(wanted)}"
        )
