"""The two plots of the page on speed, and what their slopes say."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qsel.book.figures import WIDTH, blank, sentence
from qsel.book.performance import MEMORY, number, side_by_side

OURS, PEER = "#004488", "#a9a9a9"
LINES = ("o-", "s--", "^-.", "D:")


def peer_bars(record: dict) -> Figure:
    """Multiples of the floor, as bars from it on a logarithmic axis; ours are dark."""
    rows = [r for r in side_by_side(record) if "ratio" in r]
    if not rows:
        return sentence("not run")
    figure = blank(WIDTH, 0.9 + 0.36 * len(rows))
    axes = figure.subplots()
    ours = {row["name"] for row in record["selection"]}
    for y, row in enumerate(rows):
        colour = OURS if row["name"] in ours else PEER
        axes.barh(y, row["ratio"] - 1, left=1, color=colour)
        axes.plot(row["ratio"], y, "o", color=colour, markersize=5)
        place = max(1, row["ratio"]), y
        axes.annotate(f"  {number(row['ratio'])}", place, va="center", fontsize=9)
    axes.axvline(1, color="black", lw=0.8, ls="--")
    labels = [f"{row['title']}\nN = {row['n']:,}" for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=9)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("time, as a multiple of the floor")
    return figure


def growth_lines(record: dict) -> Figure:
    """Time by N and by B on logarithmic axes, and memory by N with its target."""
    if not record.get("growth_n"):
        return sentence("not run")
    figure = blank(WIDTH, 6.6)
    by_n, by_b, memory = figure.subplots(3, 1)
    of_n = pd.DataFrame(record["growth_n"])
    for look, (b, rows) in zip(LINES, of_n.groupby("b"), strict=False):
        _times(by_n, rows, "n", look, f"B = {b:,}")
        megabytes = pd.to_numeric(rows.memory, errors="coerce") / 2**20
        memory.plot(rows.n, megabytes, look, color=OURS, label=f"B = {b:,}")
    of_b = pd.DataFrame(record["growth_b"])
    _times(by_b, of_b, "b", LINES[0], f"N = {of_b.n[0]:,}")
    memory.axhline(MEMORY / 2**20, color="black", lw=0.8, ls="--")
    for axes, what in ((by_n, "samples N"), (by_b, "references B"), (memory, "N")):
        axes.set(xscale="log", yscale="log", xlabel=what, ylabel="seconds")
        axes.minorticks_off()
        handles, labels = axes.get_legend_handles_labels()
        once = dict(zip(labels, handles, strict=True))  # the floor of all
        axes.legend(once.values(), once.keys(), fontsize=9)
    memory.set(yscale="linear", ylim=(0, None), xlabel="samples N")
    memory.set_ylabel("MiB above the gallery")
    return figure


def _times(axes: Axes, rows: pd.DataFrame, by: str, look: str, label: str) -> None:
    axes.plot(rows[by], rows.seconds, look, color=OURS, label=label)
    axes.plot(rows[by], rows.floor, ":", color="#7f7f7f", label="floor")


def say_growth(record: dict) -> Markdown:
    """The slopes of the lines: 1 is linear growth."""
    if not record.get("growth_n"):
        return Markdown("Not run, so nothing can be said.")
    lines = []
    for b, rows in pd.DataFrame(record["growth_n"]).groupby("b"):
        power = slope(rows.n.to_list(), rows.seconds.to_list())
        lines.append(
            f"- With {b:,} references, time grows as N to the power {power:.2f} from "
            f"{rows.n.min():,} to {rows.n.max():,} samples."
        )
    rows = pd.DataFrame(record["growth_b"])
    power = slope(rows.b.to_list(), rows.seconds.to_list())
    lines.append(
        f"- In {rows.n[0]:,} samples, time grows as B to the power {power:.2f} from "
        f"{rows.b.min():,} to {rows.b.max():,} references."
    )
    return Markdown("\n".join(lines))


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The exponent p of y ~ x^p, by least squares on logarithms.

    Example:
        >>> round(slope([1, 10, 100], [2, 20, 200]), 6)
        1.0
    """
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
