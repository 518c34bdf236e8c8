"""Images with a ``Hierarchy``: in memory as one array, or as files read when asked for.

Every data set of the package becomes an ``ImageSet``. What is wrong with a user's
data is said here, with the path, as a ``DataError``.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from qsel.hierarchy import Hierarchy
from qsel.machine import available_cores


class DataError(ValueError):
    """A data set that cannot be used as it is; the message says what to do."""


class ImageSet(Dataset):
    """N images and their two label levels; made by ``from_array`` or ``from_files``.

    ``image_set[i]`` is a (3, H, W) uint8 tensor, RGB, neither resized nor normalised.
    It pickles, so a torch ``DataLoader`` may read it in several workers.

    Attributes:
        name: for people, e.g. "synthcars train".
        hierarchy: the labels of exactly these N images.
        pixels: (N, 3, H, W) uint8 in memory, or None where the images are files.
        paths: N paths, or None where the images are in memory.

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
        sizes: tuple[int, ...] = (),
    ):
        self.name = name
        self.hierarchy = hierarchy
        self.pixels = pixels  # (N, 3, H, W)
        self.paths = paths
        self._sizes = sizes  # bytes of each file, part of the fingerprint

    @classmethod
    def from_array(cls, name: str, array: np.ndarray, hierarchy: Hierarchy):
        """Images that are in memory already.

        Args:
            name: for people.
            array: uint8, (N, 3, H, W) or (N, H, W, 3). Where both readings fit, the
                first is taken.
            hierarchy: the labels of the N images.

        Raises:
            DataError: another type or shape, an empty image, or not one label each.
        """
        array = np.asarray(array)
        if array.dtype != np.uint8 or array.ndim != 4 or 3 not in array.shape[1::2]:
            raise DataError(
                f"{name}: images are {array.dtype} of shape {array.shape}; expected "
                "uint8 of shape (N, 3, H, W) or (N, H, W, 3)"
            )
        if array.shape[1] != 3:
            array = array.transpose(0, 3, 1, 2)
        if 0 in array.shape[2:]:
            height, width = array.shape[2:]
            raise DataError(
                f"{name}: empty images of {height} x {width} pixels; give at least one"
            )
        _one_label_each(name, len(array), hierarchy)
        # torch warns about memory that it may not write to, such as a mapped file
        array = np.require(array, requirements=["C", "W"])
        return cls(name, hierarchy, pixels=torch.from_numpy(array))

    @classmethod
    def from_files(
        cls, name: str, paths: Iterable[str | os.PathLike], hierarchy: Hierarchy
    ):
        """Images that are files; each is decoded when it is asked for.

        All are looked up now, none is opened: ``check_images`` opens them all.

        Args:
            name: for people.
            paths: N paths of images that Pillow can read.
            hierarchy: the labels of the N images.

        Raises:
            DataError: a file that is absent, empty or given twice, or not one label
                each.
        """
        paths = tuple(Path(path) for path in paths)
        _one_label_each(name, len(paths), hierarchy)
        if len(set(paths)) != len(paths):
            twice = next(p for p, n in Counter(paths).items() if n > 1)
            raise DataError(f"{name}: {twice} is given twice; give each image once")
        sizes, problems = [], []
        for path in paths:
            try:
                sizes.append(path.stat().st_size)
            except OSError as error:
                problems.append(f"{path}: {_reason(error)}")
            else:
                if path.is_dir():
                    problems.append(f"{path}: a folder, not an image")
                elif sizes[-1] == 0:
                    problems.append(f"{path}: the file is empty (0 bytes)")
        if problems:
            raise DataError(_listing(name, problems, len(paths)))
        return cls(name, hierarchy, paths=paths, sizes=tuple(sizes))

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

        Raises:
            DataError: none, one twice, or one that lies outside.
        """
        name = name or self.name
        indices = torch.as_tensor(indices)
        if indices.dtype == torch.bool and indices.shape == (len(self),):
            indices = indices.nonzero().squeeze(1)
        if indices.ndim != 1 or not len(indices):
            raise DataError(
                f"{name}: indices have shape {tuple(indices.shape)}; give a list of at "
                "least one position"
            )
        low, high = int(indices.min()), int(indices.max())
        if indices.dtype == torch.bool or indices.is_floating_point():
            raise DataError(f"{name}: indices are {indices.dtype}; give whole numbers")
        if low < 0 or high >= len(self):
            raise DataError(
                f"{name}: indices run from {low} to {high}, but the images are "
                f"numbered 0 to {len(self) - 1}"
            )
        if len(indices.unique()) != len(indices):
            raise DataError(f"{name}: an index is given twice; give each image once")
        labels = self.hierarchy.subset(indices)
        if self.pixels is not None:
            return ImageSet(name, labels, pixels=self.pixels[indices])
        keep = indices.tolist()
        paths = tuple(self.paths[i] for i in keep)
        return ImageSet(
            name, labels, paths=paths, sizes=tuple(self._sizes[i] for i in keep)
        )

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits: equal when images and labels are equal.

        In memory: a sha256 of every pixel. Files: of their names below the folder
        that holds them all and of their sizes, so that nothing has to be decoded and
        moving the folder changes nothing. Both: of the labels and class names.
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
            for path, size in zip(self.paths, self._sizes, strict=True):
                below = path.absolute().relative_to(above).as_posix()
                digest.update(repr((below, size)).encode())
        return digest.hexdigest()[:16]


def read_image(path: str | os.PathLike, at_least: int | None = None) -> Tensor:
    """One image file as a (3, H, W) uint8 tensor, RGB.

    Grey, palette, CMYK and 16-bit pictures are converted; what is transparent
    becomes white; a photograph is turned upright as its EXIF entry says; of a moving
    picture the first frame is taken.

    Args:
        path: of the file.
        at_least: pixels of the shorter side that are enough. A JPEG of twice as many
            or more is decoded at a half, a quarter or an eighth of its size, which
            takes less time.

    Raises:
        DataError: a file that is absent, empty, cut short or no picture.
    """
    try:
        if os.path.getsize(path) == 0:
            raise DataError("the file is empty (0 bytes)")
        with Image.open(path) as image:
            if at_least and min(image.size) >= 2 * at_least:
                image.draft("RGB", (at_least, at_least))
            image = _to_rgb(ImageOps.exif_transpose(image))
    # On broken bytes Pillow raises OSError, SyntaxError, struct.error and others
    except Exception as error:
        raise DataError(
            f"{path}: {_reason(error)}; replace the image, or take it out together "
            "with its label"
        ) from None
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()  # (3, H, W)


def check_images(image_set: ImageSet, workers: int | None = None) -> None:
    """Decode every image once, with a progress bar, so that no run stops half-way.

    Args:
        image_set: images in memory are complete by construction and pass at once.
        workers: threads; by default one for each CPU core, 8 at most.

    Raises:
        DataError: names every image that cannot be read, with its reason.
    """
    if image_set.paths is None:
        return
    if workers is None:
        workers = min(available_cores(), 8)
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        reasons = pool.map(_what_is_wrong, image_set.paths)
        title = f"checking {image_set.name}"
        bar = tqdm(reasons, desc=title, total=len(image_set), unit="image")
        problems = [reason for reason in bar if reason]
    if problems:
        raise DataError(_listing(image_set.name, problems, len(image_set)))


def _what_is_wrong(path: Path) -> str:
    try:
        read_image(path)
    except DataError as error:
        return str(error).rpartition("; replace")[0]
    return ""


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):  # whole numbers to 65,535
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise DataError("its values do not fit 16 bits; save it with 8 bits")
        grey = (values.astype(np.float64) / 257).round().astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "F":
        raise DataError("a float picture has no fixed white; save it with 8 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    match error:
        case DataError():
            return str(error)
        case FileNotFoundError():
            return "there is no such file"
        case PermissionError():
            return "no permission to read it"
        case UnidentifiedImageError():
            return "this is not an image that Pillow knows"
    return f"the image cannot be read ({str(error) or type(error).__name__})"


def _listing(name: str, problems: list[str], total: int) -> str:
    lines = "".join(f"\n  {problem}" for problem in problems)
    return (
        f"{name}: {len(problems)} of {total} images cannot be used; replace them, or "
        f"take them out together with their labels:{lines}"
    )


def _one_label_each(name: str, images: int, hierarchy: Hierarchy) -> None:
    if images != len(hierarchy):
        raise DataError(
            f"{name}: {images} images but {len(hierarchy)} labels; give one label for "
            "each image"
        )
