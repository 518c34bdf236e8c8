"""Quadruplets for a user's own file."""

import os
import pickle
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

from qsel.data.embeddings import select_from_file
from qsel.hierarchy import Hierarchy
from qsel.selection import select_quadruplets

NAMES = ["reference", "positive_positive", "positive_negative", "negative"]


def labels():
    """Two coarse classes of two fine classes, and one that stands alone."""
    fine = ["a3"] * 4 + ["a4"] * 3 + ["up"] * 3 + ["fox"] * 3 + ["van"] * 2
    coarse = ["sedan"] * 7 + ["mini"] * 6 + ["bus"] * 2
    return np.array(fine), np.array(coarse)


def arrays():
    fine, coarse = labels()
    embeddings = np.random.default_rng(0).normal(size=(15, 4)).astype("float32")
    return dict(embeddings=embeddings, fine=fine, coarse=coarse)


def write(path, **held):
    if path.suffix == ".npz":
        np.savez(path, **held)
    else:
        if "embeddings" in held:
            held["embedding"] = list(held.pop("embeddings"))
        pd.DataFrame(held).to_parquet(path)
    return path


def read(path):
    if path.suffix == ".npz":
        with np.load(path) as held:
            return pd.DataFrame({name: held[name] for name in held.files})
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


@pytest.mark.parametrize("source", ["in.npz", "in.parquet"])
@pytest.mark.parametrize("out", ["out.csv", "out.parquet", "out.npz"])
@pytest.mark.parametrize("method", ["method1", "method2", "random"])
def test_every_kind_of_file(tmp_path, source, out, method):
    source, out = write(tmp_path / source, **arrays()), tmp_path / "new" / out
    assert select_from_file(source, out, method, seed=3) == (13, 2)
    table = read(out)
    assert table.columns.tolist() == NAMES
    assert all(dtype == np.int64 for dtype in table.dtypes)
    fine, coarse = labels()
    expected = Hierarchy.from_names(fine.tolist(), coarse.tolist())
    chosen = select_quadruplets(
        torch.from_numpy(arrays()["embeddings"]),
        expected.fine,
        expected.coarse,
        expected.references(),
        method,
        torch.Generator().manual_seed(3),
    )
    assert np.array_equal(table.to_numpy(), chosen.stack().T.numpy())
    r, p, q, n = table.to_numpy().T
    assert r.tolist() == list(range(13))
    assert (fine[p] == fine[r]).all() and (p != r).all()
    assert (coarse[q] == coarse[r]).all() and (fine[q] != fine[r]).all()
    assert (coarse[n] != coarse[r]).all()


