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
        patch.setattr(gallery, "CHUNK_BYTES", size)
        patch.setattr(search, "BLOCK_BYTES", size)
        patch.setattr(vectors, "PAIR_BYTES", size)
        patch.setattr(search, "PAIRS", size // 8)
        patch.setattr(search, "QUERIES", max(1, size // 64))
        patch.setattr(search, "ROWS", max(1, size // 32))
