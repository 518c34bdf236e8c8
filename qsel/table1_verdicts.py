"""What the runs say of two rows: how far apart they are, and how sure that is.

Two questions have two answers. Would other *seeds* tell the same? A paired t-test over
the seeds. Would other *classes*? A bootstrap that draws the unseen classes anew. A row
is called ahead only if both intervals leave out zero.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from qsel.methods import QUADRUPLETS, ROWS, TITLES

# What the paper claims; what the control decides; what the other objectives reach.
CLAIM = (("method2", "method1"), ("method1", "random"), ("method2", "random"))
CONTROL = (
    ("method2", "hardest_negative"),
    ("method1", "hardest_negative"),
    ("hardest_negative", "random"),
)
COMPARISONS = CLAIM + CONTROL
RIVALS = tuple(("method2", row) for row in ROWS if row not in QUADRUPLETS)
DRAWS = 10_000  # of the bootstrap
Interval = tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """How far one row is ahead of another, in percentage points of a metric.

    Attributes:
        gaps: of each common seed.
        difference: their mean.
        effect: the mean in standard deviations of the gaps, Cohen's d_z; none where
            they do not vary.
        over_seeds: 95 % interval of a paired t-test; none with fewer than two seeds.
        over_classes: 95 % interval of a bootstrap; none where hits were not counted.
        classes: how many unseen classes the bootstrap draws from.
    """

    gaps: tuple[float, ...]
    difference: float
    effect: float | None
    over_seeds: Interval | None
    over_classes: Interval | None
    classes: int

    @property
    def clear(self) -> dict[str, bool]:
        """Interval → whether it lies on the difference's side of zero."""
        sign = np.sign(self.difference)
        found = {"seeds": self.over_seeds, "classes": self.over_classes}
        return {
            over: bool(sign and min(sign * bound for bound in interval) > 0)
            for over, interval in found.items()
            if interval is not None
        }

    @property
    def ahead(self) -> bool:
        """Whether the first row is ahead, by every interval there is."""
        decided = self.over_seeds is not None and all(self.clear.values())
        return self.difference > 0 and decided


def compare(one: pd.DataFrame, other: pd.DataFrame, metric: str = "R@1") -> Comparison:
    """How far the runs of one row are ahead of those of another.

    Both rows of a seed start from the same weights, and rows with quadruplets see the
    references in the same order, so their difference varies less than either. Where
    both count their hits by class, as for R@1, the unseen classes are drawn anew with
    replacement, the same for both rows, and the gap of the draw is taken from hits
    averaged over the seeds.

    Args:
        one: runs of one row, as ``qsel.table1.gather`` has them, metrics in percent.
        other: runs of the other.
        metric: a column of both.

    Raises:
        ValueError: the two were tested on different classes.

    Example:
        >>> one = pd.DataFrame({"seed": [0, 1], "NMI": [2.0, 5.0]})
        >>> other = pd.DataFrame({"seed": [1, 0], "NMI": [2.0, 1.0]})
        >>> found = compare(one, other, "NMI")
        >>> found.gaps, found.difference, round(found.effect, 2)
        ((1.0, 3.0), 2.0, 1.41)
    """
    if not len(one) or not len(other):
        return Comparison((), float("nan"), None, None, None, 0)
    one, other = one.set_index("seed"), other.set_index("seed")
    seeds = sorted(set(one.index) & set(other.index))
    one, other = one.loc[seeds], other.loc[seeds]
    gaps = (one[metric] - other[metric]).to_numpy(dtype=float)  # (seeds,)
    mean = float(gaps.mean()) if seeds else float("nan")
    spread = float(gaps.std(ddof=1)) if len(gaps) > 1 else 0.0
    over_seeds = None
    if len(gaps) > 1:
        half = student_t.ppf(0.975, len(gaps) - 1) * spread / len(gaps) ** 0.5
        over_seeds = (mean - half, mean + half)
    over_classes, classes = None, 0
    if seeds and _counted(one, metric) and _counted(other, metric):
        images = _images(one, other)  # (F,)
        differences = _hits(one, metric) - _hits(other, metric)
        over_classes = over_drawn_classes(differences, images)
        classes = len(images)
    return Comparison(
        gaps=tuple(gaps.tolist()),
        difference=mean,
        effect=mean / spread if spread > 1e-9 else None,
        over_seeds=over_seeds,
        over_classes=over_classes,
        classes=classes,
    )


