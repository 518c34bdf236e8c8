"""SynthCars' pixels: the same on every x86 processor."""

import hashlib
import math
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from qsel.data.synthcars import draw, scene

x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"),
    reason="Pillow fills some polygons otherwise on ARM, see scene",
)
PIXELS = "8fae4fccd0bd6481"  # checksum of two pictures of each of the 196 models
DRAW = """
import hashlib, numpy
from qsel.data.synthcars import draw
print(*numpy.show_config("dicts")["SIMD Extensions"].get("found", []))
print(hashlib.sha256(draw(0, 48, 2, 1).tobytes()).hexdigest()[:16])
"""


@x86
def test_the_pixels_are_those_of_the_recorded_runs():
    """Here, where AVX-512 once drew five values otherwise if the processor has it."""
    drawn = draw(0, 48, 2, processes=1)
    assert hashlib.sha256(drawn.tobytes()).hexdigest()[:16] == PIXELS


@x86
@pytest.mark.parametrize("beginnings", [("X86_V4", "AVX512"), ("",)])
def test_a_processor_that_can_do_less_draws_the_same_pixels(beginnings):
    """Without AVX-512, and without all that NumPy and the C library choose at run time.

    Both are told by environment variables, which only a new process reads.
    """
    found = np.show_config("dicts")["SIMD Extensions"].get("found", [])
    disabled = [name for name in found if name.startswith(beginnings)]
    if not disabled:
        pytest.skip("NumPy uses none of them on this processor")
    less = "-AVX512F" if len(disabled) < len(found) else "-AVX512F,-AVX2,-FMA"
    done = subprocess.run(
        [sys.executable, "-c", DRAW],
        env=os.environ
        | {"NPY_DISABLE_CPU_FEATURES": " ".join(disabled)}
        | {"GLIBC_TUNABLES": f"glibc.cpu.hwcaps={less}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    used, checksum = done.stdout.splitlines()
    assert used.split() == [name for name in found if name not in disabled]
    assert checksum == PIXELS


def test_powers_and_angles_are_those_of_the_math_module():
    generator = np.random.default_rng(0)
    base = generator.random(10_000).astype(np.float32) * 2
    for exponent in (0.0, 0.75, 1.0, 1.3, float(np.float32(1.9999999))):
        exact = (base.astype(float) ** float(np.float32(exponent))).astype(np.float32)
        assert np.array_equal(scene.power(base, exponent), exact)
    assert scene.power(np.zeros(1, np.float32), 0.9) == 0
    for angle in np.linspace(-2 * math.pi, 2 * math.pi, 99).tolist():
        expected = math.cos(angle), math.sin(angle)
        assert scene.cosine_sine(angle) == pytest.approx(expected, abs=1e-13)
