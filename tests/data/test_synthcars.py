"""SynthCars: its labels, its pictures and its cache, drawn small."""

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from qsel.data import load
from qsel.data import synthcars as module
from qsel.data.contact import contact_sheet
from qsel.data.images import DataError
from qsel.data.synthcars import cache_file, draw, drawing, labels, synthcars
from qsel.data.synthcars import shapes as carshapes

SMALL = dict(size=16, images_per_model=1)
# How many of Cars196's classes of each half share a coarse class (token22), by size.
TRAIN_SIZES = [21, 15, 13, 13, 11, 6, 3, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1]
TEST_SIZES = [25, 21, 12, 11, 10, 6, 4, 4, 1, 1, 1, 1, 1]
BOTH_SIZES = [46, 34, 26, 25, 17, 13, 7, 6, 6, 3, 2] + [1] * 11


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path))
    return tmp_path


def pixels(cars):
    return torch.cat([cars.train.pixels, cars.test.pixels])


# --- labels


def test_class_sizes_are_those_of_token22():
    def sizes(names):
        return sorted(Counter(names).values(), reverse=True)

    halves = {h: [name for name, _ in module._models(h)] for h in ("train", "test")}
    assert sizes(halves["train"]) == TRAIN_SIZES
    assert sizes(halves["test"]) == TEST_SIZES
    assert sizes(halves["train"] + halves["test"]) == BOTH_SIZES
    assert len(carshapes.BODY_TYPES) == 22


def test_sizes_agree_with_the_table_of_cars196():
    """Also which types stand in both halves, by the package's own class table."""
    from qsel.data.car_classes import car_classes

    types = [car.name.split()[-2] for car in car_classes()]
    train, test = Counter(types[:98]), Counter(types[98:])
    expected = sorted((train[t], test[t]) for t in {*train, *test})
    ours = sorted((a, b) for a, b, _ in carshapes.BODY_TYPES.values())
    assert ours == expected


def test_six_models_of_the_train_half_have_no_sibling():
    half = labels("train", 2)
    assert len(half) == 196 and len(half.fine_names) == 98
    assert len(half.lacking()) == 6
    assert set(half.fine_names).isdisjoint(labels("test", 1).fine_names)


def test_names_say_the_body_type():
    half = labels("test", 1)
    for name, coarse in zip(half.fine_names, half.coarse_of_fine, strict=True):
        assert name.rsplit(" ", 1)[0] == half.coarse_names[coarse]


# --- pictures


def test_is_a_zero_shot_split_of_images():
    cars = load("synthcars", **SMALL)
    assert len(cars.train) == len(cars.test) == 98
    assert cars.train[0].shape == (3, 16, 16) and cars.train[0].dtype == torch.uint8


def test_another_seed_draws_other_pictures():
    assert not np.array_equal(draw(3, 16, 2), draw(4, 16, 2))


# Without a main guard. A daemon may have no children; what asks for none draws alone.
SCRIPT = """
import hashlib, multiprocessing, os
from qsel.data.synthcars import draw, synthcars

def show(*settings):
    print(hashlib.sha256(draw(3, 16, *settings).tobytes()).hexdigest(), flush=True)

show(6, 1)
show(6, 2)
os.cpu_count = lambda: 2
daemon = multiprocessing.get_context("fork").Process(target=show, args=[6], daemon=True)
daemon.start()
daemon.join()
synthcars(size=16, images_per_model=1)
"""


