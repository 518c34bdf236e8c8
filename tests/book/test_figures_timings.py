"""The plots of the page on speed hold every point of the record."""

import pytest
from bench_record import cpu
from matplotlib.figure import Figure

from qsel.book.figures import timings


def test_bars_are_multiples_of_the_floor():
    figure = timings.peer_bars(cpu())
    (axes,) = figure.axes
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert ends == pytest.approx([1.0, 2.0, 0.9, 10.0, 4.5, 99.0])
    assert {bar.get_x() for bar in axes.patches} == {1}
    colours = {bar.get_facecolor() for bar in axes.patches[:3]}
    assert len(colours) == 1 and axes.patches[3].get_facecolor() not in colours
    assert axes.get_xscale() == "log"


def test_lines_hold_every_point():
    figure = timings.growth_lines(cpu())
    by_n, by_b, memory = figure.axes
    sizes = [8_000, 60_000, 500_000]
    for axes in (by_n, memory):
        assert [*axes.lines[0].get_xdata()] == sizes
    assert [*by_b.lines[0].get_xdata()] == [128, 512]
    assert [*memory.lines[0].get_ydata()] == [90, 90, 300]
    assert by_n.get_xscale() == by_n.get_yscale() == "log"


def test_slopes_are_said():
    said = timings.say_growth(cpu()).data.splitlines()
    assert said[0] == (
        "- With 512 references, time grows as N to the power 1.00 from 8,000 to "
        "500,000 samples."
    )
    assert len(said) == 3 and "B to the power 1.00" in said[2]
    assert timings.slope([1, 2, 4], [1, 4, 16]) == pytest.approx(2)


def test_without_a_record():
    for draw in (timings.peer_bars, timings.growth_lines):
        assert isinstance(draw({}), Figure)
    assert timings.say_growth({}).data.startswith("Not run")
