"""Both layouts of Stanford Cars, built small: four classes instead of 196."""

import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from qsel.data import ImageSet, load, validation
from qsel.data import cars196 as module
from qsel.data.car_classes import CarClass, car_classes, make
from qsel.data.cars196 import cars196, is_cars196
from qsel.data.images import DataError

CARS = (
    CarClass("Alpha One Sedan 2001", "Sedan", 3, 2),
    CarClass("Alpha Two Type-S 2002", "Sedan", 2, 2),
    CarClass("Beta One SUV 2003", "SUV", 2, 3),
    CarClass("Beta Two Sedan 2004", "Sedan", 2, 2),
)
PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data" / "stanford_cars"


@pytest.fixture(autouse=True)
def four_classes(monkeypatch, request):
    if "real" not in request.fixturenames:
        monkeypatch.setattr(module, "car_classes", lambda: CARS)


@pytest.fixture
def real():
    """A test that asks for this sees all 196 classes."""


def classes_of(part):
    """Class of each image of a part, mixed as the official tables are."""
    counts = [getattr(car, f"{part}_images") for car in CARS]
    rows = [c for c, n in enumerate(counts, start=1) for _ in range(n)]
    return rows[1::2] + rows[::2]


def write_table(path, rows, fields, **more):
    dtype = [(field, object) for field in fields]
    table = np.array([tuple(row) for row in rows], dtype=dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"annotations": table.reshape(1, -1), **more})


def names_cell(names=tuple(car.name for car in CARS)):
    return {"class_names": np.array(names, dtype=object).reshape(1, -1)}


BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


