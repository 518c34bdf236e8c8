"""What the tests train on: a zero-shot split that is learnt in a second."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from qsel.data import ImageSet, ZeroShot
from qsel.experiments.config import Config, preset
from qsel.hierarchy import Hierarchy

CPU = torch.device("cpu")
SIZE = 16  # pixels


def pixels(first_fine: int = 0, each: int = 6, seed: int = 0) -> np.ndarray:
    """(6 · each, 3, 16, 16) uint8: six fine classes, each a bright patch on noise."""
    random = np.random.default_rng((seed, first_fine))
    array = random.integers(0, 60, (6 * each, 3, SIZE, SIZE), "uint8")
    for i, image in enumerate(array):
        fine = first_fine + i // each
        row, column = divmod(fine, 4)
        image[fine % 3, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 250
    return array


def image_set(first_fine: int = 0, each: int = 6, seed: int = 0) -> ImageSet:
    """Six fine classes in three coarse ones."""
    fine = [f"f{first_fine + i // each}" for i in range(6 * each)]
    coarse = [f"c{i // each % 3}" for i in range(6 * each)]
    labels = Hierarchy.from_names(fine, coarse)
    return ImageSet.from_array("tiny", pixels(first_fine, each, seed), labels)


def zero_shot(seed: int = 0) -> ZeroShot:
    """Six fine classes to train on, six others to test on."""
    return ZeroShot("tiny", image_set(0, seed=seed), image_set(6, seed=seed))


def config(**settings) -> Config:
    """The smoke preset, smaller still, on the trunk of this file."""
    small = dict(trunk="tiny:trunk", weights=None, image_size=SIZE, resize=SIZE)
    small |= dict(batch=12, epochs=2, embedding_dim=8)
    return preset("smoke").with_settings(small | settings)


# The same for the command line.
SETTINGS = dict(trunk="tiny:trunk", weights="none", image_size="16", resize="16")
SETTINGS |= dict(batch="12", epochs="2", embedding_dim="8")


def frozen(**settings) -> Config:
    """A linear layer on the frozen trunk."""
    return config(freeze="trunk", augment=False, **settings)


def trunk(seed: int = 0) -> nn.Module:
    """(B, 3, 16, 16) → (B, 64), the same weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        convolution = nn.Conv2d(3, 4, kernel_size=4, stride=4)
    layers = [convolution, nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    return nn.Sequential(*layers)


def plain() -> nn.Module:
    """(B, 3, 16, 16) → (B, 64), the same weights at every call; no normalisation."""
    return nn.Sequential(*(part for i, part in enumerate(trunk()) if i != 1))


class _Huge(nn.Module):
    def forward(self, features):
        return features * 1e38


def huge() -> nn.Module:
    """A trunk whose features no float32 layer can add up."""
    return nn.Sequential(trunk(), _Huge())


def as_folder(root, fine_classes: int = 4, each: int = 4):
    """Write root/coarse/fine/image.png: three coarse classes."""
    array = np.concatenate([pixels(0, each), pixels(6, each)])
    for i, image in enumerate(array):
        fine = i // each
        if fine // 3 < fine_classes:
            path = root / f"c{fine % 3}" / f"f{fine}" / f"{i % each}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(path)
    return root
