"""Exact nearest neighbours at the speed of a matrix product.

A gallery is sorted by class, so that a class is a slice of places, and moved to its
mean. One product, |b|² - 2ab, nominates: whatever its rounding bound cannot rule out is
measured directly in float64, and ties go to the lowest index. So all answers are those
of float64 brute force. Where rounding leaves many candidates in doubt, the product is
repeated in float64, and copies of one vector are compared once. Nothing of size N × N
is held, and of a large gallery no second copy.
"""

import copy
import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

from qsel.vectors import (
    check_embeddings,
    largest_value,
    number_vectors,
    product,
    rounding,
    squared_distances,
    squared_norms,
)

HOLD_BYTES = 64 << 20  # a gallery that takes no more is prepared once
CHUNK_BYTES = 16 << 20  # of a larger one, the rows that are prepared at a time
BLOCK_BYTES = 32 << 20  # one (rows, columns) block of approximate distances
PAIRS = 1 << 21  # candidates that wait for a decision
ROWS, QUERIES = 1024, 8192  # most rows of a block, and most that one call should have
TILE = 64  # columns whose minimum is looked at first
FEW = 32  # candidates a row whose measuring costs little beside the product
WIDE = 1e15  # from this value on all is float64: squares would overflow float32

Slices = tuple[Tensor, Tensor]  # (B,) and (B,): from a place to the one before another


@dataclass(frozen=True, eq=False)
class Points:
    """B of the points ``given``, (P, D): which, seen from a gallery's mean, and |x|²."""

    given: Tensor
    which: Tensor  # (B,)
    x: Tensor  # (B, D)
    squares: Tensor  # (B,) float64

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, rows: Tensor | slice) -> "Points":
        parts = (self.which, self.x, self.squares)
        return Points(self.given, *(part[rows] for part in parts))


class _ManyDoubts(Exception):
    """More candidates are in doubt than should be measured one by one."""


