import os
import shutil

import pytest

from qsel.data.folder import folder
from qsel.data.images import DataError, check_images

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


def names(split):
    return set(split.train.hierarchy.fine_names + split.test.hierarchy.fine_names)


def test_folders_become_classes_named_by_their_path(root):
    os.rename(root / "suv" / "q5", root / "suv" / "a3")  # two classes of one name
    split = folder(root)
    expected = {f"{c}/{f}" for c, models in TREE.items() for f in models}
    assert names(split) == expected - {"suv/q5"} | {"suv/a3"}
    assert split.name == "mine"
    assert len(split.train) + len(split.test) == 24
    assert len(split.test.hierarchy.fine_names) == 3  # 2 of 4, 1 of 3, 0 of 1
    for side in (split.train, split.test):
        labels = side.hierarchy
        for i, path in enumerate(side.paths):
            assert labels.fine_names[labels.fine[i]] == "/".join(path.parts[-3:-1])
            assert labels.coarse_names[labels.coarse[i]] == path.parts[-3]


def test_seed_and_fraction_choose_the_split(root):
    draws = {folder(root, seed=seed).test.hierarchy.fine_names for seed in range(8)}
    assert len(draws) > 3
    assert (
        folder(root, seed=3).train.fingerprint == folder(root, seed=3).train.fingerprint
    )
    assert len(folder(root, test_fraction=0.3).test.hierarchy.fine_names) == 2


def test_every_kind_of_image_and_any_case(root, draw):
    for name in ("a.JPG", "b.jpeg", "c.webp", "d.Bmp", "e.GIF", "f.tif", "g.TIFF"):
        draw(root / "van" / "vito" / name)
    split = folder(root)
    assert len(split.train) + len(split.test) == 24 + 7
    check_images(split.train, split.test)


# ---- bad input


def test_missing_or_empty_folders(root, tmp_path):
    refused(tmp_path / "absent", "absent: cannot be opened")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty: no image in this folder")
    (root / "suv" / "q2").mkdir()
    (root / "suv" / "q2" / "notes.txt").write_text("to do")
    refused(root, f"{root / 'suv' / 'q2'}: no image in this folder; add some")


@pytest.mark.parametrize(("where", "deep"), [(".", 0), ("suv", 1), ("suv/q5/red", 3)])
def test_an_image_at_the_wrong_depth(root, draw, where, deep):
    path = draw(root / where / "stray.png")
    refused(root, f"{path}: an image {deep} folders below {root}, expected 2")


def test_classes_that_give_no_reference(tmp_path, draw):
    for i in range(8):
        draw(tmp_path / "one" / "sedan" / f"m{i // 2}" / f"{i}.png")
        draw(tmp_path / "alone" / f"c{i // 2}" / "m" / f"{i}.png")
        draw(tmp_path / "two" / f"c{i // 4}" / f"m{i // 2}" / f"{i}.png")
        draw(tmp_path / "level" / f"m{i // 2}" / f"{i}.png")
    refused(tmp_path / "one", "only one coarse class, 'sedan'", "at least two")
    refused(tmp_path / "alone", "no sample can be a reference", "two fine classes")
    refused(tmp_path / "two", "the 2 left cannot be trained on", "add fine classes")
    refused(tmp_path / "level", "one label level", "put each class below its coarse")


# ---- an own split


@pytest.fixture
def parts(tmp_path, draw):
    """Write root/PART/coarse/fine/image.png: other fine classes in each part."""

    def write(**names):
        seed = 0
        for part, letter in names.items():
            for coarse in ("sedan", "suv"):
                for fine in (f"{letter}1", f"{letter}2"):
                    for i in range(2):
                        seed += 1
                        path = tmp_path / "own" / part / coarse / fine / f"{i}.png"
                        draw(path, seed)
        return tmp_path / "own"

    return write


@pytest.mark.parametrize("other", ["test", "Valid"])
def test_folders_train_and_test_are_the_split(parts, other):
    split = folder(parts(train="a", **{other: "b"}))
    fine = [f"{c}/{f}" for c in ("sedan", "suv") for f in ("1", "2")]
    for side, letter in ((split.train, "a"), (split.test, "b")):
        expected = [name.replace("/", f"/{letter}") for name in fine]
        assert sorted(side.hierarchy.fine_names) == expected
    assert {path.parts[-4] for path in split.test.paths} == {other}
    assert "the data's own split into train and test is used" in split.notes


def test_a_validation_part_beside_a_test_part_is_left_out(parts):
    root = parts(train="a", val="v", test="b")
    split = folder(root)
    assert not any("/v" in name for name in names(split))
    assert "8 images of the validation part are left out" in split.notes
    assert len(names(folder(root, split="classes"))) == 12


