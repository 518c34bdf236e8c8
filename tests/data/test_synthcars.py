"""SynthCars: its labels, its pictures and its cache, drawn small."""

import hashlib
import math
import os
import platform
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO

import joblib
import numpy as np
import pytest
import torch

from qsel.data import load
from qsel.data import synthcars as module
from qsel.data.car_classes import car_classes
from qsel.data.contact import contact_sheet
from qsel.data.images import DataError
from qsel.data.synthcars import cache_file, draw, drawing, labels, scene, synthcars
from qsel.data.synthcars import shapes as carshapes

SMALL = dict(size=16, images_per_model=1)


@pytest.fixture(scope="module")
def cars(tmp_path_factory):
    """One small drawing, and the folder that keeps it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QSEL_CACHE", str(folder))
        return load("synthcars", **SMALL)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path))
    return tmp_path


def pixels(cars):
    return torch.cat([cars.train.pixels, cars.test.pixels])


# --- labels


def test_sizes_are_those_of_cars196_under_token22():
    types = [car.token22 for car in car_classes()]
    train, test = Counter(types[:98]), Counter(types[98:])
    expected = sorted((train[t], test[t]) for t in {*train, *test})
    ours = sorted((a, b) for a, b, _ in carshapes.BODY_TYPES.values())
    assert ours == expected and len(ours) == 22


def test_six_models_of_the_train_half_have_no_sibling():
    half, other = labels("train", 2), labels("test", 1)
    assert len(half) == 196 and len(half.fine_names) == 98
    assert len(half.lacking()) == 6
    assert set(half.fine_names).isdisjoint(other.fine_names)
    for name, coarse in zip(other.fine_names, other.coarse_of_fine, strict=True):
        assert name.rsplit(" ", 1)[0] == other.coarse_names[coarse]


# --- pixels, the same on every x86 processor

x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"),
    reason="Pillow fills some polygons otherwise on ARM, see scene",
)
PIXELS = "5e91053fb78b3922"  # checksum of a picture of each of the 196 models
DRAW = """
import hashlib, numpy
from qsel.data.synthcars.drawing import draw_model
from qsel.data.synthcars.shapes import BODY_TYPES, body_shapes
checksum = hashlib.sha256()
for i, name in enumerate(BODY_TYPES):
    checksum.update(draw_model(body_shapes(name, 0)[0], [0, i], 48, 4).tobytes())
