"""Figures and tables of results: what they show is what the runs hold."""

import json

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from matplotlib.colors import to_rgb

from qsel.book.figures import outcomes
from qsel.book.figures.outcomes import (
    COLOURS,
    MARKERS,
    TWO_LINES,
    ablation_dots,
    as_code,
    provenance,
    show_ablations,
    show_differences,
    show_sources,
    show_summary,
    show_table,
    table_dots,
    training_curve,
)
from qsel.experiments.comparison import COMPARISONS, RIVALS, judge
from qsel.experiments.row_names import ADDED
from qsel.experiments.rows import QUADRUPLETS, ROWS, TITLES
from qsel.experiments.switches import SWITCHES
from qsel.experiments.table1 import MEASURED


def runs(methods=tuple(TITLES), seeds=3):
    random = np.random.default_rng(0)
    rows = [(method, seed) for method in methods for seed in range(seeds)]
    frame = pd.DataFrame(rows, columns=["method", "seed"])
    for metric in MEASURED:
        frame[metric] = 40 + 10 * random.random(len(frame))
    frame["record"] = [f"results/{m}-seed{s}/record.json" for m, s in rows]
    return frame.assign(
        command="qsel train", device="cpu", date="2026-11-24", seconds=60.0
    )


def ablated(names=("margin_derived", "random_negative"), seeds=3):
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        [
            {"ablation": name, "method": method, "seed": seed}
            for name in names
            for method in SWITCHES[name].rows
            for seed in range(seeds)
        ]
    )
    for metric in MEASURED:
        frame[metric] = 40 + random.random(len(frame))
        frame[f"{metric} change"] = random.normal(0, 2, len(frame))
    return frame


BAD_NAME = "<img src=x onerror=alert(1)>"


def test_names_in_tables_are_text():
    held = {f"{BAD_NAME}s": [BAD_NAME, "b"], "n": [1.234, 2]}
    frame = pd.DataFrame(held, [BAD_NAME, "c"])
    html = show_table(frame, BAD_NAME).to_html()
    assert "<img" not in html and html.count("&lt;img src=x onerror") == 4
    assert ">1.23<" in html
    html = show_ablations(ablated(), runs()).to_html()
    assert (
        "errata.html#erratum-" in html and "&lt;a" not in html and "&amp;" not in html
    )


def test_names_in_sentences_are_text():
    """Those of a record that came from elsewhere, too."""
    frame = runs(("random",), 1).assign(device=f"cpu {BAD_NAME}")
    assert "<img" not in provenance(frame)
    for name in (BAD_NAME, f"`{BAD_NAME}", f"a``{BAD_NAME}``b", f"a\n\n{BAD_NAME}"):
        frame["command"] = f"qsel train --data '{name}'"
        html = MarkdownIt().render(show_sources(frame).data)
        assert "<img" not in html and "&lt;img src=x onerror=alert(1)&gt;" in html


@pytest.mark.parametrize("text", ["a", "`", "``", "a`b``c", "`a`"])
def test_code_in_markdown_is_shown_as_it_is(text):
    assert f"<code>{text}</code>" in MarkdownIt().render(as_code(text))


def dots(panel):
    found = [line.get_xdata() for line in panel.lines if line.get_linestyle() == "None"]
    return np.concatenate(found) if found else np.array([])


# --- figures ---------------------------------------------------------------------


def test_training_curve_with_parts_for_quadruplets_alone():
    curve = pd.DataFrame(np.random.default_rng(0).random((3, 3)))
    curve = curve.set_axis(["loss", "distance", "global"], axis=1)
    for parts in (["loss", "distance", "global"], ["loss"]):
        (ax,) = training_curve(curve[parts].assign(epoch=[1, 2, 3])).axes
        for line, part in zip(ax.lines, parts, strict=True):
            assert np.allclose(line.get_ydata(), curve[part])


def test_one_dot_a_run_on_the_tables_rows_from_the_top():
    frame = runs()
    figure = table_dots(frame)
    trained = frame[frame.method.isin(list(ROWS))]
    for panel, metric in zip(figure.axes, MEASURED, strict=True):
        assert panel.get_xlabel() == f"{metric} (%)"
        assert sorted(dots(panel)) == pytest.approx(sorted(trained[metric]))
        dashed = [line for line in panel.lines if line.get_linestyle() == "--"]
        before = frame.loc[frame.method == "start", metric].mean()
        assert [line.get_xdata()[0] for line in dashed] == pytest.approx([before])
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [TWO_LINES[method] for method in ROWS]
    low, high = figure.axes[0].get_ylim()
    assert low > high
    few = table_dots(runs(["random", "method2"]))
    assert len(dots(few.axes[0])) == 6


