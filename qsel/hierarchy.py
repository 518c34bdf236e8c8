"""Two label levels: every sample has a fine class, every fine class one coarse class.

The rest of the package never asks where labels come from; it asks a ``Hierarchy``,
which is checked once, when it is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class HierarchyError(ValueError):
    """Labels that cannot be a two-level hierarchy."""


@dataclass(frozen=True)
class Hierarchy:
    """Coarse and fine labels of N samples, numbered without gaps.

    Attributes:
        fine: (N,) int64, the fine class of each sample, 0 … F-1.
        coarse_of_fine: (F,) int64, the coarse class of each fine class, 0 … C-1.
        fine_names: F names.
        coarse_names: C names.
        min_images: fine classes of fewer images give no references; 2 or more.

    Raises:
        HierarchyError: labels that are not a (N,) int64 tensor, lie outside their
            names, or leave a class without a sample.

    Example:
        >>> labels = Hierarchy.from_names(["a3", "a3", "a4"], ["sedan"] * 3)
        >>> labels.coarse.tolist(), labels.fine_names
        ([0, 0, 0], ('a3', 'a4'))
    """

    fine: Tensor  # (N,)
    coarse_of_fine: Tensor  # (F,)
    fine_names: tuple[str, ...]
    coarse_names: tuple[str, ...]
    min_images: int = 2

    def __post_init__(self):
        _check(self.fine, self.fine_names, "fine")
        _check(self.coarse_of_fine, self.coarse_names, "coarse")
        if len(self.coarse_of_fine) != len(self.fine_names):
            raise HierarchyError(
                f"coarse_of_fine names the coarse class of {len(self.coarse_of_fine)} "
                f"fine classes, but there are {len(self.fine_names)} fine names; "
                "give one coarse class for each fine class"
            )

    @classmethod
    def from_names(cls, fine: Sequence[str], coarse: Sequence[str]) -> "Hierarchy":
        """Number the classes of N samples by the order in which they first appear.

        Args:
            fine: N fine class names.
            coarse: N coarse class names.

        Raises:
            HierarchyError: different lengths, no sample, or a fine class that
                stands under two coarse ones.
        """
        if len(fine) != len(coarse):
            raise HierarchyError(
                f"{len(fine)} fine labels but {len(coarse)} coarse labels; "
                "give one of each for every sample"
            )
        fine_names = tuple(dict.fromkeys(fine))
        coarse_names = tuple(dict.fromkeys(coarse))
        fine_id = {name: i for i, name in enumerate(fine_names)}
        coarse_id = {name: i for i, name in enumerate(coarse_names)}
        parent: dict[str, str] = {}
        for name, above in zip(fine, coarse, strict=True):
            if parent.setdefault(name, above) != above:
                raise HierarchyError(
                    f"fine class {name!r} stands under two coarse classes, "
                    f"{parent[name]!r} and {above!r}; give it one, or rename one of "
                    "the two"
                )
        return cls(
            torch.tensor([fine_id[name] for name in fine], dtype=torch.int64),
            torch.tensor([coarse_id[parent[f]] for f in fine_names], dtype=torch.int64),
            fine_names,
            coarse_names,
        )

    def __len__(self) -> int:
        return len(self.fine)

    @property
    def coarse(self) -> Tensor:
        """(N,) int64, the coarse class of each sample."""
        return self.coarse_of_fine[self.fine]

    def subset(self, samples: Tensor) -> "Hierarchy":
        """The hierarchy of some samples, renumbered so that no class is empty."""
        samples = torch.as_tensor(samples)
        kept_fine, fine = self.fine[samples].unique(return_inverse=True)
        kept_coarse, coarse_of_fine = self.coarse_of_fine[kept_fine].unique(
            return_inverse=True
        )
        return Hierarchy(
            fine,
            coarse_of_fine,
            tuple(self.fine_names[i] for i in kept_fine.tolist()),
            tuple(self.coarse_names[i] for i in kept_coarse.tolist()),
            self.min_images,
        )

    def members(self) -> list[Tensor]:
        """For each fine class the indices of its samples, each (M,) int64."""
        order = self.fine.argsort(stable=True)
        return list(order.split(self.fine.bincount().tolist()))

    def lacking(self) -> dict[str, str]:
        """Fine classes whose samples can never be a reference, and why.

        A quadruplet needs a second image of R's fine class (P⁺) and a sibling fine
        class under R's coarse class (P⁻).
        """
        images = self.fine.bincount(minlength=len(self.fine_names))
        siblings = self.coarse_of_fine.bincount(minlength=len(self.coarse_names))
        why = {}
        for f, name in enumerate(self.fine_names):
            c = self.coarse_of_fine[f]
            if images[f] < 2:
                why[name] = "has a single image, so no P⁺"
            elif images[f] < self.min_images:
                why[name] = f"has fewer than min_images={self.min_images} images"
            elif siblings[c] < 2:
                why[name] = f"is alone in {self.coarse_names[c]!r}, so no P⁻"
        return why

    def references(self) -> Tensor:
        """The samples that can be a reference R, in order.

        Raises:
            HierarchyError: nothing can be a reference, or there is one coarse class
                only, so that no negative exists.
        """
        if len(self.coarse_names) < 2:
            raise HierarchyError(
                f"only one coarse class, {self.coarse_names[0]!r}: no sample has a "
                "negative of another coarse class; give at least two"
            )
        lacking = self.lacking()
        usable = torch.tensor([name not in lacking for name in self.fine_names])
        references = usable[self.fine].nonzero().squeeze(1)
        if not len(references):
            name, reason = next(iter(lacking.items()))
            raise HierarchyError(
                f"no sample can be a reference (for example, {name!r} {reason}); "
                "give a coarse class with two fine classes of two images each"
            )
        return references


class ClassIndex:
    """The members of every class as slices of one order, for N labelled samples.

    Samples are sorted by coarse, then fine class, then index, so that each class is
    one slice, and "all but this class" is two.

    Args:
        fine: (N,) integer labels; any numbers.
        coarse: (N,) integer labels; any numbers.

    Raises:
        HierarchyError: not two integer (N,) tensors, or a fine class under two coarse
            ones.

    Example:
        >>> classes = ClassIndex(torch.tensor([7, 8, 7]), torch.tensor([1, 1, 1]))
        >>> classes.fine_members(torch.tensor([0]))[0].tolist()
        [[0, 2]]
    """

    def __init__(self, fine: Tensor, coarse: Tensor):
        for name, labels in (("fine", fine), ("coarse", coarse)):
            if not isinstance(labels, Tensor):
                raise HierarchyError(
                    f"{name} labels are a {type(labels).__name__}; expected a torch "
                    "tensor (torch.as_tensor makes one)"
                )
            if labels.ndim != 1 or labels.is_floating_point() or not len(labels):
                raise HierarchyError(
                    f"{name} labels are {labels.dtype} of shape {tuple(labels.shape)}; "
                    "expected integers of shape (N,) with N of at least 1"
                )
        if len(fine) != len(coarse) or fine.device != coarse.device:
            raise HierarchyError(
                f"{len(fine)} fine labels on {fine.device}, {len(coarse)} coarse "
                f"labels on {coarse.device}; expected one of each a sample, on one "
                "device"
            )
        # Labels as the caller numbers them, and without gaps.
        self.fine_labels, self.fine = fine.unique(return_inverse=True)  # (F,), (N,)
        self.coarse_labels, self.coarse = coarse.unique(return_inverse=True)
        n = len(fine)
        self.parent = self.coarse.new_zeros(len(self.fine_labels))  # (F,)
        self.parent[self.fine] = self.coarse
        if (astray := self.parent[self.fine] != self.coarse).any():
            f = self.fine[astray][0]
            both = self.coarse_labels[self.coarse[self.fine == f].unique()].tolist()
            raise HierarchyError(
                f"fine class {int(self.fine_labels[f])} stands under the coarse "
                f"classes {both}; give each fine class one"
            )
        by_fine = self.fine.argsort(stable=True)
        self.order = by_fine[self.coarse[by_fine].argsort(stable=True)]  # (N,)
        self.position = torch.empty_like(self.order)  # (N,), the inverse of order
        self.position[self.order] = torch.arange(n, device=fine.device)
        # Fine classes in the order in which they stand within `order`.
        self.fine_order = self.parent.argsort(stable=True)  # (F,)
        self._slices(self.fine)
        self.siblings = self.parent.bincount()  # (C,), fine classes of a coarse class
        self.first_sibling = self.siblings.cumsum(0) - self.siblings  # in fine_order

    def __len__(self) -> int:
        return len(self.order)

    def to(self, device: torch.device) -> "ClassIndex":
        """The same index on another device."""
        moved = object.__new__(ClassIndex)
        moved.__dict__ = {name: value.to(device) for name, value in vars(self).items()}
        return moved

    def share(self, samples: slice) -> "ClassIndex":
        """The places of these samples alone: of a gallery that holds no others.

        Classes keep their numbers, and may be empty; ``position`` is -1 for samples
        that are not among them. The order counts from the first of them.
        """
        part = object.__new__(ClassIndex)
        part.__dict__ = dict(vars(self))
        inside = (self.order >= samples.start) & (self.order < samples.stop)
        part.order = self.order[inside] - samples.start
        part.position = torch.full_like(self.position, -1)
        part.position[self.order[inside]] = torch.arange(
            len(part.order), device=self.order.device
        )
        part._slices(self.fine[samples])
        return part

    def _slices(self, fine: Tensor) -> None:
        """Where each class starts within ``order``, and its size, for some samples."""
        coarse = self.parent[fine]
        self.fine_size = fine.bincount(minlength=len(self.fine_labels))  # (F,)
        self.coarse_size = coarse.bincount(minlength=len(self.coarse_labels))  # (C,)
        self.coarse_start = self.coarse_size.cumsum(0) - self.coarse_size  # (C,)
        ends = self.fine_size[self.fine_order].cumsum(0)
        self.fine_start = torch.empty_like(ends)  # (F,)
        self.fine_start[self.fine_order] = ends - self.fine_size[self.fine_order]

    def visited(self, fine: Tensor) -> "ClassIndex":
        """The same classes with B guests, who are asked about and never chosen.

        Guests are numbered from N: they have classes, and no class has them.

        Args:
            fine: (B,) their fine labels, on this index's device.

        Raises:
            HierarchyError: no sample has the fine label of a guest.

        Example:
            >>> classes = ClassIndex(torch.tensor([7, 7, 8]), torch.tensor([1, 1, 1]))
            >>> guests = classes.visited(torch.tensor([7]))
            >>> guests.positive_positives(torch.tensor([0, 3])).tolist()
            [1, 2]
        """
        f = torch.searchsorted(self.fine_labels, fine)  # (B,)
        f = f.clamp_max(len(self.fine_labels) - 1)
        if (unknown := self.fine_labels[f] != fine).any():
            raise HierarchyError(
                f"no sample has the fine label {int(fine[unknown][0])} that "
                f"{int(unknown.sum())} of {len(fine)} guests have first; leave such "
                "guests out"
            )
        nowhere = f.new_full(f.shape, len(self))
        visited = object.__new__(ClassIndex)
        visited.__dict__ = vars(self) | {
            "fine": torch.cat([self.fine, f]),
            "coarse": torch.cat([self.coarse, self.parent[f]]),
            "position": torch.cat([self.position, nowhere]),
        }
        return visited

    def fine_members(self, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Samples of some fine classes: (B, M) indices, (B, M) which are members.

        M is the size of the largest; rows of smaller classes are filled up.
        """
        return self._slice(self.fine_start[fine], self.fine_size[fine])

    def coarse_members(self, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Samples of some coarse classes, as ``fine_members``."""
        return self._slice(self.coarse_start[coarse], self.coarse_size[coarse])

    def positive_positives(self, r: Tensor) -> Tensor:
        """(B,) how many samples can be P⁺ of each reference."""
        itself = (self.position[r] < len(self)).long()
        return self.fine_size[self.fine[r]] - itself

    def positive_negatives(self, r: Tensor) -> Tensor:
        """(B,) how many samples can be P⁻ of each reference."""
        return self.coarse_size[self.coarse[r]] - self.fine_size[self.fine[r]]

    def negatives(self, r: Tensor) -> Tensor:
        """(B,) how many samples can be N of each reference."""
        return len(self) - self.coarse_size[self.coarse[r]]

    def usable(self, r: Tensor) -> Tensor:
        """(B,) bool: which samples have a P⁺, a P⁻ and an N."""
        counts = (self.positive_positives, self.positive_negatives, self.negatives)
        return torch.stack([count(r) > 0 for count in counts]).all(0)

    def draw_positive_positive(self, r: Tensor, u: Tensor) -> Tensor:
        """(B,) a P⁺ for each reference, by a number u in [0, 1)."""
        start = self.fine_start[self.fine[r]] + _pick(u, self.positive_positives(r))
        return self.order[start + (start >= self.position[r])]  # step over R

    def draw_positive_negative(self, r: Tensor, u: Tensor) -> Tensor:
        """(B,) a P⁻ for each reference, by a number u in [0, 1)."""
        f, c = self.fine[r], self.coarse[r]
        start = self.coarse_start[c] + _pick(u, self.positive_negatives(r))
        return self.order[start + self.fine_size[f] * (start >= self.fine_start[f])]

    def draw_negative(self, r: Tensor, u: Tensor) -> Tensor:
        """(B,) an N for each reference, by a number u in [0, 1)."""
        c = self.coarse[r]
        start = _pick(u, self.negatives(r))
        return self.order[start + self.coarse_size[c] * (start >= self.coarse_start[c])]

    def draw_other_fine(self, r: Tensor, u: Tensor) -> Tensor:
        """(B,) a sample of any other fine class, by a number u in [0, 1)."""
        f = self.fine[r]
        start = _pick(u, len(self) - self.fine_size[f])
        return self.order[start + self.fine_size[f] * (start >= self.fine_start[f])]

    def draw_sibling(self, r: Tensor, u: Tensor) -> Tensor:
        """(B,) another fine class of each reference's coarse class, by u in [0, 1)."""
        c = self.coarse[r]
        place = self.first_sibling[c] + _pick(u, self.siblings[c] - 1)
        own = torch.empty_like(self.fine_order)
        own[self.fine_order] = torch.arange(len(own), device=own.device)
        return self.fine_order[place + (place >= own[self.fine[r]])]

    def fine_label(self, sample: int) -> int:
        """The caller's number of a sample's fine class."""
        return int(self.fine_labels[self.fine[sample]])

    def coarse_label(self, sample: int) -> int:
        """The caller's number of a sample's coarse class."""
        return int(self.coarse_labels[self.coarse[sample]])

    def _slice(self, start: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        offset = torch.arange(int(size.max()), device=start.device)  # (M,)
        member = offset[None, :] < size[:, None]  # (B, M)
        place = (start[:, None] + offset).clamp_max(len(self) - 1)
        return self.order[place], member


def _pick(u: Tensor, count: Tensor) -> Tensor:
    """(B,) a whole number in 0 … count-1."""
    return (u * count).long().clamp_max(count - 1)


def _check(labels: Tensor, names: tuple[str, ...], level: str) -> None:
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise HierarchyError(
            f"{level} labels are {labels.dtype} of shape {tuple(labels.shape)}; "
            "expected int64 of shape (N,)"
        )
    if not len(labels):
        raise HierarchyError(
            "no samples: a hierarchy needs at least one labelled image"
        )
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise HierarchyError(
            f"two {level} classes are both named {twice!r}; rename one"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(names):
        raise HierarchyError(
            f"{level} labels run from {low} to {high}, but there are {len(names)} "
            f"{level} names; labels index the names from 0"
        )
    if (empty := labels.bincount(minlength=len(names)) == 0).any():
        name = names[int(empty.nonzero()[0])]
        raise HierarchyError(f"{level} class {name!r} has no sample; leave it out")
