"""Exact nearest neighbours at the speed of a matrix product, or faster.

A product of all D numbers, or of a few that stand for them, bounds every distance from
below. Pairs that a few true distances do not rule out by it are measured, in doubt
directly in float64, and ties go to the lowest index. So all answers are those of
float64 brute force. Where rounding leaves many pairs, the product is repeated in
float64, and copies of one vector are compared once. Nothing of size N × N is held.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from qsel.gallery import HOLD_BYTES, MEASURED, Gallery, Points, Slices, ranks
from qsel.vectors import product, rounding, squared_distances

BLOCK_BYTES = 16 << 20  # one (rows, columns) block of approximate distances
PAIRS = 1 << 21  # candidates that wait for a decision
ROWS, QUERIES = 512, 8192  # most rows of a block, and most that one call should have
TILE = 64  # columns whose minimum is looked at first
FEW = 32  # candidates a row whose measuring costs little beside the product


def nearest(
    gallery: Gallery, q: Points, k: int = 1, skip: Slices | None = None
) -> Tensor:
    """(B, k) the nearest samples of each point, nearest first, ties to the lowest.

    Places in ``skip`` are not looked at, which is fastest where equal slices stand
    together. Where there are fewer than k the rest is -1.
    """
    skip = skip or (torch.zeros_like(q.which),) * 2
    most = len(q) * max(k * FEW // 8, len(gallery) // MEASURED)
    if (short := gallery.shorten(q, k, skip)) is not None:
        if (chosen := _nearest(gallery, short, k, skip, most)) is not None:
            return chosen
        gallery.short = None
    if (chosen := _nearest(gallery, q, k, skip, most)) is None:
        thin, (skip,) = gallery.without_copies(k, skip)
        chosen = _nearest(thin, gallery.in_float64(q), k, skip)
    return chosen


def _nearest(gallery, q, k, skip, most=math.inf) -> Tensor | None:
    """The same, by the numbers that these points have; none if too much is left.

    Pairs whose bound is beyond the k-th of a few true distances are out. Of the others
    no more than ``most`` are measured.
    """
    x, (start, stop), n = q.x, skip, len(gallery)
    rows = max(1, min(ROWS, BLOCK_BYTES // x.itemsize, len(q)))
    step = min(BLOCK_BYTES // rows, HOLD_BYTES // x.shape[1]) // x.itemsize
    step = max(1, min(n, step))
    space = x.new_empty(rows * (step + TILE))
    # What a bound of |a - b|² lacks: |a|², less what rounding may have added.
    lacks = (1 - 2 * rounding(x.dtype, x.shape[1])[0]) * q.squares[:, None]
    limits = q.squares.new_full((len(q), k), torch.inf)  # the k lowest distances
    found = []  # pairs: row, place, distance
    for first in range(0, n, step):
        columns = gallery.columns(first, first + step, q)
        for i, j in _blocks(start, stop, rows):
            own = slice(i, j)
            here = start[own] - first, stop[own] - first
            tiles, lowest = _lower_bounds(x[own], *columns, here, k, space)
            # The lowest of the k lowest tiles first: they lower the limits.
            low, t = lowest.topk(min(k, lowest.shape[1]), largest=False)
            limit = _rounded_up(limits[own, -1:] - lacks[own], x.dtype)
            row, rank = (low <= limit).nonzero(as_tuple=True)
            t = t[row, rank]
            column = tiles[row, t].argmin(1)
            tiles[row, t, column] = torch.inf
            place = first + t * tiles.shape[2] + column
            d = _measure(gallery, q[own], row, place)
            found.append((row + i, place, d))
            upper = limits.new_full(low.shape, torch.inf)
            upper[row, rank] = d
            upper = torch.cat([limits[own], upper], 1)
            limits[own] = upper.topk(k, largest=False).values
            # Then all the others, in tiles whose minimum keeps to the limit.
            limit = _rounded_up(limits[own, -1:] - lacks[own], x.dtype)
            row, t = (lowest <= limit).nonzero(as_tuple=True)
            hit, column = (tiles[row, t] <= limit[row]).nonzero(as_tuple=True)
            row, place = row[hit], first + t[hit] * tiles.shape[2] + column
            if (most := most - len(row)) < 0:
                return None
            found.append((row + i, place, _measure(gallery, q[own], row, place)))
            if sum(len(row) for row, *_ in found) > PAIRS:
                found = [_rank(gallery, found, len(q), k)[1]]
    return _rank(gallery, found, len(q), k)[0]


def _lower_bounds(x, y, squares, skip, k, space) -> tuple[Tensor, Tensor]:
    """(B, T, tile) lower bounds |b|² - 2ab of M distances, and (B, T) their minima.

    The product, written into ``space``, with each column's slack taken off; |a|² is
    lacking. What is skipped, and what fills the last tile, is infinitely far.
    """
    m, dtype = len(y), x.dtype
    # A power of two, so that a row has at least eight tiles for each of the k.
    tile = min(TILE, 1 << max(0, (m // (8 * k)).bit_length() - 1))
    width = tile * math.ceil(m / tile)
    relative, absolute = rounding(dtype, x.shape[1])
    d = space[: len(x) * width].view(len(x), width)
    start, stop = (place.clamp(0, m) for place in skip)
    lo = int(start.max())  # all rows skip what is from here …
    hi = max(lo, int(stop.min()))  # … to there
    bias = ((1 - 2 * relative) * squares - absolute).to(dtype)
    product(x, y[:lo], bias[:lo], d[:, :lo])
    product(x, y[hi:], bias[hi:], d[:, hi:m])
    d[:, lo:hi] = d[:, m:] = torch.inf
    for i, j, s, e in _runs(start, stop):
        d[i:j, s:e] = torch.inf
    tiles = d.unflatten(1, (-1, tile))
    return tiles, tiles.amin(2)


def _rounded_up(x: Tensor, dtype: torch.dtype) -> Tensor:
    """No less than float64 x, and finite."""
    largest = torch.finfo(dtype).max
    x = x.clamp_max(largest).to(dtype)
    return x.nextafter(torch.full_like(x, largest))


def choose(
    gallery: Gallery,
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
    step = max(1, BLOCK_BYTES // (64 * largest))
    for rows in among[0].argsort(stable=True).split(step):
        slices = [(s[rows], e[rows]) for s, e in (among, without)]
        sphere = None if radius is None else radius[rows]
        here, centre = q[rows], around and around[rows]
        most = max(len(gallery), FEW * len(rows))
        found = _choose(gallery, here, *slices, sphere, centre, furthest, most)
        if found is None:
            thin, slices = gallery.without_copies(1, *slices)
            here = gallery.in_float64(here)
            centre = centre and gallery.in_float64(centre)
            found = _choose(thin, here, *slices, sphere, centre, furthest)
        chosen[rows] = found
    return chosen


def _choose(gallery, q, among, without, radius, around, furthest, most=math.inf):
    """The same for some points; none where more pairs than ``most`` are in doubt."""
    d, error = _distances(gallery, q, *among)  # (B, M)
    place = among[0][:, None] + torch.arange(d.shape[1], device=d.device)
    left_out = (place >= without[0][:, None]) & (place < without[1][:, None])
    allowed = (d < torch.inf) & ~left_out
    if radius is not None:
        centre = around or q
        gap, slack = _distances(gallery, centre, *among) if around else (d, error)
        gap = gap - radius[:, None].to(d.dtype)
        # The radius was rounded too: by less than it and the distances are off.
        row, column = ((gap.abs() <= 2 * slack) & allowed).nonzero(as_tuple=True)
        allowed &= gap > 0
        if len(row) > most:
            return None
        exact = _measure(gallery, centre, row, place[row, column])
        allowed[row, column] = exact > radius[row]
    d = (-d if furthest else d).masked_fill(~allowed, torch.inf)
    # Nothing is better than this for certain, and who cannot reach it is out.
    best = (d + error).amin(1, keepdim=True)
    row, column = ((d - error <= best) & allowed).nonzero(as_tuple=True)
    if len(row) > most:
        return None
    place, d = place[row, column], q.squares.new_zeros(len(row))
    doubt = (row.bincount()[row] > 1).nonzero().squeeze(1)  # who is alone is best
    d[doubt] = _measure(gallery, q, row[doubt], place[doubt])
    d = -d if furthest else d
    return _rank(gallery, [(row, place, d)], len(q), 1)[0][:, 0]


def _rank(gallery: Gallery, found: list, rows: int, k: int) -> tuple[Tensor, tuple]:
    """(B, k) the best samples of pairs (row, place, d), or -1; and the best pairs."""
    row, place, d = (torch.cat(parts) for parts in zip(*found, strict=True))
    sample = gallery.order[place]
    order = sample.argsort(stable=True)  # by row, then distance, then index
    order = order[d[order].argsort(stable=True)]
    order = order[row[order].argsort(stable=True)]
    rank = ranks(row[order])
    order, rank = order[rank < k], rank[rank < k]
    chosen = row.new_full((rows, k), -1)
    chosen[row[order], rank] = sample[order]
    return chosen, (row[order], place[order], d[order])


def _measure(gallery: Gallery, q: Points, row: Tensor, place: Tensor) -> Tensor:
    """(P,) squared distances of pairs, directly and in float64."""
    samples = gallery.order[place]
    return squared_distances(q.given, q.which[row], gallery.embeddings, samples)


def _distances(gallery, q, start, stop) -> tuple[Tensor, Tensor]:
    """(B, M) approximate squared distances to some places, and their error bounds.

    Distances are infinite beyond the end of a slice.
    """
    dtype = q.x.dtype
    d = q.x.new_full((len(q), max(1, int((stop - start).max()))), torch.inf)
    error = torch.zeros_like(d)
    relative, absolute = rounding(dtype, q.x.shape[1])
    for i, j, s, e in _runs(start, stop):
        x, squares = gallery.columns(s, e, q)
        part, own = d[i:j, : e - s], q.squares[i:j, None]
        product(q.x[i:j], x, squares.to(dtype), part)
        part += own
        error[i:j, : e - s] = relative * (own + 2 * squares) + absolute
    return d, error


def _runs(start: Tensor, stop: Tensor) -> list[tuple[int, int, int, int]]:
    """Neighbouring rows i … j-1 with the same slice s … e-1: (i, j, s, e) each."""
    new = (start[1:] != start[:-1]) | (stop[1:] != stop[:-1])
    begin = [0, *(1 + new.nonzero().squeeze(1)).tolist()]
    slices = zip(start[begin].tolist(), stop[begin].tolist(), strict=True)
    ends = pairwise([*begin, len(start)])
    return [(i, j, s, e) for (i, j), (s, e) in zip(ends, slices, strict=True)]


def _blocks(start: Tensor, stop: Tensor, most: int) -> list[tuple[int, int]]:
    """Rows i … j-1 in blocks of ``most``; where many skip the same, with these."""
    runs = _runs(start, stop)
    if 64 * len(runs) > len(start):
        runs = [(0, len(start))]
    return [(i, min(j, i + most)) for b, j, *_ in runs for i in range(b, j, most)]


def nearest_others(embeddings: Tensor, k: int) -> Tensor:
    """(N, k) the k nearest other samples of every sample, ties to the lowest.

    The sample itself is left out by its index, so copies of it are found. Nearest
    first, for embeddings (N, D).

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
        near = nearest(gallery, gallery.points(gallery.embeddings, some), k + 1)
        others = near != some[:, None]
        others[:, k] &= ~others.all(1)  # one too many where copies hide the sample
        found.append(near[others].view(-1, k))
    return torch.cat(found)
