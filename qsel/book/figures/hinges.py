"""How much the quadruplets of each row still have to teach, epoch by epoch.

A quadruplet whose two hinges in equation (5) are zero moves nothing through them. The
run records hold, for each epoch, the share of such quadruplets and the mean of the two
hinges, over the quadruplets that were trained on.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qsel.book.figures import SHORT, blank
from qsel.book.figures.outcomes import COLOURS, MARKERS
from qsel.experiments.record import Record
from qsel.experiments.rows import QUADRUPLETS

PANELS = {"zero": "zero hinges (%)", "distance": "mean of both hinges"}
DASHES = dict(zip(QUADRUPLETS, (":", "--", "-.", "-"), strict=True))
COLUMNS = ("method", "seed", "epoch", "drawn", "zero", "distance")


def gather(folder: str | Path) -> pd.DataFrame:
    """The curves of the quadruplet rows' records below a folder, one row an epoch.

    Columns: method; seed; epoch, from 1; drawn, whether the quadruplets of this epoch
    were random ones: always in the row Random, elsewhere during a warm-up; zero, the
    share in percent whose two hinges are both zero; distance, the mean of the hinges'
    sum. Without records the frame is empty.

    Example:
        >>> len(gather("no runs here"))
        0
    """
    rows = []
    for path in sorted(Path(folder).rglob("record.json")):
        record = Record.load(path)
        method, seed = record.config["method"], record.config["seed"]
        if method not in QUADRUPLETS:
            continue
        for entry in record.curve:
            drawn = method == "random" or entry["epoch"] <= record.config["warmup"]
            zero, distance = 100 * entry["zero"], entry["distance"]
            rows.append((method, seed, entry["epoch"], drawn, zero, distance))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def left_to_teach(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Share with zero hinges above, mean of the hinges below; a column a data set.

    A line is the mean over seeds, its band reaches from the lowest to the highest, and
    each seed has a dot. Epochs of a warm-up, when a row draws random quadruplets, have
    hollow dots.

    Args:
        curves: title → as ``gather`` returns them.
    """
    figure = blank(0.6 + 3.2 * len(curves), 5.2)
    panels = figure.subplots(2, len(curves), sharex="col", sharey="row", squeeze=False)
    for column, (title, rows) in enumerate(curves.items()):
        panels[0, column].set_title(title)
        panels[1, column].set_xlabel("epoch")
        for ax, quantity in zip(panels[:, column], PANELS, strict=True):
            if not len(rows):
                middle = dict(ha="center", va="center", transform=ax.transAxes)
                ax.text(0.5, 0.5, "not run", **middle)
                continue
            _lines(ax, rows, quantity)
            ax.xaxis.get_major_locator().set_params(integer=True)
    for ax, label in zip(panels[:, 0], PANELS.values(), strict=True):
        ax.set_ylabel(label)
    for quantity, line in zip(PANELS, panels, strict=True):
        most = [rows[quantity].max() for rows in curves.values() if len(rows)]
        top = 1.15 * max(1 if quantity == "zero" else 0.1, *most, 0)
        line[0].set_ylim(-0.04 * top, top)  # a dot at zero is a whole one
    handles = {}
    for ax in panels[0]:
        found, texts = ax.get_legend_handles_labels()
        handles |= dict(zip(texts, found, strict=True))
    if handles:
        place = dict(loc="outside lower center", ncols=len(handles))
        figure.legend(handles.values(), handles, **place)
    return figure


def _lines(ax: Axes, found: pd.DataFrame, quantity: str) -> None:
    for method in QUADRUPLETS:
        own = found[found.method == method]
        if not len(own):
            continue
        by_epoch = own.groupby("epoch")[quantity].agg(["mean", "min", "max"])
        colour = COLOURS[method]
        look = dict(color=colour, marker=MARKERS[method], ms=5, label=SHORT[method])
        ax.plot(by_epoch.index, by_epoch["mean"], DASHES[method], **look)
        ax.fill_between(
            by_epoch.index, by_epoch["min"], by_epoch["max"], color=colour, alpha=0.2
        )
        warm = own.drawn & (method != "random")
        for which, face in ((~warm, colour), (warm, "white")):
            few = own[which]
            ax.scatter(
                few.epoch, few[quantity], s=9, facecolors=face, edgecolors=colour
            )
        if warm.any():  # hollow also where the seeds hide behind the mean
            mean = by_epoch["mean"][own[warm].epoch.unique()]
            ax.plot(mean.index, mean, MARKERS[method], color=colour, ms=5, mfc="white")


def say(curves: pd.DataFrame, title: str) -> str:
    """What one data set's records say of random quadruplets late in training.

    Means over the seeds, of each row's last epoch and of Random's first.

    Args:
        curves: as ``gather`` returns them.
        title: what the sentences begin with.

    Example:
        >>> say(gather("no runs here"), "Photographs")
        'Photographs: not run.'
    """
    ends = curves.groupby("method")["epoch"].max()
    if "random" not in ends:
        return f"{title}: not run."

    def mean(method: str, epoch: int) -> pd.Series:
        here = (curves.method == method) & (curves.epoch == epoch)
        return curves.loc[here, list(PANELS)].mean()

    first, last = mean("random", 1), mean("random", ends["random"])
    much = "nearly all still pay" if last.zero < 1 else "most still pay"
    if last.zero >= 50:
        much = "most pay nothing"
    change = last.distance / first.distance - 1
    way = "fallen" if change < -0.05 else "risen" if change > 0.05 else "hardly moved"
    words = (
        f"{title}: of the quadruplets that Random draws in epoch {ends['random']}, its "
        f"last, {last.zero:.1f} % have zero hinges ({first.zero:.1f} % in epoch 1), so "
        f"{much}. What they pay has {way}, from {first.distance:.2f} to "
        f"{last.distance:.2f}."
    )
    others = [m for m in QUADRUPLETS if m in ends and m != "random"]
    if not others:
        return words
    found = {m: mean(m, ends[m]) for m in others}
    rest = ", ".join(
        f"{SHORT[m]} {at.zero:.1f} % and {at.distance:.2f}" for m, at in found.items()
    )
    return f"{words} Share and mean in the last epochs of the other rows: {rest}."
