import os
import unicodedata

import pytest

from qsel.data.folder import folder
from qsel.data.images import DataError

TREE = {
    "sedan": ("a3", "a4", "a6", "NA"),
    "suv": ("q5", "q7", "x5"),
    "van": ("vito",),
}


def refused(root, *said, **options):
    with pytest.raises(DataError) as caught:
        folder(root, **options)
    for words in said:
        assert words in str(caught.value)


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


@pytest.mark.parametrize(
    ("change", "head"),
    [
        (lambda t: [f"x,{line}" for line in t[::-1]], "note,file,fine,coarse"),
        (lambda t: [line.replace(",", ", ") for line in t], "file, fine, coarse"),
        (lambda t: [*t[:3], "", *t[3:], ",,"], "file,fine,coarse"),
        (lambda t: t, "\ufefffile,fine,coarse"),  # as spreadsheets write it
        (lambda t: [f"./{line}" for line in t], "file,fine,coarse"),
        (lambda t: [line.replace("/", "\\") for line in t], "file,fine,coarse"),
    ],
)
def test_other_ways_to_write_the_same_table(flat, change, head):
    root, lines = flat
    expected = folder(root).train.fingerprint
    write_table(root, change(lines), head)
    assert folder(root).train.fingerprint == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: [*t, "all/no.png,a,b"], "line 18: there is no image 'all/no.png'"),
        (lambda t: [*t, t[0]], "line 18: 'all/a30.png' has a label already"),
        (lambda t: [*t, t[0], "no,a,b", "on,c,d"], "labels.csv: 3 problems:"),
        (lambda t: [t[0], "", *t[1:], t[0]], "line 19: 'all/a30.png' has a label"),
        (lambda t: t[1:], "all/a30.png: labels.csv has no label for it (1 such"),
        (lambda t: [t[0], "all/a31.png,,sedan", *t[2:]], "line 3: fine is empty"),
        (lambda t: [t[0], "all/a31.png,a3", *t[2:]], "line 3: coarse is empty"),
        (lambda t: [t[0], '"all/a31.png,a3', *t[2:]], "cannot be read"),
        (lambda t: [], "has no label for it (16 such images)"),
        (
            lambda t: [*t[:-1], t[-1].replace("van", "suv")],
            "fine class 'vito' stands under two coarse classes",
        ),
    ],
)
def test_a_wrong_line(flat, change, said):
    root, lines = flat
    write_table(root, change(lines))
    refused(root, said)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_match_however_they_are_stored(flat, forms):
    root, lines = flat
    on_disk, in_table = (unicodedata.normalize(f, "Citro\u00ebn") for f in forms)
    os.rename(root / "all" / "a30.png", root / "all" / f"{on_disk}.png")
    write_table(root, [f"all/{in_table}.png,a3,sedan", *lines[1:]])
    assert len(folder(root).train) + len(folder(root).test) == 16


def test_a_column_split_is_the_split(flat):
    root, lines = flat
    head, tested = "file,fine,coarse,split", ("a3", "q5", "q7")
    rows = [
        f"{line},{'Test' if line.split(',')[1] in tested else 'train'}"
        for line in lines
    ]
    write_table(root, rows, head)
    assert folder(root).test.hierarchy.fine_names == tested
    write_table(
        root, [*rows[:-2], rows[-2].replace("train", "dev"), rows[-1][:-5]], head
    )
    refused(root, "2 problems", "split is 'dev'; give train or test", "split is empty")
    write_table(root, [rows[0].replace("Test", "train"), *rows[1:]], head)
    refused(root, "share 1 of 8 fine classes, such as 'a3'", "flat?split=classes")
    assert len(names(folder(root, split="classes"))) == 8
    write_table(root, [r.replace("Test", "train") for r in rows], head)
    refused(root, f"{root}: the split has no test images")


@pytest.mark.parametrize("text", ["file,fine\n", "\n", "", "file,fine,coarse\n\xff"])
def test_a_table_without_its_columns(flat, text):
    root, _ = flat
    (root / "labels.csv").write_bytes(text.encode("latin1"))
    refused(root, "labels.csv", "expected a UTF-8 table with the columns file, fine")