def test_quadruplet_rows_differ_and_the_others_are_one_family():
    assert set(COLOURS) == set(MARKERS) == set(ROWS)
    looks = [(COLOURS[m], MARKERS[m]) for m in QUADRUPLETS]
    assert len({c for c, _ in looks}) == len({m for _, m in looks}) == len(looks)
    assert len({COLOURS[m] for m in set(ROWS) - set(QUADRUPLETS)}) == 1
    grey = sorted(to_rgb(c) @ np.array([0.299, 0.587, 0.114]) for c, _ in looks)
    assert min(np.diff(grey)) > 0.05


def test_ablations_have_one_dot_a_seed():
    frame = ablated()
    figure = ablation_dots(frame)
    for panel, metric in zip(figure.axes, ("R@1", "NMI"), strict=True):
        assert sorted(dots(panel)) == pytest.approx(sorted(frame[f"{metric} change"]))
        low, high = panel.get_xlim()
        assert low < frame[f"{metric} change"].min() and low == -high
        assert panel.lines[0].get_xdata()[0] == 0
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [
        *("margin derived, Method 2", "random negative, Method 1"),
        "random negative, Method 2",
    ]


# --- tables and sentences --------------------------------------------------------


def test_nothing_run_is_said():
    nothing = pd.DataFrame()
    for function in (table_dots, ablation_dots, training_curve):
        (text,) = function(nothing).texts
        assert text.get_text() in ("not run", "not trained")
    for function in (show_summary, show_sources):
        assert "Not run" in function(nothing).data
    assert show_differences({"here": nothing}).data == "Not run."
    assert "<tbody>" in show_ablations(nothing, nothing).to_html()


def test_winners_of_a_search_and_whether_they_lie_at_an_edge(tmp_path):
    chosen = {"random": {"learning_rate": 0.03}, "method1": {"learning_rate": 0.01}}
    found = [{"method": m, "trial": t, "split": 0} for m in chosen for t in range(4)]
    ranges = {m: {"learning_rate": (0.001, 0.03)} for m in chosen}
    search = {"chosen": chosen, "runs": found, "ranges": ranges}
    (tmp_path / "laptop.json").write_text(json.dumps(search))
    table = outcomes.show_winners("laptop", tmp_path).data.set_index("method")
    assert table.loc[TITLES["random"]].tolist() == ["4", "0.03", "learning_rate"]
    assert table.loc[TITLES["method1"], "at the edge"] == "no"


def test_differences_are_a_table_of_what_was_run():
    frame = runs()
    table = show_differences({"here": frame}).data
    assert len(table) == len(COMPARISONS)
    assert set(table["runs"]) == {"here"}
    row = table[table["rows"] == "Method 2 − Method 1"]
    gap = judge(frame, "method2", "method1")
    assert row["points"].item() == f"{gap.difference:+.2f}"
    of_paper = {"here": frame[~frame.method.isin(ADDED)]}
    assert len(show_differences(of_paper, RIVALS).data) == 6  # not what no one ran
    assert show_differences({"here": frame.iloc[:0]}).data == "Not run."


def test_sources_name_command_and_record_of_each_row(monkeypatch):
    frame = runs(["random", "method2"])
    lines = show_sources(frame).data.splitlines()
    said = "`qsel train`, `results/random-seed0/record.json`"
    assert lines[0] == f"- Random Quadruplet Selection: {said}"
    assert len(lines) == 2 and "method2-seed0" in lines[1]
    monkeypatch.setattr(outcomes, "link", lambda record: "https://a.example/r")
    assert "`qsel train`, [record](https://a.example/r)" in show_sources(frame).data
    found = ablated().assign(command="qsel train", record="results/record.json")
    lines = show_sources(found).data.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("- margin_derived, Proposed Method 2: `qsel train`")


def test_provenance_counts_what_was_run():
    assert provenance(runs(["random", "method2"], seeds=2)) == (
        "4 runs of 2 rows with up to 2 seeds, on cpu, 2026-11-24; 4 minutes of "
        "training in all."
    )


def test_the_table_of_ablations_links_to_the_errata():
    frame = ablated()
    html = show_ablations(frame, runs()).to_html()
    assert 'href="../book/errata.html#erratum-3"' in html
    for name, method in (("margin_derived", "method2"), ("random_negative", "method1")):
        of_job = frame[(frame.ablation == name) & (frame.method == method)]
        assert f"{of_job['R@1 change'].mean():+.2f} ±" in html
        assert SWITCHES[name].words in html