def test_same_bytes_however_many_draw_and_wherever(tmp_path, monkeypatch):
    """Also in a daemon, from a script, and in a home with a space and an umlaut."""
    monkeypatch.delenv("QSEL_CACHE")
    home = tmp_path / "home of Zoë"
    home.mkdir()
    script = home / "my script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", script],
        env=os.environ | {"HOME": str(home), "XDG_CACHE_HOME": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    alone, two, daemon = done.stdout.split()
    assert alone == two == daemon
    assert [p.suffix for p in home.rglob("synthcars-*")] == [".npz"]


def test_a_picture_does_not_depend_on_how_many_there_are():
    few = draw(0, 16, 1).reshape(196, 1, 16, 16, 3)
    more = draw(0, 16, 3).reshape(196, 3, 16, 16, 3)
    assert np.array_equal(few, more[:, :1])


def silhouette(shape, seed, monkeypatch, paint):
    """Where the picture changes with the paint: the painted part of the car."""

    def fixed(scene):
        scene.paint = np.array(paint, float)

    for name in ("draw_background", "draw_occluder"):
        monkeypatch.setattr(drawing, name, lambda scene: None)
    real = drawing.draw_body

    def body(scene, shape):
        fixed(scene)
        real(scene, shape)

    monkeypatch.setattr(drawing, "draw_body", body)
    monkeypatch.setattr(drawing, "develop", lambda s: np.asarray(s.image))
    drawn = drawing.draw_car(shape, np.random.default_rng(seed), 48)
    monkeypatch.undo()
    return drawn.any(axis=2)


@pytest.mark.parametrize("body_type", carshapes.BODY_TYPES)
def test_the_outline_is_the_shape_and_not_the_paint(body_type, monkeypatch):
    shape = carshapes.body_shapes(body_type, 0)[0]
    red = silhouette(shape, 1, monkeypatch, (220, 40, 40))
    blue = silhouette(shape, 1, monkeypatch, (40, 60, 240))
    assert np.array_equal(red, blue)
    assert 0.08 < red.mean() < 0.6


def test_body_types_and_siblings_have_different_outlines(monkeypatch):
    """Same view and place: no two types, and no two sedans, share an outline."""
    firsts = [carshapes.body_shapes(name, 0)[0] for name in carshapes.BODY_TYPES]
    for shapes in (firsts, carshapes.body_shapes("sedan", 0)[:20]):
        outlines = [silhouette(s, 1, monkeypatch, (99, 99, 99)) for s in shapes]
        for i, one in enumerate(outlines):
            for other in outlines[:i]:
                assert (one != other).sum() / (one | other).sum() > 0.02


def test_every_shape_lies_in_its_types_range():
    for name, (train, test, own) in carshapes.BODY_TYPES.items():
        shapes = carshapes.body_shapes(name, 9)
        assert len(shapes) == train + test
        for part, allowed in {**carshapes.COMMON, **carshapes.CHOICES, **own}.items():
            for shape in shapes:
                if part in carshapes.CHOICES:
                    assert shape[part] in allowed
                else:
                    assert allowed[0] <= shape[part] <= allowed[1]


def test_raw_pixels_do_not_give_the_model_away():
    """R@1 of raw pixels stays under 15 %, at the default size and number of pictures.

    Every third test model, to save time: leaving distractors out only raises R@1.
    """
    pictures, fine = [], []
    for i, (name, number) in list(enumerate(module._models("test")))[::3]:
        shape = carshapes.body_shapes(name, 0)[number]
        count = module.IMAGES_PER_MODEL
        pictures.append(drawing.draw_model(shape, [0, 98 + i], module.SIZE, count))
        fine += [i] * count
    flat = torch.from_numpy(np.concatenate(pictures)).flatten(1).float()
    distance = torch.cdist(flat, flat).fill_diagonal_(torch.inf)
    fine = torch.tensor(fine)
    recall = (fine[distance.argmin(1)] == fine).float().mean().item()
    assert 0.01 < recall < 0.15


# --- cache


def test_second_call_reads_what_the_first_wrote(monkeypatch, cache):
    first = synthcars(**SMALL)
    assert [p.suffix for p in cache.iterdir()] == [".npz"]
    monkeypatch.setattr(module, "draw", lambda *_: pytest.fail("drawn again"))
    second = synthcars(**SMALL)
    assert torch.equal(pixels(first), pixels(second))
    assert first.train.fingerprint == second.train.fingerprint


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other", "shape"])
def test_a_damaged_cache_is_drawn_again(damage):
    good = pixels(synthcars(**SMALL))
    path = cache_file(0, 16, 1)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other":
        np.savez(path, something=np.zeros(3))
    else:
        np.savez(path, pixels=np.zeros((196, 8, 8, 3), np.uint8))
    with pytest.warns(UserWarning, match="cannot be used .*; making it again"):
        again = synthcars(**SMALL)
    assert torch.equal(good, pixels(again))
    assert torch.equal(good, pixels(synthcars(**SMALL)))


def test_a_changed_drawer_reads_no_old_pictures(monkeypatch, tmp_path):
    before = cache_file(0, 16, 1)
    changed = tmp_path / "drawing.py"
    changed.write_text("# changed")
    monkeypatch.setattr(drawing, "__file__", str(changed))
    assert cache_file(0, 16, 1) != before


def test_settings_have_files_of_their_own():
    paths = {cache_file(*p) for p in [(0, 16, 1), (1, 16, 1), (0, 17, 1), (0, 16, 2)]}
    assert len(paths) == 4


def test_writers_at_the_same_time_leave_one_whole_file(cache):
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: pixels(synthcars(**SMALL)), range(4)))
    assert all(torch.equal(drawn[0], other) for other in drawn)
    assert [p.suffix for p in cache.iterdir()] == [".npz"]


def test_a_failed_write_leaves_nothing_behind(monkeypatch, cache):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match=r"(?i)no space left.*QSEL_CACHE"):
        assert len(synthcars(**SMALL).test) == 98
    assert not list(cache.iterdir())


def test_a_forbidden_cache_folder_is_told_once(monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(np, "load", forbidden)
    monkeypatch.setattr(os, "replace", forbidden)
    with pytest.warns(UserWarning, match=r"cannot be kept.*QSEL_CACHE") as told:
        assert len(synthcars(**SMALL).test) == 98
    assert len(told) == 1


def test_a_cache_folder_that_is_a_file_is_named(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("QSEL_CACHE", str(blocked / "below"))
    with pytest.warns(UserWarning, match="QSEL_CACHE"):
        assert len(synthcars(**SMALL).test) == 98


@pytest.mark.parametrize(
    "setting",
    [
        dict(size=8),
        dict(processes=0),
        dict(size="64"),
        dict(images_per_model=0),
        dict(seed=-1),
    ],
)
def test_a_setting_out_of_range_is_named(setting):
    with pytest.raises(DataError, match=next(iter(setting))):
        synthcars(**setting)


# --- contact sheet


def test_contact_sheet_has_a_row_for_each_class():
    cars = synthcars(**SMALL).train
    sheet = contact_sheet(cars, 5, 3, tile=20)
    assert sheet.mode == "RGB" and sheet.height == 5 * 28 + 8
    assert contact_sheet(cars, 5, 4, tile=20).width == sheet.width + 28
    assert contact_sheet(cars, 500, 1, tile=20).height == 98 * 28 + 8


def test_contact_sheet_repeats_and_refuses_nothing_to_show():
    cars = synthcars(**SMALL).train
    assert contact_sheet(cars).tobytes() == contact_sheet(cars).tobytes()
    assert contact_sheet(cars).tobytes() != contact_sheet(cars, seed=1).tobytes()
    with pytest.raises(DataError, match="images_per_class is 0"):
        contact_sheet(cars, images_per_class=0)
