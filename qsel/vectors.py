"""Vectors and distances: checks of the input, products and bounds on their rounding."""

import math

import torch
from torch import Tensor

PAIR_BYTES = 1 << 19  # one (pairs, D) block in float64: to stay in the cache


def describe(given: object) -> str:
    """A tensor's dtype and shape, or the type of anything else."""
    if isinstance(given, Tensor):
        return f"{given.dtype} of shape {tuple(given.shape)}"
    return type(given).__name__


def check_indices(
    name: str, given: Tensor, n: int, why: str, error: type[ValueError] = ValueError
) -> None:
    """Refuse indices outside 0 … n - 1; ``why`` explains the limit."""
    low, high = int(given.min()), int(given.max())
    if low < 0 or high >= n:
        raise error(
            f"{name} run from {low} to {high}, but {why}; expected indices "
            f"from 0 to {n - 1}"
        )


def check_embeddings(embeddings: Tensor) -> float:
    """Check (N, D) finite floating point, N, D ≥ 1; return the largest absolute value.

    Raises:
        ValueError: anything else, or values whose squares overflow float64.
    """
    if not isinstance(embeddings, Tensor):
        raise ValueError(
            f"embeddings are a {type(embeddings).__name__}; expected a torch tensor "
            "(torch.from_numpy turns an array into one)"
        )
    shape = tuple(embeddings.shape)
    if len(shape) != 2 or not embeddings.is_floating_point() or 0 in shape:
        raise ValueError(
            f"embeddings are {describe(embeddings)}; expected floating point of shape "
            "(N, D) with N and D of at least 1"
        )
    largest = largest_value(embeddings)
    if not math.isfinite(largest):
        bad = ~embeddings.isfinite().all(1)
        raise ValueError(
            f"{int(bad.sum())} of {len(embeddings)} embeddings hold NaN or infinite "
            f"values, the first in row {int(bad.nonzero()[0])}; a diverged model or a "
            "division by a zero norm is the usual cause"
        )
    if largest > 1e140:
        raise ValueError(
            f"an embedding holds the value {largest:.3g}, whose square overflows "
            "float64; scale the embeddings (their order stays the same)"
        )
    return largest


def largest_value(x: Tensor) -> float:
    """The largest absolute value; NaN if there is one."""
    smallest, largest = map(float, x.detach().aminmax())
    return max(-smallest, largest)


def squared_distances(x: Tensor, i: Tensor, y: Tensor, j: Tensor) -> Tensor:
    """(P,) |x_i - y_j|² of P pairs, computed directly in float64, in blocks."""
    step = max(1, PAIR_BYTES // (8 * x.shape[1]))
    parts = [
        (x[a].double() - y[b].double()).square_().sum(1)
        for a, b in zip(i.split(step), j.split(step), strict=True)
    ]
    return torch.cat(parts)


def squared_norms(x: Tensor) -> Tensor:
    """(N,) |x|² in float64, off by at most 33 roundings of x's own type."""
    found = []
    for rows in x.split(max(1, PAIR_BYTES // x.shape[1])):
        pieces = rows.square().split(32, dim=1)
        found.append(sum(piece.sum(1).double() for piece in pieces))
    return torch.cat(found)


def product(a: Tensor, b: Tensor, bias: Tensor, out: Tensor) -> None:
    """Write bias - 2ab of rows a (B, D), b (M, D) and bias (M,) to ``out`` (B, M)."""
    with torch.autocast(out.device.type, enabled=False):  # it would round to bfloat16
        torch.addmm(bias, a, b.T, alpha=-2, out=out)


def rounding(dtype: torch.dtype, d: int) -> tuple[float, float]:
    """r and t: |a|² + |b|² - 2ab in D dimensions is off by ≤ r (|a|² + 2|b|²) + t.

    A sum of D products is off by at most D roundings, each half an eps of the sum of
    absolute values |b|² + 2Σ|a_i b_i| ≤ |a|² + 2|b|². The vectors, |a|², |b|² and their
    sums add fewer than 48 roundings; in float64 |a|² and |b|² are off by as much again.
    Products below ``tiny`` may become 0.

    TF32 keeps 11 bits of a factor and bfloat16 8. The product of two truncated factors
    is off by 2⁻⁹ or 2⁻⁶; we allow twice that.
    """
    terms, number = d + 48, torch.finfo(dtype)
    if dtype == torch.float64:
        return terms * number.eps, 4 * terms * number.tiny
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    cut = {b.fp32_precision for b in backends} - {"none", "ieee"}
    factors = 0.0 if not cut else 2.0**-8 if cut == {"tf32"} else 2.0**-5
    return terms * number.eps / 2 + factors, 4 * terms * number.tiny


def number_vectors(x: Tensor, order: Tensor) -> Tensor:
    """(N,) numbers from 0 for the rows x[order]; rows equal in all bits share a number.

    Rows are hashed by a weighted sum of their bits and then compared with the first row
    of the same hash.
    """
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    step = max(1, PAIR_BYTES // (8 * x.shape[1]))
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (x.shape[1],), generator=generator)
    factors = factors.to(x.device)
    parts = [
        x[part].view(bits).long().mul_(factors).sum(1) for part in order.split(step)
    ]
    numbers = torch.cat(parts).unique(return_inverse=True)[1]
    places = torch.arange(len(order), device=x.device)
    first = torch.full_like(places, len(places))
    first.scatter_reduce_(0, numbers, places, "amin")
    for part in places.split(step):
        if not x[order[part]].equal(x[order[first[numbers[part]]]]):
            return places
    return numbers
