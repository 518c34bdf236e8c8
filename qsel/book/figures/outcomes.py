"""Pictures and tables of results: training curves, Table 1 and ablations in dots."""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import product
from pathlib import Path

import pandas as pd
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from qsel.book.figures import SHORT, WIDTH, blank, sentence
from qsel.book.verdicts import p_value
from qsel.experiments import ablations
from qsel.experiments.comparison import COMPARISONS, compare, judged, of_row
from qsel.experiments.rows import ROWS, TITLES, of_table
from qsel.experiments.switches import SWITCHES
from qsel.experiments.table1 import MEASURED, link, spread, summary
from qsel.experiments.winners import at_edge

RIVAL = "#a9a9a9"  # of the rows with other objectives; the four with quadruplets differ
COLOURS = dict.fromkeys(ROWS, RIVAL) | {
    "random": "#56b4e9",
    "hardest_negative": "#ddaa33",
    "method1": "#bb5566",
    "method2": "#004488",
}
MARKERS = dict.fromkeys(ROWS, "o") | {
    "random": "s",
    "hardest_negative": "v",
    "method1": "D",
    "method2": "^",
}
TWO_LINES = {method: name.replace(" (", "\n(") for method, name in SHORT.items()}


# --- tables and sentences --------------------------------------------------------


def show_table(frame: pd.DataFrame, name: str) -> Styler:
    """A table for a page: two decimals, and the index as a column with a heading.

    Names are text, whatever they look like: a folder may be called ``<b>``.
    """
    table = frame.rename_axis(name).reset_index()
    styled = table.style.hide(axis="index").format(precision=2, escape="html")
    styled.format_index(escape="html", axis="columns")
    return styled.set_table_attributes('class="results"')


def show_summary(runs: pd.DataFrame) -> Styler | Markdown:
    """The table of all rows as re-run, or a word that there is none."""
    if not len(runs):
        return Markdown("Not run.")
    return show_table(summary(runs), "method")


def show_winners(preset_name: str, folder: Path) -> Styler:
    """What each row's tuning chose, over how many trials, and what lies at an edge.

    Args:
        preset_name: of the search.
        folder: holds its record, ``preset_name``.json.
    """
    search = json.loads((folder / f"{preset_name}.json").read_text())
    chosen = pd.DataFrame(search["chosen"]).T.astype(object)
    tried = pd.DataFrame(search["runs"]).groupby("method")["trial"].nunique()
    chosen.insert(0, "trials", tried)
    edges = at_edge(search["chosen"], search["ranges"])
    chosen["at the edge"] = [", ".join(edges.get(row, ["no"])) for row in chosen.index]
    words = chosen.astype(str).where(chosen.notna(), "–")
    words = words.reindex([row for row in ROWS if row in words.index])
    return show_table(words.rename(index=TITLES), "method")


def show_differences(
    settings: Mapping[str, pd.DataFrame],
    pairs: Sequence[tuple[str, str]] = COMPARISONS,
    metric: str = "R@1",
) -> Styler | Markdown:
    """How far one row is ahead of another, in every setting where both were run.

    Args:
        settings: title → runs, as ``qsel.experiments.table1.gather`` returns them.
        pairs: of methods, stated together: p is corrected for their number.
        metric: the column to compare.
    """
    of = {title: judged(runs, pairs, metric) for title, runs in settings.items()}
    lines = []
    for (a, b), title in product(pairs, settings):
        found = of[title][a, b]
        if found.interval is None:
            continue
        low, high = found.interval
        lines.append(
            {
                "rows": f"{SHORT[a]} − {SHORT[b]}",
                "runs": title,
                "points": f"{found.difference:+.2f}",
                "95 % interval": f"{low:.2f} to {high:.2f}",
                "after Holm": p_value(found),
                "clear": "yes" if found.clear else "no",
            }
        )
    if not lines:
        return Markdown("Not run.")
    return show_table(pd.DataFrame(lines).set_index("rows"), "rows")