def test_a_split_by_images_is_refused_and_can_be_joined(parts):
    root = parts(train="a", test="a")
    refused(root, f"{root}: the train and the test part share 4 of 4 fine classes")
    refused(root, "'own?split=classes'")
    parts(train="b", test="b")
    parts(train="c", test="c")
    split = folder(root, split="classes")
    assert len(names(split)) == 12 and len(split.train) + len(split.test) == 48
    assert set(split.test.hierarchy.fine.bincount().tolist()) == {4}


def test_one_label_level_in_parts_is_refused_with_what_to_do(tmp_path, draw):
    for part in ("train", "test"):
        for i in range(8):
            draw(tmp_path / part / f"car{i // 2}" / f"{i}.png")
    refused(tmp_path, "one label level", f"{tmp_path / 'labels.csv'}", "split=classes")


def test_a_part_that_is_absent_or_too_small_is_refused(parts):
    root = parts(train="a")
    refused(root, "holds train alone; give the folder of that part", f"{root}/train")
    parts(test="b")
    shutil.rmtree(root / "train" / "suv")
    refused(root, "own: the train part is too small: only one coarse class")


def test_options_of_a_draw_are_refused_where_none_is_made(parts):
    root = parts(train="a", test="b")
    refused(root, "test_fraction and seed change nothing; take them away", seed=3)
    assert folder(root, split="classes", seed=3, test_fraction=0.3)
    refused(root, "split is 'mine'; give own or classes", split="mine")


def test_a_list_names_the_classes_to_test_on(root, parts):
    (root / "unseen.list").write_text("\ufeff# mine\nsedan/a3\n\n suv/q5 \nsedan/a3\n")
    split = folder(root, test="unseen.list")
    assert split.test.hierarchy.fine_names == ("sedan/a3", "suv/q5")
    assert len(names(split)) == 8
    own = parts(train="a", test="b")  # the list goes before a split of the data
    (own.parent / "unseen.txt").write_text("sedan/a1\nsuv/b2\n")
    split = folder(own, test=str(own.parent / "unseen.txt"))
    assert set(split.test.hierarchy.fine_names) == {"sedan/a1", "suv/b2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "unseen.txt: cannot be read"),
        (b"# nothing\n\n", "unseen.txt: names no class"),
        (b"\xff\xfe", "unseen.txt: cannot be read"),
        (b"sedan/a3\na9\nb9\n", "2 names are no fine classes of the data: 'a9', 'b9'"),
        (b"sedan/a3\na9\n", "they are called 'sedan/a3', 'sedan/a4', 'sedan/a6' and 5"),
    ],
)
def test_a_wrong_list(root, text, said):
    if text is not None:
        (root / "unseen.txt").write_bytes(text)
    refused(root, said, test="unseen.txt")


# ---- classes of few images, and images that cannot be read


def test_a_class_with_a_single_image_stays_and_gives_no_reference(root):
    for name in ("0.png", "2.png"):
        (root / "suv" / "q5" / name).unlink()
    (root / "unseen.txt").write_text("sedan/a3\nsuv/q7\n")
    labels = folder(root, test="unseen.txt").train.hierarchy
    assert labels.lacking()["suv/q5"] == "has a single image, so no P⁺"
    single = labels.fine_names.index("suv/q5")
    assert single not in labels.fine[labels.references()]
    (root / "unseen.txt").write_text("suv/q5\n")
    refused(root, "no fine class of the test part has two images", test="unseen.txt")


def test_classes_of_fewer_images_than_asked_for_give_no_reference(root):
    (root / "sedan" / "a3" / "0.png").unlink()
    (root / "unseen.txt").write_text("sedan/a6\nsuv/q7\n")
    labels = folder(root, test="unseen.txt", min_images=3).train.hierarchy
    assert labels.lacking()["sedan/a3"] == "has fewer than min_images=3 images"
    refused(root, "no sample can be a reference", min_images=4)


def test_unreadable_images_are_left_out_if_so_many_are_allowed(root):
    (root / "suv" / "q5" / "1.png").write_bytes(b"nothing")
    (root / "van" / "vito" / "0.png").write_bytes(b"")
    split = folder(root, skip_bad=2)
    assert split.skipped == ("suv/q5/1.png", "van/vito/0.png")
    assert len(split.train) + len(split.test) == 22
    refused(root, "q5/1.png: this is not an image", "0.png: the file is", skip_bad=1)
    assert folder(root).skipped == ()
