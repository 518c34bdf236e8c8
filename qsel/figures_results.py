"""Pictures and tables of results: training curves, and Table 1 with one dot a run."""

from collections.abc import Sequence

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from qsel.figures import style
from qsel.table1 import COMPARISONS, METHODS, verdict

# Of the rows, in the table's order: distinct in hue and in lightness.
COLOURS = dict(zip(METHODS, ("#7f7f7f", "#ddaa33", "#56b4e9", "#004488"), strict=True))
MARKERS = dict(zip(METHODS, "osD^", strict=True))


def show_table(frame: pd.DataFrame, name: str) -> Styler:
    """A table for a page: two decimals, and the index as a column with a heading."""
    table = frame.rename_axis(name).reset_index()
    styled = table.style.hide(axis="index").format(precision=2)
    return styled.set_table_attributes('class="results"')


def show_verdicts(runs: pd.DataFrame, metrics: Sequence[str] = ("R@1",)) -> Markdown:
    """What the runs say of the paper's claim and of the control, as a list."""
    pairs = COMPARISONS if len(runs) else ()
    lines = [f"- {verdict(runs, a, b, m)}" for a, b in pairs for m in metrics]
    return Markdown("\n".join(lines))


def training_curve(curve: pd.DataFrame) -> Figure:
    """Loss, and share of quadruplets without distance loss, over the epochs.

    Args:
        curve: one row an epoch, as ``Record.curve`` has it.
    """
    style()
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = curve["epoch"]
    left.plot(epochs, curve["loss"], color="#004488", label="all, equation (6)")
    left.plot(
        epochs, curve["distance"], "--", color="#bb5566", label="two hinges of (5)"
    )
    left.plot(epochs, curve["global"], ":", color="#7f7f7f", label="global, (3)")
    left.set(xlabel="epoch", ylabel="mean loss", ylim=(0, None))
    left.legend()
    right.plot(epochs, 100 * curve["zero"], color="#004488")
    right.set(xlabel="epoch", ylabel="quadruplets with zero hinges (%)", ylim=(0, 100))
    return figure


def table_dots(runs: pd.DataFrame, metrics=("R@1", "NMI", "MAP@R")) -> Figure:
    """One dot a run, one bar a mean, for each row of the table.

    Args:
        runs: as ``qsel.table1.gather`` returns them, in percent.
        metrics: columns, one panel each.
    """
    style()
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    panels = figure.subplots(1, len(metrics), sharey=True)
    rows = list(METHODS)
    for panel, metric in zip(panels, metrics, strict=True):
        for y, method in enumerate(rows):
            values = runs.loc[runs.method == method, metric]
            panel.plot(
                values,
                [y] * len(values),
                MARKERS[method],
                color=COLOURS[method],
                alpha=0.7,
                markeredgewidth=0,
            )
            panel.plot([values.mean()] * 2, [y - 0.3, y + 0.3], color="black")
        if metric == "R@1":
            panel.axvline(runs["start R@1"].mean(), color="black", ls="--", lw=0.8)
        panel.set_xlabel(f"{metric} (%)")
    labels = [METHODS[method].replace(" Quadruplet Selection", "") for method in rows]
    panels[0].set_yticks(range(len(rows)), [s.replace(", ", ",\n") for s in labels])
    panels[0].invert_yaxis()
    return figure