def over_drawn_classes(
    differences: np.ndarray, images: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """95 % percentile interval of a difference in R@1 over classes drawn anew.

    Args:
        differences: (F,) hits of one row minus hits of the other, of each class.
        images: (F,) images of each class.
        draws: how often F classes are drawn with replacement.
        seed: of the draws.

    Returns:
        The 2.5 and the 97.5 percentile, in percentage points.

    Example:
        >>> low, high = over_drawn_classes(np.array([1, 1, 1]), np.array([4, 4, 4]))
        >>> low, high
        (25.0, 25.0)
    """
    f = len(images)
    drawn = np.random.default_rng(seed).integers(f, size=(draws, f))
    gaps = 100 * differences[drawn].sum(1) / images[drawn].sum(1)  # (draws,)
    low, high = np.quantile(gaps, [0.025, 0.975])
    return float(low), float(high)


def of_row(runs: pd.DataFrame, method: str) -> pd.DataFrame:
    """The runs of one row; none of an empty frame."""
    return runs[runs.method == method] if len(runs) else runs


def paired(runs: pd.DataFrame, a: str, b: str, metric: str = "R@1") -> pd.Series:
    """How far method a is ahead of method b, seed by seed, in percentage points.

    Example:
        >>> runs = pd.DataFrame({"method": ["method1", "method2"] * 2,
        ...                      "seed": [0, 0, 1, 1], "R@1": [1.0, 2.0, 2.0, 5.0]})
        >>> paired(runs, "method2", "method1").tolist()
        [1.0, 3.0]
    """
    found = compare(of_row(runs, a), of_row(runs, b), metric)
    return pd.Series(found.gaps, dtype=float)


def ahead(runs: pd.DataFrame, a: str, b: str, metric: str = "R@1") -> bool:
    """Whether method a is ahead of method b by all intervals."""
    return compare(of_row(runs, a), of_row(runs, b), metric).ahead


def verdict(runs: pd.DataFrame, a: str, b: str, metric: str = "R@1") -> str:
    """A sentence on two rows that says no more than the runs show.

    Example:
        >>> runs = pd.DataFrame({"method": ["random", "method2"] * 3,
        ...                      "seed": [0, 0, 1, 1, 2, 2],
        ...                      "NMI": [40.0, 49.0, 40.5, 49.2, 39.8, 49.1]})
        >>> print(verdict(runs, "method2", "random", "NMI"))
        Proposed Method 2 is ahead of Random Quadruplet Selection in NMI by 9.00 \
points, 30.0 standard deviations of the seeds (95 % interval over 3 seeds 8.25 to \
9.75; classes were not drawn anew).
    """
    found = compare(of_row(runs, a), of_row(runs, b), metric)
    return sentence(found, TITLES[a], TITLES[b], metric)


def sentence(found: Comparison, one: str, other: str, metric: str = "R@1") -> str:
    """A comparison in words: the size first, then how sure it is.

    "Ahead" only where every interval leaves out zero, no verdict where none does; where
    the two disagree, the sentence says which is which.

    Args:
        found: of the runs called ``one`` with those called ``other``.
        one: a name.
        other: a name.
        metric: what was compared.

    Example:
        >>> found = Comparison((-1.0, -2.0), -1.5, -2.1, (-7.9, 4.9), (-2.0, -1.0), 9)
        >>> print(sentence(found, "A", "B"))
        B is 1.50 points above A in R@1, 2.1 standard deviations of the seeds: clear \
over classes, not over seeds (95 % intervals: over 2 seeds -4.90 to 7.90, over 9 \
classes 1.00 to 2.00).
    """
    if found.over_seeds is None:
        count = len(found.gaps)
        seeds = f"{count or 'no'} common seed{'s' * (count != 1)}"
        return f"{one} and {other} in {metric}: {seeds}, too few to tell."
    if found.difference < 0:
        one, other = other, one
    points, effect = f"{abs(found.difference):.2f} points", ""
    if found.effect is not None:
        effect = f", {abs(found.effect):.1f} standard deviations of the seeds"
    clear = found.clear
    if all(clear.values()):
        words = f"{one} is ahead of {other} in {metric} by {points}{effect}"
    elif not any(clear.values()):
        words = f"{one} and {other} cannot be told apart in {metric}: a difference of "
        words += f"{points}{effect}"
    else:
        sure, unsure = sorted(clear, key=clear.get, reverse=True)
        words = f"{one} is {points} above {other} in {metric}{effect}: "
        words += f"clear over {sure}, not over {unsure}"
    return f"{words[0].upper()}{words[1:]} ({_intervals(found)})."


def on_the_control(runs: pd.DataFrame, alike: bool = False) -> str:
    """What the control says of the paper's point, in R@1, and no more than that.

    Args:
        runs: as ``qsel.table1.gather`` returns them.
        alike: all rows were run with one setting, so that no gain can come from it.

    Example:
        >>> on_the_control(pd.DataFrame())
        'The control was not run often enough to tell.'
    """
    control = of_row(runs, "hardest_negative")
    others = ("random", "method1", "method2")
    if any(compare(of_row(runs, m), control).over_seeds is None for m in others):
        return "The control was not run often enough to tell."
    better = [m for m in ("method1", "method2") if ahead(runs, m, "hardest_negative")]
    behind = [m for m in ("method1", "method2") if ahead(runs, "hardest_negative", m)]
    if better:
        names = " and ".join(TITLES[method] for method in better)
        adds = "adds" if alike else "or the settings that it won with, adds"
        said = (
            f"{names} {'are' if len(better) > 1 else 'is'} ahead of the control in "
            "R@1: here the nearest negative is not all, and the rule for the "
            f"positives{' ' if alike else ', '}{adds} to it."
        )
    elif ahead(runs, "hardest_negative", "random"):
        said = (
            "Neither method is ahead of the control in R@1, and the control is ahead "
            "of Random: here the nearest negative alone brings a gain, and the rules "
            "for the positives add nothing to it that shows."
        )
    else:
        said = (
            "Neither method is ahead of the control in R@1, nor the control of Random: "
            "here no gain shows, of the negative or of the positives."
        )
    if behind:
        names = " and ".join(TITLES[method] for method in behind)
        said += f" The control is ahead of {names}: there the rule costs something."
    return said


def _intervals(found: Comparison) -> str:
    seeds = f"over {len(found.gaps)} seeds {_span(found.over_seeds, found.difference)}"
    if found.over_classes is None:
        return f"95 % interval {seeds}; classes were not drawn anew"
    classes = _span(found.over_classes, found.difference)
    return f"95 % intervals: {seeds}, over {found.classes} classes {classes}"


def _span(interval: Interval, difference: float) -> str:
    """An interval of the positive difference."""
    low, high = interval if difference >= 0 else (-interval[1], -interval[0])
    return f"{round(low, 2) + 0.0:.2f} to {round(high, 2) + 0.0:.2f}"  # no -0.00


def _counted(runs: pd.DataFrame, metric: str) -> bool:
    """Whether all runs counted their hits by class."""
    return "by_class" in runs and all(metric in counts for counts in runs.by_class)


def _images(*rows: pd.DataFrame) -> np.ndarray:
    """(F,) images of each class, the same in all runs."""
    counts = {tuple(counts["images"]) for runs in rows for counts in runs.by_class}
    if len(counts) > 1:
        raise ValueError(
            "the runs were tested on different classes, and do not compare class by "
            "class; give runs of one data set"
        )
    return np.array(counts.pop())


def _hits(runs: pd.DataFrame, metric: str) -> np.ndarray:
    """(F,) hits of each class, averaged over runs."""
    return np.mean([counts[metric] for counts in runs.by_class], axis=0)
