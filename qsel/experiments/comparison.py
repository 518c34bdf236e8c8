"""What the runs say of two rows: how far apart they are, and how sure that is.

Two questions have two answers. Would other *seeds* tell the same? A paired t-test over
the seeds. Would other *classes*? A bootstrap that draws the unseen classes anew. A row
is called ahead only if both intervals leave out zero.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from qsel.experiments.rows import QUADRUPLETS, ROWS

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
        one: runs of one row, as ``qsel.experiments.table1.gather`` has them, metrics in
            percent.
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
