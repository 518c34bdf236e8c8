"""Batches of images."""

import pytest
import tiny
import torch
from PIL import Image

from qsel.data import DataError, ImageSet
from qsel.experiments import inputs
from qsel.experiments.inputs import Images


def test_images_are_resized_and_cropped_in_the_middle():
    array = torch.zeros(2, 3, 20, 40, dtype=torch.uint8)
    array[..., 10:30] = 255  # white in the middle of the long side
    labels = tiny.image_set().hierarchy.subset(torch.tensor([0, 6]))
    cars = ImageSet.from_array("wide", array.numpy(), labels)
    inputs = Images(cars, tiny.config(resize=10, image_size=8), tiny.CPU)
    (batch,) = inputs.everything()
    assert batch.shape == (2, 3, 8, 8)
    assert batch.min() > 1  # all white: the black sides are cut off


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


@pytest.mark.parametrize("size", [{}, dict(resize=9, image_size=8)])
def test_images_in_memory_and_in_files_are_the_same(size, tmp_path):
    paths = sorted(tiny.as_folder(tmp_path / "photos").rglob("*.png"))[:8]
    labels = tiny.image_set(each=2).hierarchy.subset(torch.arange(8))
    files = ImageSet.from_files("files", paths, labels)
    array = torch.stack([files[i] for i in range(8)]).numpy()
    memory = ImageSet.from_array("memory", array, labels)
    config = tiny.config(augment=False, **size)
    batches = [torch.tensor([7, 0, 0]), torch.arange(8)]
    one, other = (Images(cars, config, tiny.CPU, 0) for cars in (files, memory))
    everything = torch.cat([*one.everything()])
    assert torch.equal(everything, torch.cat([*other.everything()]))
    for source in (one, other):
        for batch, images in zip(batches, source.stream(batches), strict=True):
            assert torch.equal(images, everything[batch])


def photographs(folder, size: tuple[int, int]) -> ImageSet:
    """Two smooth pictures of (width, height) pixels, as files."""
    folder.mkdir()
    width, height = size
    x, y = torch.linspace(0, 6, width), torch.linspace(0, 6, height)[:, None]
    for i in range(2):
        channels = [(x + y + i).sin(), (x - y).cos(), (2 * x + i).sin() + 0 * y]
        pixels = ((torch.stack(channels, 2) + 1) * 127).to(torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{i}.jpg", quality=95)
    labels = tiny.image_set().hierarchy.subset(torch.tensor([0, 6]))
    return ImageSet.from_files("photographs", sorted(folder.iterdir()), labels)


def embedded(cars: ImageSet, **settings) -> torch.Tensor:
    config = tiny.config(augment=False, **settings)
    return torch.cat([*Images(cars, config, tiny.CPU, workers=0).everything()])


@pytest.mark.parametrize(("size", "apart"), [((40, 32), 0), ((300, 200), 0.1)])
def test_what_is_shrunk_first_shows_nearly_the_same(size, apart, tmp_path):
    """Up to twice the 16 pixels that are needed an image is taken as it is."""
    cars = photographs(tmp_path / "photos", size)
    array = torch.stack([cars[i] for i in range(2)]).numpy()
    whole = embedded(ImageSet.from_array("memory", array, cars.hierarchy))
    gap = (embedded(cars) - whole).abs().max()  # of a range of about 4
    assert gap <= apart and (gap > 0) == (apart > 0)


def test_what_random_crops_need_is_kept(tmp_path):
    """The smallest one, a fifth of the area, still has 16 pixels a side."""
    cars = photographs(tmp_path / "photos", (300, 200))
    images = Images(cars, tiny.config(crop_scale=0.2), tiny.CPU, workers=0)
    assert inputs._Files(cars, images._needed, None)._read(0).shape == (3, 36, 54)


def test_a_broken_photograph_is_named(tmp_path):
    cars = photographs(tmp_path / "photos", (300, 200))
    for content in (cars.paths[1].read_bytes()[:2000], b"no picture"):
        cars.paths[1].write_bytes(content)
        with pytest.raises(DataError, match=cars.paths[1].name):
            embedded(cars)


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
