"""Exact nearest neighbours at the speed of a matrix product, in blocks.

Ranking by matrix product (|b|² - 2ab) is fast but off by rounding. So it only
nominates: every candidate that the proven rounding bound cannot rule out is measured
again, directly and in float64, and ties go to the lowest index. The answers are those
of float64 brute force, whatever the precision of the products.

Three things keep the rest of the work small beside the product. A row of the gallery
carries its own |b|², so that the product ends in comparable distances. Distances are
first looked at in tiles: only tiles whose minimum may matter are opened. And a gallery
that is sorted by class has its classes as slices, so that columns which no row of a
block may choose need no product at all.

Nothing of size N × N is ever held, and of a large gallery no second copy.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qsel import products
from qsel.vectors import checked_rows, largest_value, squared_distances

HOLD_BYTES = 64 << 20  # a gallery that takes no more is prepared once
CHUNK_BYTES = 16 << 20  # of a larger one, the rows that are prepared at a time
BLOCK_BYTES = 32 << 20  # one (rows, columns) block of approximate distances
PAIRS = 1 << 21  # candidates that wait for a decision; more only where all is tied
ROWS = 1024  # most rows of a block
QUERIES = 8192  # most rows that are prepared at a time
TILE = 64  # columns at most
WIDE = 1e15  # from this value on, float64
LANES = 16  # prepared rows have a multiple of this many columns


@dataclass(frozen=True, eq=False)
class Queries:
    """B points prepared for comparison with a gallery.

    Attributes:
        points: (P, D) as given, the B among them.
        which: (B,) which of the points.
        ranking: (B, W): -2x, 1, 0 …, with x the point from the gallery's centre.
        squares, norms: (B,) |x|² and |x|.
    """

    points: Tensor
    which: Tensor
    ranking: Tensor
    squares: Tensor
    norms: Tensor

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, rows: Tensor | slice) -> "Queries":
        parts = (self.which, self.ranking, self.squares, self.norms)
        return Queries(self.points, *(part[rows] for part in parts))


class Gallery:
    """Embeddings prepared for exact comparison.

    Args:
        embeddings: (N, D) floating point, finite, on any device; a tensor over a file
            that is mapped into memory will do.
        order: (N,) int64, a permutation: sample ``order[p]`` stands at place p. By
            default as given.
        hold: keep all rows prepared: a second copy, for a gallery that is asked often.
            Small galleries are always kept.

    Raises:
        ValueError: not a finite floating-point (N, D) tensor; the first bad row is
            named. Values whose squares overflow float64.

    Example:
        >>> gallery = Gallery(torch.tensor([[0.0], [1.0], [3.0]]))
        >>> gallery.nearest(gallery.rows(torch.tensor([2])), k=2).tolist()
        [[2, 1]]
    """

    def __init__(
        self, embeddings: Tensor, order: Tensor | None = None, hold: bool = False
    ):
        largest = largest_value(embeddings)
        self.embeddings = embeddings.detach()
        self.order = order
        self._places = None if order is None else products.inverse(order)
        self._hold = hold
        self._lay_out(largest)

    def _lay_out(self, largest: float) -> None:
        """Everything that is computed from all embeddings."""
        # Squares beyond 1e30 would overflow float32 once they are summed.
        wide = self.embeddings.dtype == torch.float64 or largest >= WIDE
        self._dtype = torch.float64 if wide else torch.float32
        # Distances ignore a common shift, and the rounding bound grows with the norms.
        self._centre = self.embeddings.mean(0, dtype=self._dtype)  # (D,)
        d = self.embeddings.shape[1]
        self._width = LANES * math.ceil((d + 1) / LANES)  # W
        row = self._width * self._dtype.itemsize  # in bytes
        held = self._hold or len(self) * row <= HOLD_BYTES
        self._step = max(1, (HOLD_BYTES if held else CHUNK_BYTES) // row)
        self._held = None
        if held:
            self._held = self._prepare(self._in_order(0, len(self)))

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def device(self) -> torch.device:
        """Where the embeddings lie."""
        return self.embeddings.device

    def update(self, samples: Tensor, embeddings: Tensor) -> None:
        """Give some samples other embeddings, in the tensor that was given.

        Only their rows are prepared anew, and every search stays exact. Where most
        rows have moved far, a new gallery is faster: it centres itself.

        Args:
            samples: (B,) int64, each at most once.
            embeddings: (B, D) floating point, finite, on the gallery's device; read in
                the gallery's dtype.

        Raises:
            ValueError: anything else.

        Example:
            >>> gallery = Gallery(torch.tensor([[0.0], [1.0], [3.0]]))
            >>> gallery.update(torch.tensor([0]), torch.tensor([[4.0]]))
            >>> gallery.nearest(gallery.rows(torch.tensor([2])), k=3).tolist()
            [[2, 0, 1]]
        """
        new = checked_rows(self.embeddings, samples, embeddings)
        largest = largest_value(new)
        self.embeddings[samples] = new
        if largest >= WIDE and self._dtype == torch.float32:
            self._lay_out(largest)
        elif self._held is not None:
            places = samples if self._places is None else self._places[samples]
            self._held[places] = self._prepare(new)

    def queries(self, points: Tensor, which: Tensor) -> Queries:
        """Points (P, D) of any origin, and which (B,) of them are asked about.

        Raises:
            ValueError: they are so much larger than the gallery that products would
                overflow.
        """
        if points is self.embeddings and self._held is not None:
            places = which if self._places is None else self._places[which]
            prepared = self._held[places]
        else:
            asked = points[which].detach()
            largest = max(map(abs, map(float, asked.aminmax())))
            if largest >= WIDE and self._dtype == torch.float32:
                raise ValueError(
                    f"a point holds the value {largest:.3g}, beyond the gallery's "
                    "scale; give both in float64, or scale them alike"
                )
            prepared = self._prepare(asked)
        d = points.shape[1]
        squares = prepared[:, d].clone()
        prepared *= -2
        prepared[:, d] = 1
        return Queries(points.detach(), which, prepared, squares, squares.sqrt())

    def rows(self, samples: Tensor) -> Queries:
        """Samples of the gallery (B,), asked about."""
        return self.queries(self.embeddings, samples)

    def index(self, places: Tensor) -> Tensor:
        """The samples that stand at some places."""
        return places if self.order is None else self.order[places]

    def nearest(
        self, q: Queries, k: int = 1, skip: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """The k nearest samples of each query, nearest first.

        Args:
            q: B queries; the search is fastest where equal skips stand together.
            k: how many.
            skip: (B,) and (B,): the places from the first up to, not including, the
                second are not looked at.

        Returns:
            (B, k) int64 samples; -1 where there are fewer. Ties go to the lowest.
        """
        none = q.squares.new_zeros(len(q), dtype=torch.int64)
        runs = products.runs(*(skip or (none, none)))
        low = q.norms.new_full((len(q), k), torch.inf)  # k smallest tile minima
        found: list[tuple[Tensor, Tensor, Tensor]] = []  # row, place, distance
        for first in range(0, len(self), self._step):
            columns = self._columns(first, min(first + self._step, len(self)))
            most = BLOCK_BYTES // (len(columns) * columns.element_size())
            # A power of two, so that a row has at least eight tiles for each of the k.
            tile = 1 << max(0, (len(columns) // (8 * k)).bit_length() - 1)
            tile = min(tile, TILE)
            space = columns.new_empty(0)
            for i, j in products.blocks(runs, max(1, min(ROWS, most))):
                inside = [
                    (max(a, i) - i, min(b, j) - i, s - first, e - first)
                    for a, b, s, e in runs
                    if a < j and b > i
                ]
                space, gap = products.product(
                    q.ranking[i:j], columns, inside, tile, space
                )
                d = space.unflatten(1, (-1, tile))  # (b, T, tile), without |a|²
                own = q.squares[i:j, None]
                tiles = d.amin(2) + own  # (b, T)
                both = torch.cat([low[i:j], tiles], 1) if first else tiles
                low[i:j] = products.smallest(both, k)
                limit = self._limit(low[i:j, -1], q.norms[i:j])  # (b,)
                open_tiles = tiles <= limit[:, None]
                many = int(open_tiles.sum()) * tile > PAIRS
                step = max(1, PAIRS // space.shape[1]) if many else j - i
                for part in torch.arange(j - i, device=self.device).split(step):
                    row, t = open_tiles[part].nonzero(as_tuple=True)
                    row = part[row]
                    values = d[row, t] + own[row]  # (P, tile)
                    near = (values <= limit[row, None]) & (values < torch.inf)
                    hit, c = near.nonzero(as_tuple=True)
                    column = t[hit] * tile + c
                    column += (column >= gap[0]) * (gap[1] - gap[0])
                    found.append((row[hit] + i, first + column, values[hit, c]))
                    if sum(len(d) for *_, d in found) > PAIRS:
                        found = [self._best(q, found, low, k)[1]]
        return self._best(q, found, low, k)[0]

    def members(self, q: Queries, start: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Approximate squared distances to one slice of places for each query.

        Args:
            q: B queries.
            start: (B,) first place of each slice; equal ones stand together.
            size: (B,) places in each slice, M at most.

        Returns:
            (B, M) distances, infinite beyond a slice's end, and (B, M) bounds on their
            error.
        """
        m = max(1, int(size.max()))
        d = q.ranking.new_full((len(q), m), torch.inf)
        error = torch.zeros_like(d)
        for i, j, s, e in products.runs(start, start + size):
            if e > s:
                columns = self._columns(s, e)
                with torch.autocast(d.device.type, enabled=False):
                    torch.mm(q.ranking[i:j], columns.T, out=d[i:j, : e - s])
                d[i:j, : e - s] += q.squares[i:j, None]
                norms = columns[:, q.points.shape[1]].sqrt()
                error[i:j, : e - s] = self._error(q.norms[i:j, None] + norms)
        return d, error

    def choose(
        self,
        q: Queries,
        start: Tensor,
        d: Tensor,
        error: Tensor,
        furthest: bool = False,
    ) -> Tensor:
        """The nearest (or furthest) of each query's candidates.

        Args:
            q: B queries.
            start: (B,) the place of each query's first column.
            d, error: (B, M) as from ``members``; infinite where it may not be chosen.
            furthest: the furthest instead of the nearest.

        Returns:
            (B,) int64 samples, -1 where none may be chosen. Ties go to the lowest.
        """
        allowed = d < torch.inf
        if furthest:
            d = (-d).masked_fill_(~allowed, torch.inf)
        # Nothing is better than this for certain, and who cannot reach it is out.
        best = (d + error).amin(1, keepdim=True)  # (B, 1)
        row, column = ((d - error <= best) & allowed).nonzero(as_tuple=True)
        place = start[row] + column
        # All that are left of a row are in doubt, unless one is left alone.
        zero = d.new_zeros(len(q))
        sign = -1 if furthest else 1
        pair = self._rank(q, row, place, zero[row], zero, 1, sign)[:, 0]
        return self._samples(place, pair)

    def beyond(
        self, q: Queries, radius: Tensor, start: Tensor, d: Tensor, error: Tensor
    ) -> Tensor:
        """Which candidates lie strictly outside a sphere around each query.

        Args:
            q: (B,) centres.
            radius: (B,) exact squared radii, float64.
            start, d, error: as for ``choose``.

        Returns:
            (B, M) bool, False where it may not be chosen.
        """
        gap = d - radius[:, None].to(d.dtype)  # (B, M)
        allowed = d < torch.inf
        outside = (gap > 0) & allowed
        # The radius was rounded too: by less than it and the distances are off.
        row, column = ((gap.abs() <= 2 * error) & allowed).nonzero(as_tuple=True)
        if len(row):
            exact = self.exact(q, row, self.index(start[row] + column))
            outside[row, column] = exact > radius[row]
        return outside

    def exact(self, q: Queries, row: Tensor, samples: Tensor) -> Tensor:
        """Squared distances of pairs, directly and in float64: (P,).

        Args:
            q: queries.
            row: (P,) which of them.
            samples: (P,) of the gallery.
        """
        return squared_distances(q.points, q.which[row], self.embeddings, samples)

    # --- what it is made of ------------------------------------------------------

    def _in_order(self, first: int, last: int) -> Tensor:
        if self.order is None:
            return self.embeddings[first:last]
        return self.embeddings[self.order[first:last]]

    def _samples(self, places: Tensor, chosen: Tensor) -> Tensor:
        """The samples at some of the places, by their number; -1 stays -1."""
        nobody = places.new_full((1,), -1)
        return torch.cat([self.index(places), nobody])[chosen]

    def _columns(self, first: int, last: int) -> Tensor:
        """(M, W) prepared rows of some places."""
        if self._held is not None:
            return self._held[first:last]
        return self._prepare(self._in_order(first, last))

    def _prepare(self, points: Tensor) -> Tensor:
        """(M, D) points → (M, W): x, |x|², 0 …, with x the point from the centre."""
        m, d = points.shape
        g = points.new_empty(m, self._width, dtype=self._dtype)
        x = g[:, :d]
        torch.sub(points, self._centre, out=x)
        g[:, d:] = 0
        # In two stages, so that no rounding but those of a few terms adds up.
        g[:, d] = (
            g.square().unflatten(1, (LANES, -1)).sum(1).sum(1, dtype=torch.float64)
        )
        return g

    def _slack(self) -> tuple[float, float]:
        """Relative and absolute part of the error of an approximate distance.

        A sum of D products is off by at most D roundings of Σ|terms|, each of half an
        eps, and the terms stay below (|a| + |b|)². Factors that are rounded first add
        one rounding of theirs, once. Below `tiny` a product may vanish altogether.
        """
        terms = self.embeddings.shape[1] + 2 * LANES
        number = torch.finfo(self._dtype)
        relative = terms * number.eps / 2 + products.factor_rounding(self._dtype)
        return min(relative, 0.5), 4 * terms * number.tiny

    def _error(self, reach: Tensor) -> Tensor:
        """Bound on a distance's error, for |a| + |b| up to ``reach``."""
        relative, absolute = self._slack()
        return relative * reach.square() + absolute

    def _error_up_to(self, d: Tensor, norms: Tensor) -> Tensor:
        """Bound on the error of all samples whose approximate distance is at most d.

        Such a b is at most sqrt(d + error) from a, and with s² the relative slack
        sqrt(error) ≤ s (|a| + |b|); solved for |a| + |b|. So an outlier in the gallery
        costs the others nothing.
        """
        relative, absolute = self._slack()
        near = (d.clamp_min(0) + absolute).sqrt()
        return self._error((2 * norms + near) / (1 - relative**0.5))

    def _limit(self, d: Tensor, norms: Tensor) -> Tensor:
        """Beyond this approximate distance none of the k nearest lies.

        Args:
            d: (B,) no less than the k-th smallest approximate distance.
        """
        reached = d + self._error_up_to(d, norms)  # k samples are this near for certain
        return reached + self._error_up_to(reached, norms)

    def _best(
        self, q: Queries, found: list[tuple[Tensor, ...]], low: Tensor, k: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(B, k) the k best samples of what was found, and what was found of them."""
        row, place, d = (torch.cat(parts) for parts in zip(*found, strict=True))
        limit = self._limit(low[:, -1], q.norms)
        kept = d <= limit[row]
        row, place, d = row[kept], place[kept], d[kept]
        error = self._error_up_to(limit, q.norms)
        pairs = self._rank(q, row, place, d, error, k)  # (B, k)
        samples = self._samples(place, pairs)
        pairs = pairs[pairs >= 0]
        return samples, (row[pairs], place[pairs], d[pairs])

    def _rank(
        self,
        q: Queries,
        row: Tensor,
        place: Tensor,
        d: Tensor,
        error: Tensor,
        k: int,
        sign: int = 1,
    ) -> Tensor:
        """(B, k) which of some pairs are best, measured exactly where d leaves a doubt.

        Args:
            row, place, d: (P,) the pairs and their approximate distances.
            error: (B,) bounds on each row's errors.
            sign: -1 to prefer the furthest; then d has the sign already.
        """
        pair = d.argsort(stable=True)
        pair = pair[row[pair].argsort(stable=True)]
        row, d = row[pair], d[pair]
        sample = self.index(place[pair])
        # Neighbours in this order are apart for certain, or belong to one group.
        apart = torch.ones_like(row, dtype=torch.bool)
        apart[1:] = (row[1:] != row[:-1]) | (d[1:] - d[:-1] > 2 * error[row[1:]])
        group = apart.cumsum(0)  # (P,), from 1
        doubt = (group.bincount()[group] > 1).nonzero().squeeze(1)
        exact = q.squares.new_zeros(len(row), dtype=torch.float64)
        if len(doubt):
            exact[doubt] = sign * self.exact(q, row[doubt], sample[doubt])
        order = sample.argsort(stable=True)  # by group, then distance, then index
        order = order[exact[order].argsort(stable=True)]
        order = order[group[order].argsort(stable=True)]
        row = row[order]
        first = torch.searchsorted(row, torch.arange(len(q), device=row.device))
        rank = torch.arange(len(row), device=row.device) - first[row]
        best = row.new_full((len(q), k), -1)
        kept = rank < k
        best[row[kept], rank[kept]] = pair[order[kept]]
        return best


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
    everyone = torch.arange(len(gallery), device=gallery.device)
    at_once = max(1, min(QUERIES, PAIRS // (4 * k)))
    return torch.cat(
        [
            gallery.nearest(gallery.rows(part), k, skip=(part, part + 1))
            for part in everyone.split(at_once)
        ]
    )
