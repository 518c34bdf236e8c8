"""Figures of results: what they show is what the runs hold."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from qsel.figures_results import (
    COLOURS,
    MARKERS,
    show_table,
    show_verdicts,
    table_dots,
    training_curve,
)
from qsel.table1 import COMPARISONS, METHODS


def curve(epochs=3):
    return pd.DataFrame(
        {
            "epoch": range(1, epochs + 1),
            "loss": np.linspace(3, 2, epochs),
            "distance": np.linspace(2, 1, epochs),
            "global": np.linspace(1, 0.5, epochs),
            "zero": np.linspace(0, 0.4, epochs),
        }
    )


def runs(methods=tuple(METHODS)):
    random = np.random.default_rng(0)
    rows = [(method, seed) for method in methods for seed in range(3)]
    frame = pd.DataFrame(rows, columns=["method", "seed"])
    for metric in ("R@1", "NMI", "MAP@R"):
        frame[metric] = 40 + 10 * random.random(len(frame))
    return frame.assign(**{"start R@1": 30.0})


def draw(figure):
    assert isinstance(figure, Figure)
    figure.savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize("epochs", [1, 3])
def test_training_curve(epochs):
    figure = training_curve(curve(epochs))
    draw(figure)
    left, right = figure.axes
    drawn = left.lines[0].get_xydata()
    assert np.allclose(drawn, curve(epochs)[["epoch", "loss"]])
    assert np.allclose(right.lines[0].get_ydata(), 100 * curve(epochs)["zero"])
    assert left.get_xlabel() == "epoch" and "%" in right.get_ylabel()
    assert len(left.get_legend().get_texts()) == 3


def test_one_dot_a_run():
    frame = runs()
    figure = table_dots(frame)
    draw(figure)
    assert len(figure.axes) == 3
    for panel, metric in zip(figure.axes, ("R@1", "NMI", "MAP@R"), strict=True):
        assert panel.get_xlabel() == f"{metric} (%)"
        dots = [line for line in panel.lines if line.get_marker() in "osD^"]
        found = np.concatenate([line.get_xdata() for line in dots])
        assert sorted(found) == pytest.approx(sorted(frame[metric]))
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(labels) == len(METHODS) and "Random" in labels[0]
    low, high = figure.axes[0].get_ylim()
    assert low > high  # the table's first row on top


def test_rows_that_were_not_run_are_empty():
    draw(table_dots(runs(["random", "method2"])))


def test_rows_differ_in_colour_marker_and_lightness():
    assert set(COLOURS) == set(MARKERS) == set(METHODS)
    assert len(set(COLOURS.values())) == len(set(MARKERS.values())) == len(METHODS)


def test_table_has_two_decimals_and_a_named_first_column():
    frame = pd.DataFrame({"R@1": [1.23456]}, index=["one & only"])
    html = show_table(frame, "method").to_html()
    assert "1.23" in html and "1.2345" not in html
    assert "method" in html and "one" in html


def test_verdicts_are_a_list_of_the_comparisons():
    frame = runs()
    text = show_verdicts(frame, ("R@1", "NMI")).data
    assert text.count("\n- ") + 1 == 2 * len(COMPARISONS)
    assert show_verdicts(frame.iloc[:0]).data == ""
