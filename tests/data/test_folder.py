import os
import sys
from types import SimpleNamespace

import pytest

from qsel.data import load
from qsel.data.folder import folder
from qsel.data.loading import DataError, check_images

TREE = {
    "sedan": ("a3", "a4", "a6", "civic"),
    "suv": ("q5", "q7", "x5"),
    "van": ("vito",),
}


@pytest.fixture
def root(tmp_path, draw):
    seed = 0
    for coarse, models in TREE.items():
        for fine in models:
            for i in range(3):
                seed += 1
                draw(tmp_path / "mine" / coarse / fine / f"{i}.png", seed)
    return tmp_path / "mine"


def refused(root, *said, **options):
    with pytest.raises(DataError) as caught:
        folder(root, **options)
    for words in said:
        assert words in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def names(split):
    return set(split.train.hierarchy.fine_names + split.test.hierarchy.fine_names)


def test_folders_become_classes_named_by_their_path(root):
    split = folder(root)
    assert names(split) == {f"{c}/{f}" for c, models in TREE.items() for f in models}
    assert split.name == "mine"
    assert len(split.train) + len(split.test) == 24
    assert len(split.test.hierarchy.fine_names) == 3  # 2 of 4, 1 of 3, 0 of 1
    for side in (split.train, split.test):
        labels = side.hierarchy
        for i, path in enumerate(side.paths):
            assert labels.fine_names[labels.fine[i]] == "/".join(path.parts[-3:-1])
            assert labels.coarse_names[labels.coarse[i]] == path.parts[-3]


def test_equal_folder_names_are_two_classes(root):
    os.rename(root / "suv" / "q5", root / "suv" / "a3")
    assert {"sedan/a3", "suv/a3"} <= names(folder(root))


def test_seed_and_fraction_choose_the_split(root):
    draws = {folder(root, seed=seed).test.hierarchy.fine_names for seed in range(12)}
    assert len(draws) > 3
    assert (
        folder(root, seed=3).train.fingerprint == folder(root, seed=3).train.fingerprint
    )
    assert len(folder(root, test_fraction=0.3).test.hierarchy.fine_names) == 2
    refused(root, "held out is 1.0", test_fraction=1.0)


def test_every_kind_of_image_and_any_case(root, draw):
    for name in ("a.JPG", "b.jpeg", "c.webp", "d.Bmp", "e.GIF", "f.tif", "g.TIFF"):
        draw(root / "van" / "vito" / name)
    split = folder(root)
    assert len(split.train) + len(split.test) == 24 + 7
    for side in (split.train, split.test):
        check_images(side)


def test_notes_and_hidden_files_are_passed_over(root):
    for name in (
        "README.md",
        "notes.TXT",
        ".DS_Store",
        "suv/q5/size.json",
        "suv/a.csv",
    ):
        (root / name).write_text("note")
    (root / ".cache").mkdir()
    assert len(names(folder(root))) == 8


def test_load_finds_it_and_names_what_it_accepts(root):
    found, direct = load(root, seed=2), folder(root, seed=2)
    assert found.train.fingerprint == direct.train.fingerprint
    with pytest.raises(DataError, match="no option 'size'; it has test_fraction, seed"):
        load(root, size=3)
    for source in ("synthcar", root / "absent"):
        with pytest.raises(
            DataError, match="neither a data set nor a folder; give 'sy"
        ):
            load(source)
    with pytest.raises(DataError, match="is a file; give"):
        load(root / "suv" / "q5" / "0.png")


def test_load_draws_synthcars_with_its_options(monkeypatch):
    def synthcars(seed=0, size=64):
        return seed, size

    stand_in = SimpleNamespace(synthcars=synthcars)
    monkeypatch.setitem(sys.modules, "qsel.data.synthcars", stand_in)
    assert load("synthcars", seed=3) == (3, 64)
    with pytest.raises(DataError, match="synthcars has no option 'parts'; it has seed"):
        load("synthcars", parts=("train",))


# ---- bad input


def test_missing_empty_or_no_folder(root, tmp_path):
    refused(tmp_path / "absent", f"{tmp_path / 'absent'}: no such folder")
    refused(root / "suv" / "q5" / "0.png", "0.png: a file; give a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", f"{tmp_path / 'empty'}: no image in this folder")


@pytest.mark.parametrize("where", ["truck", "suv/q2"])
def test_a_class_folder_without_images(root, where):
    (root / where).mkdir()
    refused(root, f"{root / where}: no image in this folder; add some")
    (root / where / "notes.txt").write_text("to do")
    refused(root, f"{root / where}: no image in this folder; add some")


