"""Images with a ``Hierarchy``: in memory as one array, or as files read when asked for.

Every data set of the package becomes an ``ImageSet``. What is wrong with a user's
data is said here, with the path, as a ``DataError``.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from qsel.data import remembered
from qsel.data.pictures import (
    DataError,
    composed,
    content_digest,
    listing,
    read_image,
    unreadable,
)
from qsel.hierarchy import Hierarchy


class ImageSet(Dataset):
    """N images and their two label levels; made by ``from_array`` or ``from_files``.

    ``image_set[i]`` is a (3, H, W) uint8 tensor, RGB, neither resized nor normalised.
    It pickles, so a torch ``DataLoader`` may read it in several workers.

    Attributes:
        name: for people, e.g. "synthcars train".
        hierarchy: the labels of exactly these N images.
        pixels: (N, 3, H, W) uint8 in memory, or None where the images are files.
        paths: N paths, or None where the images are in memory.
        part_of: a set whose cached features hold for these images too, and the N
            positions there; None where there is none.

    Example:
        >>> labels = Hierarchy.from_names(["a3", "a4"], ["sedan", "sedan"])
        >>> cars = ImageSet.from_array("two", np.zeros((2, 8, 9, 3), "uint8"), labels)
        >>> len(cars), tuple(cars[0].shape), cars[0].dtype
        (2, (3, 8, 9), torch.uint8)
    """

    def __init__(
        self,
        name: str,
        hierarchy: Hierarchy,
        pixels: Tensor | None = None,
        paths: tuple[Path, ...] | None = None,
    ):
        self.name = name
        self.hierarchy = hierarchy
        self.pixels = pixels  # (N, 3, H, W)
        self.paths = paths
        self.part_of: tuple[ImageSet, Tensor] | None = None

    @classmethod
    def from_array(cls, name: str, array: np.ndarray, hierarchy: Hierarchy):
        """Images that are in memory already.

        Args:
            name: for people.
            array: uint8, (N, 3, H, W) or (N, H, W, 3). Where both readings fit, the
                first is taken.
            hierarchy: the labels of the N images.

        Raises:
            DataError: another type or shape, or not one label each.
        """
        array = np.asarray(array)
        if array.dtype != np.uint8 or array.ndim != 4 or 3 not in array.shape[1::2]:
            raise DataError(
                f"{name}: images are {array.dtype} of shape {array.shape}; expected "
                "uint8 of shape (N, 3, H, W) or (N, H, W, 3)"
            )
        if array.shape[1] != 3:
            array = array.transpose(0, 3, 1, 2)
        _one_label_each(name, len(array), hierarchy)
        # torch warns about memory that it may not write to, such as a mapped file
        array = np.require(array, requirements=["C", "W"])
        return cls(name, hierarchy, pixels=torch.from_numpy(array))

    @classmethod
    def from_files(
        cls, name: str, paths: Iterable[str | os.PathLike], hierarchy: Hierarchy
    ):
        """Images that are files; each is decoded when it is asked for.

        None is opened now; ``check_images`` opens them all.

        Args:
            name: for people.
            paths: N paths of images that Pillow can read.
            hierarchy: the labels of the N images.

        Raises:
            DataError: a file that is given twice, or not one label each.
        """
        paths = tuple(Path(path) for path in paths)
        _one_label_each(name, len(paths), hierarchy)
        if len(set(paths)) != len(paths):
            twice = next(p for p, n in Counter(paths).items() if n > 1)
            raise DataError(f"{name}: {twice} is given twice; give each image once")
        return cls(name, hierarchy, paths=paths)

    def __len__(self) -> int:
        return len(self.hierarchy)

    def __getitem__(self, i: int) -> Tensor:
        if self.pixels is None:
            return read_image(self.paths[i])  # (3, H, W)
        # a copy: changing it in place must not change the data set
        return self.pixels[i].clone()  # (3, H, W)

    def __repr__(self) -> str:
        fine, coarse = self.hierarchy.fine_names, self.hierarchy.coarse_names
        return (
            f"<ImageSet {self.name!r}: {len(self):,} images of {len(fine)} fine and "
            f"{len(coarse)} coarse classes>"
        )

    def subset(self, indices: Sequence[int] | Tensor, name: str | None = None):
        """The images at ``indices``, in that order, with classes renumbered.

        Args:
            indices: distinct positions 0 … N-1, or N booleans.
            name: of the result; by default that of the whole.
        """
        name = name or self.name
        indices = torch.as_tensor(indices)
        if indices.dtype == torch.bool:
            indices = indices.nonzero().squeeze(1)
        labels = self.hierarchy.subset(indices)
        if self.pixels is not None:
            return ImageSet(name, labels, pixels=self.pixels[indices])
        return ImageSet(name, labels, paths=tuple(self.paths[i] for i in indices))

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits: equal when images and labels are equal.

        It covers the labels, the class names, and of images in memory every pixel; of
        files every byte, and their names below the folder that holds them all. Moving
        that folder changes nothing. Files are read once: what was found is kept in
        the cache folder until they change.

        Raises:
            DataError: a file that cannot be read.
        """
        labels = self.hierarchy
        digest = hashlib.sha256()
        digest.update(labels.fine.numpy().tobytes())
        digest.update(labels.coarse_of_fine.numpy().tobytes())
        digest.update(repr((labels.fine_names, labels.coarse_names)).encode())
        if self.pixels is not None:
            digest.update(repr(tuple(self.pixels.shape)).encode())
            digest.update(self.pixels.numpy().data)
        else:
            above = os.path.commonpath([path.absolute().parent for path in self.paths])
            contents, problems = remembered.answers(
                "blake2b", content_digest, self.paths, f"reading {self.name}"
            )
            if problems:
                raise DataError(listing(self.name, [*problems.values()], len(self)))
            for path, content in zip(self.paths, contents, strict=True):
                below = composed(path.absolute().relative_to(above).as_posix())
                digest.update(repr((below, content)).encode())
        if labels.min_images > 2:  # fewer references are another training set
            digest.update(repr(labels.min_images).encode())
        return digest.hexdigest()[:16]


def check_images(*image_sets: ImageSet) -> None:
    """Decode every image once, with a progress bar, so that no run stops half-way.

    Files that were decoded before and have not changed since are not decoded again.

    Args:
        image_sets: images in memory are complete by construction and pass at once.

    Raises:
        DataError: names every image of all sets that cannot be read, with its reason.
    """
    files = [images for images in image_sets if images.paths is not None]
    paths = [path for images in files for path in images.paths]
    if problems := unreadable(paths):
        name = " and ".join(images.name for images in files)
        raise DataError(listing(name, list(problems.values()), len(paths)))


def _one_label_each(name: str, images: int, hierarchy: Hierarchy) -> None:
    if images != len(hierarchy):
        raise DataError(
            f"{name}: {images} images but {len(hierarchy)} labels; give one label for "
            "each image"
        )
