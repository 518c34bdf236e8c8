import pickle
import shutil
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from qsel.data.images import DataError, ImageSet, check_images
from qsel.hierarchy import Hierarchy


def labels(n):
    names = [f"f{i // 2}" for i in range(n)]
    return Hierarchy.from_names(names, [f"c{i // 4}" for i in range(n)])


def noise(n=8, shape=(3, 7, 9)):
    return np.random.default_rng(1).integers(0, 256, (n, *shape), dtype="uint8")


@pytest.fixture
def files(tmp_path, draw):
    return [draw(tmp_path / f"{i}.png", seed=i) for i in range(8)]


def test_from_array_gives_the_pixels_in_either_order_of_axes():
    array = noise()
    first = ImageSet.from_array("a", array, labels(8))
    last = ImageSet.from_array("a", array.transpose(0, 2, 3, 1), labels(8))
    for i in range(8):
        assert torch.equal(first[i], torch.from_numpy(array[i]))
        assert torch.equal(last[i], first[i])
    assert first.fingerprint == last.fingerprint


def test_changing_an_image_in_place_leaves_the_set_as_it_was():
    images = ImageSet.from_array("a", noise(), labels(8))
    before = images[0].clone()
    images[0].zero_()
    assert torch.equal(images[0], before)


@pytest.mark.filterwarnings("error")
def test_a_read_only_array_is_taken_without_a_warning():
    array = noise()
    array.setflags(write=False)
    assert len(ImageSet.from_array("a", array, labels(8))) == 8


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (noise().astype("float32"), "float32"),
        (noise()[:, 0], r"shape \(8, 7, 9\)"),
        (noise(shape=(4, 7, 9)), r"expected uint8 of shape \(N, 3, H, W\)"),
        (noise(shape=(3, 0, 9)), "0 x 9 pixels"),
        (noise(7), "7 images but 8 labels"),
    ],
)
def test_from_array_refuses(array, said):
    with pytest.raises(DataError, match=said):
        ImageSet.from_array("a", array, labels(8))


def test_from_files_decodes_what_was_drawn(files):
    images = ImageSet.from_files("f", files, labels(8))
    for i, path in enumerate(files):
        expected = np.array(Image.open(path))  # (H, W, 3)
        assert torch.equal(images[i], torch.from_numpy(expected).permute(2, 0, 1))
    check_images(images, workers=2)


@pytest.mark.parametrize("kind", ["array", "files"])
def test_loader_with_workers_gives_what_indexing_gives(kind, files):
    images = ImageSet.from_array("a", noise(), labels(8))
    if kind == "files":
        images = ImageSet.from_files("f", files, labels(8))
    batches = DataLoader(images, batch_size=4, num_workers=1)
    assert torch.equal(torch.cat(list(batches)), torch.stack(list(images)))
    copy = pickle.loads(pickle.dumps(images))
    assert copy.fingerprint == images.fingerprint
    assert torch.equal(copy[3], images[3])


@pytest.mark.parametrize("kind", ["array", "files"])
def test_subset_keeps_images_with_their_names(kind, files):
    images = ImageSet.from_array("a", noise(), labels(8))
    if kind == "files":
        images = ImageSet.from_files("f", files, labels(8))
    part = images.subset([7, 2, 6], "part")
    assert (part.name, images.subset([1]).name) == ("part", images.name)
    for new, old in enumerate([7, 2, 6]):
        assert torch.equal(part[new], images[old])
        name = images.hierarchy.fine_names[images.hierarchy.fine[old]]
        assert part.hierarchy.fine_names[part.hierarchy.fine[new]] == name
    assert part.fingerprint != images.fingerprint
    assert images.subset(range(8)).fingerprint == images.fingerprint
    where = torch.tensor([i in (2, 6, 7) for i in range(8)])
    assert images.subset(where).fingerprint == images.subset([2, 6, 7]).fingerprint


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([], "at least one"),
        ([[0, 1]], "at least one"),
        ([0.0, 1.0], "whole numbers"),
        ([True, False], "whole numbers"),
        ([0, 8], "from 0 to 8, but the images are numbered 0 to 7"),
        ([-1, 1], "from -1 to 1"),
        ([1, 1], "twice"),
        ([False] * 8, "at least one"),
    ],
)
def test_subset_refuses(indices, said):
    images = ImageSet.from_array("a", noise(), labels(8))
    with pytest.raises(DataError, match=said):
        images.subset(indices)


def test_fingerprint_follows_pixels_and_labels():
    array = noise()
    original = ImageSet.from_array("a", array, labels(8)).fingerprint
    assert len(original) == 16
    assert ImageSet.from_array("b", array.copy(), labels(8)).fingerprint == original
    array[3, 1, 2, 4] ^= 1
    assert ImageSet.from_array("a", array, labels(8)).fingerprint != original
    array[3, 1, 2, 4] ^= 1
    other = Hierarchy.from_names([f"g{i // 2}" for i in range(8)], ["c"] * 8)
    assert ImageSet.from_array("a", array, other).fingerprint != original


