"""From a data set to what a network eats: images, or a frozen trunk's features.

Both kinds offer the same two things: ``stream`` for training batches, augmented, and
``everything`` for the whole set in order, plain.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from tqdm import tqdm

from qsel.config import Config
from qsel.crops import random_crops
from qsel.data.loading import ImageSet
from qsel.storage import cache_folder, written_whole

# Of the ImageNet images that torchvision's weights were trained on.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EVALUATION_BATCH = 64


class Images:
    """Images, decoded, cropped and normalised on the way.

    Args:
        images: the data set.
        config: ``image_size``, ``resize``, ``augment``, ``crop_scale``.
        device: where batches go.
        workers: processes that decode files; images in memory need none.
    """

    def __init__(
        self, images: ImageSet, config: Config, device: torch.device, workers: int = 0
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
        self.workers = workers
        self._plain = v2.Compose(plain)
        if not config.augment:
            self._augmented = self._plain
        elif images.pixels is None:
            self._augmented = v2.Compose(augmented)
        else:  # the same for a whole batch
            self._augmented = partial(random_crops, size=size, smallest=smallest)

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Augmented images of each batch of indices: (B, 3, S, S), normalised."""
        if self.images.pixels is None:
            # Each image has its own seed, drawn here, so that the number of workers
            # does not change what is drawn.
            seeds = (torch.randint(2**62, b.shape) for b in batches)
            batches = [
                list(zip(b.tolist(), s.tolist(), strict=True))
                for b, s in zip(batches, seeds, strict=True)
            ]
        return self._load(self._augmented, batches)

    def everything(self) -> Iterator[Tensor]:
        """All images in order, not augmented: batches (B, 3, S, S), normalised."""
        every, size = range(len(self.images)), EVALUATION_BATCH
        batches = [every[i : i + size] for i in every[::size]]
        return tqdm(
            self._load(self._plain, batches),
            total=len(batches),
            desc=f"embedding {self.images.name}",
            unit="batch",
            leave=None,
            delay=2,
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
            _Transformed(self.images, transform),
            batch_sampler=batches,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )


class _Transformed(Dataset):
    def __init__(self, images: ImageSet, transform: v2.Transform):
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

    @cached_property
    def features(self) -> Tensor:
        """(N, features), standardised."""
        # Not before the first use: until then a stored network may be loaded.
        return self._standardised(self.raw)

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Features of each batch of indices: (B, features)."""
        return (self.features[batch.to(self.features.device)] for batch in batches)

    def everything(self) -> Iterator[Tensor]:
        """Features of all images, in order: one batch (N, features)."""
        yield self.features


@torch.inference_mode()
def frozen_features(
    trunk: nn.Module,
    images: ImageSet,
    config: Config,
    device: torch.device,
    workers: int = 0,
) -> Tensor:
    """Features of all images, not augmented, computed once and cached.

    The cache is keyed by the trunk's weights, the images and their size.

    Args:
        trunk: (B, 3, S, S) → (B, features); used in evaluation mode.
        images: the data set.
        config: ``trunk``, ``resize`` and ``image_size``.
        device: where the trunk runs.
        workers: processes that decode.

    Returns:
        (N, features) float32 on the CPU.
    """
    trunk = trunk.to(device, memory_format=torch.channels_last).eval()
    key = hashlib.sha256(images.fingerprint.encode())
    key.update(repr((config.trunk, config.resize, config.image_size)).encode())
    for name, value in trunk.state_dict().items():
        key.update(name.encode() + value.cpu().numpy().tobytes())
    path = cache_folder() / "features" / f"{key.hexdigest()[:24]}.pt"
    if not path.exists():
        batches = Images(images, config, device, workers).everything()
        features = torch.cat([trunk(batch).float().cpu() for batch in batches])
        with written_whole(path) as unfinished:
            torch.save(features, unfinished)
    return torch.load(path, weights_only=True)
