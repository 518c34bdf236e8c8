"""Your own images, in folders or with a table of labels.

These layouts are read:

- ``root/coarse/fine/image.jpg``. A fine class is named by its whole path,
  "coarse/fine": two folders of the same name under two coarse classes are two classes.
- ``root/train/coarse/fine/image.jpg`` with ``root/test/…``: the same, already split.
  ``val`` is the test part where there is no ``test``, and left out where there is.
- Any folders, with a table ``root/labels.csv`` of the columns ``file, fine, coarse``.
  The folders then mean nothing. A fourth column, ``split``, says train or test.

A split has to be one of classes: a fine class is trained on or tested on, never both.
"""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from qsel.data.images import DataError, ImageSet
from qsel.data.pictures import composed, without_unreadable
from qsel.data.splits import ZeroShot, check_trainable, split_by_fraction, zero_shot
from qsel.data.table import TABLE, Labelled, from_table, read_classes
from qsel.data.walk import first, images_below, refuse, summary
from qsel.hierarchy import Hierarchy, HierarchyError

# How the folders of a split are called, in lower case
PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PARTS |= dict.fromkeys(("val", "valid", "validation"), "val")
BY_CLASSES = "split=classes"


def folder(
    root: str | os.PathLike,
    test_fraction: float = 0.5,
    seed: int = 0,
    split: str = "own",
    test: str | os.PathLike | None = None,
    min_images: int = 2,
    skip_bad: int = 0,
) -> ZeroShot:
    """Images of your own hierarchy, split by fine class.

    Hidden files, notes (.txt, .md, .csv, .json) and what systems leave behind
    (Thumbs.db, __MACOSX) are passed over; any other file that is no image is an error.

    A class of a single image gives no reference, but its image is still trained on as
    P⁻ or N. In the test part it counts as an image for which nothing can be found.

    Args:
        root: a folder as described above.
        test_fraction: of the fine classes, where they are drawn; see
            ``splits.split_fine_classes``.
        seed: equal seeds draw equal splits.
        split: "own" takes the split that the data has, and draws one where it has
            none; "classes" draws one in any case.
        test: a text file with the fine classes to test on, one a line; its path is
            absolute or begins at ``root``. It goes before any other split.
        min_images: fine classes of fewer images give no references; 2 or more.
        skip_bad: so many images that cannot be decoded are left out. If above 0,
            every image is decoded first.

    Returns:
        The split; ``skipped`` names the images that were left out as unreadable, and
        ``notes`` says what else was passed over.

    Raises:
        DataError: no folder, no images, images at the wrong depth, a file that is no
            image, labels that are no hierarchy, a fine class in both parts, or too few
            classes to train on.
    """
    root = Path(root)
    if split not in ("own", "classes"):
        raise DataError(f"split is {split!r}; give own or classes")
    listed = root / Path(test).expanduser() if test is not None else None
    tested = read_classes(listed, root) if listed else []
    known = [path for path in (root / TABLE, listed) if path]
    images, passed = images_below(root, known)
    labelled = (from_table if (root / TABLE).exists() else _from_folders)(root, images)
    notes = [summary(root, passed)] if passed else []
    paths = [image.path for image in labelled]
    good, bad = without_unreadable(str(root), paths, skip_bad)
    labelled = [labelled[i] for i in good]
    own = split == "own" and not tested and any(image.part for image in labelled)
    if own:
        if (test_fraction, seed) != (0.5, 0):
            raise DataError(
                f"{root}: has its own split into train and test, so test_fraction and "
                f"seed change nothing; take them away, or add {BY_CLASSES}"
            )
        labelled = _two_parts(root, labelled, notes)
    try:
        hierarchy = Hierarchy.from_names(
            [image.fine for image in labelled], [image.coarse for image in labelled]
        )
        hierarchy = replace(hierarchy, min_images=min_images)
        hierarchy.references()  # refuses what can never give a quadruplet
    except HierarchyError as error:
        raise DataError(f"{root}: {error}") from None
    name = root.resolve().name
    images = ImageSet.from_files(name, [image.path for image in labelled], hierarchy)
    if own:
        tested = [image.fine for image in labelled if image.part == "test"]
    elif unknown := sorted(set(tested).difference(hierarchy.fine_names)):
        raise DataError(
            f"{listed}: {len(unknown)} names are no fine classes of the data: "
            f"{first([*map(repr, unknown)])}; they are called "
            f"{first([*map(repr, hierarchy.fine_names)])}"
        )
    if tested:
        given = zero_shot(images, set(hierarchy.fine_names).difference(tested))
        check_trainable(given, "the train part is too small", "give it more classes")
    else:
        given = split_by_fraction(images, test_fraction, seed)
    if given.test.hierarchy.fine.bincount().max() < 2:
        raise DataError(
            f"{root}: no fine class of the test part has two images, so nothing can be "
            "found; test on other classes, or add images"
        )
    skipped = tuple(composed(str(paths[i].relative_to(root).as_posix())) for i in bad)
    return replace(given, skipped=skipped, notes=tuple(notes))


