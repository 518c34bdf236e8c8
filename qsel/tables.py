"""Quadruplets for embeddings and labels that come from a file."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from qsel.hierarchy import Hierarchy
from qsel.selection import Quadruplets, select_quadruplets
from qsel.storage import written_whole

COLUMNS = ("embeddings", "fine", "coarse")


def select_from_file(
    source: Path, out: Path, method: str = "method2", seed: int = 0
) -> tuple[int, int]:
    """Write a quadruplet for every sample of a file that can be a reference.

    Args:
        source: .npz with arrays embeddings (N, D), fine (N,), coarse (N,), or .parquet
            with columns of those names, a list of numbers in each embedding. Labels
            may be numbers or names.
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
    _check_suffix(out, (".csv", ".parquet", ".npz"))
    if out.resolve() == source.resolve():
        raise ValueError(f"{out} is the file to read; give another one to write")
    embeddings, fine, coarse = _read(source)
    labels = Hierarchy.from_names(fine, coarse)
    if len(labels) != len(embeddings):
        raise ValueError(
            f"{source} holds {len(embeddings)} embeddings but {len(labels)} labels; "
            "expected one fine and one coarse label for each embedding"
        )
    references = labels.references()
    generator = torch.Generator().manual_seed(seed)
    chosen = select_quadruplets(
        embeddings, labels.fine, labels.coarse, references, method, generator
    )
    names = [field.name for field in fields(Quadruplets)]
    table = pd.DataFrame(chosen.stack().T.numpy(), columns=names)
    with written_whole(out) as unfinished:
        if out.suffix == ".csv":
            table.to_csv(unfinished, index=False)
        elif out.suffix == ".parquet":
            table.to_parquet(unfinished, index=False)
        else:
            with unfinished.open("wb") as stream:
                np.savez(stream, **{name: table[name].to_numpy() for name in names})
    return len(table), len(labels) - len(references)


def _read(source: Path) -> tuple[torch.Tensor, Sequence[str], Sequence[str]]:
    _check_suffix(source, (".npz", ".parquet"))
    if not source.is_file():
        raise ValueError(f"no file {source}; give the .npz or .parquet to select from")
    try:
        if source.suffix == ".npz":
            with np.load(source) as arrays:
                held = {name: arrays[name] for name in arrays.files}
        else:
            frame = pd.read_parquet(source)
            held = {name: frame[name].to_numpy() for name in frame.columns}
            for name in {"embedding", "embeddings"} & set(held):
                held["embeddings"] = np.stack(held.pop(name))
    except Exception as error:
        raise ValueError(f"{source} cannot be read: {error}") from error
    if missing := [name for name in COLUMNS if name not in held]:
        raise ValueError(
            f"{source} has no {missing[0]!r}; it holds {', '.join(held) or 'nothing'}, "
            f"expected {', '.join(COLUMNS)}"
        )
    embeddings, fine, coarse = (held[name] for name in COLUMNS)
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
    if embeddings.dtype.newbyteorder("=") in (np.float16, np.float32, np.float64):
        embeddings = embeddings.astype(embeddings.dtype.newbyteorder("="), copy=False)
    else:
        raise ValueError(
            f"{source}: embeddings are {embeddings.dtype}; expected float16, float32 "
            "or float64 of shape (N, D)"
        )
    named = [[str(label) for label in column] for column in (fine, coarse)]
    return torch.from_numpy(embeddings), *named


def _check_suffix(path: Path, accepted: tuple[str, ...]) -> None:
    if path.suffix not in accepted:
        raise ValueError(f"{path}: expected a file ending in {', '.join(accepted)}")
