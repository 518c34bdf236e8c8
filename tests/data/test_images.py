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


def labels(n=8):
    names = [f"f{i // 2}" for i in range(n)]
    return Hierarchy.from_names(names, [f"c{i // 4}" for i in range(n)])


def noise(n=8, shape=(3, 7, 9)):
    return np.random.default_rng(1).integers(0, 256, (n, *shape), dtype="uint8")


def fingerprint(paths):
    return ImageSet.from_files("f", paths, labels()).fingerprint


@pytest.fixture
def files(tmp_path, draw):
    return [draw(tmp_path / "files" / f"{i}.bmp", seed=i) for i in range(8)]


@pytest.fixture(params=["array", "files"])
def images(request, files):
    if request.param == "files":
        return ImageSet.from_files("f", files, labels())
    return ImageSet.from_array("a", noise(), labels())


def test_from_array_gives_the_pixels_in_either_order_of_axes():
    array = noise()
    first = ImageSet.from_array("a", array, labels())
    last = ImageSet.from_array("a", array.transpose(0, 2, 3, 1), labels())
    for i in range(8):
        assert torch.equal(first[i], torch.from_numpy(array[i]))
        assert torch.equal(last[i], first[i])
    assert first.fingerprint == last.fingerprint
    first[0].zero_()  # a copy: the set stays as it was
    assert torch.equal(first[0], last[0])


@pytest.mark.filterwarnings("error")
def test_a_read_only_array_is_taken_without_a_warning():
    array = noise()
    array.setflags(write=False)
    assert len(ImageSet.from_array("a", array, labels())) == 8


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (noise().astype("float32"), "float32"),
        (noise()[:, 0], r"shape \(8, 7, 9\)"),
        (noise(shape=(4, 7, 9)), r"expected uint8 of shape \(N, 3, H, W\)"),
        (noise(7), "7 images but 8 labels"),
    ],
)
def test_from_array_refuses(array, said):
    with pytest.raises(DataError, match=said):
        ImageSet.from_array("a", array, labels())


def test_from_files_decodes_what_was_drawn(files):
    images = ImageSet.from_files("f", files, labels())
    for i, path in enumerate(files):
        expected = np.array(Image.open(path))  # (H, W, 3)
        assert torch.equal(images[i], torch.from_numpy(expected).permute(2, 0, 1))
    check_images(images)


def test_a_loader_with_workers_gives_what_indexing_gives(files):
    images = ImageSet.from_files("f", files, labels())
    batches = DataLoader(images, batch_size=4, num_workers=1)
    assert torch.equal(torch.cat(list(batches)), torch.stack(list(images)))


def test_subset_keeps_images_with_their_names(images):
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


def test_fingerprint_follows_pixels_and_labels():
    array = noise()
    original = ImageSet.from_array("a", array, labels()).fingerprint
    assert len(original) == 16
    assert ImageSet.from_array("b", array.copy(), labels()).fingerprint == original
    few = replace(labels(), min_images=3)  # fewer references
    assert ImageSet.from_array("a", array, few).fingerprint != original
    other = Hierarchy.from_names([f"g{i // 2}" for i in range(8)], ["c"] * 8)
    assert ImageSet.from_array("a", array, other).fingerprint != original
    array[3, 1, 2, 4] ^= 1
    assert ImageSet.from_array("a", array, labels()).fingerprint != original


def test_fingerprint_of_files_survives_a_move_but_not_a_change(tmp_path, draw):
    paths = [draw(tmp_path / "old" / str(i % 2) / f"{i}.bmp", i) for i in range(8)]
    original = fingerprint(paths)
    new = shutil.copytree(tmp_path / "old", tmp_path / "elsewhere" / "new")
    moved = [new / path.relative_to(tmp_path / "old") for path in paths]
    assert fingerprint(moved) == original
    draw(moved[5], seed=50)  # of the same size
    assert fingerprint(moved) != original
    draw(moved[5], seed=5)
    assert fingerprint(moved) == original
    moved[2].unlink()
    with pytest.raises(DataError, match="2.bmp: no such file"):
        fingerprint(moved)


def test_fingerprint_is_the_same_however_accents_are_stored(tmp_path, draw):
    found = []
    for form, folder in (("NFC", "one"), ("NFD", "two")):
        name = unicodedata.normalize(form, "Citro\u00ebn")
        paths = [draw(tmp_path / folder / name / f"{i}.bmp", i) for i in range(8)]
        paths[0] = paths[0].rename(tmp_path / folder / "0.bmp")
        found.append(fingerprint(paths))
    assert found[0] == found[1]


def test_from_files_refuses_one_file_twice_and_too_few_labels(files):
    with pytest.raises(DataError, match="3.bmp is given twice"):
        ImageSet.from_files("f", [*files[:7], files[3]], labels())
    with pytest.raises(DataError, match="8 images but 6 labels"):
        ImageSet.from_files("f", files, labels(6))


def test_check_images_names_every_unreadable_file_of_all_sets_at_once(files):
    images = ImageSet.from_files("f", files, labels())
    files[1].write_bytes(b"nothing")
    files[4].write_bytes(b"")
    files[7].unlink()
    halves = images.subset(range(4), "train"), images.subset(range(4, 8), "test")
    with pytest.raises(DataError, match="train and test: 3 of 8 images") as caught:
        check_images(*halves)
    lines = str(caught.value).splitlines()
    assert "skip_bad=3" in lines[0]
    named = [line.strip().split(": ")[0] for line in lines[1:]]
    assert named == [str(files[i]) for i in (1, 4, 7)]
