"""The forest plot draws what the comparison says."""

import json

import numpy as np
import pytest
from made_up_runs import counted
from matplotlib.colors import same_color

from qsel.book.figures import forest
from qsel.experiments.comparison import judge, over_folds

GAINS = {"random": 0, "hardest_negative": 6, "method1": 6, "method2": 7}


def runs(seed=0, **gains):
    random = np.random.default_rng(seed)
    level = random.integers(10, 25, (3, 40))
    return counted(
        [40] * 40,
        **{
            method: (level + gain + random.integers(-2, 3, (3, 40))).tolist()
            for method, gain in (GAINS | gains).items()
        },
    )


@pytest.fixture(scope="module")
def settings():
    one, two, three = forest.SETTINGS
    return {one: over_folds(runs(1), runs(2)), three: runs(3, multi_similarity=1)}


def test_each_line_is_a_difference_with_its_interval(settings):
    figure = forest.forest(settings)
    figure.canvas.draw()
    lines = figure.axes[0].lines[1:]  # after the one at zero
    drawn = list(zip(lines[::2], lines[1::2], strict=True))
    expected = [
        (title, judge(settings[title], *pair))
        for pair in forest.PAIRS[:6]
        for title in settings
    ]
    (_, last) = settings
    expected.append((last, judge(settings[last], "method2", "multi_similarity")))
    assert len(drawn) == len(expected) == 13
    for (span, dot), (title, gap) in zip(drawn, expected, strict=True):
        assert tuple(span.get_xdata()) == gap.interval
        assert list(dot.get_xdata()) == [gap.difference]
        colour = forest.COLOURS[title]
        assert same_color(span.get_color(), colour)
        face = colour if gap.clear else "white"
        assert same_color(dot.get_markerfacecolor(), face)
    assert {gap.clear for _, gap in expected} == {True, False}
    names = [text.get_text() for text in figure.axes[0].texts]
    assert (
        names[0] == "Method 2 − Method 1" and names[-1] == "Method 2 − Multi-Similarity"
    )
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == list(settings) and len(set(forest.COLOURS.values())) == 3


def test_no_name_covers_a_line_of_another_pair(settings):
    figure = forest.forest(settings)
    figure.canvas.draw()
    assert figure.get_figwidth() <= 4.5  # of type at 390 px still 9 px
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for line in figure.axes[0].lines[1:]:
        (x, y) = line.get_transform().transform(line.get_xydata())[0]
        assert not any(box.y0 < y < box.y1 for box in boxes), (x, y)


def test_the_alt_text_has_the_numbers(settings):
    said = forest.described(settings)
    for title, table in settings.items():
        gap = judge(table, "method2", "random")
        low, high = gap.interval
        assert f"{title} {gap.difference:.1f} ({low:.1f} to {high:.1f}, clear)" in said
    assert "Method 2 minus Multi-Similarity: SynthCars" in said
    assert "classification" not in said and "-" not in said.replace("Multi-", "")


def test_settings_without_records_are_left_out_and_folds_are_joined(tmp_path, settings):
    assert forest.recorded(tmp_path) == {}
    assert forest.described({}) == "Not run."
    (text,) = forest.forest({}).texts
    assert text.get_text() == "not run"
    source = forest.table1.recorded(forest.table1.RECORDED) / "method1-seed0"
    record = json.loads((source / "record.json").read_text())
    for fold in ("stanford_cars-parts=train", "stanford_cars-parts=train-fold=2"):
        record["data"]["train"]["fingerprint"] = fold  # other images
        place = tmp_path / fold / "upper" / "method1-seed0"
        place.mkdir(parents=True)
        (place / "record.json").write_text(json.dumps(record))
    (title,) = found = forest.recorded(tmp_path)
    assert title == "photographs, trained upper trunk"
    assert found[title].fold.tolist() == [1, 2]
