"""Embeddings prepared for comparison, in parts where they are many."""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qsel.vectors import (
    check_embeddings,
    largest_value,
    number_vectors,
    principal_axes,
    project,
    squared_norms,
)

HOLD_BYTES = 64 << 20  # a gallery that takes no more is prepared once
CHUNK_BYTES = 16 << 20  # of a larger one, the rows that are prepared at a time
SAMPLE = 1024  # rows from which the axes and what they leave are estimated
AXES, ASKED = 8, 2  # at most D / 8 axes, once 2 D points were asked about
SCAN, MEASURED = 16, 128  # what a pair's bound costs in products, and its distance in D
WIDE = 1e15  # from this value on all is float64: squares would overflow float32

Slices = tuple[Tensor, Tensor]  # (B,) and (B,): from a place to the one before another


@dataclass(frozen=True, eq=False)
class Points:
    """B of the points ``given``, (P, D), seen from a gallery's mean, and |x|²."""

    given: Tensor
    which: Tensor  # (B,)
    x: Tensor  # (B, D)
    squares: Tensor  # (B,) float64
    short: bool = False  # x is (B, d + 1) that bounds distances, as ``project`` says

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, rows: Tensor | slice) -> "Points":
        parts = self.which[rows], self.x[rows], self.squares[rows]
        return Points(self.given, *parts, self.short)


