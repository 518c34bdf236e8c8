"""A batch of random crops is, image by image, what torchvision makes of each."""

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import v2

from qsel.experiments.crops import random_boxes, random_crops, resized_crops


@pytest.mark.parametrize(
    ("height", "width", "size"), [(9, 9, 9), (12, 7, 5), (5, 4, 11)]
)
def test_crops_are_those_of_torchvision(height, width, size):
    """Stretched, shrunk and, with these sizes, both at once; mirrored and not."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (20, 3, height, width), dtype=torch.uint8)
    boxes = random_boxes(20, height, width, 0.1)
    mirrored = torch.rand(20) < 0.5
    assert 0 < mirrored.sum() < 20
    found = resized_crops(images, boxes, mirrored, size)
    assert found.dtype == torch.float32 and found.shape == (20, 3, size, size)
    for image, numbers, flip, ours in zip(
        images, boxes.T, mirrored, found, strict=True
    ):
        theirs = v2.functional.resized_crop(
            image.float(), *numbers.int().tolist(), size=[size, size], antialias=True
        )
        theirs = v2.functional.horizontal_flip(theirs) if flip else theirs
        assert torch.allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize(
    ("height", "width", "smallest"), [(48, 48, 0.6), (40, 60, 0.2)]
)
def test_boxes_are_distributed_as_torchvision_draws_them(height, width, smallest):
    count = 2000
    torch.manual_seed(0)
    found = random_boxes(count, height, width, smallest)  # (4, B)
    assert torch.equal(found, found.round())
    top, left, tall, wide = found
    assert top.min() == 0 and left.min() == 0
    assert (top + tall).max() == height and (left + wide).max() == width
    draw = v2.RandomResizedCrop(8, (smallest, 1)).make_params
    drawn = [draw([torch.empty(3, height, width)]) for _ in range(count)]
    names = ("top", "left", "height", "width")
    theirs = torch.tensor([[float(d[name]) for name in names] for d in drawn]).T
    for kind in (lambda b: b, lambda b: b[2] * b[3], lambda b: b[3] / b[2]):
        ours, others = kind(found), kind(theirs)  # sides and place, area, ratio
        for one, other in zip(
            ours.view(-1, count), others.view(-1, count), strict=True
        ):
            assert ks_2samp(one, other).pvalue > 1e-3


def test_boxes_that_cannot_fit_are_cut_to_the_image():
    """A strip is never as high as a box of its area must be."""
    top, left, tall, wide = random_boxes(50, 2, 100, 1)
    assert (tall == 2).all() and (top == 0).all()
    assert (left + wide <= 100).all() and (wide >= 1).all()


def test_draws_come_from_the_global_generator():
    images = torch.randint(0, 256, (64, 3, 12, 12), dtype=torch.uint8)
    before = images.clone()
    torch.manual_seed(3)
    first, second = (random_crops(images, 12, 0.6) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(first, random_crops(images, 12, 0.6))
    assert not torch.equal(first, second)
    assert torch.equal(images, before)
