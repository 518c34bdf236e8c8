import numpy as np
import pytest
import torch
from PIL import Image

from qsel.data.pictures import DataError, read_image, without_unreadable

# ---- pictures of every kind


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA"])
def test_other_colour_modes_become_rgb(tmp_path, draw, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
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
    upright = read_image(tmp_path / "a.jpg")
    assert tuple(upright.shape) == (3, 40, 20)
    assert upright[:, :16].min() > 200 and upright[:, 24:].max() < 50
    assert read_image(tmp_path / "a.jpg", 5).shape == (3, 10, 5)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_large_jpeg_is_decoded_at_what_is_enough(tmp_path, draw, mode):
    with Image.open(draw(tmp_path / "a.png", size=(200, 120))) as image:
        image.convert(mode).save(tmp_path / "a.jpg", quality=95)
    whole = read_image(tmp_path / "a.jpg")
    assert whole.shape == (3, 120, 200)
    for enough in (61, 500):  # less than twice as many: not changed at all
        assert torch.equal(read_image(tmp_path / "a.jpg", enough), whole)
    for enough, shape in ((60, (60, 100)), (31, (60, 100)), (30, (30, 50))):
        small = read_image(tmp_path / "a.jpg", enough)
        assert small.shape == (3, *shape)
        means = torch.nn.functional.adaptive_avg_pool2d(whole.float(), shape)
        assert (small - means).abs().mean() < 12  # the same picture
    png = read_image(tmp_path / "a.png", 20)
    assert torch.equal(png, read_image(tmp_path / "a.png"))


def test_the_first_frame_of_a_moving_picture_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif")[:, 0, 0].tolist() == [255, 0, 0]


# ---- broken files


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tif"])
def test_a_file_cut_short_is_named(tmp_path, draw, suffix):
    path = draw(tmp_path / f"cut.{suffix}", size=(64, 64))
    whole = path.read_bytes()
    for kept in (0.0, 0.02, 0.7):
        path.write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(DataError, match=f"cut.{suffix}: .*; replace the image"):
            read_image(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"<html>not found</html>", "not an image that Pillow knows"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "cannot be read|not an image"),
        (None, "no such file"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, content, said):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"a.jpg: .*{said}"):
        read_image(path)


def test_values_without_a_fixed_white_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), "float32")).save(tmp_path / "f.tif")
    Image.fromarray(np.full((4, 4), 70000, "int32")).save(tmp_path / "i.tif")
    for name in ("f.tif", "i.tif"):
        with pytest.raises(DataError, match="save it with 8 bits"):
            read_image(tmp_path / name)


def test_so_many_unreadable_images_as_are_allowed_are_left_out(tmp_path, draw):
    paths = [draw(tmp_path / f"{i}.png", i) for i in range(5)]
    paths[1].write_bytes(b"nothing")
    paths[3].write_bytes(b"")
    assert without_unreadable("f", paths, 2) == ([0, 2, 4], [1, 3])
    assert without_unreadable("f", paths, 0) == ([0, 1, 2, 3, 4], [])  # none opened
    with pytest.raises(DataError, match="skip_bad=1 allows fewer: f: 2 of 5") as caught:
        without_unreadable("f", paths, 1)
    assert f"{paths[1]}: this is not" in str(caught.value)
    assert f"{paths[3]}: the file is empty" in str(caught.value)
