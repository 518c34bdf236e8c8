"""Batches of images."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from qsel.data import DataError, ImageSet
from qsel.experiments import inputs
from qsel.experiments.inputs import Images
from qsel.experiments.trunks import IMAGENET


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_everything_is_in_order_and_normalised():
    cars = tiny.image_set()
    batches = list(Images(cars, tiny.config(), tiny.CPU).everything())
    found = torch.cat(batches)
    assert found.dtype == torch.float32
    expected = torch.stack([cars[i] for i in range(len(cars))]).float() / 255
    mean, std = (torch.tensor(x)[:, None, None] for x in (IMAGENET.mean, IMAGENET.std))
    assert torch.allclose(found, (expected - mean) / std, atol=1e-5)


def test_images_are_resized_and_cropped_in_the_middle():
    array = torch.zeros(2, 3, 20, 40, dtype=torch.uint8)
    array[..., 10:30] = 255  # white in the middle of the long side
    labels = tiny.image_set().hierarchy.subset(torch.tensor([0, 6]))
    cars = ImageSet.from_array("wide", array.numpy(), labels)
    inputs = Images(cars, tiny.config(resize=10, image_size=8), tiny.CPU)
    (batch,) = inputs.everything()
    assert batch.shape == (2, 3, 8, 8)
    assert batch.min() > 1  # all white: the black sides are cut off


@pytest.mark.parametrize("size", [{}, dict(resize=20), dict(resize=9, image_size=8)])
def test_images_in_memory_and_in_files_are_the_same(size, tmp_path):
    paths = sorted(tiny.as_folder(tmp_path / "photos").rglob("*.png"))[:8]
    labels = tiny.image_set(each=2).hierarchy.subset(torch.arange(8))
    files = ImageSet.from_files("files", paths, labels)
    array = torch.stack([files[i] for i in range(8)]).numpy()
    memory = ImageSet.from_array("memory", array, labels)
    config = tiny.config(augment=False, **size)
    batches = [torch.tensor([7, 0, 0]), torch.arange(8)]
    found = []
    for cars in (files, memory):
        inputs = Images(cars, config, tiny.CPU)
        found.append(torch.cat([*inputs.stream(batches), *inputs.everything()]))
    assert torch.equal(*found)


def test_stream_without_augmentation_is_everything_picked():
    inputs = Images(tiny.image_set(), tiny.config(augment=False), tiny.CPU)
    everything = torch.cat(list(inputs.everything()))
    batches = [torch.tensor([3, 1, 1]), torch.tensor([35])]
    streamed = list(inputs.stream(batches))
    assert len(streamed) == 2
    for batch, images in zip(batches, streamed, strict=True):
        assert torch.equal(images, everything[batch])


def test_augmentation_varies_and_repeats_with_the_seed():
    inputs = Images(tiny.image_set(), tiny.config(), tiny.CPU)
    batch = [torch.tensor([0, 0, 0, 0, 0, 0])]
    torch.manual_seed(5)
    (first,) = inputs.stream(batch)
    (second,) = inputs.stream(batch)
    torch.manual_seed(5)
    (again,) = inputs.stream(batch)
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert len({image.numpy().tobytes() for image in first}) > 1
    plain = [torch.cat(list(inputs.everything())) for _ in range(2)]
    assert torch.equal(*plain)


def test_augmentation_stays_between_the_darkest_and_the_brightest():
    """What is cropped is scaled and normalised like what is not."""
    cars = tiny.image_set()
    inputs = Images(cars, tiny.config(crop_scale=1.0), tiny.CPU)
    (augmented,) = inputs.stream([torch.arange(36)])
    plain = torch.cat(list(inputs.everything()))
    assert augmented.shape == plain.shape and augmented.dtype == plain.dtype
    assert augmented.is_contiguous(memory_format=torch.channels_last)
    assert augmented.min() >= plain.min() - 1e-5
    assert augmented.max() <= plain.max() + 1e-5
    assert torch.allclose(augmented.mean((0, 2, 3)), plain.mean((0, 2, 3)), atol=0.1)


def test_worker_processes_change_nothing(tmp_path):
    """What is read from files, decoded and augmented is the same for any number."""
    paths = sorted(tiny.as_folder(tmp_path / "photos").rglob("*.png"))[:8]
    labels = tiny.image_set(each=2).hierarchy.subset(torch.arange(8))
    cars = ImageSet.from_files("files", paths, labels)
    found = []
    for workers in (0, 2):
        inputs = Images(cars, tiny.config(), tiny.CPU, workers)
        torch.manual_seed(0)
        found.append(torch.cat(list(inputs.stream([torch.arange(8)] * 2))))
    assert torch.equal(*found)


# --- images that are larger than needed ------------------------------------------


def photographs(folder, size: tuple[int, int], kind: str = "jpg") -> ImageSet:
    """Two smooth pictures of (width, height) pixels, as files."""
    folder.mkdir()
    width, height = size
    x, y = torch.linspace(0, 6, width), torch.linspace(0, 6, height)[:, None]
    for i in range(2):
        channels = [(x + y + i).sin(), (x - y).cos(), (2 * x + i).sin() + 0 * y]
        pixels = ((torch.stack(channels, 2) + 1) * 127).to(torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{i}.{kind}", quality=95)
    labels = tiny.image_set().hierarchy.subset(torch.tensor([0, 6]))
    return ImageSet.from_files("photographs", sorted(folder.iterdir()), labels)


def streamed(cars: ImageSet, **settings) -> torch.Tensor:
    inputs = Images(cars, tiny.config(**settings), tiny.CPU, workers=0)
    torch.manual_seed(0)
    return torch.cat([*inputs.stream([torch.arange(2)] * 2), *inputs.everything()])


def in_memory(cars: ImageSet) -> ImageSet:
    array = torch.stack([cars[i] for i in range(len(cars))]).numpy()
    return ImageSet.from_array("memory", array, cars.hierarchy)


def test_images_up_to_twice_the_needed_size_are_given_as_they_are(
    tmp_path, cache, monkeypatch
):
    cars = photographs(tmp_path / "photos", (40, 32))
    found = streamed(cars, augment=False)  # 16 pixels are needed
    assert torch.equal(found, streamed(in_memory(cars), augment=False))
    augmented = streamed(photographs(tmp_path / "larger", (70, 64)))
    monkeypatch.setattr(inputs, "_needed_side", lambda _: 10**6)  # nothing is larger
    assert torch.equal(streamed(photographs(tmp_path / "same", (70, 64))), augmented)
    assert not list(cache.rglob("*.npy"))


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_a_larger_image_is_shrunk_once(kind, tmp_path, cache, monkeypatch):
    cars = photographs(tmp_path / "photos", (300, 200), kind)
    first = streamed(cars, crop_scale=0.2)
    copies = sorted(cache.rglob("*.npy"))
    # The smallest random crop, a fifth of the area, still has 16 pixels a side
    assert [np.load(path).shape for path in copies] == [(3, 36, 54)] * 2
    monkeypatch.setattr(inputs, "read_image", None)  # not called again
    assert torch.equal(streamed(cars, crop_scale=0.2), first)


def test_a_shrunk_image_shows_the_same(tmp_path):
    cars = photographs(tmp_path / "photos", (300, 200))
    found = streamed(cars, augment=False)
    whole = streamed(in_memory(cars), augment=False)
    assert (found - whole).abs().max() < 0.1  # of a range of about 4


def test_results_do_not_depend_on_room_for_copies(tmp_path, cache, monkeypatch):
    cars = photographs(tmp_path / "photos", (300, 200))
    expected = streamed(cars)
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "other"))
    full = SimpleNamespace(total=10**12, free=10**10)
    monkeypatch.setattr(inputs.shutil, "disk_usage", lambda _: full)
    assert torch.equal(streamed(cars), expected)
    assert not list((tmp_path / "other").rglob("*.npy"))
    frozen = streamed(cars, augment=False, freeze="trunk")  # each image is seen once
    assert torch.equal(frozen, streamed(cars, augment=False))
    assert not list((tmp_path / "other").rglob("*.npy"))


@pytest.mark.parametrize("damage", ["empty", "cut", "other"])
def test_a_damaged_copy_is_made_again(damage, tmp_path, cache):
    cars = photographs(tmp_path / "photos", (300, 200))
    good = streamed(cars)
    path = sorted(cache.rglob("*.npy"))[0]
    content = path.read_bytes()
    if damage == "other":
        np.save(path, np.zeros((3, 30, 36), np.float32))
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with pytest.warns(UserWarning, match=f"{path} cannot be used"):
        assert torch.equal(streamed(cars), good)
    assert path.read_bytes() == content


def test_a_broken_photograph_is_named(tmp_path):
    cars = photographs(tmp_path / "photos", (300, 200))
    for content in (cars.paths[1].read_bytes()[:2000], b"no picture"):
        cars.paths[1].write_bytes(content)
        with pytest.raises(DataError, match=cars.paths[1].name):
            streamed(cars)


def test_workers_by_default(monkeypatch):
    monkeypatch.setattr(inputs, "available_cores", lambda: 12)
    kinds = ["fork", "spawn"]
    monkeypatch.setattr(inputs.multiprocessing, "get_start_method", lambda **_: None)
    monkeypatch.setattr(inputs.multiprocessing, "get_all_start_methods", lambda: kinds)
    cars, config = tiny.image_set(), tiny.config()
    assert Images(cars, config, tiny.CPU).workers == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # they share the cores
    assert Images(cars, config, tiny.CPU).workers == 3
    kinds.reverse()  # a script without a main guard would start itself again
    assert Images(cars, config, tiny.CPU).workers == 0
    assert Images(cars, config, tiny.CPU, workers=5).workers == 5
