import os
import shutil
import unicodedata

import pytest

from qsel.data.folder import folder
from qsel.data.images import DataError

TREE = {
    "sedan": ("a3", "a4", "a6", "civic"),
    "suv": ("q5", "q7", "x5"),
    "van": ("vito",),
}


def refused(root, *said, **options):
    with pytest.raises(DataError) as caught:
        folder(root, **options)
    for words in said:
        assert words in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def names(split):
    return set(split.train.hierarchy.fine_names + split.test.hierarchy.fine_names)


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
        (lambda t: [*t, t[0], "no,a,b", "on,c,d"], "labels.csv: 3 problems:"),
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


@pytest.mark.parametrize("write", ["./{}", ".\\{}", "{}", "all/../{}"])
def test_other_ways_to_write_a_path(flat, write):
    root, lines = flat
    expected = folder(root).train.fingerprint
    lines = [write.format(line) for line in lines]
    if "\\" in write:
        lines = [line.replace("/", "\\") for line in lines]
    write_table(root, lines)
    assert folder(root).train.fingerprint == expected


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_match_however_they_are_stored(flat, forms):
    root, lines = flat
    on_disk, in_table = (unicodedata.normalize(f, "Citro\u00ebn") for f in forms)
    os.rename(root / "all" / "a30.png", root / "all" / f"{on_disk}.png")
    write_table(root, [f"all/{in_table}.png,a3,sedan", *lines[1:]])
    assert len(folder(root).train) + len(folder(root).test) == 16
    other = unicodedata.normalize(forms[1], on_disk)
    shutil.copy(root / "all" / "a31.png", root / "all" / f"{other}.png")
    refused(root, "another image has a name that looks the same; rename one")


def test_a_column_split_is_the_split(flat):
    root, lines = flat
    tested = ("a3", "q5", "q7")
    rows = [
        f"{line},{'Test' if line.split(',')[1] in tested else 'train'}"
        for line in lines
    ]
    write_table(root, rows, "file,fine,coarse,split")
    assert folder(root).test.hierarchy.fine_names == tested
    write_table(
        root,
        [*rows[:-2], *[r.replace("train", "dev") for r in rows[-2:]]],
        "file,fine,coarse,split",
    )
    refused(root, "2 problems", "split is 'dev'; give train or test", "line 16")
    write_table(
        root, [rows[0].replace("Test", "train"), *rows[1:]], "file,fine,coarse,split"
    )
    refused(root, "share 1 of 8 fine classes, such as 'a3'", "flat?split=classes")
    assert len(names(folder(root, split="classes"))) == 8
    write_table(
        root, [r.replace("Test", "train") for r in rows], "file,fine,coarse,split"
    )
    refused(root, f"{root}: the split has no test images")


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