class Gallery:
    """Embeddings prepared for exact comparison.

    Args:
        embeddings: (N, D) floating point, finite, on any device; a tensor over a file
            that is mapped into memory will do.
        order: (N,) a permutation: sample ``order[p]`` stands at place p.
        hold: keep all rows prepared, a second copy, as small galleries always do.

    Raises:
        ValueError: what ``check_embeddings`` refuses.

    Example:
        >>> gallery = Gallery(torch.tensor([[0.0], [1.0], [3.0]]))
        >>> gallery.nearest(gallery.points(gallery.embeddings, torch.tensor([2])), k=2)
        tensor([[2, 1]])
    """

    def __init__(
        self, embeddings: Tensor, order: Tensor | None = None, hold: bool = False
    ):
        largest = check_embeddings(embeddings)
        everyone = torch.arange(len(embeddings), device=embeddings.device)
        self.embeddings = embeddings.detach()
        self.order = everyone if order is None else order
        self._place = torch.empty_like(everyone)
        self._place[self.order] = everyone
        self._hold = hold
        self._lay_out(largest)

    def _lay_out(self, largest: float) -> None:
        wide = self.embeddings.dtype == torch.float64 or largest >= WIDE
        self._dtype = torch.float64 if wide else torch.float32
        # Distances ignore a common shift, and the rounding bound grows with the norms.
        self._mean = self.embeddings.mean(0, dtype=self._dtype)  # (D,)
        size = self.embeddings.numel() * self._dtype.itemsize
        self._held = self._copies = None
        if self._hold or size <= HOLD_BYTES:
            self._held = self._prepare(self.embeddings[self.order], self._dtype)

    def __len__(self) -> int:
        return len(self.order)

    def update(self, samples: Tensor, embeddings: Tensor) -> None:
        """Overwrite distinct samples (B,) by other embeddings (B, D) of its dtype.

        Only their rows are prepared anew; the mean stays, and every search is exact.
        """
        largest = check_embeddings(embeddings)
        self.embeddings[samples] = embeddings
        self._copies = None
        if largest >= WIDE and self._dtype == torch.float32:
            self._lay_out(largest)
        elif self._held is not None:
            place = self._place[samples]
            prepared = self._prepare(embeddings, self._dtype)
            self._held[0][place], self._held[1][place] = prepared

    def points(self, given: Tensor, which: Tensor) -> Points:
        """Points (P, D) of any origin, of which some (B,) are asked about."""
        if given is self.embeddings and self._held is not None:
            place = self._place[which]
            return Points(given, which, *(held[place] for held in self._held))
        asked = given[which].detach()
        if (largest := largest_value(asked)) >= WIDE and self._dtype == torch.float32:
            raise ValueError(
                f"a point holds the value {largest:.3g}, beyond the gallery's scale; "
                "give both in float64, or scale them alike"
            )
        return Points(given.detach(), which, *self._prepare(asked, self._dtype))

    def nearest(self, q: Points, k: int = 1, skip: Slices | None = None) -> Tensor:
        """(B, k) the nearest samples of each point, nearest first, ties to the lowest.

        Places in ``skip`` are not looked at, which is fastest where equal slices stand
        together. Where there are fewer than k the rest is -1.
        """
        start, stop = skip or (torch.zeros_like(q.which),) * 2
        dtype, n = q.x.dtype, len(self)
        few = n if dtype == torch.float64 else max(4 * k, n // FEW)
        held = self._held is not None and dtype == self._dtype
        step = (HOLD_BYTES if held else CHUNK_BYTES) // (q.x.shape[1] * dtype.itemsize)
        step = min(n, max(1, step))
        rows = max(1, min(ROWS, BLOCK_BYTES // (step * dtype.itemsize), len(q)))
        space = q.x.new_empty(rows * (step + TILE))
        limits = q.x.new_full((len(q), k), torch.inf)  # the k lowest upper bounds
        left = torch.zeros_like(q.which)  # candidates of rows that wait for float64
        found, waiting, looked = [], 0, False
        for first in range(0, n, step):
            columns = self._columns(first, first + step, dtype)
            for i, j in _blocks(start, stop, rows):
                slices = start[i:j] - first, stop[i:j] - first
                row, place, *bounds, many = self._nominate(
                    q[i:j], columns, slices, limits[i:j], few, space
                )
                found.append((row + i, place + first, *bounds))
                left[i:j] += many
                waiting += len(row) + int(many.sum())
                if waiting > max(n, FEW * len(q)) and not looked:
                    looked = True
                    thin, (skip,) = self._leave_out_copies(k, (start, stop))
                    if thin is not self:
                        return thin.nearest(q, k, skip)
                if waiting > PAIRS:
                    found = [self._best(q, found, limits)[1]]
                    waiting = len(found[0][0])
        chosen, _ = self._best(q, found, limits)
        if len(again := left.nonzero().squeeze(1)):
            skip = start[again], stop[again]
            chosen[again] = self.nearest(self._in_float64(q[again]), k, skip)
        return chosen

    def choose(
        self,
        q: Points,
        among: Slices,
        without: Slices,
        radius: Tensor | None = None,
        around: Points | None = None,
        furthest: bool = False,
    ) -> Tensor:
        """(B,) the nearest (or furthest) sample among some places, but for others.

        With squared radii (B,), float64, only what lies strictly outside of these
        spheres around the points, or around others. -1 where there is none.
        """
        chosen = torch.full_like(q.which, -1)
        largest = max(1, int((among[1] - among[0]).max()))
        # Equal slices stand together: they share a product.
        for rows in (
            among[0].argsort(stable=True).split(max(1, BLOCK_BYTES // (64 * largest)))
        ):
            slices = [(s[rows], e[rows]) for s, e in (among, without)]
            sphere = None if radius is None else radius[rows]
            here, centre = q[rows], around and around[rows]
            most = max(len(self), FEW * len(rows))
            try:
                found = self._choose(here, *slices, sphere, centre, furthest, most)
            except _ManyDoubts:
                thin, slices = self._leave_out_copies(1, *slices)
                here, centre = (
                    self._in_float64(here),
                    centre and self._in_float64(centre),
                )
                found = thin._choose(here, *slices, sphere, centre, furthest)
            chosen[rows] = found
        return chosen

    def _choose(
        self, q, among, without, radius, around, furthest, most=math.inf
    ) -> Tensor:
        d, error = self._distances(q, *among)  # (B, M)
        place = among[0][:, None] + torch.arange(d.shape[1], device=d.device)
        left_out = (place >= without[0][:, None]) & (place < without[1][:, None])
        allowed = (d < torch.inf) & ~left_out
        if radius is not None:
            centre = around or q
            gap, slack = self._distances(centre, *among) if around else (d, error)
            gap = gap - radius[:, None].to(d.dtype)
            # The radius was rounded too: by less than it and the distances are off.
            row, column = ((gap.abs() <= 2 * slack) & allowed).nonzero(as_tuple=True)
            allowed &= gap > 0
            if len(row) > most:
                raise _ManyDoubts
            exact = self._measure(centre, row, self.order[place[row, column]])
            allowed[row, column] = exact > radius[row]
        d = (-d if furthest else d).masked_fill(~allowed, torch.inf)
        # Nothing is better than this for certain, and who cannot reach it is out.
        best = (d + error).amin(1, keepdim=True)
        row, column = ((d - error <= best) & allowed).nonzero(as_tuple=True)
        if len(row) > most:
            raise _ManyDoubts
        zero = q.squares.new_zeros(len(q))  # all that is left of a row is in doubt
        return self._rank(
            q, row, place[row, column], zero[row], zero, 1, -1 if furthest else 1
        )[0][:, 0]

    def _nominate(
        self,
        q: Points,
        columns: tuple[Tensor, Tensor],
        skip: Slices,
        limits: Tensor,
        few: int,
        space: Tensor,
    ) -> tuple[Tensor, ...]:
        """What the bound cannot rule out among (M,) columns: rows, columns, bounds.

        The product comes with each column's slack taken off: a lower bound, up to what
        is common to its row. Limits (B, k), the lowest upper bounds, are lowered, and
        only tiles whose minimum reaches them are looked into. A row of more than a few
        candidates is left: (B,) their number, and its limit becomes -inf.
        """
        x, squares = columns
        k, m, dtype = limits.shape[1], len(x), x.dtype
        # A power of two, so that a row has at least eight tiles for each of the k.
        tile = min(TILE, 1 << max(0, (m // (8 * k)).bit_length() - 1))
        width = tile * math.ceil(m / tile)
        relative, absolute = rounding(dtype, x.shape[1])
        slack = 2 * relative * squares + absolute  # (M,)
        d = space[: len(q) * width].view(len(q), width)
        start, stop = (place.clamp(0, m) for place in skip)
        lo, hi = int(start.max()), int(stop.min())  # all rows skip what is between
        hi = max(lo, hi)
        bias = (squares - slack).to(dtype)
        product(q.x, x[:lo], bias[:lo], d[:, :lo])
        product(q.x, x[hi:], bias[hi:], d[:, hi:m])
        d[:, lo:hi] = d[:, m:] = torch.inf
        for i, j, s, e in _runs(start, stop):
            d[i:j, s:e] = torch.inf
        tiles = d.unflatten(1, (-1, tile))
        lowest = tiles.amin(2)  # (B, T)
        reach = pad((2 * slack).to(dtype), (0, width - m)).view(-1, tile).amax(1)
        own = (2 * relative * q.squares).to(dtype)[:, None]
        limits.copy_(_smallest(torch.cat([limits, lowest + reach + own], 1), k))
        limit = limits[:, -1:].clamp_max(torch.finfo(dtype).max)
        opened = lowest <= limit
        many = torch.zeros_like(q.which)
        if int(opened.sum()) > 4 * k * len(q):
            count = (d <= limit).sum(1)
            many = count.where(count > few, 0)
            limits[many > 0] = -torch.inf
            opened &= (many == 0)[:, None]
        row, t = opened.nonzero(as_tuple=True)
        low = tiles[row, t]  # (open tiles, tile)
        hit, column = (low <= limit[row]).nonzero(as_tuple=True)
        low, row, column = low[hit, column], row[hit], t[hit] * tile + column
        return row, column, low, slack[column], many

    def _best(self, q: Points, found: list, limits: Tensor) -> tuple[Tensor, tuple]:
        """(B, k) the best samples of what was found, and what was found of them."""
        row, place, low, slack = (
            torch.cat(parts) for parts in zip(*found, strict=True)
        )
        kept = low <= limits[row, -1]
        row, place, low, slack = row[kept], place[kept], low[kept], slack[kept]
        error = torch.zeros_like(q.squares).scatter_reduce_(0, row, slack, "amax")
        error += rounding(q.x.dtype, q.x.shape[1])[0] * q.squares
        chosen, pair = self._rank(q, row, place, low + slack, error, limits.shape[1])
        pair = pair[pair >= 0]
        return chosen, (row[pair], place[pair], low[pair], slack[pair])

    def _rank(
        self,
        q: Points,
        row: Tensor,
        place: Tensor,
        d: Tensor,
        error: Tensor,
        k: int,
        sign: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """(B, k) the best samples of some pairs, and which pairs they are; or -1.

        Only pairs are measured that d (P,), off by up to a row's error (B,), leaves in
        doubt. Sign -1 prefers the furthest.
        """
        by_d = d.argsort(stable=True)
        by_d = by_d[row[by_d].argsort(stable=True)]
        row, d, sample = row[by_d], d[by_d], self.order[place[by_d]]
        # Neighbours in this order are apart for certain, or belong to one group.
        apart = torch.ones_like(row, dtype=torch.bool)
        apart[1:] = (row[1:] != row[:-1]) | (d[1:] - d[:-1] > 2 * error[row[1:]])
        group = apart.cumsum(0)
        doubt = (group.bincount()[group] > 1).nonzero().squeeze(1)
        exact = q.squares.new_zeros(len(row))
        exact[doubt] = sign * self._measure(q, row[doubt], sample[doubt])
        order = sample.argsort(stable=True)  # by group, then distance, then index
        order = order[exact[order].argsort(stable=True)]
        order = order[group[order].argsort(stable=True)]
        rank = _ranks(row)  # the order changes no row
        kept = rank < k
        chosen, pair = row.new_full((2, len(q), k), -1)
        chosen[row[kept], rank[kept]] = sample[order[kept]]
        pair[row[kept], rank[kept]] = by_d[order[kept]]
        return chosen, pair

    def _measure(self, q: Points, row: Tensor, samples: Tensor) -> Tensor:
        """(P,) squared distances of pairs, directly and in float64."""
        return squared_distances(q.given, q.which[row], self.embeddings, samples)

    def _distances(
        self, q: Points, start: Tensor, stop: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, M) approximate squared distances to some places, and their error bounds.

        Distances are infinite beyond the end of a slice.
        """
        dtype = q.x.dtype
        d = q.x.new_full((len(q), max(1, int((stop - start).max()))), torch.inf)
        error = torch.zeros_like(d)
        relative, absolute = rounding(dtype, q.x.shape[1])
        for i, j, s, e in _runs(start, stop):
            x, squares = self._columns(s, e, dtype)
            part, own = d[i:j, : e - s], q.squares[i:j, None]
            product(q.x[i:j], x, squares.to(dtype), part)
            part += own
            error[i:j, : e - s] = relative * (own + 2 * squares) + absolute
        return d, error

    def _columns(self, first: int, last: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """(M, D) and (M,): some places, and their squares."""
        if self._held is not None and dtype == self._dtype:
            return self._held[0][first:last], self._held[1][first:last]
        return self._prepare(self.embeddings[self.order[first:last]], dtype)

    def _prepare(self, points: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        x = torch.sub(points, self._mean.to(dtype)).to(dtype)
        return x, squared_norms(x)

    def _in_float64(self, q: Points) -> Points:
        prepared = self._prepare(q.given[q.which], torch.float64)
        return Points(q.given, q.which, *prepared)

    def _leave_out_copies(
        self, k: int, *slices: Slices
    ) -> tuple["Gallery", list[Slices]]:
        """A gallery without needless copies of a vector, and its places of slices.

        Of equal vectors that no slice parts, the k of the lowest samples are enough.
        """
        n = len(self)
        if self._copies is None:
            self._copies = number_vectors(self.embeddings, self.order)
        edges = [torch.zeros_like(self.order[:1])]
        for start, stop in slices:
            if int((stop - start).max()) <= 1:
                k += 1  # it takes away one copy at most
            else:
                edges += [start, stop]
        edges = torch.cat(edges).unique()
        places = torch.arange(n, device=self.order.device)
        part = self._copies * (len(edges) + 1) + torch.bucketize(
            places, edges, right=True
        )
        place = self.order.argsort(stable=True)
        place = place[part[place].argsort(stable=True)]
        kept = place[_ranks(part[place]) < k].sort().values
        if len(kept) > 0.9 * n:
            return self, list(slices)
        thin = copy.copy(self)
        thin.order, thin._copies = self.order[kept], places[: len(kept)]
        if self._held is not None:
            thin._held = (self._held[0][kept], self._held[1][kept])
        return thin, [
            (torch.searchsorted(kept, start), torch.searchsorted(kept, stop))
            for start, stop in slices
        ]


def _runs(start: Tensor, stop: Tensor) -> list[tuple[int, int, int, int]]:
    """Neighbouring rows i … j-1 with the same slice s … e-1: (i, j, s, e) each."""
    new = (start[1:] != start[:-1]) | (stop[1:] != stop[:-1])
    begin = [0, *(1 + new.nonzero().squeeze(1)).tolist()]
    slices = zip(start[begin].tolist(), stop[begin].tolist(), strict=True)
    ends = pairwise([*begin, len(start)])
    return [(i, j, s, e) for (i, j), (s, e) in zip(ends, slices, strict=True)]


def _blocks(start: Tensor, stop: Tensor, most: int) -> list[tuple[int, int]]:
    """Rows in blocks of ``most``; where many skip the same, in blocks of their own."""
    blocks, begin = [], 0
    for i, j, *_ in _runs(start, stop):
        if begin < i and (j - begin > most or j - i >= most / 2):
            blocks.append((begin, i))
            begin = i
        for _ in range((j - begin) // most):
            blocks.append((begin, begin + most))
            begin += most
        if j - begin >= most / 2:
            blocks.append((begin, j))
            begin = j
    if begin < len(start):
        blocks.append((begin, len(start)))
    return blocks


def _ranks(groups: Tensor) -> Tensor:
    """(N,) how many of the same group stand before each, of sorted groups."""
    places = torch.arange(len(groups), device=groups.device)
    return places - torch.searchsorted(groups, groups)


def _smallest(d: Tensor, k: int) -> Tensor:
    """(B, k) the k smallest of each row, ascending; infinite where there are fewer."""
    if k == 1:
        return d.amin(1, keepdim=True)
    return pad(d, (0, max(0, k - d.shape[1])), value=torch.inf).topk(k, largest=False)[
        0
    ]


def nearest_others(embeddings: Tensor, k: int) -> Tensor:
    """The k nearest other samples of every sample, nearest first.

    The sample itself is left out by its index, so copies of it are found.

    Args:
        embeddings: (N, D) floating point.
        k: neighbours a sample, at most N - 1.

    Returns:
        (N, k) int64 indices; ties go to the lowest.

    Raises:
        ValueError: k is not between 1 and N - 1, or the embeddings are not finite.

    Example:
        >>> nearest_others(torch.tensor([[0.0], [1.0], [1.0]]), k=1).tolist()
        [[1], [2], [1]]
    """
    gallery = Gallery(embeddings)
    if not 1 <= k < len(gallery):
        raise ValueError(
            f"k={k} neighbours of {len(gallery)} samples; expected 1 to "
            f"{len(gallery) - 1}, since a sample is not its own neighbour"
        )
    found = []
    for some in gallery.order.split(max(1, min(QUERIES, PAIRS // (4 * k)))):
        near = gallery.nearest(gallery.points(gallery.embeddings, some), k + 1)
        others = near != some[:, None]
        others[:, k] &= ~others.all(1)  # one too many where copies hide the sample
        found.append(near[others].view(-1, k))
    return torch.cat(found)
