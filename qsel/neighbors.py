"""Exact nearest neighbours in blocks: never an N × N matrix.

Ranking by matrix product (|a|² + |b|² - 2ab) is fast but off by rounding. So it only
nominates: every candidate whose approximate distance lies within the proven rounding
bound of the best is measured again, directly and in float64, and ties go to the
lowest index. The answers are those of float64 brute force.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK_BYTES = 64 << 20  # one (rows, N) block of approximate distances
PAIR_BYTES = 4 << 20  # one (pairs, D) block measured exactly: to stay in the cache


class Gallery:
    """Embeddings prepared for exact comparison.

    Args:
        embeddings: (N, D) floating point, finite, on any device.

    Raises:
        ValueError: not a finite floating-point (N, D) tensor; the first bad row is
            named. Values whose squares overflow float64.

    Example:
        >>> gallery = Gallery(torch.tensor([[0.0], [1.0], [3.0]]))
        >>> gallery.exact(torch.tensor([0]), torch.tensor([2]))
        tensor([9.], dtype=torch.float64)
    """

    def __init__(self, embeddings: Tensor):
        check_embeddings(embeddings)
        self.embeddings = embeddings.detach()
        ranking = self.embeddings
        largest = float(ranking.abs().max())
        if largest > 1e140:
            raise ValueError(
                f"an embedding holds the value {largest:.3g}, whose square overflows "
                "float64; scale the embeddings (their order stays the same)"
            )
        if ranking.dtype != torch.float64:
            # Squares beyond 1e30 would overflow float32 once they are summed.
            ranking = ranking.float() if largest < 1e15 else ranking.double()
        # Distances ignore a common shift, and the rounding bound grows with the norms.
        self._ranking = ranking - ranking.mean(0)  # (N, D)
        self._squares = self._ranking.square().sum(1)  # (N,)
        self._norms = self._squares.sqrt()  # (N,)

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def device(self) -> torch.device:
        """Where the embeddings lie."""
        return self.embeddings.device

    def blocks(self, rows: Tensor) -> Iterator[Tensor]:
        """Rows in parts, each small enough for a (rows, N) block of distances."""
        step = max(1, BLOCK_BYTES // (len(self) * self._ranking.element_size()))
        return iter(rows.split(step))

    def approximate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Approximate squared distances from some rows to all, and their error bound.

        Args:
            rows: (B,) indices into the gallery.

        Returns:
            (B, N) squared distances and (B, 1) bounds on their absolute error.
        """
        a = self._ranking[rows]  # (B, D)
        with torch.autocast(a.device.type, enabled=False):  # it would round to bfloat16
            d = torch.addmm(self._squares[None, :], a, self._ranking.T, alpha=-2)
        d += self._squares[rows, None]
        # A sum of D products is off by at most D roundings of Σ|terms|, and the terms
        # stay below (|a| + |b|)². Factors that are rounded first add one rounding of
        # theirs, once. Below `tiny` a product may vanish altogether.
        reach = self._norms[rows, None] + self._norms.max()  # (B, 1)
        terms = a.shape[1] + 8
        eps, tiny = torch.finfo(a.dtype).eps, torch.finfo(a.dtype).tiny
        return d, (terms * eps + _factor_rounding(a)) * reach**2 + 4 * terms * tiny

    def exact(self, i: Tensor, j: Tensor) -> Tensor:
        """Squared distances of the pairs (i, j), directly and in float64: (P,)."""
        step = max(1, PAIR_BYTES // (8 * self.embeddings.shape[1]))
        x = self.embeddings
        parts = [
            (x[a].double() - x[b].double()).square().sum(1)
            for a, b in zip(i.split(step), j.split(step), strict=True)
        ]
        return torch.cat(parts)

    def choose(
        self,
        rows: Tensor,
        candidates: Tensor,
        approximate: Tensor,
        bound: Tensor,
        allowed: Tensor,
        k: int = 1,
        furthest: bool = False,
    ) -> Tensor:
        """The k nearest (or furthest) allowed candidates of each row, best first.

        Args:
            rows: (B,) indices into the gallery.
            candidates: (B, M) indices into the gallery.
            approximate: (B, M) approximate squared distances.
            bound: (B, 1) bounds on their error.
            allowed: (B, M) bool, which candidates may be chosen.
            k: how many, at most M.
            furthest: the furthest instead of the nearest.

        Returns:
            (B, k) int64 indices into the gallery; -1 where fewer are allowed. Ties
            go to the lowest index.
        """
        d = -approximate if furthest else approximate
        d = d.masked_fill(~allowed, torch.inf)
        if k == 1:
            k_th = d.amin(1, keepdim=True)  # (B, 1)
        else:
            k_th = d.topk(k, largest=False).values[:, -1:]
        # A row with fewer than k allowed has an infinite k-th, and so keeps them all.
        b, column = ((d <= k_th + 2 * bound) & allowed).nonzero(as_tuple=True)  # (P,)
        j = candidates[b, column]
        exact = self.exact(rows[b], j)
        order = j.argsort(stable=True)  # sorted by row, then distance, then index
        order = order[(-exact if furthest else exact)[order].argsort(stable=True)]
        order = order[b[order].argsort(stable=True)]
        b, j = b[order], j[order]
        first = torch.searchsorted(b, torch.arange(len(rows), device=b.device))
        place = torch.arange(len(b), device=b.device) - first[b]  # rank within its row
        chosen = rows.new_full((len(rows), k), -1)
        kept = place < k
        chosen[b[kept], place[kept]] = j[kept]
        return chosen

    def beyond(
        self,
        rows: Tensor,
        radius: Tensor,
        candidates: Tensor,
        approximate: Tensor,
        bound: Tensor,
        allowed: Tensor,
    ) -> Tensor:
        """Which allowed candidates lie strictly outside a sphere around each row.

        Args:
            rows: (B,) centres.
            radius: (B,) exact squared radii, float64.
            candidates, approximate, bound, allowed: as for ``choose``.

        Returns:
            (B, M) bool, False where not allowed.
        """
        gap = approximate - radius[:, None].to(approximate.dtype)  # (B, M)
        outside = (gap > 0) & allowed
        b, column = ((gap.abs() <= 2 * bound) & allowed).nonzero(as_tuple=True)
        outside[b, column] = self.exact(rows[b], candidates[b, column]) > radius[b]
        return outside


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
    found = []
    for rows in gallery.blocks(everyone):
        d, bound = gallery.approximate(rows)
        others = everyone[None, :] != rows[:, None]  # (B, N)
        found.append(
            gallery.choose(rows, everyone.expand_as(others), d, bound, others, k)
        )
    return torch.cat(found)


def check_embeddings(embeddings: Tensor) -> None:
    """Refuse what is not a finite floating-point (N, D) tensor with N, D ≥ 1."""
    if not isinstance(embeddings, Tensor):
        raise ValueError(
            f"embeddings are a {type(embeddings).__name__}; expected a torch tensor "
            "(torch.from_numpy turns an array into one)"
        )
    if (
        embeddings.ndim != 2
        or not embeddings.is_floating_point()
        or 0 in embeddings.shape
    ):
        raise ValueError(
            f"embeddings are {embeddings.dtype} of shape {tuple(embeddings.shape)}; "
            "expected floating point of shape (N, D) with N and D of at least 1"
        )
    bad = ~embeddings.isfinite().all(1)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(embeddings)} embeddings hold NaN or infinite "
            f"values, the first in row {int(bad.nonzero()[0])}; a diverged model or a "
            "division by a zero norm is the usual cause"
        )


def _factor_rounding(x: Tensor) -> float:
    """Relative error of a product whose factors are cut to TF32 or bfloat16 first.

    bfloat16 keeps 8 bits, so two rounded factors are off by 2 · 2⁻⁸; 2⁻⁶ is on the
    safe side and covers TF32.
    """
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    cut = any(b.fp32_precision not in ("none", "ieee") for b in backends)
    return 2.0**-6 if cut and x.dtype == torch.float32 else 0.0
