"""From a data set to what a network eats: images, or a frozen trunk's features.

Both kinds offer the same two things: ``stream`` for training batches, augmented, and
``everything`` for the whole set in order, plain.
"""

import hashlib
import math
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from tqdm import tqdm

from qsel.data.files import cache_path, load_or_make
from qsel.data.images import ImageSet, read_image
from qsel.data.machine import available_cores, fresh_settings
from qsel.experiments.config import Config
from qsel.experiments.crops import random_crops
from qsel.experiments.distributed import ALONE, Processes
from qsel.experiments.record import RESULTS_VERSION, computed_by

# Of the ImageNet images that torchvision's weights were trained on.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EVALUATION_BATCH = 64


class Images:
    """Images, decoded, cropped and normalised on the way.

    Args:
        images: the data set.
        config: ``image_size``, ``resize``, ``augment``, ``crop_scale``.
        device: where batches go.
        workers: processes that decode files; by default one for each core, 8 at most.
            Their number changes no result. Images in memory need none.
    """

    def __init__(
        self,
        images: ImageSet,
        config: Config,
        device: torch.device,
        workers: int | None = None,
    ):
        size, smallest = config.image_size, config.crop_scale
        plain = [
            v2.Resize(config.resize, antialias=True),
            v2.CenterCrop(size),
        ]
        augmented = [
            v2.RandomResizedCrop(size, (smallest, 1), antialias=True),
            v2.RandomHorizontalFlip(),
        ]
        self.images = images
        self.device = device
        self.workers = _default_workers() if workers is None else workers
        if images.pixels is None:  # a frozen trunk sees each image once
            self._files = _Files(images, _needed_side(config), keep=config.freeze == "none")
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
            seeds = (torch.randint(2**62, b.shape) for b in batches)
            batches = [
                list(zip(b.tolist(), s.tolist(), strict=True))[processes.share]
                for b, s in zip(batches, seeds, strict=True)
            ]
            return self._load(self._augmented, batches)
        whole = self._load(self._augmented, batches)
        return (images[processes.share] for images in whole)

    def everything(self, processes: Processes = ALONE) -> Iterator[Tensor]:
        """All images in order, not augmented: batches (B, 3, S, S), normalised.

        Of several processes each gets its share of them.
        """
        every, size = range(len(self.images))[processes.share], EVALUATION_BATCH
        batches = [every[i : i + size] for i in range(0, len(every), size)]
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
            batch = v2.functional.normalize(batch, MEAN, STD)
            # Convolutions read the channels of a pixel together, on CPUs and GPUs.
            yield batch.contiguous(memory_format=torch.channels_last)

    def _transformed(self, transform: Callable, batches: Sequence) -> Iterable[Tensor]:
        pixels = self.images.pixels
        if pixels is not None:  # all of one size: a batch at once
            return (transform(pixels[b].to(self.device)) for b in batches)
        return DataLoader(
            _Transformed(self._files, transform),
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
    """Image files; those much larger than needed are shrunk once and kept so.

    An image with up to twice the pixels a side that are needed is given as it is. A
    larger one is decoded at a lower resolution, of at least those twice, where its
    format can, and shrunk to what is needed: a (3, H, W) array in the cache, which all
    epochs and all runs read. It is the same image where there is no room to keep it.

    Args:
        images: a data set of files.
        side: pixels of the shorter side that are needed.
        keep: whether the shrunk images are kept.
    """

    def __init__(self, images: ImageSet, side: int, keep: bool):
        self.images, self.side = images, side
        # Found here, not in every process that decodes: a fingerprint takes time.
        self.copies = (
            cache_path(f"images/{images.fingerprint}-{side}-{RESULTS_VERSION}")
            if keep
            else None
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        if not self._is_large(i):
            return self.images[i]
        copy = self.copies and self.copies / f"{i}.npy"
        if not copy or not (copy.exists() or _has_room(self.copies)):
            return self._shrunk(i)
        make = partial(self._shrunk, i)
        return load_or_make(copy, self._read_copy, make, _save_array)

    def _is_large(self, i: int) -> bool:
        try:
            with Image.open(self.images.paths[i]) as image:  # reads the size alone
                return min(image.size) > 2 * self.side
        except Exception:  # reading the image will say what is wrong with it
            return False

    def _shrunk(self, i: int) -> Tensor:
        image = read_image(self.images.paths[i], at_least=2 * self.side)
        return v2.functional.resize(image, self.side, antialias=True)

    def _read_copy(self, path: Path) -> Tensor:
        array = np.load(path, allow_pickle=False)
        if array.dtype != np.uint8 or array.ndim != 3 or len(array) != 3:
            raise ValueError(f"{array.dtype} of shape {array.shape}")
        if min(array.shape[1:]) != self.side:
            raise ValueError(f"{array.shape[1:]} pixels instead of {self.side}")
        return torch.from_numpy(array)


def _has_room(folder: Path) -> bool:
    """Whether a tenth of the disk, and 5 GB, are free: copies take no more than that.

    An image of 224 pixels and crops from 0.2 of the area on takes about a megabyte.
    """
    while not folder.exists():
        folder = folder.parent
    disk = shutil.disk_usage(folder)
    return disk.free > max(5e9, 0.1 * disk.total)


def _save_array(image: Tensor, path: Path) -> None:
    with path.open("wb") as file:  # to a name, numpy would add an ending
        np.save(file, image.numpy())


class _Transformed(Dataset):
    def __init__(self, images: Dataset, transform: v2.Transform):
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int | tuple[int, int]) -> Tensor:
        if isinstance(i, int):
            return self.transform(self.images[i])
        i, seed = i
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.transform(self.images[i])


class Features:
    """A frozen trunk's features of every image: (N, features).

    Args:
        raw: as the trunk returns them.
        device: where they go.
        standardised: what is done to them, once, before the first use.
    """

    def __init__(
        self,
        raw: Tensor,
        device: torch.device,
        standardised: Callable[[Tensor], Tensor] = lambda features: features,
    ):
        self.raw = raw.to(device)
        self._standardised = standardised

    def __len__(self) -> int:
        return len(self.raw)

    @cached_property
    @fresh_settings()
    def features(self) -> Tensor:
        """(N, features), standardised."""
        # Not before the first use: until then a stored network may be loaded.
        return self._standardised(self.raw)

    def stream(
        self, batches: Sequence[Tensor], processes: Processes = ALONE
    ) -> Iterator[Tensor]:
        """Features of each batch of indices, or of the share: (B, features)."""
        shares = (batch[processes.share] for batch in batches)
        return (self.features[share.to(self.features.device)] for share in shares)

    def everything(self, processes: Processes = ALONE) -> Iterator[Tensor]:
        """Features of all images, or of the share, in order: one (N, features)."""
        yield self.features[processes.share]


@fresh_settings()
@torch.no_grad()
def frozen_features(
    trunk: nn.Module,
    images: ImageSet,
    config: Config,
    device: torch.device,
    workers: int | None = None,
    width: int | None = None,
) -> Tensor:
    """Features of all images, not augmented, computed once and cached.

    The cache is keyed by the trunk's weights, the images and their size.

    Args:
        trunk: (B, 3, S, S) → (B, features); used in evaluation mode.
        images: the data set.
        config: ``trunk``, ``resize`` and ``image_size``.
        device: where the trunk runs.
        workers: processes that decode, see ``Images``.
        width: how many features there are, if known: cached ones are checked.

    Returns:
        (N, features) float32 on the CPU.
    """
    trunk = trunk.to(device, memory_format=torch.channels_last).eval()
    key = hashlib.sha256(images.fingerprint.encode())
    key.update(repr((computed_by(), device.type, config.trunk)).encode())
    key.update(repr((config.resize, config.image_size)).encode())
    if images.pixels is None:
        key.update(b"large ones shrunk")  # other features than of whole images
    for name, value in trunk.state_dict().items():
        key.update(name.encode() + value.cpu().numpy().tobytes())
    plain = replace(config, augment=False)

    def make() -> Tensor:
        batches = Images(images, plain, device, workers).everything()
        return torch.cat([trunk(batch).float().cpu() for batch in batches])

    def load(path: Path) -> Tensor:
        features = torch.load(path, weights_only=True)
        expected = (len(images), features.shape[1] if width is None else width)
        if features.shape != expected or features.dtype != torch.float32:
            raise ValueError(f"{features.dtype} of shape {tuple(features.shape)}")
        if not features.isfinite().all():
            raise ValueError("features that are not finite")
        return features

    path = cache_path(f"features/{key.hexdigest()[:24]}.pt")
    return load_or_make(path, load, make, torch.save)
