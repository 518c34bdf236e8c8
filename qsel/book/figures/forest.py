"""One line for each comparison and each recorded setting: a forest plot."""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qsel.book.figures import HUES, blank, sentence
from qsel.experiments import table1
from qsel.experiments.comparison import (
    COMPARISONS,
    RIVALS,
    Comparison,
    judged,
    over_folds,
)

# What was trained, on what; each with its folder below results/.
SETTINGS = {
    "photographs, trained upper trunk": "stanford_cars-parts=train/upper",
    "photographs, frozen trunk": "stanford_cars-parts=train/frozen",
    "SynthCars, whole network": table1.RECORDED_SYNTHCARS,
}
PAIRS = (
    *COMPARISONS,
    *(("method2", row) for row in ("classification", "multi_similarity", "fine_only")),
)
NAMES = {
    "random": "Random",
    "hardest_negative": "control",
    "method1": "Method 1",
    "method2": "Method 2",
    "classification": "classification alone",
    "multi_similarity": "Multi-Similarity",
    "fine_only": "fine labels alone",
}
COLOURS = dict(zip(SETTINGS, HUES, strict=False))


def recorded(results: Path) -> dict[str, pd.DataFrame]:
    """The runs of each setting that has records, both folds of it where both are there.

    Args:
        results: the folder that holds all records.
    """
    found = {}
    for title, folder in SETTINGS.items():
        folds = (folder, folder.replace("parts=train", "parts=train-fold=2"))
        runs = [table1.gather(results / fold) for fold in dict.fromkeys(folds)]
        if runs := [of_fold for of_fold in runs if len(of_fold)]:
            found[title] = over_folds(*runs) if len(runs) > 1 else runs[0]
    return found


def differences(
    settings: Mapping[str, pd.DataFrame],
) -> dict[tuple[str, str], dict[str, Comparison]]:
    """Pair of rows → setting → how far the first is ahead in R@1.

    Args:
        settings: title → runs, as ``recorded`` returns them. Pairs that a setting has
            not run with two common seeds are left out.
    """
    of = {
        title: judged(runs, COMPARISONS) | judged(runs, RIVALS)
        for title, runs in settings.items()
    }
    found = {pair: {title: of[title][pair] for title in settings} for pair in PAIRS}
    found = {
        pair: {title: gap for title, gap in of_pair.items() if gap.interval}
        for pair, of_pair in found.items()
    }
    return {pair: of_pair for pair, of_pair in found.items() if of_pair}


def forest(settings: Mapping[str, pd.DataFrame]) -> Figure:
    """How far one row is ahead of another in R@1, with 95 % intervals.

    A filled dot says that a row is ahead after Holm's correction, a hollow one that the
    two cannot be told apart. Narrow enough for a telephone.

    Args:
        settings: title → runs, as ``recorded`` returns them.
    """
    found = differences(settings)
    if not found:
        return sentence("not run")
    rows = sum(1.3 + len(of_pair) for of_pair in found.values())
    figure = blank(4.4, 1.2 + 0.17 * len(settings) + 0.19 * rows)
    ax = figure.subplots()
    ax.axvline(0, color="black", lw=0.8)
    y = 0.0
    for (a, b), of_pair in found.items():
        words = f"{NAMES[a]} − {NAMES[b]}"
        beside = {"xycoords": ("axes fraction", "data"), "va": "center"}
        plate = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # over the line
        ax.annotate(words, (0, y), bbox=plate, **beside)
        for title, gap in of_pair.items():
            y += 1
            colour = COLOURS[title]
            ax.plot(gap.interval, [y, y], color=colour, lw=1.6)
            face = colour if gap.clear else "white"
            ax.plot(gap.difference, y, "o", color=colour, mfc=face, ms=5.5, mew=1.5)
        y += 1.3
    ax.set(ylim=(y - 0.6, -0.7), yticks=[], xlabel="difference in R@1 (points)")
    ax.spines["left"].set_visible(False)
    look = {"lw": 1.6, "marker": "o", "ms": 5.5}
    handles = [Line2D([], [], color=COLOURS[title], **look) for title in settings]
    figure.legend(handles, list(settings), loc="outside lower left", fontsize=9)
    return figure


def described(settings: Mapping[str, pd.DataFrame]) -> str:
    """What the forest plot shows, for those who cannot see it.

    Args:
        settings: title → runs, as ``recorded`` returns them.
    """
    lines = []
    for (a, b), of_pair in differences(settings).items():
        values = [
            f"{title} {gap.difference:.1f} ({gap.interval[0]:.1f} to "
            f"{gap.interval[1]:.1f}, {'clear' if gap.clear else 'not clear'})"
            for title, gap in of_pair.items()
        ]
        lines.append(f"{NAMES[a]} minus {NAMES[b]}: {'; '.join(values)}.")
    if not lines:
        return "Not run."
    start = "Differences in R@1 in points, with 95 % intervals and a line at zero."
    said = " ".join([start, *lines])
    return re.sub(r"-0\.0\b", "0.0", said).replace(" -", " −").replace("(-", "(−")
