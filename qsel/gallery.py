"""Embeddings prepared for comparison, in parts where they are many."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from qsel.vectors import (
    check_embeddings,
    largest_value,
    number_vectors,
    principal_axes,
    squared_norms,
)

HOLD_BYTES = 64 << 20  # a gallery that takes no more is prepared once
CHUNK_BYTES = 16 << 20  # of a larger one, the rows that are prepared at a time
SAMPLE = 1024  # rows from which the axes and what they leave are estimated
AXES, ASKED = 8, 32  # at most D / 8 axes, and one for every 32 points asked about
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

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, rows: Tensor | slice) -> "Points":
        parts = (self.which, self.x, self.squares)
        return Points(self.given, *(part[rows] for part in parts))


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
        self._asked, self._again = 0, 0
        self.forget_axes()
        size = self.embeddings.numel() * self.dtype.itemsize
        if self._hold or size <= HOLD_BYTES:
            self._held = self._prepare(self.embeddings[self.order], self.dtype)

    def __len__(self) -> int:
        return len(self.order)

    def update(self, samples: Tensor, embeddings: Tensor) -> None:
        """Overwrite distinct samples (B,) by other embeddings (B, D) of its dtype.

        Only their rows are prepared anew; the mean stays, and every search is exact.
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
        if self._short is not None:
            place = self._place[samples]
            projected = self._project(embeddings, self._axes)
            self._short[0][place], self._short[1][place] = projected

    def points(self, given: Tensor, which: Tensor) -> Points:
        """Points (P, D) of any origin, of which some (B,) are asked about."""
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

    def columns(self, first: int, last: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """(M, D) and (M,): what stands at some places, and its squares."""
        if self._held is not None and dtype == self.dtype:
            return self._held[0][first:last], self._held[1][first:last]
        return self._prepare(self.embeddings[self.order[first:last]], dtype)

    def _prepare(self, points: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        x = torch.sub(points, self._mean.to(dtype)).to(dtype)
        return x, squared_norms(x)

    def shorten(self, q: Points, k: int, skip: Slices) -> tuple | None:
        """Few numbers for each point, (B, d), and ``columns`` of the same for samples.

        For a projection P and r = |a - Pa|, |a - b|² ≥ |Pa - Pb|² + (r_a - r_b)²: these
        numbers are Pa and r. None where measuring what the bound leaves would cost more
        than a product of all D: a sample tells, once many points were asked about.
        """
        if self.dtype != q.x.dtype or self.dtype == torch.float64:
            return None
        self._asked += len(q)
        if self._axes is None and self._asked >= self._again:
            self._again = 8 * self._asked
            if (axes := self._cheapest_axes(q, k, skip)) is not None:
                step = max(1, CHUNK_BYTES // (8 * len(axes)))
                some = self.order.split(step)
                parts = [self._project(self.embeddings[part], axes) for part in some]
                self._axes = axes
                self._short = tuple(map(torch.cat, zip(*parts, strict=True)))
        if self._axes is None:
            return None
        if q.given is self.embeddings:
            x = self._short[0][self._place[q.which]]
        else:
            x = self._project(q.given[q.which], self._axes)[0]
        short = self._short
        return x, lambda first, last, _: (short[0][first:last], short[1][first:last])

    def forget_axes(self) -> None:
        """Compare all D numbers, until many more points were asked about."""
        self._axes = self._short = None

    def _project(self, points: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
        """(B, d + 1) the points on d axes and what these leave; and (B,) |x|²."""
        x = torch.sub(points, self._mean.double())
        y, squares = x @ axes, torch.linalg.vector_norm(x, dim=1).square()
        # Sums of float64, and axes that are orthonormal in it, are off by less.
        off = 16 * axes.numel() * torch.finfo(torch.float64).eps
        left = (squares - y.square().sum(1)).clamp_min(0) + off * squares
        return torch.cat([y, left.sqrt()[:, None]], 1).to(self.dtype), squares

    def _cheapest_axes(self, q: Points, k: int, skip: Slices) -> Tensor | None:
        """(D, d) the axes that cost least, by a sample; none if the product does."""
        n, dim = len(self), len(self._mean)
        if (most := min(dim // AXES, self._asked // ASKED)) < 1:
            return None
        places = torch.linspace(0, n - 1, min(n, SAMPLE), device=self.order.device)
        places = places.long()
        x = self.embeddings[self.order[places]]
        axes = principal_axes(torch.sub(x, self._mean.double()), most)
        some = slice(0, len(q), max(1, len(q) // 64))
        a, (start, stop) = q.given[q.which[some]], (s[some, None] for s in skip)
        d = torch.cdist(a.double(), x.double())
        allowed = (places < start) | (places >= stop)
        nearest = d.where(allowed, torch.inf).sort(1).values
        limit = nearest[:, min(len(x), -(-k * len(x) // n)) - 1, None]
        cheapest = 0.75 * dim  # what is gained shall be worth the preparation
        for count in [max(1, (most >> i) - 1) for i in range(4)]:
            y, b = (self._project(p, axes[:, :count])[0] for p in (x, a))
            near = ((torch.cdist(b, y) <= limit) & allowed).double().mean().item()
            cost = count + SCAN + MEASURED * dim * near
            if cost < cheapest:
                cheapest, chosen = cost, count
        return axes[:, :chosen].contiguous() if cheapest < 0.75 * dim else None

    def without_copies(self, k: int, *slices: Slices) -> tuple["Gallery", list[Slices]]:
        """A gallery without needless copies of a vector, and where slices lie in it.

        Of equal vectors that no slice parts, the k of the lowest samples are enough.
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
    """(N,) how many of the same group stand before each, of sorted groups (N,)."""
    places = torch.arange(len(groups), device=groups.device)
    return places - torch.searchsorted(groups, groups)
