"""From a data set to what a network eats: images, decoded, cropped and normalised.

Like the inputs of a frozen trunk (``qsel.experiments.frozen``) they offer two things:
``stream`` for training batches, augmented, and ``everything`` for the whole set in
order, plain.
"""

import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from tqdm import tqdm

from qsel.data.images import ImageSet, read_image
from qsel.data.machine import available_cores
from qsel.experiments.config import Config
from qsel.experiments.crops import random_crops
from qsel.experiments.distributed import ALONE, Processes
from qsel.experiments.trunks import IMAGENET, Preprocessing

EVALUATION_BATCH = 64


class Images:
    """Images, decoded, cropped and normalised on the way.

    Args:
        images: the data set.
        config: ``image_size``, ``resize``, ``augment``, ``crop_scale``.
        device: where batches go.
        workers: processes that decode files; by default one for each core, 8 at most.
            Their number changes no result. Images in memory need none.
        expected: what the trunk expects of images.
    """

    def __init__(
        self,
        images: ImageSet,
        config: Config,
        device: torch.device,
        workers: int | None = None,
        expected: Preprocessing = IMAGENET,
    ):
        size, smallest = config.image_size, config.crop_scale
        how = {"interpolation": expected.interpolation, "antialias": True}
        plain = [v2.Resize(config.resize, **how), v2.CenterCrop(size)]
        augmented = [
            v2.RandomResizedCrop(size, (smallest, 1), **how),
            v2.RandomHorizontalFlip(),
        ]
        self.expected = expected
        self.images = images
        self.device = device
        self.workers = _default_workers() if workers is None else workers
        self._needed = _needed_side(config)
        self._plain = v2.Compose(plain)
        if not config.augment:
            self._augmented = self._plain
        elif images.pixels is None:
            self._augmented = v2.Compose(augmented)
        else:  # the same for a whole batch
            self._augmented = partial(random_crops, size=size, smallest=smallest)

    def __len__(self) -> int:
        return len(self.images)

    def stream(
        self, batches: Sequence[Tensor], processes: Processes = ALONE
    ) -> Iterator[Tensor]:
        """Augmented images of each batch of indices: (B, 3, S, S), normalised.

        Of several processes each gets its share of every batch; what is drawn at
        random is drawn for the whole batch by all.
        """
        if self.images.pixels is None:
            # Each image has its own seed, drawn here, so that the number of workers
            # does not change what is drawn.
            seeded = (
                torch.stack([b, torch.randint(2**62, b.shape)], 1) for b in batches
            )
            batches = [[*map(tuple, b[processes.share].tolist())] for b in seeded]
            return self._load(self._augmented, batches)
        whole = self._load(self._augmented, batches)
        return (images[processes.share] for images in whole)

    def everything(self, processes: Processes = ALONE) -> Iterator[Tensor]:
        """All images in order, not augmented: batches (B, 3, S, S), normalised.

        Of several processes each gets its share of them.
        """
        every = torch.arange(len(self.images))[processes.share]
        batches = [batch.tolist() for batch in every.split(EVALUATION_BATCH)]
        return tqdm(
            self._load(self._plain, batches),
            total=len(batches),
            desc=f"embedding {self.images.name}",
            unit="batch",
            leave=None,
            delay=2,
            disable=processes.rank > 0,
        )

    def _load(self, transform: Callable, batches: Sequence) -> Iterator[Tensor]:
        for batch in self._transformed(transform, batches):
            batch = batch.to(self.device, non_blocking=True).float() / 255
            mean, std = list(self.expected.mean), list(self.expected.std)
            batch = v2.functional.normalize(batch, mean, std)
            # Convolutions read the channels of a pixel together, on CPUs and GPUs.
            yield batch.contiguous(memory_format=torch.channels_last)

    def _transformed(self, transform: Callable, batches: Sequence) -> Iterable[Tensor]:
        pixels = self.images.pixels
        if pixels is not None:  # all of one size: a batch at once
            return (transform(pixels[b].to(self.device)) for b in batches)
        return DataLoader(
            _Files(self.images, self._needed, transform),
            batch_sampler=batches,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )


def _default_workers() -> int:
    """Processes that decode: one for each core that this process has, 8 at most."""
    kinds = multiprocessing.get_all_start_methods()  # the default is the first
    if (multiprocessing.get_start_method(allow_none=True) or kinds[0]) != "fork":
        return 0  # processes of other kinds run a script without a main guard again
    together = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # as torchrun started them
    return max(1, min(available_cores() // together, 8))


def _needed_side(config: Config) -> int:
    """Pixels of an image's shorter side that evaluation and random crops can use.

    The smallest random crop has ``crop_scale`` of the area, so about the square root
    of that of each side: it still has as many pixels as the network is given, and no
    crop is blown up that need not be. A crop of all has twice as many, so that to
    shrink it a second time blurs it little.
    """
    if not config.augment:
        return config.resize
    most = max(2, 1 / math.sqrt(config.crop_scale))  # times what the network is given
    return max(config.resize, math.ceil(config.image_size * most))


class _Files(Dataset):
    """Image files, transformed; of (index, seed) the draws come from that seed.

    An image with up to twice the pixels a side that are needed is taken as it is. A
    larger one is decoded at a lower resolution, of at least those twice, where its
    format can, and shrunk to what is needed.
    """

    def __init__(self, images: ImageSet, side: int, transform: v2.Transform):
        self.images, self.side, self.transform = images, side, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int | tuple[int, int]) -> Tensor:
        if isinstance(i, int):
            return self.transform(self._read(i))
        i, seed = i
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.transform(self._read(i))

    def _read(self, i: int) -> Tensor:
        path, twice = self.images.paths[i], 2 * self.side
        try:
            with Image.open(path) as image:  # reads the size alone
                large = min(image.size) > twice
        except Exception:  # reading the image will say what is wrong with it
            large = False
        if not large:
            return self.images[i]
        image = read_image(path, at_least=twice)
        return v2.functional.resize(image, self.side, antialias=True)
