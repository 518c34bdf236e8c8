"""Random crops and mirror images of a whole batch at once, for images in memory.

What torchvision's ``RandomResizedCrop`` and ``RandomHorizontalFlip`` do to one image
at a time. To crop and resize is linear, and each side goes by itself: with a matrix for
the rows and one for the columns of every image, a batch takes two products.
"""

import math

import torch
from torch import Tensor

RATIOS = 3 / 4, 4 / 3  # width by height
TRIES = 10  # to draw a box that fits


def random_crops(images: Tensor, size: int, smallest: float) -> Tensor:
    """A random part of each image, resized to a square, in half of the cases mirrored.

    All draws come from torch's global generator.

    Args:
        images: (B, 3, H, W), uint8 or floating point.
        size: side S of the result, in pixels.
        smallest: share of the image's area that a part has at least.

    Example:
        >>> random_crops(torch.zeros(5, 3, 8, 9, dtype=torch.uint8), 4, 0.6).shape
        torch.Size([5, 3, 4, 4])
    """
    boxes = random_boxes(len(images), *images.shape[2:], smallest)
    mirrored = torch.rand(len(images)) < 0.5
    return resized_crops(images, boxes, mirrored, size)


def random_boxes(count: int, height: int, width: int, smallest: float) -> Tensor:
    """(4, B) top, left, height and width of boxes, drawn as torchvision draws them.

    Should none of ten fit, torchvision takes the centre; here the first is cut to the
    image. For a square image and areas from 0.6 on that happens less than once in
    100,000 times.
    """
    area = height * width * torch.empty(TRIES, count).uniform_(smallest, 1)
    ratio = torch.empty(TRIES, count).uniform_(*map(math.log, RATIOS)).exp()
    sides = torch.stack([area / ratio, area * ratio]).sqrt().round()  # (2, TRIES, B)
    most = torch.tensor([[height], [width]])
    fits = (sides <= most[..., None]).all(0)  # (TRIES, B)
    first = fits.int().argmax(0)  # of equals the first; 0 where none fits
    sides = sides[:, first, torch.arange(count)].clamp(min=1).minimum(most)  # (2, B)
    start = (torch.rand(2, count) * (most - sides + 1)).floor()
    return torch.cat([start, sides])


def resized_crops(images: Tensor, boxes: Tensor, mirrored: Tensor, size: int) -> Tensor:
    """The part of each image in its box, resized to (size, size), or its mirror image.

    Bilinear, with ``antialias=True`` of torchvision but not its rounding to whole
    numbers.
    """
    height, width = images.shape[2:]
    top, left, tall, wide = boxes.to(images.device)
    mirrored = mirrored.to(images.device)[:, None, None]
    down = _resizing(top, tall, height, size)  # (B, S, H)
    across = _resizing(left, wide, width, size)  # (B, S, W)
    across = torch.where(mirrored, across.flip(1), across)
    return down[:, None] @ images.float() @ across[:, None].mT


def _resizing(start: Tensor, length: Tensor, pixels: int, size: int) -> Tensor:
    """(B, size, pixels): what each old pixel of a line adds to each new one.

    The weights fall linearly with the distance and reach 0 one pixel away: one new
    pixel where the line is shrunk, one old pixel where it is stretched.
    """
    start, length = start[:, None, None], length[:, None, None]  # (B, 1, 1)
    old = torch.arange(pixels, device=start.device) + 0.5  # centres
    new = torch.arange(size, device=start.device)[:, None] + 0.5
    step = length / size  # a new pixel, measured in old ones
    distance = (old - start - new * step).abs()  # (B, size, pixels)
    weights = (1 - distance / step.clamp(min=1)).clamp(min=0)
    weights = weights * ((start < old) & (old < start + length))
    return weights / weights.sum(2, keepdim=True)
