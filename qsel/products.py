"""A matrix product in blocks, and how far its rounding can be off.

The rows of a block are queries, its columns a gallery, both prepared as
``qsel.neighbors`` has them, so that the product ends in comparable distances.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def runs(start: Tensor, stop: Tensor) -> list[tuple[int, int, int, int]]:
    """Neighbouring rows i … j-1 with the same slice s … e-1: (i, j, s, e) each."""
    new = (start[1:] != start[:-1]) | (stop[1:] != stop[:-1])
    begin = [0, *(1 + new.nonzero().squeeze(1)).tolist()]
    slices = zip(start[begin].tolist(), stop[begin].tolist(), strict=True)
    ends = [*begin[1:], len(start)]
    return [(i, j, s, e) for i, j, (s, e) in zip(begin, ends, slices, strict=True)]


def blocks(runs: Sequence[tuple], most: int) -> Iterator[tuple[int, int]]:
    """Rows in blocks of ``most``; a run that fills half a block has its own.

    A block with a single slice to skip needs no product for it.
    """
    begin, end = 0, 0
    for i, j, *_ in runs:
        large = j - i >= most / 2
        if end > begin and (large or j - begin > most):
            yield begin, end
            begin = i
        end = j
        while end - begin > most or (large and end > begin):
            # Parts of equal size.
            count = math.ceil((end - begin) / most)
            step = math.ceil((end - begin) / count)
            yield begin, begin + step
            begin += step
    if end > begin:
        yield begin, end


def product(
    rows: Tensor,
    columns: Tensor,
    runs: Sequence[tuple[int, int, int, int]],
    tile: int,
    space: Tensor,
) -> tuple[Tensor, tuple[int, int]]:
    """|b|² - 2ab of a block, infinite where a row skips a column.

    Args:
        rows: (b, W) prepared queries.
        columns: (M, W) prepared gallery rows.
        runs: rows with the slice of columns that they skip.
        tile: the block's width is filled up to a multiple of it.
        space: of an earlier block, to be used again.

    Returns:
        The block, and the slice of columns that all rows skip: it is left out.
    """
    m = len(columns)
    clipped = [(i, j, min(max(s, 0), m), min(max(e, 0), m)) for i, j, s, e in runs]
    lo, hi = max(s for *_, s, _ in clipped), min(e for *_, e in clipped)
    hi = max(lo, hi)
    width = m - (hi - lo)
    shape = len(rows), tile * max(1, math.ceil(width / tile))
    if space.numel() >= math.prod(shape):
        d = space.flatten()[: math.prod(shape)].view(shape)
    else:
        d = columns.new_empty(shape)
    with torch.autocast(d.device.type, enabled=False):  # it would round to bfloat16
        if lo:
            torch.mm(rows, columns[:lo].T, out=d[:, :lo])
        if hi < m:
            torch.mm(rows, columns[hi:].T, out=d[:, lo:width])
    d[:, width:] = torch.inf
    for i, j, s, e in clipped:
        if (s, e) != (lo, hi) and e > s:
            s, e = (x if x <= lo else max(lo, x - (hi - lo)) for x in (s, e))
            d[i:j, s:e] = torch.inf
    return d, (lo, hi)


def inverse(order: Tensor) -> Tensor:
    """(N,) where each number stands in a permutation (N,)."""
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return inverse


def smallest(d: Tensor, k: int) -> Tensor:
    """(B, k) the k smallest of each row, ascending, infinite where there are fewer."""
    if k == 1:
        return d.amin(1, keepdim=True)
    if d.shape[1] < k:
        d = torch.nn.functional.pad(d, (0, k - d.shape[1]), value=torch.inf)
    return d.topk(k, largest=False).values


def factor_rounding(dtype: torch.dtype) -> float:
    """Relative error of a product whose factors are cut to TF32 or bfloat16 first.

    TF32 keeps 11 bits and bfloat16 8; cut off, two factors are off by 2⁻⁹ or 2⁻⁶, and
    twice that is on the safe side.
    """
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    precisions = {b.fp32_precision for b in backends} - {"none", "ieee"}
    if dtype != torch.float32 or not precisions:
        return 0.0
    return 2.0**-8 if precisions == {"tf32"} else 2.0**-5
