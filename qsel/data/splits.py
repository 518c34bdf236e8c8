"""Zero-shot splits: the classes that are tested were never trained on."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from qsel.data.images import DataError, ImageSet
from qsel.data.walk import first
from qsel.hierarchy import Hierarchy, HierarchyError

HELD_OUT = 0.25  # of the training classes, where settings are chosen


@dataclass(frozen=True)
class ZeroShot:
    """Images to train on and images to test on, of different fine classes.

    Coarse classes may stand on both sides; the paper's Cars196 split shares most.

    Attributes:
        name: of the data set.
        train: images of the classes to train on.
        test: images of the classes that stay unseen.
        skipped: files that were left out because they cannot be read.
        notes: what else a reader of the data should know, a sentence each.

    Raises:
        DataError: a fine class stands on both sides.
    """

    name: str
    train: ImageSet
    test: ImageSet
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        seen = set(self.train.hierarchy.fine_names)
        shared = [f for f in self.test.hierarchy.fine_names if f in seen]
        if shared:
            raise DataError(
                f"{self.name}: fine class {shared[0]!r} is both trained and tested on "
                f"({len(shared)} such classes); give each fine class to one side"
            )


def zero_shot(
    images: ImageSet, train_fine: Collection[str], name: str | None = None
) -> ZeroShot:
    """Train on the fine classes named, test on all others.

    Raises:
        DataError: a name that is not there, or a side without a class.

    Example:
        >>> import numpy as np
        >>> labels = Hierarchy.from_names(["a3", "a4", "tt"], ["sedan"] * 2 + ["coupe"])
        >>> cars = ImageSet.from_array("audi", np.zeros((3, 3, 8, 8), "uint8"), labels)
        >>> zero_shot(cars, ["a3", "tt"]).test.hierarchy.fine_names
        ('a4',)
    """
    name = name or images.name
    names = images.hierarchy.fine_names
    train_fine = set(train_fine)
    if unknown := sorted(train_fine.difference(names)):
        raise DataError(
            f"{name}: no fine class is called {unknown[0]!r}; the first three of "
            f"{len(names)} are {', '.join(map(repr, names[:3]))}"
        )
    trained = torch.tensor([f in train_fine for f in names])
    for side, classes in (("train", trained.sum()), ("test", (~trained).sum())):
        if not classes:
            raise DataError(
                f"{name}: the {side} side gets none of the {len(names)} fine classes; "
                "give each side at least one"
            )
    train = trained[images.hierarchy.fine]  # (N,)
    return ZeroShot(
        name,
        images.subset(train, f"{name} train"),
        images.subset(~train, f"{name} test"),
    )


def split_fine_classes(
    hierarchy: Hierarchy, test_fraction: float, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fine classes to train and to test on, drawn within each coarse class.

    Of the n fine classes under a coarse class, n * test_fraction rounded to the
    nearest whole number are tested, an exact half rounded down. With n >= 2 each side
    gets at least one. The draw depends on names and seed, not on their order.

    Args:
        hierarchy: the classes to divide.
        test_fraction: above 0 and below 1.
        seed: equal seeds give equal splits.

    Returns:
        Names to train on and names to test on, each in the hierarchy's order.

    Raises:
        DataError: a fraction that is not between 0 and 1.

    Example:
        >>> labels = Hierarchy.from_names(["a3", "a4", "a6"], ["sedan"] * 3)
        >>> [len(side) for side in split_fine_classes(labels, 0.5, seed=0)]
        [2, 1]
    """
    if not 0 < test_fraction < 1:
        raise DataError(
            f"the fraction of fine classes held out is {test_fraction}; give a number "
            "above 0 and below 1, such as 0.5"
        )
    generator = torch.Generator().manual_seed(seed)
    under: dict[str, list[str]] = {name: [] for name in sorted(hierarchy.coarse_names)}
    coarse_of_fine = hierarchy.coarse_of_fine.tolist()
    for f, c in zip(hierarchy.fine_names, coarse_of_fine, strict=True):
        under[hierarchy.coarse_names[c]].append(f)
    held_out = set()
    for siblings in under.values():
        n = len(siblings)
        count = math.ceil(n * test_fraction - 0.5)  # half a class goes to training
        if n >= 2:
            count = min(max(count, 1), n - 1)
        order = torch.randperm(n, generator=generator).tolist()
        held_out.update(sorted(siblings)[i] for i in order[:count])
    return (
        tuple(f for f in hierarchy.fine_names if f not in held_out),
        tuple(f for f in hierarchy.fine_names if f in held_out),
    )


