"""The images below a folder, and what else lies there."""

import os
from collections.abc import Sequence
from pathlib import Path

from qsel.data.pictures import DataError, composed

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
TEXTS = {".txt", ".md", ".csv", ".json"}  # notes beside the images
# What systems and people leave behind, in lower case; also all hidden files.
LITTER_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
LITTER_FILES |= {"readme", "license", "licence"}
LITTER_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information"}
NO_IMAGE = (
    f"neither an image ({' '.join(sorted(IMAGES))}) nor text "
    f"({' '.join(sorted(TEXTS))}); take it out of the folder"
)
SHOWN = 10  # lines of a long list of problems


def is_litter(name: str, folder: bool = False) -> bool:
    """Whether a file, or a folder, is known to be no part of a data set.

    Example:
        >>> is_litter("Thumbs.db"), is_litter("a.jpg"), is_litter("._a.jpg")
        (True, False, True)
    """
    known = LITTER_FOLDERS if folder else LITTER_FILES
    if name.startswith(".") or name.lower() in known:
        return True
    return not folder and Path(name).suffix.lower() in TEXTS


def images_below(
    root: Path, known: Sequence[Path] = ()
) -> tuple[list[Path], list[Path]]:
    """Every image, sorted, and the files and folders that were passed over.

    Args:
        root: a folder; links in it are followed.
        known: files that are no images and belong there.

    Raises:
        DataError: other files, folders without an image, names that are not UTF-8, or
            links that lead back; the first are named.
    """
    images: list[Path] = []
    passed: list[Path] = []
    problems: list[str] = []
    own = {path.resolve() for path in known}

    def closed(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be opened; check its permissions")

    for place, folders, files in os.walk(root, followlinks=True, onerror=closed):
        here, before = Path(place), len(images)
        passed += [here / name for name in folders if is_litter(name, folder=True)]
        folders[:] = [name for name in folders if not is_litter(name, folder=True)]
        folders.sort(key=composed)
        for name in list(folders):
            link = here / name
            if link.is_symlink() and here.resolve().is_relative_to(link.resolve()):
                problems.append(f"{link}: a link back to a folder that holds it")
                folders.remove(name)
        for name in sorted(files, key=composed):
            path = here / name
            if own and path.resolve() in own:
                continue
            if is_litter(name):
                passed.append(path)
            elif path.suffix.lower() not in IMAGES:
                problems.append(f"{path}: {NO_IMAGE}")
            elif str(path) != os.fsencode(path).decode(errors="replace"):
                problems.append(f"{os.fsencode(path)}: not UTF-8; rename it")
            else:
                images.append(path)
        if not folders and len(images) == before:
            problems.append(
                f"{here}: no image in this folder; add some, or take the folder out"
            )
    refuse(root, problems)
    return images, sorted(passed)


def refuse(where: Path, problems: Sequence[str]) -> None:
    """Raise what is wrong, if anything is.

    Args:
        where: what holds them all.
        problems: of each the place and what is wrong there.

    Raises:
        DataError: one problem in a line, several as a list.
    """
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        lines = [*problems[:SHOWN]]
        if more := len(problems) - len(lines):
            lines.append(f"and {more} more")
        listed = "".join(f"\n  {line}" for line in lines)
        raise DataError(f"{where}: {len(problems)} problems:{listed}")


def summary(root: Path, passed: Sequence[Path]) -> str:
    """One sentence about what was passed over.

    Example:
        >>> summary(Path("photos"), [Path("photos/a/Thumbs.db"), Path("photos/x.txt")])
        '2 files that are no images were passed over: a/Thumbs.db, x.txt'
    """
    what = f"{len(passed):,} files that are no images were"
    if len(passed) == 1:
        what = "1 file that is no image was"
    return f"{what} passed over: {first([str(p.relative_to(root)) for p in passed])}"


def first(names: Sequence[str], count: int = 3) -> str:
    """The first names of a list, and how many follow.

    Example:
        >>> first(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more:,} more" if more > 0 else "")
