"""Quadruplets for a user's own file."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from qsel.data.embeddings import select_from_file
from qsel.hierarchy import Hierarchy
from qsel.selection import select_quadruplets

NAMES = ["reference", "positive_positive", "positive_negative", "negative"]
# Two coarse classes of two fine classes, and one that stands alone
FINE = np.array(["a3"] * 4 + ["a4"] * 3 + ["up"] * 3 + ["fox"] * 3 + ["van"] * 2)
COARSE = np.array(["sedan"] * 7 + ["mini"] * 6 + ["bus"] * 2)
EMBEDDINGS = np.random.default_rng(0).normal(size=(15, 4)).astype("float32")


def write(path, **changes):
    """Embeddings and labels in a file; what is changed to None is left out."""
    held = dict(embeddings=EMBEDDINGS, fine=FINE, coarse=COARSE) | changes
    held = {name: value for name, value in held.items() if value is not None}
    if path.suffix == ".npz":
        np.savez(path, **held)
    else:
        held["embedding"] = list(held.pop("embeddings"))
        pd.DataFrame(held).to_parquet(path)
    return path


def read(path):
    if path.suffix.lower() == ".npz":
        with np.load(path) as held:
            return pd.DataFrame({name: held[name] for name in held.files})
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


@pytest.mark.parametrize(
    ("source", "out", "method"),
    [
        ("in.npz", "out.csv", "method2"),
        ("in.parquet", "out.NPZ", "random"),
        ("in.npz", "out.parquet", "method1"),
    ],
)
def test_the_file_holds_what_the_selection_gives(tmp_path, source, out, method):
    source, out = write(tmp_path / source), tmp_path / "new" / out
    assert select_from_file(source, out, method, seed=3) == (13, 2)
    table = read(out)
    assert table.columns.tolist() == NAMES
    labels = Hierarchy.from_names(FINE.tolist(), COARSE.tolist())
    chosen = select_quadruplets(
        torch.from_numpy(EMBEDDINGS),
        labels.fine,
        labels.coarse,
        labels.references(),
        method,
        torch.Generator().manual_seed(3),
    )
    assert np.array_equal(table.to_numpy(), chosen.stack().T.numpy())
    assert table["reference"].tolist() == list(range(13))


def test_names_and_numbers_as_labels_and_other_columns(tmp_path):
    out = tmp_path / "out.csv"
    select_from_file(write(tmp_path / "in.npz"), out)
    expected = out.read_text()
    numbers = {
        name: np.unique(labels, return_inverse=True)[1]
        for name, labels in (("fine", FINE), ("coarse", COARSE))
    }
    select_from_file(write(tmp_path / "in.npz", **numbers), out)
    assert out.read_text() == expected
    frame = pd.DataFrame(dict(fine=FINE, coarse=COARSE, embeddings=list(EMBEDDINGS)))
    frame["fine"] = frame["fine"].astype("category")
    frame.assign(picture=[b"x"] * 15).to_parquet(tmp_path / "in.parquet")
    select_from_file(tmp_path / "in.parquet", out)
    assert out.read_text() == expected


def test_embeddings_of_the_other_byte_order(tmp_path):
    turned = write(tmp_path / "in.npz", embeddings=EMBEDDINGS.astype(">f4"))
    assert select_from_file(turned, tmp_path / "out.csv") == (13, 2)


def with_nan():
    embeddings = EMBEDDINGS.copy()
    embeddings[5, 2] = np.nan
    return embeddings


BAD = {
    "no fine": (dict(fine=None), "cannot be read: it has no 'fine'; it holds"),
    "lengths": (dict(fine=FINE[:9]), "9 fine labels but 15 coarse labels"),
    "fewer": (dict(embeddings=EMBEDDINGS[:3]), "3 embeddings but 15 labels"),
    "whole": (dict(embeddings=np.ones((15, 4), int)), "embeddings are int64"),
    "flat": (dict(embeddings=np.ones(15)), "of shape (15,); expected float16"),
    "matrix": (dict(fine=np.ones((15, 2))), "fine has shape (15, 2)"),
    "value": (dict(coarse=np.array("a")), "coarse has shape ()"),
    "not finite": (dict(embeddings=with_nan()), "NaN"),
    "one coarse": (dict(coarse=np.array(["x"] * 15)), "only one coarse class"),
    "two parents": (dict(coarse=np.array(["x", "y", "z"] * 5)), "two coarse"),
    "nothing": (dict(embeddings=EMBEDDINGS[:0], fine=FINE[:0], coarse=FINE[:0]), "no"),
    "objects": (dict(fine=FINE.astype(object)), "save names by fine.astype(str)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_writes_nothing(tmp_path, case):
    held, says = BAD[case]
    source, out = write(tmp_path / "in.npz", **held), tmp_path / "out.csv"
    out.write_text("old")
    with pytest.raises(ValueError, match=rf"in\.npz.*{re.escape(says)}"):
        select_from_file(source, out)
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.npz", "out.csv"]


def test_a_missing_label_is_no_class(tmp_path):
    fine = FINE.astype(object)
    fine[5] = None
    source = write(tmp_path / "in.parquet", fine=fine)
    with pytest.raises(ValueError, match="fine has no label in row 5"):
        select_from_file(source, tmp_path / "out.csv")


@pytest.mark.parametrize(
    "rows", [[[1.0]] * 14 + [[1.0, 2.0]], [1.0] * 15, [["a"]] * 15]
)
def test_lists_that_are_no_embeddings(tmp_path, rows):
    source = write(tmp_path / "in.parquet", embeddings=rows)
    with pytest.raises(ValueError, match=r"in\.parquet.*(same shape|embeddings are)"):
        select_from_file(source, tmp_path / "out.csv")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_files_that_cannot_be_read(tmp_path, suffix):
    source = tmp_path / f"in{suffix}"
    with pytest.raises(ValueError, match="no file"):
        select_from_file(source, tmp_path / "out.csv")
    for content in (b"", b"PK\x03\x04 cut short", b"words"):
        source.write_bytes(content)
        with pytest.raises(ValueError, match=f"{source.name} cannot be read"):
            select_from_file(source, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_what_is_wrong_with_the_call_is_said_first(tmp_path, monkeypatch):
    monkeypatch.setattr("qsel.data.embeddings._read", None)
    source = write(tmp_path / "in.npz")
    (tmp_path / "folder.csv").mkdir()
    for out, method, says in (
        ("out", "random", "out: expected a file ending in .csv"),
        ("folder.csv", "random", "folder.csv is a folder"),
        ("in.npz/out.csv", "random", "in.npz is a file, not a folder"),
        ("in.npz", "random", "in.npz is the file to read; give another"),
        ("out.csv", "method3", "method3"),
    ):
        with pytest.raises(ValueError, match=re.escape(says)):
            select_from_file(source, tmp_path / out, method)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write all
    with pytest.raises(ValueError, match=r"out\.csv cannot be written: no permission"):
        select_from_file(source, tmp_path / "new" / "out.csv")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"in\.txt: expected a file ending in \.npz"):
        select_from_file(tmp_path / "in.txt", tmp_path / "out.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.csv", "in.npz"]
