"""Searches in blocks of a few bytes, so that small tests have many of them."""

import pytest

from qsel import neighbors


def small_blocks(patch: pytest.MonkeyPatch, size: int | None) -> None:
    """Have all searches go in blocks of about some bytes; none: as they are."""
    if size is not None:
        for name in ("CHUNK_BYTES", "BLOCK_BYTES", "PAIR_BYTES"):
            patch.setattr(neighbors, name, size)
        patch.setattr(neighbors, "PAIRS", size // 8)
        patch.setattr(neighbors, "QUERIES", max(1, size // 64))
        patch.setattr(neighbors, "ROWS", max(1, size // 32))