def test_numbers_or_names_as_labels(tmp_path):
    held = arrays()
    select_from_file(write(tmp_path / "names.npz", **held), tmp_path / "a.csv")
    for name in ("fine", "coarse"):
        held[name] = np.unique(held[name], return_inverse=True)[1]
    select_from_file(write(tmp_path / "numbers.npz", **held), tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def test_the_seed_decides(tmp_path):
    source = write(tmp_path / "in.npz", **arrays())
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        select_from_file(source, tmp_path / f"{name}.csv", "random", seed)
    a, b, c = ((tmp_path / f"{name}.csv").read_text() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("kind", ["float16", "float64", ">f4", "longdouble"])
def test_other_floating_point(tmp_path, kind):
    held = arrays()
    held["embeddings"] = held["embeddings"].astype(kind)
    source = write(tmp_path / "in.npz", **held)
    try:
        assert select_from_file(source, tmp_path / "out.csv")[0] == 13
    except ValueError as error:
        assert "in.npz" in str(error) and "embeddings" in str(error)


def test_parquet_column_may_be_called_embeddings(tmp_path):
    held = arrays()
    held["embeddings"] = list(held["embeddings"])
    pd.DataFrame(held).to_parquet(tmp_path / "in.parquet")
    assert select_from_file(tmp_path / "in.parquet", tmp_path / "out.csv")[0] == 13


def changed(**changes):
    held = arrays() | changes
    return {name: value for name, value in held.items() if value is not None}


def with_value(value):
    held = arrays()
    held["embeddings"][5, 2] = value
    return held


def with_label(name, value):
    held = arrays()
    held[name] = held[name].astype(object)
    held[name][5] = value
    return held


BAD = {
    "no fine": (changed(fine=None), "has no 'fine'"),
    "no embeddings": (changed(embeddings=None), "embedding"),
    "lengths": (changed(fine=labels()[0][:9]), "fine"),
    "fewer embeddings": (
        changed(embeddings=np.ones((3, 2))),
        "3 embeddings but 15 fine and 15 coarse",
    ),
    "whole numbers": (changed(embeddings=np.ones((15, 4), int)), "int64"),
    "flat": (changed(embeddings=np.ones(15)), "(15,)"),
    "cube": (changed(embeddings=np.ones((15, 2, 2))), "(15, 2, 2)"),
    "fine matrix": (changed(fine=np.ones((15, 2))), "fine has shape (15, 2)"),
    "not finite": (with_value(np.nan), "5"),
    "infinite": (with_value(np.inf), "5"),
    "one coarse": (changed(coarse=np.array(["x"] * 15)), "only one coarse class"),
    "two parents": (changed(coarse=np.array(["x", "y", "z"] * 5)), "two coarse"),
    "nothing": (
        {name: value[:0] for name, value in arrays().items()},
        "no sample",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_writes_nothing(tmp_path, case):
    held, says = BAD[case]
    source = write(tmp_path / "in.npz", **held)
    out = tmp_path / "out.csv"
    out.write_text("old")
    with pytest.raises(ValueError) as error:
        select_from_file(source, out)
    assert says in str(error.value) and "\n" not in str(error.value)
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.npz", "out.csv"]


@pytest.mark.parametrize("name", ["fine", "coarse"])
@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_missing_label_is_no_class(tmp_path, name, value):
    source = write(tmp_path / "in.parquet", **with_label(name, value))
    with pytest.raises(ValueError, match=rf"{name}.*5"):
        select_from_file(source, tmp_path / "out.csv")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_files_that_cannot_be_read(tmp_path, suffix):
    source = tmp_path / f"in{suffix}"
    with pytest.raises(ValueError, match="no file"):
        select_from_file(source, tmp_path / "out.csv")
    for content in (b"", b"PK\x03\x04 cut short", b"words"):
        source.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read") as error:
            select_from_file(source, tmp_path / "out.csv")
        assert source.name in str(error.value)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("names", [("in.txt", "out.csv"), ("in.npz", "out.txt")])
def test_kinds_of_file_that_are_not_known(tmp_path, names):
    source, out = (tmp_path / name for name in names)
    (tmp_path / "in.txt").write_text("1 2 3")
    write(tmp_path / "in.npz", **arrays())
    with pytest.raises(
        ValueError, match=r"\.txt: expected a file ending in \."
    ) as error:
        select_from_file(source, out)
    assert ".npz" in str(error.value)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            [[1.0]] * 14 + [[1.0, 2.0]],
            "row 14 of embedding has 2 numbers.* row 0 has 1",
        ),
        ([[1.0]] * 14 + [None], "row 14 of embedding is no list of numbers"),
        ([1.0] * 15, "row 0 of embedding is no list of numbers"),
        ([["a"]] * 15, "embeddings are object"),
        ([[1.0, None]] * 15, "15 of 15 embeddings hold NaN"),
    ],
)
def test_lists_that_are_no_embeddings(tmp_path, rows, says):
    fine, coarse = labels()
    held = dict(fine=fine, coarse=coarse, embedding=rows)
    pd.DataFrame(held).to_parquet(tmp_path / "in.parquet")
    with pytest.raises(ValueError, match=rf"in\.parquet.*{says}"):
        select_from_file(tmp_path / "in.parquet", tmp_path / "out.csv")


def test_columns_that_do_not_fit(tmp_path):
    source, out = tmp_path / "in.parquet", tmp_path / "out.csv"
    frame = pd.DataFrame(arrays() | {"embeddings": [[1.0, 2.0]] * 15})
    frame.drop(columns="coarse").to_parquet(source)
    with pytest.raises(ValueError, match=r"in\.parquet.*no 'coarse'; it holds embed"):
        select_from_file(source, out)
    frame.drop(columns="embeddings").to_parquet(source)
    with pytest.raises(ValueError, match=r"in\.parquet.*no 'embeddings'"):
        select_from_file(source, out)
    frame.assign(embedding=frame["embeddings"]).to_parquet(source)
    with pytest.raises(ValueError, match="both 'embedding' and 'embeddings'"):
        select_from_file(source, out)
    frame.iloc[:0].to_parquet(source)
    with pytest.raises(ValueError, match=r"in\.parquet.*no row"):
        select_from_file(source, out)
    # Categories are names, and a column that is not asked for may hold anything.
    frame = pd.DataFrame(arrays() | {"embeddings": list(arrays()["embeddings"])})
    frame["fine"] = frame["fine"].astype("category")
    frame.assign(picture=[b"x"] * 15).to_parquet(source)
    assert select_from_file(source, out) == (13, 2)


@pytest.mark.parametrize("name", ["embeddings", "fine", "coarse"])
def test_a_single_value_is_no_column(tmp_path, name):
    for value in (np.array(1.0), np.array("a"), np.array("a", object)):
        source = write(tmp_path / "in.npz", **changed(**{name: value}))
        with pytest.raises(ValueError, match=rf"in\.npz.*{name}.*shape \(\)"):
            select_from_file(source, tmp_path / "out.csv")


@pytest.mark.parametrize("content", ["text", "npy"])
def test_an_archive_in_name_only(tmp_path, content):
    source = tmp_path / "in.npz"
    source.write_text("1 2 3")
    if content == "npy":
        with source.open("wb") as stream:
            np.save(stream, arrays()["embeddings"])
    with pytest.raises(ValueError, match=r"in\.npz cannot be read.*no \.npz archive"):
        select_from_file(source, tmp_path / "out.csv")


def test_labels_straight_from_pandas(tmp_path):
    """Its text is an array of objects, which numpy pickles."""
    held = arrays()
    select_from_file(write(tmp_path / "in.npz", **held), tmp_path / "a.csv")
    frame = pd.DataFrame({name: held[name] for name in ("fine", "coarse")})
    held |= {name: frame[name].to_numpy(object) for name in frame}
    held["notes"] = np.array([{}, print], object)  # not asked for, so not read
    select_from_file(write(tmp_path / "in.npz", **held), tmp_path / "b.csv")
    held["fine"] = np.unique(arrays()["fine"], return_inverse=True)[1].astype(object)
    select_from_file(write(tmp_path / "in.npz", **held), tmp_path / "c.csv")
    a, b, c = ((tmp_path / f"{name}.csv").read_text() for name in "abc")
    assert a == b == c
    for absent in (None, float("nan")):
        held["fine"][3] = absent
        source = write(tmp_path / "in.npz", **held)
        with pytest.raises(ValueError, match="fine has no label in row 3"):
            select_from_file(source, tmp_path / "out.csv")


class Call:
    """Unpickled, it calls what it is told to."""

    def __init__(self, *what):
        self.what = what

    def __reduce__(self):
        return self.what[0], self.what[1:]


@pytest.mark.parametrize("name", ["embeddings", "fine", "coarse"])
def test_no_pickle_is_obeyed(tmp_path, name):
    witness = tmp_path / "called"
    harm = Call(os.mkdir, str(witness))
    for value in (harm, print, np.int64(3), ["a"], {}, Call(np.ndarray, (3,))):
        objects = np.array([None] * 15, object)
        objects[0] = value
        source = write(tmp_path / "in.npz", **changed(**{name: objects}))
        with pytest.raises(ValueError, match=rf"in\.npz.*{name} are Python objects"):
            select_from_file(source, tmp_path / "out.csv")
        assert not witness.exists()
    pickle.loads(pickle.dumps(harm))  # what would have happened
    assert witness.exists()


def test_a_pickle_in_the_place_of_an_array(tmp_path):
    source = write(tmp_path / "in.npz", **changed(fine=None))
    header = {"descr": "|O", "fortran_order": False, "shape": (15,)}
    with zipfile.ZipFile(source, "a") as archive, archive.open("fine.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(pickle.dumps(list("a" * 15)))
    with pytest.raises(ValueError, match="fine are Python objects"):
        select_from_file(source, tmp_path / "out.csv")


def test_what_is_wrong_with_the_call_is_said_first(tmp_path, monkeypatch):
    monkeypatch.setattr("qsel.data.embeddings._read", None)
    source = write(tmp_path / "in.npz", **arrays())
    (tmp_path / "folder.csv").mkdir()
    for out, seed, says in (
        ("out.csv", 2**64, "seed=18446744073709551616; expected from 0"),
        ("out.csv", -1, "seed=-1"),
        ("out", 0, "out: expected a file ending in .csv"),
        ("folder.csv", 0, "folder.csv is a folder"),
        ("in.npz/out.csv", 0, "in.npz is a file, not a folder"),
    ):
        with pytest.raises(ValueError, match=re.escape(says)):
            select_from_file(source, tmp_path / out, "random", seed)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write all
    with pytest.raises(ValueError, match=r"out\.csv cannot be written: no permission"):
        select_from_file(source, tmp_path / "new" / "out.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.csv", "in.npz"]


def test_endings_in_capitals(tmp_path):
    source = write(tmp_path / "in.npz", **arrays()).rename(tmp_path / "IN.NPZ")
    for name in ("OUT.CSV", "OUT.PARQUET", "OUT.NPZ"):
        select_from_file(source, tmp_path / name)
    frame = pd.read_csv(tmp_path / "OUT.CSV")
    assert frame.equals(pd.read_parquet(tmp_path / "OUT.PARQUET"))
    with np.load(tmp_path / "OUT.NPZ") as held:
        assert (held["negative"] == frame["negative"]).all()


def test_the_source_is_not_overwritten(tmp_path):
    source = write(tmp_path / "in.npz", **arrays())
    before = source.read_bytes()
    with pytest.raises(ValueError, match=r"in\.npz"):
        select_from_file(source, source)
    assert source.read_bytes() == before


def test_unknown_method(tmp_path):
    source = write(tmp_path / "in.npz", **arrays())
    with pytest.raises(ValueError, match="method3"):
        select_from_file(source, tmp_path / "out.csv", "method3")
    assert not (tmp_path / "out.csv").exists()
