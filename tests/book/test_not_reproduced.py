"""The page on what was not reproduced: its facts and commands are still true."""

import re
from pathlib import Path

import pytest

from qsel.data.car_classes import car_classes
from qsel.experiments import row_names, table1
from qsel.experiments.config import preset
from qsel.experiments.rows import ROWS
from qsel.experiments.tuning import space

PAGE = Path(__file__).parents[2] / "book" / "not-reproduced.md"


@pytest.fixture(scope="module")
def text():
    return " ".join(PAGE.read_text(encoding="utf-8").split())


def test_the_work_of_a_run_is_that_of_the_preset(text):
    cars = car_classes()
    sizes = [car.train_images + car.test_images for car in cars]
    train = cars[:98]
    coarse = [car.token22 for car in train]
    usable = sum(s for s, c in zip(sizes, coarse, strict=False) if coarse.count(c) > 1)
    epochs = preset("paper").epochs
    assert f"{sum(sizes):,} photographs, {sum(sizes[:98]):,} to train" in text
    assert f"preset's {epochs} epochs" in text
    assert f"{usable:,} references × 4 images × {epochs}" in text
    assert f"about {usable * 4 * epochs / 1e6:.1f} million images" in text
    assert "nine trained rows with five seeds" in text
    trained = {*row_names.BY_DEFAULT} - {*row_names.UNTRAINED}
    assert (len(trained), table1.SEEDS["paper"]) == (9, 5)


def test_the_commands_name_what_there_is(text):
    (rows,) = re.findall(r"--rows (\S+)", text)
    assert set(rows.split(",")) <= set(ROWS)
    settings = dict(pair.split("=") for pair in re.findall(r"--set (\S+)", text))
    preset("paper").with_settings(settings)
    (name,) = re.findall(r"qsel tune --preset (\w+) --trials", text)
    for row in ROWS:
        assert space(name, row)
