"""Searches in blocks so small that a test has many of them."""

import pytest

from qsel import neighbors, vectors


def small_blocks(patch: pytest.MonkeyPatch, size: int | None) -> None:
    """Have all searches go in blocks of about some bytes; none: as they are."""
    if size is not None:
        for name in ("HOLD_BYTES", "CHUNK_BYTES", "BLOCK_BYTES"):
            patch.setattr(neighbors, name, size)
        patch.setattr(vectors, "PAIR_BYTES", size)
        patch.setattr(neighbors, "PAIRS", size // 8)
        patch.setattr(neighbors, "QUERIES", max(1, size // 64))
        patch.setattr(neighbors, "ROWS", max(1, size // 32))
