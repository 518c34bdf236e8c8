"""A trunk that stands still, or its lower part: what it says of each image, kept.

A frozen trunk turns each image into features. Where only its lower part is frozen, most
of the work is done there, and most of what adapts to new images is in the upper part.
So the lower part runs once over every image, plain, and over some random crops of the
training images. Its activations are kept on disk in half precision, and a network
trains on them many times faster than on images.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from qsel.data.files import cache_path, load_or_make
from qsel.data.images import ImageSet
from qsel.data.machine import fresh_settings
from qsel.experiments.config import Config
from qsel.experiments.distributed import ALONE, Processes
from qsel.experiments.inputs import EVALUATION_BATCH, Images
from qsel.experiments.precision import precision
from qsel.experiments.record import computed_by
from qsel.experiments.trunks import IMAGENET, ModelError, Preprocessing


class Features:
    """A frozen trunk's features of every image: (N, features)."""

    def __init__(
        self,
        raw: Tensor,  # as the trunk returns them
        device: torch.device,
        standardised: Callable[[Tensor], Tensor],  # once, before the first use
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
    expected: Preprocessing = IMAGENET,
) -> Tensor:
    """(N, features) float32 of all images, not augmented, computed once and cached.

    The trunk runs in evaluation mode. For the other arguments see ``Images``.
    """
    trunk = trunk.to(device, memory_format=torch.channels_last).eval()
    key = cache_key(trunk, images, config, device, expected)
    plain = replace(config, augment=False)

    def make() -> Tensor:
        batches = Images(images, plain, device, workers, expected).everything()
        return torch.cat([trunk(batch).float().cpu() for batch in batches])

    def load(path: Path) -> Tensor:
        features = torch.load(path, weights_only=True)
        if len(features) != len(images) or features.dtype != torch.float32:
            raise ValueError(f"{features.dtype} of shape {tuple(features.shape)}")
        return features

    return load_or_make(cache_path(f"features/{key}.pt"), load, make, torch.save)


def cache_key(
    trunk: nn.Module,
    images: ImageSet,
    config: Config,
    device: torch.device,
    expected: Preprocessing,
) -> str:
    """Equal where a trunk's answers to plain images are equal."""
    key = hashlib.sha256(images.fingerprint.encode())
    key.update(repr((computed_by(), device.type, config.trunk, expected)).encode())
    key.update(repr((config.resize, config.image_size)).encode())
    if images.pixels is None:
        key.update(b"large ones shrunk")  # other features than of whole images
    for name, value in trunk.state_dict().items():
        key.update(name.encode() + value.cpu().numpy().tobytes())
    return key.hexdigest()[:24]


class Activations:
    """What the lower part of a trunk says of each image, in half precision, on disk."""

    def __init__(
        self,
        plain: np.ndarray,  # (N, ...) of the evaluation crops
        views: Sequence[np.ndarray],  # of random crops; without any, batches are plain
        chosen: Tensor,  # (M,) which of the N images the set consists of
        device: torch.device,
    ):
        self.plain, self.views = plain, views or [plain]
        self.chosen, self.device = chosen, device

    def __len__(self) -> int:
        return len(self.chosen)

    def stream(
        self, batches: Sequence[Tensor], processes: Processes = ALONE
    ) -> Iterator[Tensor]:
        """Of each batch of indices a view of each image, drawn at random: (B, ...).

        Of several processes each gets its share of every batch.
        """
        for batch in batches:
            views = torch.randint(len(self.views), batch.shape)
            drawn = zip(self.chosen[batch].tolist(), views.tolist(), strict=True)
            share = list(drawn)[processes.share]
            yield self._batch(np.stack([self.views[view][i] for i, view in share]))

    def everything(self, processes: Processes = ALONE) -> Iterator[Tensor]:
        """Of all images in order, or of the share, the plain activations: (B, ...)."""
        for some in self.chosen[processes.share].split(EVALUATION_BATCH):
            yield self._batch(self.plain[some.numpy()])

    def _batch(self, activations: np.ndarray) -> Tensor:
        x = torch.from_numpy(activations).to(self.device).float()
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


@fresh_settings()
@torch.no_grad()
def cached_activations(
    lower: nn.Module,
    images: ImageSet,
    config: Config,
    device: torch.device,
    workers: int | None,
    expected: Preprocessing,
    views: int,
) -> Activations:
    """Activations of all images, from the cache or computed now.

    Of a part of a set, such as held-out classes, those of the whole set are taken. What
    is random in the crops comes from the number of the view alone.

    Args:
        lower: the lower part of a trunk; used in evaluation mode.
        images, config, device, workers, expected: see ``Images``.
        views: random crops of each image.

    Raises:
        ModelError: activations that half precision cannot hold.
    """
    lower = lower.to(device, memory_format=torch.channels_last).eval()
    images, chosen = images.part_of or (images, torch.arange(len(images)))
    key = cache_key(lower, images, config, device, expected)
    folder = cache_path(f"activations/{key}-{config.precision}")

    def make(view: int | None) -> np.ndarray:
        drawn = replace(config, augment=view is not None)
        inputs = Images(images, drawn, device, workers, expected)
        if view is None:
            batches = inputs.everything()
        else:
            batches = inputs.stream(torch.arange(len(images)).split(EVALUATION_BATCH))
        with torch.random.fork_rng(devices=[]), precision(config.precision, device):
            torch.manual_seed(view or 0)
            found = [lower(batch).half().cpu() for batch in batches]
        found = torch.cat(found)
        if not found.isfinite().all():
            raise ModelError(
                f"freeze={config.freeze}: activations are too large for half "
                "precision; set freeze to none, or to another module"
            )
        return found.numpy()

    def load(path: Path) -> np.ndarray:
        array = np.load(path, mmap_mode="r")
        if array.dtype != np.float16 or len(array) != len(images):
            raise ValueError(f"{array.dtype} of shape {array.shape}")
        return array

    def cached(name: str, view: int | None) -> np.ndarray:
        path = folder / name
        found = load_or_make(path, load, partial(make, view), _save)
        return load(path) if path.exists() else found  # from disk, not from memory

    random = [cached(f"crop{config.crop_scale}-{v}.npy", v) for v in range(views)]
    return Activations(cached("plain.npy", None), random, chosen, device)


def _save(array: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:  # numpy would add an ending to a path
        np.save(file, array)
