"""What quadruplets have left to teach: lines and a table from the records."""

import json

import pytest

from qsel.book.figures import SHORT
from qsel.book.figures.hinges import MEAN, ZERO, by_rule, first_and_last, gather
from qsel.experiments import table1
from qsel.experiments.config import preset
from qsel.experiments.record import Record


def record(folder, method, seed, zeros, hinges):
    config = preset("smoke", method).with_settings({"seed": seed})
    curve = [
        {"epoch": e, "zero": z, "distance": h}
        for e, (z, h) in enumerate(zip(zeros, hinges, strict=True), start=1)
    ]
    rest = dict(preset="smoke", data={}, metrics={}, by_class={}, command="")
    found = Record(
        config=config.to_dict(), curve=curve, **rest, versions={}, device="", date="",
        seconds={},
    )  # fmt: skip
    (folder / f"{method}-seed{seed}").mkdir(parents=True)
    found.save(folder / f"{method}-seed{seed}" / "record.json")


@pytest.fixture
def folder(tmp_path):
    record(tmp_path, "random", 0, [0.0, 0.5], [0.4, 0.2])
    record(tmp_path, "random", 1, [0.2, 0.7], [0.4, 0.2])
    record(tmp_path, "method2", 0, [0.1, 0.0], [0.4, 0.4])
    rest = json.loads((tmp_path / "random-seed0" / "record.json").read_text())
    rest["config"]["method"], rest["curve"] = "n_pairs", [{"epoch": 1, "loss": 1.0}]
    (tmp_path / "n_pairs-seed0").mkdir()
    (tmp_path / "n_pairs-seed0" / "record.json").write_text(json.dumps(rest))
    return tmp_path


def test_gather_takes_quadruplet_rows_only(folder):
    found = gather(folder)
    assert len(found) == 6 and set(found.method) == {"random", "method2"}
    assert found[ZERO].max() == pytest.approx(70)  # percent


def test_lines_are_means_and_bands_are_seeds(folder):
    figure = by_rule((gather(folder), "epoch", ZERO))
    (ax,) = figure.axes
    lines = {line.get_label(): line for line in ax.lines}
    assert lines[SHORT["random"]].get_ydata().tolist() == pytest.approx([10, 60])
    assert lines[SHORT["method2"]].get_ydata().tolist() == pytest.approx([10, 0])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0, 70))
    assert ax.get_xlabel() == "epoch"
    looks = {(line.get_linestyle(), line.get_marker()) for line in ax.lines}
    assert len(looks) == len(ax.lines) == 2  # without colour, too


def test_first_and_last_epoch_of_each_rule(folder):
    table = first_and_last({"here": gather(folder), "none": gather("none")})
    assert table["rule"].tolist() == ["Random", "Random", "Method 2", "Method 2"]
    assert table["epoch"].tolist() == [1, 2, 1, 2]
    assert table[ZERO].tolist() == pytest.approx([10, 60, 10, 0])
    assert table[MEAN].tolist() == pytest.approx([0.4, 0.2, 0.4, 0.4])


def test_nothing_run_is_said():
    figure = by_rule((gather("none"), "epoch", ZERO))
    assert [text.get_text() for text in figure.texts] == ["not run"]


@pytest.mark.parametrize(
    ("records", "dry"),
    [
        ("stanford_cars-parts=train/upper", 3),
        ("stanford_cars-parts=train/frozen-ablations/same_settings", 3),
        (table1.RECORDED_SYNTHCARS, 10),
    ],
)
def test_random_quadruplets_do_not_run_dry_and_cost_less(records, dry):
    """What chapter 3.3 says of the recorded runs."""
    found = gather(table1.recorded(records))
    means = found.groupby(["method", "epoch"])[[ZERO, MEAN]].mean()
    of_random = means.loc["random"]
    assert of_random[ZERO].max() < dry
    assert of_random[MEAN].iloc[-1] < of_random[MEAN].iloc[0]
    for method in ("hardest_negative", "method1", "method2"):
        assert means.loc[method][MEAN].iloc[-1] > of_random[MEAN].iloc[-1]
