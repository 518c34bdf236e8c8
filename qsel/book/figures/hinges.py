"""How much the quadruplets of each row still have to teach, epoch by epoch.

A quadruplet whose two hinges in equation (5) are zero moves nothing through them. The
run records hold, for each epoch, the share of such quadruplets and the mean of the two
hinges, over the quadruplets that were trained on.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from qsel.book.figures import SHORT, WIDTH, blank, sentence
from qsel.book.figures.outcomes import COLOURS, MARKERS
from qsel.experiments.record import Record
from qsel.experiments.rows import QUADRUPLETS

DASHES = dict(zip(QUADRUPLETS, (":", "--", "-.", "-"), strict=True))
ZERO, MEAN = "zero hinges (%)", "mean of both hinges"


def gather(folder: str | Path) -> pd.DataFrame:
    """The curves of the quadruplet rows' records below a folder, one row an epoch.

    Columns: method; seed; epoch, from 1; ``ZERO``, the share whose two hinges are both
    zero; ``MEAN`` of the hinges' sum. Without records the frame is empty.

    Example:
        >>> len(gather("no runs here"))
        0
    """
    rows = []
    for path in sorted(Path(folder).rglob("record.json")):
        record = Record.load(path)
        method, seed = record.config["method"], record.config["seed"]
        if method in QUADRUPLETS:
            rows += [
                (method, seed, entry["epoch"], 100 * entry["zero"], entry["distance"])
                for entry in record.curve
            ]
    return pd.DataFrame(rows, columns=["method", "seed", "epoch", ZERO, MEAN])


def first_and_last(curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Means over seeds in each row's first and last epoch, a line for each.

    Args:
        curves: data set → as ``gather`` returns them.
    """
    lines = []
    for title, found in curves.items():
        for method in QUADRUPLETS:
            own = found[found.method == method].groupby("epoch")[[ZERO, MEAN]].mean()
            for epoch, row in own.iloc[[0, -1]].iterrows() if len(own) else ():
                lines.append({"data": title, "rule": SHORT[method], "epoch": epoch})
                lines[-1] |= row
    return pd.DataFrame(lines)


def by_rule(*panels: tuple[pd.DataFrame, str, str]) -> Figure:
    """Panels with a line for each rule; a band where several seeds share a place.

    Args:
        panels: a table with a column "method", and which columns are drawn across and
            upwards; their names stand at the axes.
    """
    if not any(len(table) for table, *_ in panels):
        return sentence("not run")
    figure = blank(WIDTH, 0.6 + 2.5 * len(panels))
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for ax, (table, across, upwards) in zip(axes, panels, strict=True):
        for method in QUADRUPLETS:
            own = table[table.method == method].groupby(across)[upwards]
            if not len(own):
                continue
            colour = COLOURS[method]
            look = dict(color=colour, marker=MARKERS[method], ms=4, label=SHORT[method])
            ax.plot(own.mean(), DASHES[method], **look)
            low, high = own.min(), own.max()
            ax.fill_between(low.index, low, high, color=colour, alpha=0.2)
        ax.set(xlabel=across, ylabel=upwards)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2)
    return figure