def show_sources(runs: pd.DataFrame) -> Markdown:
    """The command and the record of the first seed of each row, or of each ablation.

    Args:
        runs: as ``qsel.experiments.table1.gather`` or
            ``qsel.experiments.ablations.gather`` returns them.
    """
    lines = []
    kind = [name for name in ("ablation", "method") if name in runs]
    for _, row in (runs.drop_duplicates(kind) if kind else runs).iterrows():
        name = ", ".join([*row[kind[:-1]], TITLES[row["method"]]])
        found = link(row["record"])
        where = f"[record]({found})" if found.startswith("http") else as_code(found)
        lines.append(f"- {name}: {as_code(row['command'])}, {where}")
    return Markdown("\n".join(lines) or "Not run.")


def as_code(text: str) -> str:
    """Text as code in Markdown, whatever it holds: a name, a path, a command.

    Example:
        >>> as_code("qsel data"), as_code("a`b")
        ('`qsel data`', '`` a`b ``')
    """
    text = " ".join(text.split())  # a new line would end the paragraph
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"`{text}`" if len(fence) == 1 else f"{fence} {text} {fence}"


def provenance(runs: pd.DataFrame) -> str:
    """One sentence on some runs: how many, and what they were run on.

    Example:
        >>> provenance(pd.DataFrame())
        'Not run.'
    """
    if not len(runs):
        return "Not run."
    seeds = runs.groupby("method")["seed"].nunique()
    devices = escape(", ".join(sorted(set(runs.device))), quote=False)
    days = sorted(set(runs.date))
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return (
        f"{len(runs)} runs of {len(seeds)} rows with up to {seeds.max()} seeds, on "
        f"{devices}, {when}; {runs.seconds.sum() / 60:.0f} minutes of training in all."
    )


def show_ablations(
    runs: pd.DataFrame, base: pd.DataFrame, where: str = "../book/errata.html"
) -> Styler:
    """Every ablation that was run: its change of three metrics, mean ± sd over seeds.

    The interval, over seeds and classes, and p are those of R@1, each judged by itself.

    Args:
        runs: as ``qsel.experiments.ablations.gather`` returns them.
        base: the table's own runs.
        where: the page of errata, seen from the page that shows the table.
    """
    rows = []
    for name, method in ablations.shown(runs):
        of_job = runs[(runs.ablation == name) & (runs.method == method)]
        switch = SWITCHES[name]
        number = switch.erratum
        anchor = f'<a href="{where}#erratum-{number}">{number}</a>' if number else "–"
        found = compare(of_job, of_row(base, method))
        interval = "–"
        if found.interval:
            low, high = found.interval
            interval = f"{low:.2f} to {high:.2f}, {p_value(found)}"
        rows.append(
            {
                "instead": switch.words,
                "row": SHORT[method],
                "erratum": anchor,
                "seeds": len(of_job),
                "R@1": _signed(of_job["R@1 change"]),
                "95 % interval of R@1": interval,
                "NMI": _signed(of_job["NMI change"]),
                "MAP@R": _signed(of_job["MAP@R change"]),
            }
        )
    columns = ["instead", "row", "erratum", "seeds"]
    columns += ["R@1", "95 % interval of R@1", "NMI", "MAP@R"]
    frame = pd.DataFrame(rows, columns=columns).set_index("instead")
    # The one column that is HTML, made here and not of names.
    return show_table(frame, "instead").format(subset=["erratum"])


# --- figures ---------------------------------------------------------------------


def training_curve(curve: pd.DataFrame) -> Figure:
    """Loss over the epochs; of quadruplets also its parts.

    Args:
        curve: one row an epoch, as ``Record.curve`` has it; rows with other objectives
            have a loss and no parts, and those without training are empty.
    """
    if not len(curve):
        return sentence("not trained")
    figure = blank(WIDTH, 3)
    ax = figure.subplots()
    for column, look, colour, label in (
        ("loss", "-", "#004488", "all, equation (6)"),
        ("distance", "--", "#bb5566", "two hinges of (5)"),
        ("global", ":", "#7f7f7f", "global, (3)"),
    ):
        if column in curve:
            of_epoch = curve["epoch"], curve[column]
            ax.plot(*of_epoch, look, marker=".", color=colour, label=label)
    ax.set(xlabel="epoch", ylabel="mean loss", ylim=(0, None))
    ax.legend()
    return figure


