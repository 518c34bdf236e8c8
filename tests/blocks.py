"""Searches in blocks so small that a test has many of them."""

import pytest

from qsel import gallery, search, vectors


def small_blocks(patch: pytest.MonkeyPatch, size: int | None, few: int = 32) -> None:
    """Have all searches go in blocks of about some bytes; none: as they are.

    With a smaller ``few`` candidates are many sooner: then copies are left out, and
    the product is repeated in float64.
    """
    patch.setattr(search, "FEW", few)
    if size is not None:
        patch.setattr(gallery, "HOLD_BYTES", size)
        patch.setattr(search, "HOLD_BYTES", size)
        patch.setattr(gallery, "CHUNK_BYTES", size)
        patch.setattr(search, "BLOCK_BYTES", size)
        patch.setattr(vectors, "PAIR_BYTES", size)
        patch.setattr(search, "PAIRS", size // 8)
        patch.setattr(search, "QUERIES", max(1, size // 64))
        patch.setattr(search, "ROWS", max(1, size // 32))


def short_bounds(patch: pytest.MonkeyPatch, few: int = 1 << 20) -> None:
    """Have all searches bound distances by few numbers, however much that leaves."""
    for name, value in (("AXES", 1), ("ASKED", 0), ("SCAN", 0), ("MEASURED", 0)):
        patch.setattr(gallery, name, value)
    patch.setattr(search, "FEW", few)