@pytest.mark.parametrize(("where", "deep"), [(".", 0), ("suv", 1), ("suv/q5/red", 3)])
def test_an_image_at_the_wrong_depth(root, draw, where, deep):
    path = draw(root / where / "stray.png")
    refused(root, f"{path}: an image {deep} folders below {root}, expected 2")


@pytest.mark.parametrize("name", ["suv/q5/clip.mp4", "suv/raw", "a.zip"])
def test_a_file_that_is_no_image(root, name):
    (root / name).write_bytes(b"1")
    refused(root, f"{root / name}: neither an image", "take it out")


def test_an_empty_image(root):
    path = root / "suv" / "q5" / "1.png"
    path.write_bytes(b"")
    refused(root, f"{path}: the file is empty")


def test_only_one_coarse_class(tmp_path, draw):
    for i in range(8):
        draw(tmp_path / "sedan" / f"m{i // 2}" / f"{i}.png")
    refused(tmp_path, f"{tmp_path}: only one coarse class, 'sedan'", "at least two")


def test_no_coarse_class_with_two_fine_ones(tmp_path, draw):
    for i in range(8):
        draw(tmp_path / f"c{i // 2}" / "m" / f"{i}.png")
    refused(tmp_path, "no sample can be a reference", "two fine classes")


def test_two_fine_classes_each_are_too_few_to_split(tmp_path, draw):
    for i in range(8):
        draw(tmp_path / f"c{i // 4}" / f"m{i // 2}" / f"{i}.png")
    refused(tmp_path, "the 2 left cannot be trained on", "does not help: add fine")


# ---- the label table


def write_table(root, lines, head="file,fine,coarse"):
    (root / "labels.csv").write_text("\n".join([head, *lines]) + "\n", "utf-8")


@pytest.fixture
def flat(tmp_path, draw):
    """Eight classes in one folder, labelled by a table."""
    lines = []
    for coarse, models in TREE.items():
        for fine in models:
            for i in range(2):
                draw(tmp_path / "flat" / "all" / f"{fine}{i}.png", seed=len(lines))
                lines.append(f"all/{fine}{i}.png,{fine},{coarse}")
    write_table(tmp_path / "flat", lines)
    return tmp_path / "flat", lines


def test_a_table_labels_images_wherever_they_lie(flat):
    root, lines = flat
    split = folder(root)
    assert names(split) == {fine for models in TREE.values() for fine in models}
    for side in (split.train, split.test):
        for i, path in enumerate(side.paths):
            fine = side.hierarchy.fine_names[side.hierarchy.fine[i]]
            assert path.stem[:-1] == fine
    write_table(root, [f"x,{line}" for line in lines[::-1]], "note,file,fine,coarse")
    assert folder(root).train.fingerprint == split.train.fingerprint
    write_table(root, [line.replace(",", ", ") for line in lines], "file, fine, coarse")
    assert folder(root).train.fingerprint == split.train.fingerprint
    text = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text("\ufeff" + text, "utf-8")  # as spreadsheets do
    assert folder(root).train.fingerprint == split.train.fingerprint


def test_a_fine_class_under_two_coarse_ones(flat):
    root, lines = flat
    write_table(root, [*lines[:-1], lines[-1].replace("van", "suv")])
    refused(root, f"{root}", "fine class 'vito' stands under two coarse classes")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: [*t, "all/no.png,a,b"], "line 18: there is no image 'all/no.png'"),
        (lambda t: [*t, t[0]], "line 18: 'all/a30.png' has a label already"),
        (lambda t: t[1:], "all/a30.png: labels.csv has no label for it (1 such"),
        (lambda t: [t[0], "all/a31.png,,sedan", *t[2:]], "line 3: fine is empty"),
        (lambda t: [t[0], "all/a31.png,a3", *t[2:]], "line 3: coarse is empty"),
        (lambda t: [t[0], '"all/a31.png,a3', *t[2:]], "cannot be read"),
        (lambda t: [], "has no label for it (16 such images)"),
    ],
)
def test_a_wrong_line(flat, change, said):
    root, lines = flat
    write_table(root, change(lines))
    refused(root, said)


@pytest.mark.parametrize("head", ["file,fine", "path,label", ""])
def test_a_table_without_its_columns(flat, head):
    root, lines = flat
    write_table(root, lines, head)
    refused(root, "labels.csv: no column", "rename the file")


@pytest.mark.parametrize("content", [b"", b"file,fine,coarse\n\xff\xfe\n", b"\0\0"])
def test_a_table_that_is_none(flat, content):
    root, _ = flat
    (root / "labels.csv").write_bytes(content)
    refused(root, "labels.csv", "expected a UTF-8 table with the columns file, fine")
