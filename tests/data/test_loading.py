import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from qsel.data.loading import DataError, ImageSet, check_images, read_image
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


def test_fingerprint_of_a_subset_is_that_of_its_files(tmp_path, draw):
    files = [draw(tmp_path / f"{i}.bmp", size=(9, 7 + i)) for i in range(8)]
    chosen = [7, 2, 6]
    part = ImageSet.from_files("f", files, labels(8)).subset(chosen)
    again = ImageSet.from_files("f", [files[i] for i in chosen], part.hierarchy)
    assert part.fingerprint == again.fingerprint


# ---- pictures of every kind


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "RGBA", "LA", "YCbCr"])
def test_other_colour_modes_become_rgb(tmp_path, draw, mode):
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    image = read_image(draw(tmp_path / f"a.{suffix}", mode=mode))
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 7, 9))
    if mode in ("L", "1", "LA"):
        assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 32896, 65535]], dtype="uint16")
    for suffix in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"a.{suffix}")
        image = read_image(tmp_path / f"a.{suffix}")
        assert image[0].tolist() == [[0, 1, 128, 255]]


def test_what_is_transparent_becomes_white(tmp_path):
    Image.new("RGBA", (2, 2), (200, 0, 0, 0)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 255).all()
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    palette.save(tmp_path / "b.png", transparency=1)
    assert (read_image(tmp_path / "b.png") == 255).all()


def test_exif_orientation_turns_the_picture_upright(tmp_path):
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 20, 20))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: left becomes top
    image.save(tmp_path / "a.jpg", exif=exif)
    upright = read_image(tmp_path / "a.jpg")  # (3, 40, 20)
    assert tuple(upright.shape) == (3, 40, 20)
    assert upright[:, :16].min() > 200 and upright[:, 24:].max() < 50


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_large_jpeg_is_decoded_at_what_is_enough(tmp_path, draw, mode):
    with Image.open(draw(tmp_path / "a.png", size=(200, 120))) as image:
        image.convert(mode).save(tmp_path / "a.jpg", quality=95)
    whole = read_image(tmp_path / "a.jpg")
    assert whole.shape == (3, 120, 200)
    for enough in (61, 120, 500):  # less than twice as many: not changed at all
        assert torch.equal(read_image(tmp_path / "a.jpg", enough), whole)
    for enough, shape in ((60, (60, 100)), (31, (60, 100)), (30, (30, 50))):
        small = read_image(tmp_path / "a.jpg", enough)
        assert small.shape == (3, *shape)
        means = torch.nn.functional.adaptive_avg_pool2d(whole.float(), shape)
        assert (small - means).abs().mean() < 12  # the same picture
    png = read_image(tmp_path / "a.png", 20)
    assert torch.equal(png, read_image(tmp_path / "a.png"))


def test_a_large_jpeg_is_turned_upright_too(tmp_path, draw):
    with Image.open(draw(tmp_path / "a.png", size=(200, 120))) as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg", 30).shape == (3, 50, 30)


def test_the_first_frame_of_a_moving_picture_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif")[:, 0, 0].tolist() == [255, 0, 0]


# ---- broken files


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tif"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.7])
def test_a_file_cut_short_is_named(tmp_path, draw, suffix, kept):
    path = draw(tmp_path / f"cut.{suffix}", size=(64, 64))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DataError, match=f"cut.{suffix}: .*; replace the image"):
        read_image(path)


def test_every_cut_of_a_small_picture_is_refused_or_whole(tmp_path, draw):
    path = draw(tmp_path / "a.png")
    whole, picture = path.read_bytes(), read_image(path)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        try:
            assert torch.equal(read_image(path), picture)  # only its end mark is gone
        except DataError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"<html>not found</html>", "not an image that Pillow knows"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "cannot be read|not an image"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, content, said):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_image(path)
    assert str(caught.value).startswith(str(path))
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_values_without_a_fixed_white_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), "float32")).save(tmp_path / "f.tif")
    Image.fromarray(np.full((4, 4), 70000, "int32")).save(tmp_path / "i.tif")
    for name in ("f.tif", "i.tif"):
        with pytest.raises(DataError, match="save it with 8 bits"):
            read_image(tmp_path / name)


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


def test_check_images_passes_what_is_in_memory():
    check_images(ImageSet.from_array("a", noise(), labels(8)))
