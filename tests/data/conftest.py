"""Small pictures and labels, drawn by the tests."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def draw():
    """Write a small picture of noise; equal seeds give equal pictures."""

    def write(path: Path, seed: int = 0, size=(9, 7), mode: str = "RGB", **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), "uint8")
        Image.fromarray(values).convert(mode).save(path, **options)
        return path

    return write
