"""Image files: one is read, many are checked; and what is said of a broken one."""

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from qsel.data import remembered
from qsel.data.files import first_line


class DataError(ValueError):
    """A data set that cannot be used as it is; the message says what to do."""


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
        image = _decode(path, at_least)
    except DataError as error:
        raise DataError(
            f"{path}: {error}; replace the image, or take it out together with its "
            "label"
        ) from None
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()  # (3, H, W)


def unreadable(paths: Sequence[Path]) -> dict[Path, str]:
    """The images that cannot be decoded, each with "path: reason"."""
    if not paths:
        return {}
    question = f"decodes with Pillow {PIL.__version__}"
    return remembered.answers(question, _decodes, paths, "checking images")[1]


def without_unreadable(
    name: str, paths: Sequence[Path], allowed: int
) -> tuple[list[int], list[int]]:
    """Positions of the images that can be decoded, and of the others.

    Args:
        name: of the data set.
        paths: N images.
        allowed: how many may be unreadable; if 0, nothing is decoded.

    Raises:
        DataError: more are; all are named.
    """
    bad = unreadable(paths) if allowed > 0 else {}
    if len(bad) > allowed:
        problems = listing(name, [*bad.values()], len(paths))
        raise DataError(f"skip_bad={allowed} allows fewer: {problems}")
    good = [i for i, path in enumerate(paths) if path not in bad]
    return good, [i for i, path in enumerate(paths) if path in bad]


def composed(name: str) -> str:
    """A name with its accents in composed form (NFC).

    Some systems store "é" as one character, some as two that look the same.

    Example:
        >>> composed("e" + chr(0x301)) == chr(0xE9)
        True
    """
    return unicodedata.normalize("NFC", name)


def content_digest(path: Path) -> str:
    """32 hexadecimal digits of a file's bytes."""
    with path.open("rb") as file:
        blake2b = partial(hashlib.blake2b, digest_size=16)
        return hashlib.file_digest(file, blake2b).hexdigest()


def _decodes(path: Path) -> str:
    _decode(path)
    return "yes"


def _decode(path: str | os.PathLike, at_least: int | None = None) -> Image.Image:
    try:
        if os.path.getsize(path) == 0:
            raise DataError("the file is empty (0 bytes)")
        with Image.open(path) as image:
            if at_least and min(image.size) >= 2 * at_least:
                image.draft("RGB", (at_least, at_least))
            return _to_rgb(ImageOps.exif_transpose(image))
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError("this is not an image that Pillow knows") from None
    # On broken bytes Pillow raises OSError, SyntaxError, struct.error and others
    except Exception as error:
        raise DataError(f"the image cannot be read ({first_line(error)})") from None


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


def listing(name: str, problems: list[str], total: int) -> str:
    """What is wrong with some of the images, each problem on its own line."""
    lines = "".join(f"\n  {problem}" for problem in problems)
    skip = ""
    if len(problems) < total:
        skip = f", or leave them out by the data option skip_bad={len(problems)}"
    return (
        f"{name}: {len(problems)} of {total} images cannot be used; replace them, or "
        f"take them out together with their labels{skip}:{lines}"
    )
