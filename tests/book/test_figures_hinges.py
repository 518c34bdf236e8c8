"""What quadruplets have left to teach: lines, dots and sentences from the records."""

import json

import pandas as pd
import pytest

from qsel.book.figures import SHORT
from qsel.book.figures.hinges import gather, left_to_teach, say
from qsel.experiments.config import preset
from qsel.experiments.record import Record


def record(folder, method, seed, zeros, hinges, warmup=0):
    config = preset("smoke", method).with_settings({"seed": seed, "warmup": warmup})
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
    record(tmp_path, "method2", 0, [0.1, 0.0], [0.4, 0.4], warmup=1)
    rest = json.loads((tmp_path / "random-seed0" / "record.json").read_text())
    rest["config"]["method"], rest["curve"] = "n_pairs", [{"epoch": 1, "loss": 1.0}]
    (tmp_path / "n_pairs-seed0").mkdir()
    (tmp_path / "n_pairs-seed0" / "record.json").write_text(json.dumps(rest))
    return tmp_path


def test_gather_takes_quadruplet_rows_only_and_knows_warm_ups(folder):
    found = gather(folder)
    assert len(found) == 6 and set(found.method) == {"random", "method2"}
    assert found[found.method == "random"].drawn.all()
    assert found[found.method == "method2"].drawn.tolist() == [True, False]
    assert found.zero.max() == pytest.approx(70)  # percent


def test_lines_are_means_and_dots_are_seeds(folder):
    figure = left_to_teach({"here": gather(folder)})
    figure.canvas.draw()
    above, below = figure.axes
    lines = {line.get_label(): line for line in above.lines}
    assert lines[SHORT["random"]].get_ydata().tolist() == pytest.approx([10, 60])
    assert lines[SHORT["method2"]].get_ydata().tolist() == pytest.approx([10, 0])
    band = above.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0, 70))
    seeds = [c for c in above.collections if hasattr(c, "get_sizes")]
    assert sum(len(c.get_offsets()) for c in seeds if len(c.get_sizes())) == 6
    hollow = [line for line in above.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xydata().tolist() for line in hollow] == [[[1, 10]]]
    assert below.get_ylim()[1] > 0.4 and below.get_xlabel() == "epoch"


def test_looks_differ_without_colour(folder):
    figure = left_to_teach({"here": gather(folder)})
    named = [
        line for line in figure.axes[0].lines if line.get_label() in SHORT.values()
    ]
    looks = {(line.get_linestyle(), line.get_marker()) for line in named}
    assert len(looks) == len(named) == 2


def test_nothing_run_is_said_and_drawn(tmp_path, folder):
    empty = gather(tmp_path / "nothing")
    figure = left_to_teach({"none": empty, "some": gather(folder)})
    figure.canvas.draw()
    said = [[t.get_text() for t in ax.texts] for ax in figure.axes]
    assert said == [["not run"], [], ["not run"], []]
    left_to_teach({"none": empty}).canvas.draw()
    assert say(empty, "Photographs") == "Photographs: not run."
    without_random = gather(folder).query("method != 'random'")
    assert say(without_random, "Here") == "Here: not run."


def curves(first, last, hinges=(0.4, 0.4)):
    rows = [("random", 0, e, True, z, h) for e, z, h in
            zip((1, 2), (first, last), hinges, strict=True)]  # fmt: skip
    columns = ["method", "seed", "epoch", "drawn", "zero", "distance"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize(
    ("last", "hinges", "words"),
    [
        (0.4, (0.4, 0.2), ("nearly all still pay", "fallen, from 0.40 to 0.20")),
        (20.0, (0.4, 0.6), ("20.0 % have zero", "most still pay", "risen, from")),
        (50.0, (0.4, 0.39), ("most pay nothing", "hardly moved, from 0.40 to 0.39")),
    ],
)
def test_the_sentence_follows_the_records(last, hinges, words):
    said = say(curves(0.0, last, hinges), "Here")
    assert all(word in said for word in words) and "epoch 2, its last" in said


def test_the_sentence_names_the_other_rows(folder):
    assert say(gather(folder), "Here").endswith("other rows: Method 2 0.0 % and 0.40.")
