"""A batch of random crops is, image by image, what torchvision makes of each."""

import math

import pytest
import torch
from torchvision.transforms import v2

from qsel.experiments.crops import TRIES, random_boxes, random_crops, resized_crops

NOT, ALL = torch.tensor([False]), torch.tensor([True])


def box(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32)[:, None]


def slow(images, boxes, mirrored, size):
    """One image after the other, and a loop over the pixels of the result."""
    results = []
    for image, (top, left, tall, wide), flip in zip(
        images.double(), boxes.T.int().tolist(), mirrored.tolist(), strict=True
    ):
        part = image[:, top : top + tall, left : left + wide]
        result = torch.zeros(len(image), size, size, dtype=torch.float64)
        for row in range(size):
            for column in range(size):
                rows = shares(row, tall, size)
                columns = shares(column, wide, size)
                for i, a in rows.items():
                    for j, b in columns.items():
                        result[:, row, column] += a * b * part[:, i, j]
        results.append(result.flip(2) if flip else result)
    return torch.stack(results)


def shares(new: int, old: int, size: int) -> dict[int, float]:
    """Which old pixels a new one is made of, and how much of each; they sum to 1."""
    step = old / size
    centre, reach = (new + 0.5) * step, max(step, 1)
    found = {i: 1 - abs(i + 0.5 - centre) / reach for i in range(old)}
    found = {i: share for i, share in found.items() if share > 0}
    return {i: share / sum(found.values()) for i, share in found.items()}


@pytest.mark.parametrize(
    ("height", "width", "size"), [(9, 9, 9), (7, 12, 9), (12, 7, 5), (5, 4, 11)]
)
def test_crops_are_those_of_the_loop_and_of_torchvision(height, width, size):
    """Stretched, shrunk and, with these sizes, both at once; mirrored and not."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (20, 3, height, width), dtype=torch.uint8)
    boxes = random_boxes(20, height, width, 0.1)
    mirrored = torch.rand(20) < 0.5
    assert 0 < mirrored.sum() < 20
    found = resized_crops(images, boxes, mirrored, size)
    assert found.dtype == torch.float32 and found.shape == (20, 3, size, size)
    expected = slow(images, boxes, mirrored, size)
    assert torch.allclose(found.double(), expected, atol=1e-3)
    for image, numbers, flip, ours in zip(
        images, boxes.T, mirrored, found, strict=True
    ):
        theirs = v2.functional.resized_crop(
            image.float(), *numbers.int().tolist(), size=[size, size], antialias=True
        )
        theirs = v2.functional.horizontal_flip(theirs) if flip else theirs
        assert torch.allclose(ours, theirs, atol=1e-3)


def test_the_whole_image_is_itself_and_mirrored_the_other_way_round():
    image = torch.randint(0, 256, (1, 3, 48, 48), dtype=torch.uint8)
    whole = box(0, 0, 48, 48)
    assert torch.equal(resized_crops(image, whole, NOT, 48), image.float())
    assert torch.equal(resized_crops(image, whole, ALL, 48), image.float().flip(3))


def test_nothing_outside_the_box_is_seen():
    image = torch.full((1, 1, 10, 10), 200.0)
    image[..., 2:5, 3:9] = 7
    for size in (1, 3, 20):
        found = resized_crops(image, box(2, 3, 3, 6), NOT, size)
        assert torch.allclose(found, torch.tensor(7.0))


def test_a_box_of_one_pixel():
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    found = resized_crops(image, box(1, 2, 1, 1), ALL, 4)
    assert torch.equal(found, torch.full((1, 1, 4, 4), 5.0))


@pytest.mark.parametrize(
    ("height", "width", "smallest"), [(48, 48, 0.6), (40, 60, 0.2), (16, 16, 0.6)]
)
def test_boxes_are_distributed_as_torchvision_draws_them(height, width, smallest):
    count = 4000
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
            assert largest_gap(one, other) < 1.95 * math.sqrt(2 / count)


def largest_gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """Between two distribution functions (Kolmogorov and Smirnov)."""
    at = torch.cat([one, other]).unique()
    below = [
        torch.searchsorted(x.sort().values, at, right=True) / len(x)
        for x in (one, other)
    ]
    return (below[0] - below[1]).abs().max().item()


def test_boxes_that_cannot_fit_are_cut_to_the_image():
    """A strip is never as high as a box of its area must be."""
    top, left, tall, wide = random_boxes(50, 2, 100, 1)
    assert (tall == 2).all() and (top == 0).all()
    assert (left + wide <= 100).all() and (wide >= 1).all()
    one = random_boxes(50, 1, 1, 0.01)
    assert torch.equal(one, torch.tensor([[0.0], [0.0], [1.0], [1.0]]).expand(4, 50))
    assert TRIES == 10  # as many as torchvision's


def test_draws_come_from_the_global_generator():
    images = torch.randint(0, 256, (64, 3, 12, 12), dtype=torch.uint8)
    before = images.clone()
    torch.manual_seed(3)
    first, second = (random_crops(images, 12, 0.6) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(first, random_crops(images, 12, 0.6))
    assert not torch.equal(first, second)
    assert torch.equal(images, before)
    same = random_crops(images[:1].expand(64, 3, 12, 12), 12, 0.6)
    assert len({crop.numpy().tobytes() for crop in same}) > 50


def test_half_of_the_crops_are_mirrored():
    ramp = torch.arange(12.0).expand(2000, 1, 12, 12)
    found = random_crops(ramp, 12, 1.0)
    mirrored = (found[..., 0] > found[..., -1]).all(dim=(1, 2))
    upright = (found[..., 0] < found[..., -1]).all(dim=(1, 2))
    assert (mirrored | upright).all() and 900 < mirrored.sum() < 1100