class Gallery:
    """N embeddings in an order that makes every class a slice, seen from their mean.

    Distances ignore a common shift, and their rounding grows with the norms. Sample
    ``order[p]`` stands at place p. With ``hold`` all rows are kept prepared, a second
    copy, as in a small gallery. Embeddings (N, D) may be a tensor over a file that is
    mapped into memory; what ``check_embeddings`` refuses raises ValueError.
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
        self._asked, self.short = -math.inf if wide else 0, None
        if self._hold or self.embeddings.numel() * self.dtype.itemsize <= HOLD_BYTES:
            self._held = self._prepare(self.embeddings[self.order], self.dtype)

    def __len__(self) -> int:
        return len(self.order)

    def update(self, samples: Tensor, embeddings: Tensor) -> None:
        """Overwrite distinct samples (B,) by other embeddings (B, D) of its dtype.

        Only their rows are prepared anew; the mean stays, and every search is exact.
        """
        largest = check_embeddings(embeddings)
        self.embeddings[samples] = embeddings
        self._numbers, place = None, self._place[samples]
        if largest >= WIDE and self.dtype == torch.float32:
            self._lay_out(largest)
        elif self._held is not None:
            prepared = self._prepare(embeddings, self.dtype)
            self._held[0][place], self._held[1][place] = prepared
        if self.short is not None:
            axes, x, squares = self.short
            x[place], squares[place] = self._project(embeddings, axes)

    def points(self, given: Tensor, which: Tensor, dtype=None) -> Points:
        """Points (P, D) of any origin, of which some (B,) are asked about."""
        dtype = dtype or self.dtype
        if given is self.embeddings and self._held is not None and dtype == self.dtype:
            place = self._place[which]
            return Points(given, which, *(held[place] for held in self._held))
        asked = given[which].detach()
        if dtype == torch.float32 and (largest := largest_value(asked)) >= WIDE:
            raise ValueError(
                f"a point holds the value {largest:.3g}, beyond the gallery's scale; "
                "give both in float64, or scale them alike"
            )
        return Points(given.detach(), which, *self._prepare(asked, dtype))

    def in_float64(self, q: Points) -> Points:
        """The same points, for products in float64."""
        return self.points(q.given, q.which, torch.float64)

    def columns(self, first: int, last: int, q: Points) -> tuple[Tensor, ...]:
        """(M, D) and (M,): samples at some places, by the numbers of q; and |x|²."""
        held = self.short[1:] if q.short else self._held
        if q.short or (held is not None and q.x.dtype == self.dtype):
            return held[0][first:last], held[1][first:last]
        return self._prepare(self.embeddings[self.order[first:last]], q.x.dtype)

    def _prepare(self, points: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        x = torch.sub(points, self._mean.to(dtype)).to(dtype)
        return x, squared_norms(x)

    def shorten(self, q: Points, k: int, skip: Slices) -> Points | None:
        """The points by few numbers where that pays, as a sample tells; else none.

        It is decided once enough points were asked about, until all embeddings are new.
        """
        self._asked += len(q)
        if self._asked >= ASKED * len(self._mean):
            self._asked = -math.inf
            if (axes := self._axes_that_pay(q, k, skip)) is not None:
                some = self.order.split(max(1, CHUNK_BYTES // (8 * len(axes))))
                parts = [self._project(self.embeddings[part], axes) for part in some]
                self.short = axes, *map(torch.cat, zip(*parts, strict=True))
        if self.short is None:
            return None
        axes, x, _ = self.short
        if q.given is self.embeddings:
            x = x[self._place[q.which]]
        else:
            x, _ = self._project(q.given[q.which], axes)
        return Points(q.given, q.which, x, q.squares, short=True)

    def _project(self, points: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
        return project(points - self._mean.double(), axes)

    def _axes_that_pay(self, q: Points, k: int, skip: Slices) -> Tensor | None:
        """(D, d) the fewest that leave little to measure beside their own product."""
        n, mean = len(self), self._mean.double()
        places = torch.arange(0, n, -(-n // SAMPLE), device=mean.device)
        some = slice(0, len(q), max(1, len(q) // 64))
        x, a = self.embeddings[self.order[places]] - mean, q.given[q.which[some]] - mean
        start, stop = (place[some, None] for place in skip)
        allowed = (places < start) | (places >= stop)
        few = min(len(x), -(-k * len(x) // n))  # of the k, those that a sample holds
        d = torch.cdist(a, x).where(allowed, torch.inf)
        limit = d.kthvalue(few, 1, keepdim=True).values
        axes = principal_axes(x, max(1, len(mean) // AXES))
        for shift in (3, 2, 1, 0):
            fewer = axes[:, : max(1, (axes.shape[1] >> shift) - 1)]
            d = torch.cdist(*(project(points, fewer)[0] for points in (a, x)))
            left = ((d <= limit) & allowed).sum(1).double().mean() - few
            costs = MEASURED * len(mean) * left / len(x)
            if costs <= fewer.shape[1] + SCAN:
                return fewer.contiguous()
        return None

    def without_copies(self, k: int, *slices: Slices) -> tuple["Gallery", list[Slices]]:
        """A gallery without needless copies of a vector, and where slices lie in it.

        Of equal vectors that no slice parts, the k of the lowest samples are enough.
        """
        if self._numbers is None:
            self._numbers = number_vectors(self.embeddings, self.order)
        edges = [torch.zeros_like(self.order[:1])]
        for start, stop in slices:
            if int((stop - start).max()) <= 1:
                k += 1  # it takes away one copy at most
            else:
                edges += [start, stop]
        edges = torch.cat(edges).unique()
        places = torch.arange(len(self), device=self.order.device)
        part = torch.bucketize(places, edges, right=True)
        part += self._numbers * (len(edges) + 1)  # copies between the same edges
        place = self.order.argsort(stable=True)
        place = place[part[place].argsort(stable=True)]
        kept = place[ranks(part[place]) < k].sort().values
        thin = copy.copy(self)
        thin.order, thin._held = self.order[kept], None
        slices = [[torch.searchsorted(kept, edge) for edge in s] for s in slices]
        return thin, slices


def ranks(groups: Tensor) -> Tensor:
    """(N,) how many of the same group stand before each, of sorted groups (N,)."""
    places = torch.arange(len(groups), device=groups.device)
    return places - torch.searchsorted(groups, groups)