@pytest.fixture
def torchvision(tmp_path, draw):
    base = tmp_path / "stanford_cars"
    seed = 0
    for part, table in (
        ("train", "devkit/cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ):
        rows = []
        for i, c in enumerate(classes_of(part), start=1):
            seed += 1
            mode = "L" if i == 1 else "RGB"  # some of the real ones are grey
            draw(base / f"cars_{part}" / f"{i:05}.jpg", seed=seed, mode=mode)
            rows.append((1, 2, 3, 4, c, f"{i:05}.jpg"))
        write_table(base / table, rows, (*BOX, "class", "fname"))
    savemat(base / "devkit" / "cars_meta.mat", names_cell())
    return base


@pytest.fixture
def metric_learning(tmp_path, draw):
    base = tmp_path / "cars196"
    rows = []
    for c, car in enumerate(CARS, start=1):
        for test in [0] * car.train_images + [1] * car.test_images:
            name = f"car_ims/{len(rows) + 1:06}.jpg"
            draw(base / name, seed=len(rows))
            rows.append((name, 1, 2, 3, 4, c, test))
    fields = ("relative_im_path", *BOX, "class", "test")
    write_table(base / "cars_annos.mat", rows, fields, **names_cell())
    return base


@pytest.fixture(params=["torchvision", "metric_learning"])
def base(request):
    return request.getfixturevalue(request.param)


def test_both_layouts_give_the_same_split(base):
    split = cars196(base)
    assert split.train.hierarchy.fine_names == tuple(c.name for c in CARS[:2])
    assert split.test.hierarchy.fine_names == tuple(c.name for c in CARS[2:])
    assert split.train.hierarchy.fine.bincount().tolist() == [5, 4]
    assert split.test.hierarchy.fine.bincount().tolist() == [5, 4]
    assert split.train.hierarchy.coarse_names == ("Sedan", "Type-S")
    assert set(split.test.hierarchy.coarse_names) == {"SUV", "Sedan"}
    assert tuple(split.train[0].shape) == (3, 7, 9)


def test_every_image_has_its_label_and_the_train_part_is_first(torchvision):
    split = cars196(torchvision)
    for side in (split.train, split.test):
        for path, f in zip(side.paths, side.hierarchy.fine.tolist(), strict=True):
            part = path.parent.name.removeprefix("cars_")
            car = CARS[classes_of(part)[int(path.stem) - 1] - 1]
            assert side.hierarchy.fine_names[f] == car.name
    folders = [path.parent.name for path in split.train.paths]
    assert folders == ["cars_train"] * 5 + ["cars_test"] * 4


def test_one_part_alone(base):
    for part, images in (("train", 5), ("test", 4)):
        split = cars196(base, parts=(part,))
        assert (split.name, len(split.train)) == (f"cars196 ({part} part)", images)
        assert len(cars196(base, parts=part).train) == images
    turned = cars196(base, parts=("test", "train"))
    assert turned.name == "cars196" and turned.train.paths == cars196(base).train.paths


def test_the_second_fold_swaps_the_classes(torchvision):
    first, second = cars196(torchvision), load(f"{torchvision}?fold=2")
    sides = (first.train, second.test), (first.test, second.train)
    for one, other in sides:
        assert one.hierarchy.fine_names == other.hierarchy.fine_names
        assert one.fingerprint == other.fingerprint and one.paths == other.paths
    assert second.name == "cars196 (trained on classes 3-4)"
    part = load(f"{torchvision}?parts=train&fold=2")
    assert part.name == "cars196 (train part, trained on classes 3-4)"
    assert len(part.train) == 4 and len(part.test) == 5


def test_the_parent_is_accepted_and_load_knows_it(base):
    whole = cars196(base).train.paths
    for root in (base.parent, base, str(base.parent)):
        assert load(root).train.paths == whole
    assert not is_cars196(base / "nothing")


def test_body9_is_the_other_labelling(torchvision):
    split = cars196(torchvision, coarse="body9")
    assert split.train.hierarchy.coarse_names == ("Sedan",)


def test_spelling_of_a_slash_is_let_pass_other_names_are_not(torchvision):
    meta = torchvision / "devkit" / "cars_meta.mat"
    names = [car.name for car in CARS]
    savemat(meta, names_cell([names[0], names[1].replace("-", "/"), *names[2:]]))
    cars196(torchvision)
    savemat(meta, names_cell([names[1], names[0], *names[2:]]))
    refused(
        torchvision,
        "cars_meta.mat: class 1 is named 'Alpha Two Type-S 2002', "
        "expected 'Alpha One Sedan 2001'",
    )
    savemat(meta, names_cell(names[:3]))
    refused(torchvision, "cars_meta.mat: 3 class names, expected 4")


# ---- bad input


def refused(root, *said, **options):
    with pytest.raises(DataError) as caught:
        cars196(root, **options)
    for words in said:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_asked_for_and_unknown(torchvision, tmp_path):
    refused(tmp_path / "absent", "no Stanford Cars 196 here", "car_ims", "Kaggle")
    for parts in ((), ("val",), "tests", ("train", "val")):
        refused(torchvision, "parts is", "give ('train', 'test')", parts=parts)
    refused(torchvision, "coarse is 'make'; give one of token22", coarse="make")
    refused(torchvision, "fold is 3; give 1 (train on classes", fold=3)


def test_an_absent_part_says_how_to_go_on(torchvision):
    shutil.rmtree(torchvision / "cars_test")
    remedy = f"--data '{torchvision}?parts=train'"
    absent = torchvision / "cars_test"
    refused(
        torchvision,
        f"{absent}: the official test part is not here",
        remedy,
        "rickyyyyyyy/torchvision-stanford-cars",
        "tanganke/stanford_cars",
    )
    assert len(load(shlex.split(remedy)[1]).train) == 5


def test_an_absent_part_of_the_other_layout(metric_learning):
    rows = [(f"car_ims/{i:06}.jpg", 1, 0) for i in range(1, 19)]
    table = metric_learning / "cars_annos.mat"
    fields = ("relative_im_path", "class", "test")
    write_table(table, rows, fields, **names_cell())
    refused(metric_learning, "cars_annos.mat: the official test part is not here")
    table.unlink()
    refused(metric_learning, f"{table}: no such file")


@pytest.mark.parametrize("table", ["cars_meta.mat", "cars_train_annos.mat"])
def test_a_missing_or_wrong_table(torchvision, table):
    path = torchvision / "devkit" / table
    whole = path.read_bytes()
    path.unlink()
    refused(torchvision, f"{path}: ", "fetch it from Kaggle")
    for broken in (b"", whole[:200], b"\0" * 600):
        path.write_bytes(broken)
        refused(torchvision, f"{path}: no MATLAB table of")
    savemat(path, {"something": 1})
    refused(torchvision, f"{path}: no MATLAB table of")
    path.write_bytes(whole)
    cars196(torchvision)


def test_the_images_of_the_other_layout_are_absent(metric_learning):
    os.rename(metric_learning / "car_ims", metric_learning / "images")
    refused(metric_learning, "car_ims: no such folder, but cars_annos.mat is here")


def test_a_table_without_a_field_or_with_labels_that_are_no_numbers(torchvision):
    table = torchvision / "devkit" / "cars_train_annos.mat"
    write_table(table, [(1, 2, 3, 4, "00001.jpg")] * 2, (*BOX, "fname"))
    refused(torchvision, f"{table}: expected the fields fname, class")
    savemat(table, {"annotations": np.arange(4)})
    refused(torchvision, f"{table}: expected the fields fname, class")
    rows = [("Sedan", f"{i:05}.jpg") for i in range(1, 10)]
    write_table(table, rows, ("class", "fname"))
    refused(torchvision, f"{table}: expected the fields fname, class", "whole numbers")


def test_a_label_out_of_range_or_an_image_listed_twice(torchvision):
    table = torchvision / "devkit" / "cars_train_annos.mat"
    labels = classes_of("train")
    rows = [(c, f"{i:05}.jpg") for i, c in enumerate(labels, start=1)]
    write_table(table, [(5, rows[0][1]), *rows[1:]], ("class", "fname"))
    refused(torchvision, "its classes run from 1 to 5; expected images of each")
    os.unlink(torchvision / "cars_train" / rows[0][1])
    write_table(table, [rows[1], *rows[1:]], ("class", "fname"))
    refused(torchvision, "is given twice")


def test_a_label_without_an_image_and_an_image_without_a_label(base, draw):
    images = base / ("cars_train" if base.name == "stanford_cars" else "car_ims")
    path = sorted(images.iterdir())[1]
    os.rename(path, base / "kept.jpg")
    refused(base, f"{path}: ", "has a label for it, but there is no such image")
    os.rename(base / "kept.jpg", path)
    draw(images / "more.jpg")
    refused(base, f"{images / 'more.jpg'}: ", "has no label for it (1 such files)")


# ---- mirrors and their habits


def nest(base, part):
    """Put a folder of images into one of the same name, as mirrors do."""
    os.rename(base / f"cars_{part}", base / "inner")
    (base / f"cars_{part}").mkdir()
    os.rename(base / "inner", base / f"cars_{part}" / f"cars_{part}")


def test_folders_nested_by_a_mirror_are_read(torchvision):
    whole = cars196(torchvision)
    for part in ("train", "test"):
        nest(torchvision, part)
    (torchvision / "cars_train" / "Thumbs.db").write_text("x")
    (torchvision / "car_devkit").mkdir()
    os.rename(torchvision / "devkit", torchvision / "car_devkit" / "devkit")
    split = load(torchvision)
    assert [len(split.train), len(split.test)] == [len(whole.train), len(whole.test)]
    assert split.train.paths[0].parts[-3:-1] == ("cars_train", "cars_train")


def test_a_mirror_without_the_labels_of_the_test_part_says_how_to_go_on(torchvision):
    (torchvision / "cars_test_annos_withlabels.mat").unlink()
    savemat(torchvision / "cars_annos.mat", names_cell())
    (torchvision / "devkit" / "cars_meta.mat").unlink()  # the names are above
    remedy = f"--data '{torchvision}?parts=train'"
    refused(torchvision, "withlabels.mat: the official test part is not", remedy)
    assert len(load(shlex.split(remedy)[1]).train) == 5


# ---- the real table and the real photographs


def test_the_known_classes_and_counts(real):
    cars = car_classes()
    assert len({car.name for car in cars}) == len(cars) == 196
    assert len({car.token22 for car in cars}) == 22
    assert len({car.body9 for car in cars}) == 9
    images = [car.train_images + car.test_images for car in cars]
    assert (sum(images[:98]), sum(images[98:])) == (8054, 8131)
    assert sum(car.train_images for car in cars) == 8144
    alone = [car.token22 for car in cars[:98]]
    assert sum(alone.count(name) == 1 for name in alone) == 6


def test_the_makes_that_settings_are_chosen_on(real):
    makes = [make(car.name) for car in car_classes()]
    assert len(set(makes)) == 49
    assert makes == [m for name in dict.fromkeys(makes) for m in makes if m == name]
    assert makes[0] == "AM General" and makes.count("Aston Martin") == 4
    assert makes.count("Land Rover") == 2 and makes.count("Rolls-Royce") == 3
    names = [car.name for car in car_classes()[:98] for _ in range(2)]
    labels = module.Hierarchy.from_names(names, [name.split()[-2] for name in names])
    images = ImageSet.from_array("cars", np.zeros((196, 3, 1, 1), "u1"), labels)
    split = validation(images, makes[:98])
    assert split.notes == ("held out: Chrysler, Daewoo, Dodge, Eagle",)
    held = split.test.hierarchy.fine_names
    assert held == labels.fine_names[-len(held) :] and abs(len(held) - 98 / 4) <= 3


@pytest.mark.skipif(
    not PHOTOGRAPHS.is_dir(), reason="needs the photographs in ../shared"
)
def test_the_real_photographs(real):
    split = load(PHOTOGRAPHS, parts=("train",))
    assert (len(split.train), len(split.test)) == (4052, 4092)
    assert len(split.train.hierarchy.lacking()) == 6
    assert split.train[0].shape[0] == 3
    refused(PHOTOGRAPHS, "the official test part is not here")
