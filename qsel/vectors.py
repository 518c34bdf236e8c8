"""Embeddings as they are given: what is refused, and distances measured exactly."""

import math

import torch
from torch import Tensor

PAIR_BYTES = 1 << 19  # one (pairs, D) block in float64: to stay in the cache


def squared_distances(x: Tensor, i: Tensor, y: Tensor, j: Tensor) -> Tensor:
    """|x_i - y_j|² for pairs, directly and in float64: (P,), P pairs in blocks."""
    step = max(1, PAIR_BYTES // (8 * x.shape[1]))
    parts = [
        (x[a].double() - y[b].double()).square_().sum(1)
        for a, b in zip(i.split(step), j.split(step), strict=True)
    ]
    return torch.cat(parts)


def largest_value(embeddings: Tensor) -> float:
    """The largest absolute value, if distances fit into float64."""
    largest = check_embeddings(embeddings)
    if largest > 1e140:
        raise ValueError(
            f"an embedding holds the value {largest:.3g}, whose square overflows "
            "float64; scale the embeddings (their order stays the same)"
        )
    return largest


def check_embeddings(embeddings: Tensor) -> float:
    """Refuse what is not a finite floating-point (N, D) tensor with N, D ≥ 1.

    Returns:
        The largest absolute value.
    """
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
    smallest, largest = map(float, embeddings.detach().aminmax())
    if not (math.isfinite(smallest) and math.isfinite(largest)):  # NaN is either
        bad = ~embeddings.isfinite().all(1)
        raise ValueError(
            f"{int(bad.sum())} of {len(embeddings)} embeddings hold NaN or infinite "
            f"values, the first in row {int(bad.nonzero()[0])}; a diverged model or a "
            "division by a zero norm is the usual cause"
        )
    return max(-smallest, largest)


def checked_rows(gallery: Tensor, samples: Tensor, embeddings: Tensor) -> Tensor:
    """New rows (B, D) for some samples (B,) of a gallery (N, D), in its dtype."""
    for name, given in (("samples", samples), ("embeddings", embeddings)):
        if not isinstance(given, Tensor) or given.device != gallery.device:
            where = given.device if isinstance(given, Tensor) else "no device"
            raise ValueError(
                f"{name} are a {type(given).__name__} on {where}; expected a torch "
                f"tensor on {gallery.device}, where the gallery is"
            )
    if samples.ndim != 1 or samples.dtype != torch.int64 or not len(samples):
        raise ValueError(
            f"samples are {samples.dtype} of shape {tuple(samples.shape)}; "
            "expected int64 indices of shape (B,) with B of at least 1"
        )
    shape = len(samples), gallery.shape[1]
    if not embeddings.is_floating_point() or embeddings.shape != shape:
        raise ValueError(
            f"embeddings are {embeddings.dtype} of shape "
            f"{tuple(embeddings.shape)}; expected floating point of shape {shape}, "
            "one row for each sample"
        )
    low, high = int(samples.min()), int(samples.max())
    if low < 0 or high >= len(gallery):
        raise ValueError(
            f"samples run from {low} to {high}, but the gallery has {len(gallery)}; "
            f"expected indices from 0 to {len(gallery) - 1}"
        )
    distinct, count = samples.unique(return_counts=True)
    if len(distinct) < len(samples):
        raise ValueError(
            f"sample {int(distinct[count > 1][0])} is given twice; keep one row of "
            "each sample"
        )
    return embeddings.detach().to(gallery.dtype)