print(*numpy.show_config("dicts")["SIMD Extensions"].get("found", []))
print(checksum.hexdigest())
"""


@x86
def test_the_pixels_are_those_of_the_recorded_runs():
    drawn = draw(0, 48, 1, processes=1)
    assert hashlib.sha256(drawn.tobytes()).hexdigest()[:16] == PIXELS


@x86
def test_a_processor_that_can_do_less_draws_the_same_pixels():
    """Without all that NumPy and the C library choose at run time, such as AVX-512.

    Both are told by environment variables, which only a new process reads.
    """
    found = np.show_config("dicts")["SIMD Extensions"].get("found", [])
    less = {"NPY_DISABLE_CPU_FEATURES": " ".join(found)}
    less |= {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA"}
    done = subprocess.run(
        [sys.executable, "-c", DRAW],
        env=os.environ | less,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with redirect_stdout(StringIO()) as here:
        exec(DRAW, {})
    assert done.stdout.splitlines() == ["", here.getvalue().splitlines()[1]]


def test_powers_and_angles_are_those_of_the_math_module():
    base = np.random.default_rng(0).random(10_000).astype(np.float32) * 2
    for exponent in (0.0, 0.75, 1.0, 1.3, float(np.float32(1.9999999))):
        exact = (base.astype(float) ** float(np.float32(exponent))).astype(np.float32)
        assert np.array_equal(scene.power(base, exponent), exact)
    assert scene.power(np.zeros(1, np.float32), 0.9) == 0
    for angle in np.linspace(-2 * math.pi, 2 * math.pi, 99).tolist():
        expected = math.cos(angle), math.sin(angle)
        assert scene.cosine_sine(angle) == pytest.approx(expected, abs=1e-13)


# --- pictures


def test_is_a_zero_shot_split_of_images(cars):
    assert len(cars.train) == len(cars.test) == 98
    assert cars.train[0].shape == (3, 16, 16) and cars.train[0].dtype == torch.uint8
    with joblib.parallel_config(backend="threading"):  # the same, however many draw
        drawn = draw(0, 16, 1, processes=2)
    assert torch.equal(torch.from_numpy(drawn).permute(0, 3, 1, 2), pixels(cars))


def test_a_picture_depends_on_its_seed_and_not_on_how_many_there_are():
    shape = carshapes.body_shapes("sedan", 0)[0]
    more = drawing.draw_model(shape, [0, 7], 16, 3)
    assert np.array_equal(drawing.draw_model(shape, [0, 7], 16, 1), more[:1])
    assert not np.array_equal(drawing.draw_model(shape, [1, 7], 16, 3), more)
    assert carshapes.body_shapes("sedan", 1)[0] != shape


# --- cache


def test_second_call_reads_what_the_first_wrote(monkeypatch, cache, cars):
    drawn = pixels(cars).permute(0, 2, 3, 1).numpy()
    monkeypatch.setattr(module, "draw", lambda *_: drawn)
    assert torch.equal(pixels(synthcars(**SMALL)), pixels(cars))
    assert [p.name for p in cache.iterdir()] == [cache_file(0, 16, 1).name]
    monkeypatch.setattr(module, "draw", lambda *_: pytest.fail("drawn again"))
    assert synthcars(**SMALL).train.fingerprint == cars.train.fingerprint


@pytest.mark.parametrize("damage", ["flip", "other", "shape"])
def test_a_damaged_cache_is_drawn_again(damage, monkeypatch, cache, cars):
    drawn = pixels(cars).permute(0, 2, 3, 1).numpy()
    monkeypatch.setattr(module, "draw", lambda *_: drawn)
    synthcars(**SMALL)
    path = cache_file(0, 16, 1)
    if damage == "flip":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    elif damage == "other":
        np.savez(path, something=np.zeros(3))
    else:
        np.savez(path, pixels=np.zeros((196, 8, 8, 3), np.uint8))
    with pytest.warns(UserWarning, match="cannot be used .*; making it again"):
        assert torch.equal(pixels(synthcars(**SMALL)), pixels(cars))
    assert torch.equal(pixels(synthcars(**SMALL)), pixels(cars))


def test_other_settings_and_a_changed_drawer_have_files_of_their_own(
    monkeypatch, tmp_path
):
    settings = [(0, 16, 1), (1, 16, 1), (0, 17, 1), (0, 16, 2)]
    paths = {cache_file(*p) for p in settings}
    changed = tmp_path / "drawing.py"
    changed.write_text("# changed")
    monkeypatch.setattr(drawing, "__file__", str(changed))
    assert len(paths | {cache_file(*p) for p in settings}) == 8


@pytest.mark.parametrize(
    "setting",
    [dict(size=8), dict(processes=0), dict(size="64"), dict(seed=-1)],
)
def test_a_setting_out_of_range_is_named(setting):
    with pytest.raises(DataError, match=next(iter(setting))):
        synthcars(**setting)


# --- contact sheet


def test_contact_sheet_has_a_row_for_each_class(cars):
    sheet = contact_sheet(cars.train, 5, 3, tile=20)
    assert sheet.mode == "RGB" and sheet.height == 5 * 28 + 8
    assert contact_sheet(cars.train, 5, 4, tile=20).width == sheet.width + 28
    assert contact_sheet(cars.train, 500, 1, tile=20).height == 98 * 28 + 8
    assert contact_sheet(cars.train, 5, 3, tile=20).tobytes() == sheet.tobytes()
    assert contact_sheet(cars.train, 5, 3, 1, tile=20).tobytes() != sheet.tobytes()
