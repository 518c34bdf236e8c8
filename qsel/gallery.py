"""Embeddings prepared for comparison, in parts if they are many."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from qsel.vectors import check_embeddings, largest_value, number_vectors, squared_norms

HOLD_BYTES = 64 << 20  # smaller galleries are prepared once
CHUNK_BYTES = 16 << 20  # of larger ones, this much is prepared at a time
WIDE = 1e15  # from this value on all is float64: squares would overflow float32

Slices = tuple[Tensor, Tensor]  # (B,) and (B,): from a place to the one before another


@dataclass(frozen=True, eq=False)
class Points:
    """B of the points ``given``, (P, D), relative to a gallery's mean, and |x|²."""

    given: Tensor
    which: Tensor  # (B,)
    x: Tensor  # (B, D)
    squares: Tensor  # (B,) float64

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, rows: Tensor | slice) -> "Points":
        parts = (self.which, self.x, self.squares)
        return Points(self.given, *(part[rows] for part in parts))


class Gallery:
    """N embeddings relative to their mean, in an order that makes every class a slice.

    A common shift changes no distance, but smaller norms mean smaller rounding errors.
    Sample ``order[p]`` is at place p. With ``hold``, as in a small gallery, a prepared
    copy of all rows is kept. Embeddings (N, D) may be memory-mapped; what
    ``check_embeddings`` refuses raises ValueError.
    """

    def __init__(
        self, embeddings: Tensor, order: Tensor | None = None, hold: bool = False
    ):
        largest = check_embeddings(embeddings)
        self.embeddings = embeddings.detach()
        if order is None:
            order = torch.arange(len(embeddings), device=embeddings.device)
        self.order, self._place = order, order.argsort()
        self._hold = hold
        self._lay_out(largest)

    def _lay_out(self, largest: float) -> None:
        wide = self.embeddings.dtype == torch.float64 or largest >= WIDE
        self.dtype = torch.float64 if wide else torch.float32
        self._mean = self.embeddings.mean(0, dtype=self.dtype)  # (D,)
        self._held = self._numbers = None
        size = self.embeddings.numel() * self.dtype.itemsize
        if self._hold or size <= HOLD_BYTES:
            self._held = self._prepare(self.embeddings[self.order], self.dtype)

    def __len__(self) -> int:
        return len(self.order)

    def update(self, samples: Tensor, embeddings: Tensor) -> None:
        """Overwrite distinct samples (B,) with embeddings (B, D) of the same dtype.

        Only these rows are prepared again. The mean stays, and searches stay exact.
        """
        largest = check_embeddings(embeddings)
        self.embeddings[samples] = embeddings
        self._numbers = None
        if largest >= WIDE and self.dtype == torch.float32:
            self._lay_out(largest)
        elif self._held is not None:
            place = self._place[samples]
            prepared = self._prepare(embeddings, self.dtype)
            self._held[0][place], self._held[1][place] = prepared

    def points(self, given: Tensor, which: Tensor) -> Points:
        """The points with indices ``which`` (B,) of ``given`` (P, D), prepared."""
        if given is self.embeddings and self._held is not None:
            place = self._place[which]
            return Points(given, which, *(held[place] for held in self._held))
        asked = given[which].detach()
        if (largest := largest_value(asked)) >= WIDE and self.dtype == torch.float32:
            raise ValueError(
                f"a point holds the value {largest:.3g}, beyond the gallery's scale; "
                "give both in float64, or scale them alike"
            )
        return Points(given.detach(), which, *self._prepare(asked, self.dtype))

    def in_float64(self, q: Points) -> Points:
        """The same points, for products in float64."""
        prepared = self._prepare(q.given[q.which], torch.float64)
        return Points(q.given, q.which, *prepared)

    def step(self, dtype: torch.dtype) -> int:
        """How many places are prepared at a time."""
        most = CHUNK_BYTES if self._held is None or dtype != self.dtype else HOLD_BYTES
        row = self.embeddings.shape[1] * dtype.itemsize
        return min(len(self), max(1, most // row))

    def columns(self, first: int, last: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """(M, D) the rows at some places, and (M,) their squared norms."""
        if self._held is not None and dtype == self.dtype:
            return self._held[0][first:last], self._held[1][first:last]
        return self._prepare(self.embeddings[self.order[first:last]], dtype)

    def _prepare(self, points: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        x = torch.sub(points, self._mean.to(dtype)).to(dtype)
        return x, squared_norms(x)

    def without_copies(self, k: int, *slices: Slices) -> tuple["Gallery", list[Slices]]:
        """A gallery without needless copies of vectors, and the slices within it.

        Of equal vectors that no slice separates, those of the k lowest samples remain.
        """
        n = len(self)
        if self._numbers is None:
            self._numbers = number_vectors(self.embeddings, self.order)
        edges = [torch.zeros_like(self.order[:1])]
        for start, stop in slices:
            if int((stop - start).max()) <= 1:
                k += 1  # it takes away one copy at most
            else:
                edges += [start, stop]
        edges = torch.cat(edges).unique()
        places = torch.arange(n, device=self.order.device)
        part = torch.bucketize(places, edges, right=True)
        part += self._numbers * (len(edges) + 1)  # copies between the same edges
        place = self.order.argsort(stable=True)
        place = place[part[place].argsort(stable=True)]
        kept = place[ranks(part[place]) < k].sort().values
        if len(kept) > 0.9 * n:
            return self, list(slices)
        thin = copy.copy(self)
        thin.order, thin._numbers = self.order[kept], places[: len(kept)]
        if self._held is not None:
            thin._held = (self._held[0][kept], self._held[1][kept])
        return thin, [
            (torch.searchsorted(kept, start), torch.searchsorted(kept, stop))
            for start, stop in slices
        ]


def ranks(groups: Tensor) -> Tensor:
    """(N,) how many of the same group precede each element of sorted groups (N,)."""
    places = torch.arange(len(groups), device=groups.device)
    return places - torch.searchsorted(groups, groups)