def _from_folders(root: Path, images: list[Path]) -> list[Labelled]:
    below = [path.relative_to(root).parts for path in images]
    tops = sorted({names[0] for names in below if len(names) > 1})
    parts = {top: PARTS.get(composed(top).lower(), "") for top in tops}
    in_parts = bool(tops) and all(parts.values())
    if in_parts and (len(tops) == 1 or "train" not in parts.values()):
        raise DataError(
            f"{root}: holds {first(tops)} alone; give the folder of that part itself, "
            f"{root / tops[0]}, or add the other part"
        )
    depth = 3 if in_parts else 2
    if {len(names) - 1 for names in below} == {depth - 1}:
        also = f"; then add {BY_CLASSES}, if the parts share classes" * in_parts
        raise DataError(
            f"{root}: one label level, as in {images[0]}, and two are needed: put each "
            "class below its coarse class, as in coarse/fine/image.jpg, or name both "
            f"in a table {root / TABLE} of the columns file, fine, coarse{also}"
        )
    wanted = "part/coarse/fine" if in_parts else "coarse/fine"
    refuse(
        root,
        [
            f"{path}: an image {len(names) - 1} folders below {root}, expected "
            f"{depth}; move it to {wanted}/, or label all images in {root / TABLE}"
            for path, names in zip(images, below, strict=True)
            if len(names) - 1 != depth
        ],
    )
    found = []
    for path, names in zip(images, below, strict=True):
        coarse, fine = (composed(name) for name in names[-3:-1])
        part = parts[names[0]] if in_parts else ""
        found.append(Labelled(path, f"{coarse}/{fine}", coarse, part))
    return found


def _two_parts(root: Path, labelled: list[Labelled], notes: list) -> list[Labelled]:
    """The images of the own split's two parts, named train and test."""
    count = Counter(image.part for image in labelled)
    if not count["test"]:  # the validation part stands for it
        labelled = [
            image._replace(part="test") if image.part == "val" else image
            for image in labelled
        ]
    elif count["val"]:
        labelled = [image for image in labelled if image.part != "val"]
        notes.append(f"{count['val']:,} images of the validation part are left out")
    parts: dict[str, set] = {"train": set(), "test": set()}
    for image in labelled:
        parts[image.part].add(image.fine)
    for part, classes in parts.items():
        if not classes:
            raise DataError(
                f"{root}: the split has no {part} images; give both parts, or add "
                f"{BY_CLASSES} to draw one"
            )
    if both := sorted(parts["train"] & parts["test"]):
        raise DataError(
            f"{root}: the train and the test part share {len(both)} of "
            f"{len(parts['train'] | parts['test'])} fine classes, such as {both[0]!r}; "
            f"classes that are tested must be unseen: add {BY_CLASSES}, as in "
            f"'{root.name}?{BY_CLASSES}', to join the parts and split by class"
        )
    notes.append("the data's own split into train and test is used")
    return labelled
