"""Exact nearest neighbours at the speed of a matrix product.

One product, |b|² - 2ab, ranks the candidates. Those that its rounding bound cannot rule
out are measured directly in float64, and ties go to the lowest index, so the answers
equal float64 brute force. If many candidates remain in doubt, the product is repeated
in float64, and copies of one vector are compared once. Nothing of size N × N is stored,
and no second copy of a large gallery.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

from qsel.gallery import Gallery, Points, Slices, ranks
from qsel.vectors import product, rounding, squared_distances

BLOCK_BYTES = 32 << 20  # one (rows, columns) block of approximate distances
PAIRS = 1 << 21  # candidates that wait for a decision
ROWS, QUERIES = 1024, 8192  # most rows of a block, and most that one call should have
TILE = 64  # columns whose minimum is looked at first
FEW = 32  # candidates a row whose measuring costs little beside the product


def nearest(
    gallery: Gallery, q: Points, k: int = 1, skip: Slices | None = None
) -> Tensor:
    """(B, k) the nearest samples of each point, nearest first, ties to the lowest.

    Places in ``skip`` are not searched, which is fastest if equal slices are
    neighbours. If there are fewer than k samples, the rest is -1.
    """
    start, stop = skip or (torch.zeros_like(q.which),) * 2
    dtype, n = q.x.dtype, len(gallery)
    few = n if dtype == torch.float64 else max(4 * k, n // FEW)
    step = gallery.step(dtype)
    rows = max(1, min(ROWS, BLOCK_BYTES // (step * dtype.itemsize), len(q)))
    space = q.x.new_empty(rows * (step + TILE))
    limits = q.x.new_full((len(q), k), torch.inf)  # the k lowest upper bounds
    left = torch.zeros_like(q.which)  # candidates of rows that wait for float64
    found, waiting, looked = [], 0, False
    for first in range(0, n, step):
        columns = gallery.columns(first, first + step, dtype)
        for i, j in _blocks(start, stop, rows):
            slices = start[i:j] - first, stop[i:j] - first
            row, place, *bounds, many = _nominate(
                q[i:j], columns, slices, limits[i:j], few, space
            )
            found.append((row + i, place + first, *bounds))
            left[i:j] += many
            waiting += len(row) + int(many.sum())
            if waiting > max(n, FEW * len(q)) and not looked:
                looked = True
                thin, (skip,) = gallery.without_copies(k, (start, stop))
                if thin is not gallery:
                    return nearest(thin, q, k, skip)
            if waiting > PAIRS:
                found = [_best(gallery, q, found, limits)[1]]
                waiting = len(found[0][0])
    chosen, _ = _best(gallery, q, found, limits)
    if len(again := left.nonzero().squeeze(1)):
        skip = start[again], stop[again]
        chosen[again] = nearest(gallery, gallery.in_float64(q[again]), k, skip)
    return chosen


def choose(
    gallery: Gallery,
    q: Points,
    among: Slices,
    without: Slices,
    radius: Tensor | None = None,
    around: Points | None = None,
    furthest: bool = False,
) -> Tensor:
    """(B,) the nearest (or furthest) sample in the slices ``among``, not ``without``.

    With squared radii (B,), float64, only samples strictly outside these spheres around
    the points (or ``around`` others) count. -1 if there is none.
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


def _choose(
    gallery, q, among, without, radius, around, furthest, most=math.inf
) -> Tensor | None:
    """``choose`` for some points; None if more than ``most`` pairs are in doubt."""
    d, error = _distances(gallery, q, *among)  # (B, M)
    place = among[0][:, None] + torch.arange(d.shape[1], device=d.device)
    left_out = (place >= without[0][:, None]) & (place < without[1][:, None])
    allowed = (d < torch.inf) & ~left_out
    if radius is not None:
        centre = around or q
        gap, slack = _distances(gallery, centre, *among) if around else (d, error)
        gap = gap - radius[:, None].to(d.dtype)
        # The radius is rounded too, by less than the distances' bound.
        row, column = ((gap.abs() <= 2 * slack) & allowed).nonzero(as_tuple=True)
        allowed &= gap > 0
        if len(row) > most:
            return None
        exact = _measure(gallery, centre, row, gallery.order[place[row, column]])
        allowed[row, column] = exact > radius[row]
    d = (-d if furthest else d).masked_fill(~allowed, torch.inf)
    # An upper bound of the best; candidates above it are ruled out.
    best = (d + error).amin(1, keepdim=True)
    row, column = ((d - error <= best) & allowed).nonzero(as_tuple=True)
    if len(row) > most:
        return None
    zero = q.squares.new_zeros(len(q))  # all that is left of a row is in doubt
    sign = -1 if furthest else 1
    chosen, _ = _rank(gallery, q, row, place[row, column], zero[row], zero, 1, sign)
    return chosen[:, 0]


