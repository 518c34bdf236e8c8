"""Searches in blocks so small that a test has many of them, and hard points."""

import numpy as np
import pytest
import torch

from qsel import gallery, search, vectors


def small_blocks(patch: pytest.MonkeyPatch, size: int | None, few: int = 32) -> None:
    """Have all searches go in blocks of about some bytes; none: as they are.

    With a smaller ``few`` candidates are many sooner: then copies are left out, and
    the product is repeated in float64.
    """
    patch.setattr(search, "FEW", few)
    if size is not None:
        patch.setattr(gallery, "HOLD_BYTES", size)
        patch.setattr(gallery, "CHUNK_BYTES", size)
        patch.setattr(search, "BLOCK_BYTES", size)
        patch.setattr(vectors, "PAIR_BYTES", size)
        patch.setattr(search, "PAIRS", size // 8)
        patch.setattr(search, "QUERIES", max(1, size // 64))
        patch.setattr(search, "ROWS", max(1, size // 32))


def _on_the_sphere(rng, n, d):
    """Points at nearly the same distance from the first, rounded to float32."""
    rays = rng.normal(size=(n, d))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    rays *= 1 + rng.choice([-1e-6, -1e-7, 0.0, 1e-7, 1e-6], size=(n, 1))
    rays[0] = 0
    return rays.astype(np.float32)


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
FAMILIES = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "grid": lambda rng, n, d: rng.integers(-2, 3, size=(n, d)),
    "line": lambda rng, n, d: rng.normal(size=(n, 1)),
    "rank one": lambda rng, n, d: rng.normal(size=(n, 1)) * rng.normal(size=(1, d)),
    "copies": lambda rng, n, d: rng.normal(size=(4, d))[rng.integers(0, 4, n)],
    "equal": lambda rng, n, d: np.tile(rng.normal(size=(1, d)), (n, 1)),
    "sphere": _on_the_sphere,
    "far": lambda rng, n, d: rng.normal(size=(n, d)) + 1e4,
    "far grid": lambda rng, n, d: rng.integers(-2, 3, size=(n, d)) + 10_000,
    "close": lambda rng, n, d: rng.normal(size=(n, d)) * 1e-5 + rng.normal(size=d),
    "tiny": lambda rng, n, d: rng.normal(size=(n, d)) * 1e-20,
    "tiny grid": lambda rng, n, d: rng.integers(-2, 3, size=(n, d)) * 2.0**-70,
    "huge": lambda rng, n, d: rng.normal(size=(n, d)) * 1e12,
    "vast": lambda rng, n, d: rng.normal(size=(n, d)) * 1e37,
    "outlier": lambda rng, n, d: (
        rng.normal(size=(n, d)) * np.r_[1e6, [1] * (n - 1)][:, None]
    ),
    "mixed": lambda rng, n, d: (
        rng.normal(size=(n, d)) * 10 ** rng.uniform(-6, 4, (n, 1))
    ),
}


def points_of(rng, family, n, d, dtype):
    """(n, d) points of a family, or (n, 1) on a line, within what the dtype holds."""
    limit = {torch.float16: 6e4, torch.bfloat16: 1e38}.get(dtype, 3e38)
    x = torch.as_tensor(FAMILIES[family](rng, n, d)).double()
    return x.clamp(-limit, limit).to(dtype)
