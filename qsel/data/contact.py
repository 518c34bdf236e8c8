"""A contact sheet: a few fine classes of a data set, one row each."""

from collections import Counter
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageOps
from torchvision.transforms.functional import pil_to_tensor, to_pil_image
from torchvision.utils import make_grid

from qsel.data.files import check_output, written_whole
from qsel.data.images import DataError, ImageSet

GAP = 8  # pixels around each picture
LABEL = 170  # pixels for a row's names
SHEETS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".pdf")


def contact_sheet(
    images: ImageSet,
    fine_classes: int = 8,
    images_per_class: int = 8,
    seed: int = 0,
    tile: int = 96,
) -> Image.Image:
    """Some pictures of some fine classes, their names at the left of each row.

    The classes are spread evenly over the data set's coarse classes where it has
    more than are asked for; which pictures are shown is drawn at random.

    Args:
        images: any data set.
        fine_classes: rows; all classes if there are fewer.
        images_per_class: columns; a smaller class leaves its last places empty.
        seed: another seed shows other classes and pictures.
        tile: side of a picture in pixels; pictures keep their proportions.

    Returns:
        An RGB picture.
    """
    labels, generator = images.hierarchy, torch.Generator().manual_seed(seed)
    rows = _spread(labels.coarse_of_fine, fine_classes, generator)
    tiles = torch.full((len(rows), images_per_class, 3, tile, tile), 255).byte()
    for row, fine in zip(tiles, rows, strict=True):
        members = (labels.fine == fine).nonzero().squeeze(1)  # (n,)
        order = torch.randperm(len(members), generator=generator)
        for place, i in zip(row, members[order].tolist(), strict=False):
            picture = ImageOps.pad(to_pil_image(images[i]), (tile, tile), color="white")
            place[:] = pil_to_tensor(picture)
    grid = make_grid(tiles.flatten(0, 1), images_per_class, GAP, pad_value=255)
    sheet = ImageOps.expand(to_pil_image(grid), (LABEL, 0, 0, 0), "white")
    draw = ImageDraw.Draw(sheet)
    for row, fine in enumerate(rows):
        coarse = labels.coarse_names[int(labels.coarse_of_fine[fine])]
        for line, name in enumerate(dict.fromkeys((coarse, labels.fine_names[fine]))):
            short = name if len(name) <= 26 else name[:25] + "…"
            at = (GAP, GAP + row * (tile + GAP) + 14 * line)
            draw.text(at, short, "black" if line else "dimgray")
    return sheet


def check_sheet(path: Path) -> None:
    """Say whether a contact sheet can be saved under a name, before it is drawn.

    Raises:
        ValueError: no ending of a picture, or no file can be written there.
    """
    if not path.parent.is_dir():
        raise DataError(f"there is no folder {path.parent} for {path.name}; make it")
    check_output(path, SHEETS)


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a contact sheet, whole or not at all, as its ending says."""
    with written_whole(path) as unfinished:
        sheet.save(unfinished, Image.registered_extensions()[path.suffix.lower()])


def _spread(
    coarse_of_fine: torch.Tensor, count: int, generator: torch.Generator
) -> list[int]:
    """So many fine classes, taken in turn from each coarse class, in label order."""
    order = torch.randperm(len(coarse_of_fine), generator=generator).tolist()
    above = coarse_of_fine.tolist()
    taken: Counter[int] = Counter()
    turn = {}
    for fine in order:
        turn[fine] = taken[above[fine]]
        taken[above[fine]] += 1
    return sorted(sorted(order, key=turn.__getitem__)[:count])