def _nominate(q, columns, skip, limits, few, space) -> tuple[Tensor, ...]:
    """Candidates among (M,) columns that the bound cannot rule out, with their bounds.

    The product minus each column's slack, written into ``space``, is a lower bound up
    to a constant of the row. It lowers the limits (B, k), the k lowest upper bounds;
    only tiles whose minimum reaches them are searched. A row with more than ``few``
    candidates is left for float64: its number of candidates is returned (B,), its limit
    is -inf.
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
    lo = int(start.max())  # all rows skip what is from here …
    hi = max(lo, int(stop.min()))  # … to there
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
    upper = torch.cat([limits, lowest + reach + own], 1)
    if k == 1:
        limits.copy_(upper.amin(1, keepdim=True))
    else:
        limits.copy_(upper.topk(k, largest=False).values)
    limit = limits[:, -1:].clamp_max(torch.finfo(dtype).max)
    opened = lowest <= limit
    many = torch.zeros_like(q.which)
    if 4 * int(opened.sum()) > opened.numel():
        count = (d <= limit).sum(1)
        many = count.where(count > few, 0)
        limits[many > 0] = -torch.inf
        opened &= (many == 0)[:, None]
    row, t = opened.nonzero(as_tuple=True)
    low = tiles[row, t]  # (open tiles, tile)
    hit, column = (low <= limit[row]).nonzero(as_tuple=True)
    low, row, column = low[hit, column], row[hit], t[hit] * tile + column
    return row, column, low, slack[column], many


def _best(gallery: Gallery, q: Points, found: list, limits: Tensor) -> tuple:
    """(B, k) the best samples of the candidates, and their entries in ``found``."""
    row, place, low, slack = (torch.cat(parts) for parts in zip(*found, strict=True))
    k, own = limits.shape[1], rounding(q.x.dtype, q.x.shape[1])[0] * q.squares
    # The k-th lowest upper bound of single samples; that of tiles was higher.
    high = low + 2 * (slack + own[row])
    by_high = high.argsort()
    by_high = by_high[row[by_high].argsort(stable=True)]
    last = by_high[ranks(row[by_high]) == k - 1]
    limits[row[last], -1] = limits[row[last], -1].minimum(high[last].to(low.dtype))
    kept = low <= limits[row, -1]
    row, place, low, slack = row[kept], place[kept], low[kept], slack[kept]
    error = own.scatter_reduce(0, row, slack, "amax", include_self=False) + own
    chosen, pair = _rank(gallery, q, row, place, low + slack, error, k)
    pair = pair[pair >= 0]
    return chosen, (row[pair], place[pair], low[pair], slack[pair])


def _rank(gallery, q, row, place, d, error, k, sign=1) -> tuple[Tensor, Tensor]:
    """(B, k) the best samples of some pairs, and which pairs they are; -1 if none.

    Only pairs in doubt are measured: d (P,) is off by up to the row's error (B,). Sign
    -1 prefers the furthest.
    """
    by_d = d.argsort(stable=True)
    by_d = by_d[row[by_d].argsort(stable=True)]
    row, d, sample = row[by_d], d[by_d], gallery.order[place[by_d]]
    # Neighbours in this order are apart for certain, or belong to one group.
    apart = torch.ones_like(row, dtype=torch.bool)
    apart[1:] = (row[1:] != row[:-1]) | (d[1:] - d[:-1] > 2 * error[row[1:]])
    group = apart.cumsum(0)
    doubt = (group.bincount()[group] > 1).nonzero().squeeze(1)
    exact = q.squares.new_zeros(len(row))
    exact[doubt] = sign * _measure(gallery, q, row[doubt], sample[doubt])
    order = sample.argsort(stable=True)  # by group, then distance, then index
    order = order[exact[order].argsort(stable=True)]
    order = order[group[order].argsort(stable=True)]
    rank = ranks(row)  # the order changes no row
    kept = rank < k
    chosen, pair = row.new_full((2, len(q), k), -1)
    chosen[row[kept], rank[kept]] = sample[order[kept]]
    pair[row[kept], rank[kept]] = by_d[order[kept]]
    return chosen, pair


def _measure(gallery: Gallery, q: Points, row: Tensor, samples: Tensor) -> Tensor:
    """(P,) squared distances of pairs, directly and in float64."""
    return squared_distances(q.given, q.which[row], gallery.embeddings, samples)


def _distances(gallery, q, start, stop) -> tuple[Tensor, Tensor]:
    """(B, M) approximate squared distances to slices of places, and their error bounds.

    Beyond the end of a slice distances are infinite.
    """
    dtype = q.x.dtype
    d = q.x.new_full((len(q), max(1, int((stop - start).max()))), torch.inf)
    error = torch.zeros_like(d)
    relative, absolute = rounding(dtype, q.x.shape[1])
    for i, j, s, e in _runs(start, stop):
        x, squares = gallery.columns(s, e, dtype)
        part, own = d[i:j, : e - s], q.squares[i:j, None]
        product(q.x[i:j], x, squares.to(dtype), part)
        part += own
        error[i:j, : e - s] = relative * (own + 2 * squares) + absolute
    return d, error


def _runs(start: Tensor, stop: Tensor) -> list[tuple[int, int, int, int]]:
    """Runs of rows i … j-1 with the same slice s … e-1, as (i, j, s, e)."""
    new = (start[1:] != start[:-1]) | (stop[1:] != stop[:-1])
    begin = [0, *(1 + new.nonzero().squeeze(1)).tolist()]
    slices = zip(start[begin].tolist(), stop[begin].tolist(), strict=True)
    ends = pairwise([*begin, len(start)])
    return [(i, j, s, e) for (i, j), (s, e) in zip(ends, slices, strict=True)]


def _blocks(start: Tensor, stop: Tensor, most: int) -> list[tuple[int, int]]:
    """Rows in blocks of up to ``most``; many with the same slice get their own."""
    blocks, begin = [], 0
    for i, j, *_ in _runs(start, stop):
        if begin < i and (j - begin > most or j - i >= most / 2):
            blocks.append((begin, i))
            begin = i
        while j - begin >= most / 2:
            blocks.append((begin, min(j, begin + most)))
            begin = blocks[-1][1]
    if begin < len(start):
        blocks.append((begin, len(start)))
    return blocks


def nearest_others(embeddings: Tensor, k: int) -> Tensor:
    """(N, k) the k nearest other samples of every sample, ties to the lowest.

    Embeddings are (N, D); the nearest comes first. The sample itself is excluded by its
    index, so copies of it are found.

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