def test_fingerprint_of_files_survives_a_move_but_not_a_change(tmp_path, draw):
    paths = [draw(tmp_path / "old" / str(i % 2) / f"{i}.png", i) for i in range(8)]
    original = ImageSet.from_files("f", paths, labels(8)).fingerprint
    shutil.copytree(tmp_path / "old", tmp_path / "elsewhere" / "new")
    moved = [
        tmp_path / "elsewhere/new" / p.relative_to(tmp_path / "old") for p in paths
    ]
    assert ImageSet.from_files("f", moved, labels(8)).fingerprint == original
    draw(moved[5], seed=5, size=(30, 30))
    assert ImageSet.from_files("f", moved, labels(8)).fingerprint != original


def test_fingerprint_of_files_tells_equal_names_and_sizes_apart(tmp_path, draw):
    paths = [draw(tmp_path / f"{i}.bmp", seed=i) for i in range(8)]
    size, original = paths[3].stat().st_size, ImageSet.from_files("f", paths, labels(8))
    assert original.fingerprint
    draw(paths[3], seed=33)
    changed = ImageSet.from_files("f", paths, labels(8))
    assert paths[3].stat().st_size == size
    assert changed.fingerprint != original.fingerprint
    draw(paths[3], seed=3)
    again = ImageSet.from_files("f", paths, labels(8))
    assert again.fingerprint == original.fingerprint


def test_fingerprint_is_the_same_however_accents_are_stored(tmp_path, draw):
    found = []
    for form, folder in (("NFC", "one"), ("NFD", "two")):
        name = unicodedata.normalize(form, "Citro\u00ebn")
        paths = [draw(tmp_path / folder / name / f"{i}.bmp", i) for i in range(8)]
        paths[0] = paths[0].rename(tmp_path / folder / "0.bmp")
        found.append(ImageSet.from_files("f", paths, labels(8)).fingerprint)
    assert found[0] == found[1]


def test_fingerprint_follows_which_classes_give_references():
    array, few = noise(), replace(labels(8), min_images=3)
    two = ImageSet.from_array("a", array, labels(8))
    three = ImageSet.from_array("a", array, few)
    assert three.fingerprint != two.fingerprint
    assert three.subset([0, 1, 2]).hierarchy.min_images == 3


def test_fingerprint_names_a_file_that_is_gone(files):
    images = ImageSet.from_files("f", files, labels(8))
    files[2].unlink()
    with pytest.raises(DataError, match="2.png: there is no such file"):
        images.fingerprint  # noqa: B018


def test_fingerprint_of_a_subset_is_that_of_its_files(tmp_path, draw):
    files = [draw(tmp_path / f"{i}.bmp", size=(9, 7 + i)) for i in range(8)]
    chosen = [7, 2, 6]
    part = ImageSet.from_files("f", files, labels(8)).subset(chosen)
    again = ImageSet.from_files("f", [files[i] for i in chosen], part.hierarchy)
    assert part.fingerprint == again.fingerprint


def test_from_files_names_every_absent_and_empty_file(files):
    files[2].unlink()
    files[5].write_bytes(b"")
    files[6].unlink()
    files[6].mkdir()
    with pytest.raises(DataError, match="3 of 8 images") as caught:
        ImageSet.from_files("f", files, labels(8))
    for said in (
        "2.png: there is no such",
        "5.png: the file is empty",
        "6.png: a fold",
    ):
        assert said in str(caught.value)


def test_from_files_refuses_one_file_twice_and_too_few_labels(files):
    with pytest.raises(DataError, match="3.png is given twice"):
        ImageSet.from_files("f", [*files[:7], files[3]], labels(8))
    with pytest.raises(DataError, match="8 images but 6 labels"):
        ImageSet.from_files("f", files, labels(6))


def test_check_images_names_every_unreadable_file(files):
    images = ImageSet.from_files("f", files, labels(8))
    files[1].write_bytes(b"nothing")
    files[4].write_bytes(files[4].read_bytes()[:60])
    files[7].unlink()
    with pytest.raises(DataError, match="f: 3 of 8 images") as caught:
        check_images(images)
    lines = str(caught.value).splitlines()[1:]
    assert [line.strip().split(": ")[0] for line in lines] == [
        str(files[i]) for i in (1, 4, 7)
    ]


def test_check_images_names_the_files_of_all_sets_at_once(files):
    images = ImageSet.from_files("f", files, labels(8))
    for i in (1, 6):
        files[i].write_bytes(b"nothing")
    halves = images.subset(range(4), "train"), images.subset(range(4, 8), "test")
    with pytest.raises(DataError, match="train and test: 2 of 8 images") as caught:
        check_images(*halves)
    assert f"{files[1]}: " in str(caught.value) and f"{files[6]}: " in str(caught.value)
    assert "skip_bad=2" in str(caught.value)
