"""Zero-shot splits: the classes that are tested were never trained on."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from qsel.data.images import DataError, ImageSet
from qsel.data.walk import first
from qsel.hierarchy import Hierarchy, HierarchyError


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
    _check_fraction(test_fraction)
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


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise DataError(
            f"the fraction of fine classes held out is {fraction}; give a number above "
            "0 and below 1, such as 0.5"
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
    if reason := _why_untrainable(split.train.hierarchy):
        raise DataError(
            f"{split.name}: with {test_fraction} of the fine classes held out, the "
            f"{len(train_fine)} left cannot be trained on: {reason}; "
            + _remedy(images.hierarchy, test_fraction, seed)
        )
    return split


def _why_untrainable(hierarchy: Hierarchy) -> str:
    """Why no sample can be a reference; empty if some can."""
    try:
        hierarchy.references()
    except HierarchyError as error:
        return str(error).rpartition("; ")[0]  # its advice is for a whole set
    return ""


def _remedy(hierarchy: Hierarchy, test_fraction: float, seed: int) -> str:
    """What helps where a draw leaves too little to train on; tried before it is said.

    Of two fine classes one is always held out, so that a smaller fraction helps only
    where a coarse class has more.
    """

    def works(fraction: float, seed: int) -> bool:
        train_fine, test_fine = split_fine_classes(hierarchy, fraction, seed)
        kept = torch.tensor([f in train_fine for f in hierarchy.fine_names])
        samples = kept[hierarchy.fine]
        return bool(test_fine) and not _why_untrainable(hierarchy.subset(samples))

    for fraction in (0.75, 0.5, 0.4, 0.3, 0.25, 0.2, 0.1):
        if fraction < test_fraction and works(fraction, seed):
            return f"hold out less: a fraction of {fraction} leaves enough"
    for other in range(10):
        if works(test_fraction, other):
            return f"another draw leaves enough: take seed={other}"
    return (
        "one of two fine classes is always held out, so holding out less does not "
        "help: add fine classes until a coarse class has three, of two images each"
    )


def shortcomings(split: ZeroShot) -> Iterator[str]:
    """What a data set lacks, and what was left out of it, line by line."""
    reasons: dict[str, list[str]] = {}
    for name, reason in split.train.hierarchy.lacking().items():
        reasons.setdefault(reason, []).append(repr(name))
    for reason, names in reasons.items():
        if len(names) == 1:
            yield f"  never: {names[0]} {reason}"
        else:
            yield (
                f"  never: {len(names)} fine classes, each of which {reason}: "
                f"{first(names, 10)}"
            )
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


def validation(
    train: ImageSet,
    groups: Callable[[str], str] | Sequence[str] | None = None,
    fraction: float = 0.25,
    seed: int = 0,
) -> ZeroShot:
    """Hold out some *training* fine classes, to choose settings on.

    The test classes are not needed and not touched: train on ``.train``, compare
    settings on ``.test``, then train the chosen ones on all of ``train``. ``.notes``
    says which classes are held out.

    Args:
        train: the train side of a ``ZeroShot``.
        groups: gives each fine class a group by its name, or the groups of all of them
            in order. The last groups are held out, each as a whole: classes that
            resemble those trained on would favour long training. Without groups
            siblings are drawn at random within each coarse class.
        fraction: of the fine classes that are held out, see ``split_fine_classes`` for
            the rounding; of groups as many as come nearest.
        seed: of the random draw.

    Raises:
        DataError: as ``split_by_fraction``, or groups that cannot be held out.

    Example:
        >>> import numpy as np
        >>> names = ["a1", "a2", "b1", "b1", "c1", "d1"]
        >>> labels = Hierarchy.from_names(names, ["x", "x", "x", "x", "y", "y"])
        >>> cars = ImageSet.from_array("cars", np.zeros((6, 3, 8, 8), "uint8"), labels)
        >>> validation(cars, lambda name: name[0]).test.hierarchy.fine_names
        ('d1',)
    """
    name = f"{train.name} validation"
    if groups is None:
        split = split_by_fraction(train, fraction, seed, name)
        how = f"of each coarse class {fraction:g} of the fine classes, drawn at random"
        return _parts(train, split, how)
    _check_fraction(fraction)
    names = train.hierarchy.fine_names
    of = [groups(name) for name in names] if callable(groups) else [*groups]
    order = [*dict.fromkeys(of)]
    if len(of) != len(names) or len(order) < 2:
        raise DataError(
            f"{name}: {len(of)} groups, {len(order)} of them different, for "
            f"{len(names)} fine classes; give each a group, and at least two groups"
        )
    held = min(
        (order[i:] for i in range(len(order) - 1, 0, -1)),
        key=lambda last: abs(sum(map(of.count, last)) - fraction * len(of)),
    )
    kept = [name for name, group in zip(names, of, strict=True) if group not in held]
    split = zero_shot(train, kept, name)
    if reason := _why_untrainable(split.train.hierarchy):
        raise DataError(
            f"{name}: without {', '.join(held)} the {len(kept)} fine classes left "
            f"cannot be trained on: {reason}; hold out a smaller fraction than "
            f"{fraction:g}, or give other groups"
        )
    return _parts(train, split, ", ".join(held))


def _parts(whole: ImageSet, split: ZeroShot, held_out: str) -> ZeroShot:
    """A split whose sides find what is cached of the whole."""
    seen = set(split.train.hierarchy.fine_names)
    kept = torch.tensor([name in seen for name in whole.hierarchy.fine_names])
    for side, chosen in ((split.train, kept), (split.test, ~kept)):
        side.part_of = (whole, chosen[whole.hierarchy.fine].nonzero().flatten())
    return replace(split, notes=(f"held out: {held_out}",))