def table_dots(runs: pd.DataFrame) -> Figure:
    """One dot a run, one bar a mean, for each trained row; two panels side by side.

    A dashed line is the trunk before training.

    Args:
        runs: as ``qsel.experiments.table1.gather`` returns them, in percent.
    """
    if not len(runs):
        return sentence("not run")
    rows = [row for row in of_table(set(runs.method)) if row in ROWS]
    lines = len(MEASURED) // 2
    figure = blank(WIDTH, (0.8 + 0.28 * len(rows)) * lines)
    panels = figure.subplots(lines, 2, sharey=True)
    for panel, metric in zip(panels.flat, MEASURED, strict=True):
        for y, method in enumerate(rows):
            values = runs.loc[runs.method == method, metric]
            _dots(panel, values, y, method)
        if "start" in set(runs.method):
            before = runs.loc[runs.method == "start", metric].mean()
            panel.axvline(before, color="black", ls="--", lw=0.8)
        panel.set_xlabel(f"{metric} (%)")
    for panel in panels[:, 0]:
        panel.set_yticks(range(len(rows)), [TWO_LINES[m] for m in rows], fontsize=9)
        panel.set_ylim(len(rows) - 0.5, -0.5)  # the table's first row on top
    return figure


def ablation_dots(runs: pd.DataFrame) -> Figure:
    """How far each ablation moves its row: one dot a seed, one bar a mean.

    The scale is linear up to one point on either side of zero and logarithmic beyond,
    so that small changes show beside a collapse.

    Args:
        runs: as ``qsel.experiments.ablations.gather`` returns them.
    """
    if not len(runs):
        return sentence("not run")
    pairs = ablations.shown(runs)
    figure = blank(WIDTH, 1.1 + 0.3 * len(pairs))
    panels = figure.subplots(1, 2, sharey=True)
    for panel, metric in zip(panels, ("R@1", "NMI"), strict=True):
        panel.axvline(0, color="black", lw=0.8)
        for y, (name, method) in enumerate(pairs):
            of_job = runs[(runs.ablation == name) & (runs.method == method)]
            _dots(panel, of_job[f"{metric} change"], y, method)
        panel.set_xscale("symlog", linthresh=1)
        reach = max(1.0, *runs[f"{metric} change"].abs().dropna())
        panel.set_xlim(-1.3 * reach, 1.3 * reach)
        ticks = (10,) if reach > 9 else (3,) if reach > 2.5 else (1,)
        ticks = [*(-tick for tick in ticks[::-1]), 0, *ticks]
        panel.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
        panel.minorticks_off()
        panel.set_xlabel(f"change in {metric}\n(points)")
    labels = [f"{name}, {TWO_LINES[method]}" for name, method in pairs]
    labels = [label.replace("\n(control)", "").replace("_", " ") for label in labels]
    panels[0].set_yticks(range(len(pairs)), labels, fontsize=9)
    panels[0].set_ylim(len(pairs) - 0.5, -0.5)
    return figure


def _dots(panel: Axes, values: pd.Series, y: int, method: str) -> None:
    look = dict(color=COLOURS[method], alpha=0.75, markeredgewidth=0, markersize=5)
    panel.plot(values, [y] * len(values), MARKERS[method], **look)
    if len(values):
        panel.plot([values.mean()] * 2, [y - 0.35, y + 0.35], color="black", lw=1.2)


def _signed(changes: pd.Series) -> str:
    """The mean change with its sign, and its spread over seeds."""
    changes = changes.dropna()
    if not len(changes):
        return "–"
    text = spread(changes)
    return text if text.startswith("-") else f"+{text}"