def split_by_fraction(
    images: ImageSet, test_fraction: float, seed: int, name: str | None = None
) -> ZeroShot:
    """``split_fine_classes`` of an image set, with a train side that can be trained on.

    Raises:
        DataError: a wrong fraction, or a train side in which no sample can be a
            reference.
    """
    train_fine, _ = split_fine_classes(images.hierarchy, test_fraction, seed)
    split = zero_shot(images, train_fine, name)
    # Of two fine classes one is always held out, whatever the fraction
    check_trainable(
        split,
        f"with {test_fraction} of the fine classes held out, the {len(train_fine)} "
        "left cannot be trained on",
        "hold out less, draw with another seed, or add fine classes until a coarse "
        "class has three, of two images each",
    )
    return split


def check_trainable(split: ZeroShot, wrong: str, remedy: str) -> None:
    """Refuse a train side in which no sample can be a reference.

    Raises:
        DataError: "name: wrong: why; remedy".
    """
    try:
        split.train.hierarchy.references()
    except HierarchyError as error:
        why = str(error).rpartition("; ")[0]  # its advice is for a whole set
        raise DataError(f"{split.name}: {wrong}: {why}; {remedy}") from None


def shortcomings(split: ZeroShot) -> Iterator[str]:
    """What a data set lacks, and what was left out of it, line by line."""
    reasons: dict[str, list[str]] = {}
    for name, reason in split.train.hierarchy.lacking().items():
        reasons.setdefault(reason, []).append(repr(name))
    for reason, names in reasons.items():
        what = f"{len(names)} fine classes, each of which {reason}: {first(names, 10)}"
        yield f"  never: {what if len(names) > 1 else f'{names[0]} {reason}'}"
    labels = split.test.hierarchy
    if alone := (labels.fine.bincount() < 2).nonzero().flatten().tolist():
        names = first([repr(labels.fine_names[i]) for i in alone], 10)
        count = f"{len(alone)} test images are alone in their classes"
        if len(alone) == 1:
            count = "1 test image is alone in its class"
        yield f"{count}, so that a search cannot find another: {names}"
    yield from split.notes
    if skipped := split.skipped:
        yield f"unreadable images that are left out ({len(skipped)}):"
        yield from (f"  {name}" for name in skipped)


def validation(train: ImageSet, groups: Sequence[str] | None = None) -> ZeroShot:
    """Hold out a quarter of the *training* fine classes, to choose settings on.

    The test classes are not needed and not touched: train on ``.train``, compare
    settings on ``.test``, then train the chosen ones on all of ``train``. ``.notes``
    says which classes are held out.

    Args:
        train: the train side of a ``ZeroShot``.
        groups: a group for each fine class. The last groups are held out, each as a
            whole, as many as come nearest to a quarter of the classes: classes that
            resemble those trained on would favour long training. Without groups
            siblings are drawn at random within each coarse class, see
            ``split_fine_classes``.

    Raises:
        DataError: classes that are too few, or groups that cannot be held out.

    Example:
        >>> import numpy as np
        >>> names = ["a1", "a2", "b1", "b1", "c1", "d1"]
        >>> labels = Hierarchy.from_names(names, ["x", "x", "x", "x", "y", "y"])
        >>> cars = ImageSet.from_array("cars", np.zeros((6, 3, 8, 8), "uint8"), labels)
        >>> validation(cars, ["a", "a", "b", "c", "d"]).test.hierarchy.fine_names
        ('d1',)
    """
    name = f"{train.name} validation"
    if groups is None:
        split = split_by_fraction(train, HELD_OUT, 0, name)
        how = f"of each coarse class {HELD_OUT} of the fine classes, drawn at random"
        return _parts(train, split, how)
    names, order = train.hierarchy.fine_names, [*dict.fromkeys(groups)]
    if len(groups) != len(names) or len(order) < 2:
        raise DataError(
            f"{name}: {len(groups)} groups, {len(order)} of them different, for "
            f"{len(names)} fine classes; give each a group, and at least two groups"
        )
    held = min(
        (order[i:] for i in range(len(order) - 1, 0, -1)),
        key=lambda last: abs(sum(map(groups.count, last)) - HELD_OUT * len(groups)),
    )
    kept = [n for n, group in zip(names, groups, strict=True) if group not in held]
    split = zero_shot(train, kept, name)
    wrong = f"without {', '.join(held)} the {len(kept)} fine classes left cannot be"
    check_trainable(split, f"{wrong} trained on", "give other groups")
    return _parts(train, split, ", ".join(held))


def _parts(whole: ImageSet, split: ZeroShot, held_out: str) -> ZeroShot:
    """A split whose sides find what is cached of the whole."""
    seen = set(split.train.hierarchy.fine_names)
    kept = torch.tensor([name in seen for name in whole.hierarchy.fine_names])
    for side, chosen in ((split.train, kept), (split.test, ~kept)):
        side.part_of = (whole, chosen[whole.hierarchy.fine].nonzero().flatten())
    return replace(split, notes=(f"held out: {held_out}",))
