"""Two label levels: every sample has a fine class, every fine class one coarse class.

A ``Hierarchy`` is checked once, when it is created; the rest of the package relies on
it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from qsel.vectors import check_indices, describe


class HierarchyError(ValueError):
    """Labels that cannot be a two-level hierarchy."""


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Coarse and fine labels of N samples, numbered without gaps.

    Sample ``order[p]`` is at place p. The order is by coarse, then fine class, then
    index, so that every class is a slice that can be searched or drawn from.

    Attributes:
        fine: (N,) int64, the fine class of each sample, 0 … F-1.
        coarse_of_fine: (F,) int64, the coarse class of each fine class, 0 … C-1.
        fine_names, coarse_names: F and C names, or the caller's numbers.
        min_images: smaller fine classes give no references; 2 or more.

    Raises:
        HierarchyError: labels that are not (N,) int64 or have no name, or a class
            without a sample.

    Example:
        >>> labels = Hierarchy.from_names(["a3", "a3", "a4"], ["sedan"] * 3)
        >>> labels.coarse.tolist(), labels.fine_names
        ([0, 0, 0], ('a3', 'a4'))
    """

    fine: Tensor
    coarse_of_fine: Tensor
    fine_names: tuple[str, ...] | tuple[int, ...]
    coarse_names: tuple[str, ...] | tuple[int, ...]
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

        Raises:
            HierarchyError: unequal lengths, or a fine class under two coarse ones.
        """
        names = [tuple(dict.fromkeys(level)) for level in (fine, coarse)]
        number = [{name: i for i, name in enumerate(level)} for level in names]
        return cls._of_samples(
            torch.tensor([number[0][name] for name in fine], dtype=torch.int64),
            torch.tensor([number[1][name] for name in coarse], dtype=torch.int64),
            *names,
        )

    @classmethod
    def from_labels(cls, fine: Tensor, coarse: Tensor) -> "Hierarchy":
        """Number the classes of N samples by their integer labels (N,), in order.

        Raises:
            HierarchyError: not two integer (N,) tensors on one device, or a fine class
                under two coarse ones.

        Example:
            >>> fine, coarse = torch.tensor([[7, 3, 7], [1, 1, 1]])
            >>> labels = Hierarchy.from_labels(fine, coarse)
            >>> labels.fine.tolist(), labels.fine_names
            ([1, 0, 1], (3, 7))
        """
        for level, labels in (("fine", fine), ("coarse", coarse)):
            good = isinstance(labels, Tensor) and labels.ndim == 1
            if not good or labels.is_floating_point():
                raise HierarchyError(
                    f"{level} labels are {describe(labels)}; expected a torch tensor, "
                    "integers of shape (N,)"
                )
        if fine.device != coarse.device:
            raise HierarchyError(
                f"fine labels on {fine.device}, coarse labels on {coarse.device}; "
                "expected both on one device"
            )
        levels = [labels.unique(return_inverse=True) for labels in (fine, coarse)]
        names = [tuple(numbers.tolist()) for numbers, _ in levels]
        return cls._of_samples(levels[0][1], levels[1][1], *names)

    @classmethod
    def _of_samples(cls, fine, coarse, fine_names, coarse_names) -> "Hierarchy":
        """From dense labels (N,) of both levels."""
        if len(fine) != len(coarse):
            raise HierarchyError(
                f"{len(fine)} fine labels but {len(coarse)} coarse labels; give one of "
                "each for every sample"
            )
        above = coarse.new_zeros(len(fine_names))  # (F,)
        above[fine] = coarse
        if (astray := above[fine] != coarse).any():
            f = fine[astray][0]
            both = [coarse_names[c] for c in coarse[fine == f].unique().tolist()]
            raise HierarchyError(
                f"fine class {fine_names[f]!r} stands under two coarse classes, "
                f"{both[0]!r} and {both[1]!r}; give it one, or rename one of the two"
            )
        return cls(fine, above, fine_names, coarse_names)

    def __len__(self) -> int:
        return len(self.fine)

    @property
    def coarse(self) -> Tensor:
        """(N,) int64, the coarse class of each sample."""
        return self.coarse_of_fine[self.fine]

    def to(self, device: torch.device) -> "Hierarchy":
        """This hierarchy on another device."""
        if device == self.fine.device:
            return self
        labels = self.fine.to(device), self.coarse_of_fine.to(device)
        return replace(self, fine=labels[0], coarse_of_fine=labels[1])

    def subset(self, samples: Tensor) -> "Hierarchy":
        """The hierarchy of some samples, renumbered so that no class is empty."""
        samples = torch.as_tensor(samples)
        kept, fine = self.fine[samples].unique(return_inverse=True)
        above, coarse_of_fine = self.coarse_of_fine[kept].unique(return_inverse=True)
        fine_names = tuple(self.fine_names[i] for i in kept.tolist())
        coarse_names = tuple(self.coarse_names[i] for i in above.tolist())
        return Hierarchy(
            fine, coarse_of_fine, fine_names, coarse_names, self.min_images
        )

    def members(self) -> list[Tensor]:
        """The sample indices of each fine class, (M,) int64 each."""
        order = self.fine.argsort(stable=True)
        return list(order.split(self.fine_size.tolist()))

    # --- who can be a reference --------------------------------------------------

    def partners(self, fine: Tensor, own: Tensor | int = 1) -> Tensor:
        """(3, B) how many samples can be P⁺, P⁻ and N of references of these classes.

        ``own`` is 1 where the reference is one of the N samples, 0 where it is not.
        """
        of_fine = self.fine_size[fine]
        of_coarse = self.coarse_size[self.coarse_of_fine[fine]]
        return torch.stack([of_fine - own, of_coarse - of_fine, len(self) - of_coarse])

    def lacking(self) -> dict[str, str]:
        """Fine classes whose samples can never be a reference, and why.

        A quadruplet needs a second image of R's fine class (P⁺), a sibling fine class
        under R's coarse class (P⁻), and another coarse class (N).
        """
        counts = self.partners(torch.arange(len(self.fine_names)).to(self.fine.device))
        why = {}
        few = self.fine_size < self.min_images
        for f in ((counts == 0).any(0) | few).nonzero().squeeze(1).tolist():
            coarse = self.coarse_names[self.coarse_of_fine[f]]
            no_positive, no_sibling, _ = (counts[:, f] == 0).tolist()
            if no_positive:
                reason = "has a single image, so no P⁺"
            elif few[f]:
                reason = f"has fewer than min_images={self.min_images} images"
            elif no_sibling:
                reason = f"is alone in {coarse!r}, so no P⁻"
            else:
                reason = f"is in {coarse!r}, the only coarse class, so no N"
            why[self.fine_names[f]] = reason
        return why

    def references(self) -> Tensor:
        """The samples that can be a reference R, in order.

        Raises:
            HierarchyError: there is none; the message gives a reason.
        """
        if len(self.coarse_names) < 2:
            raise HierarchyError(
                f"only one coarse class, {self.coarse_names[0]!r}: no sample has a "
                "negative of another coarse class; give at least two"
            )
        lacking = self.lacking()
        usable = torch.tensor([name not in lacking for name in self.fine_names])  # (F,)
        references = usable.to(self.fine.device)[self.fine].nonzero().squeeze(1)
        if not len(references):
            name, reason = next(iter(lacking.items()))
            raise HierarchyError(
                f"no sample can be a reference (for example, {name!r} {reason}); "
                "give a coarse class with two fine classes of two images each"
            )
        return references

    # --- classes as slices, and draws from them by numbers u, (B,) in [0, 1) -----

    @cached_property
    def fine_size(self) -> Tensor:
        """(F,) samples of each fine class."""
        return self.fine.bincount(minlength=len(self.fine_names))

    @cached_property
    def coarse_size(self) -> Tensor:
        """(C,) samples of each coarse class."""
        return self.coarse.bincount(minlength=len(self.coarse_names))

    @cached_property
    def order(self) -> Tensor:
        """(N,) the sample at each place."""
        by_fine = self.fine.argsort(stable=True)
        return by_fine[self.coarse[by_fine].argsort(stable=True)]

    @cached_property
    def place(self) -> Tensor:
        """(N,) the place of each sample."""
        return self.order.argsort()

    @cached_property
    def _fine_order(self) -> Tensor:
        """(F,) the fine classes in the order of ``order``."""
        return self.coarse_of_fine.argsort(stable=True)

    def fine_slice(self, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end places of fine classes: (B,) and (B,), the end excluded."""
        ends = self.fine_size[self._fine_order].cumsum(0)
        stop = ends[self._fine_order.argsort()[fine]]
        return stop - self.fine_size[fine], stop

    def coarse_slice(self, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end places of the coarse classes of fine classes, likewise."""
        coarse = self.coarse_of_fine[fine]
        stop = self.coarse_size.cumsum(0)[coarse]
        return stop - self.coarse_size[coarse], stop

    def draw_positive_positive(self, fine: Tensor, place: Tensor, u: Tensor) -> Tensor:
        """(B,) a sample of each fine class, but not the one at ``place``.

        A place of N excludes no sample.
        """
        own = place, place + (place < len(self)).long()
        return self.order[_draw(u, self.fine_slice(fine), own)]

    def draw_positive_negative(self, fine: Tensor, u: Tensor) -> Tensor:
        """(B,) a sample of the same coarse, but another fine class."""
        return self.order[_draw(u, self.coarse_slice(fine), self.fine_slice(fine))]

    def draw_negative(self, fine: Tensor, u: Tensor) -> Tensor:
        """(B,) a sample of another coarse class."""
        return self.order[_draw(u, (0, len(self)), self.coarse_slice(fine))]

    def draw_other_fine(self, fine: Tensor, u: Tensor) -> Tensor:
        """(B,) a sample of any other fine class."""
        return self.order[_draw(u, (0, len(self)), self.fine_slice(fine))]

    def draw_sibling(self, fine: Tensor, u: Tensor) -> Tensor:
        """(B,) another fine class of the same coarse class."""
        siblings, coarse = self.coarse_of_fine.bincount(), self.coarse_of_fine[fine]
        stop, own = siblings.cumsum(0)[coarse], self._fine_order.argsort()[fine]
        drawn = _draw(u, (stop - siblings[coarse], stop), (own, own + 1))
        return self._fine_order[drawn]


def _draw(u: Tensor, among: tuple, without: tuple) -> Tensor:
    """(B,) a place in the slice ``among``, outside the slice ``without`` in it."""
    size = without[1] - without[0]
    count = among[1] - among[0] - size
    drawn = among[0] + (u * count).long().clamp_max(count - 1)
    return drawn + size * (drawn >= without[0])


def _check(labels: Tensor, names: tuple, level: str) -> None:
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise HierarchyError(
            f"{level} labels are {describe(labels)}; expected int64 of shape (N,)"
        )
    if not len(labels):
        raise HierarchyError("no samples: a hierarchy needs a labelled image")
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise HierarchyError(f"two {level} classes are named {twice!r}; rename one")
    why = f"there are {len(names)} {level} names"
    check_indices(f"{level} labels", labels, len(names), why, HierarchyError)
    if (empty := labels.bincount(minlength=len(names)) == 0).any():
        name = names[int(empty.nonzero()[0])]
        raise HierarchyError(f"{level} class {name!r} has no sample; leave it out")
