"""What the runs say of two rows: how far apart they are, and how sure that is.

Other seeds and other unseen classes would give another difference. One interval holds
both: a bootstrap draws the classes anew, the same for both rows, and Student's t stands
for other seeds. A row is ahead if the p-value of that bootstrap stays below 0.05 after
Holm's correction for all comparisons that were stated with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from qsel.experiments import row_names

# What the paper claims; what the control decides; what the other objectives reach.
CLAIM = (("method2", "method1"), ("method1", "random"), ("method2", "random"))
CONTROL = (
    ("method2", "hardest_negative"),
    ("method1", "hardest_negative"),
    ("hardest_negative", "random"),
)
COMPARISONS = CLAIM + CONTROL
RIVALS = tuple(("method2", row) for row in (*row_names.RIVALS, "fine_only"))
# Other rules for the positives, around the same negative.
OTHER_POSITIVES = tuple(
    (row, "hardest_negative") for row in row_names.VARIANTS if row != "fine_only"
)
DRAWS = 10_000  # of the bootstrap
LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """How far one row is ahead of another, in percentage points of a metric.

    Attributes:
        gaps: of each common seed, fold after fold.
        difference: their mean, over folds weighed by images.
        effect: the difference in standard deviations of a fold's gaps, Cohen's d_z;
            none where they do not vary.
        interval: 95 %, over seeds and classes; none where a fold has one common seed.
        p: two-sided, of no difference.
        adjusted: the same after Holm's correction, see ``judged``.
        classes: how many unseen classes were drawn anew; 0 where hits were not counted
            by class, so that the interval is one over seeds alone.
    """

    gaps: tuple[float, ...] = ()
    difference: float = float("nan")
    effect: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    adjusted: float | None = None
    classes: int = 0

    @property
    def clear(self) -> bool:
        """Whether one of the rows is ahead of the other."""
        return self.adjusted is not None and self.adjusted < LEVEL

    @property
    def ahead(self) -> bool:
        """Whether the first row is ahead of the second."""
        return self.difference > 0 and self.clear

    @property
    def behind(self) -> bool:
        """Whether the second row is ahead of the first."""
        return self.difference < 0 and self.clear


def compare(one: pd.DataFrame, other: pd.DataFrame, metric: str = "R@1") -> Comparison:
    """How far the runs of one row are ahead of those of another.

    Both rows of a seed start from the same weights, and rows with quadruplets see the
    references in the same order, so their difference varies less than either.

    Each draw of the bootstrap takes the classes of a fold anew with replacement, the
    same for both rows and all seeds, and adds a step of Student's t in standard errors
    of the gaps of the seeds. Drawing three seeds with replacement too would be too
    sure where seeds matter, for the reason for which t replaces the normal distribution
    there: in simulations such intervals hold the true difference 84 times in a hundred.
    The noise of a class in a seed shows in both parts, so it is taken out once, as
    two-way clustered standard errors do (Cameron, Gelbach and Miller, 2011). With
    three seeds and 98 classes, whatever varies most, the interval then holds the
    difference 94 to 99 times, with five 94 to 98 times.

    Args:
        one: runs of one row, as ``qsel.experiments.table1.gather`` has them, metrics in
            percent; those of several folds as ``over_folds`` joins them.
        other: runs of the other.
        metric: a column of both. Where they do not count it by class, as NMI, the
            interval is that of the paired t-test over seeds.

    Raises:
        ValueError: the two were tested on different classes.

    Example:
        >>> one = pd.DataFrame({"seed": [0, 1], "NMI": [2.0, 5.0]})
        >>> other = pd.DataFrame({"seed": [1, 0], "NMI": [2.0, 1.0]})
        >>> found = compare(one, other, "NMI")
        >>> found.gaps, found.difference, round(found.effect, 2)
        ((1.0, 3.0), 2.0, 1.41)
    """
    gaps, drawn, weights, classes = [], [], [], 0
    for fold, (a, b) in enumerate(_folds(one, other)):
        gaps.append((a[metric] - b[metric]).to_numpy(dtype=float))  # (seeds,)
        images = _images(a, b)
        weights.append(images.sum())
        if len(gaps[-1]) < 2:
            continue
        differences = None
        if all(metric in counts for runs in (a, b) for counts in _counts(runs)):
            differences = _hits(a, metric) - _hits(b, metric)  # (seeds, F)
            classes += len(images)
        drawn.append(_drawn_gaps(gaps[-1], differences, images, fold))
    if not gaps:
        return Comparison()
    shares = np.divide(weights, sum(weights))
    found = Comparison(
        tuple(np.concatenate(gaps).tolist()),
        float(shares @ [of_fold.mean() for of_fold in gaps]),
    )
    if len(drawn) < len(gaps):
        return found
    steps = np.concatenate([of_fold - of_fold.mean() for of_fold in gaps])
    spread = float(np.sqrt((steps**2).sum() / (len(steps) - len(gaps))))
    draws = shares @ drawn  # (DRAWS,)
    bounds = np.quantile(draws, [LEVEL / 2, 1 - LEVEL / 2], method="hazen")
    beyond = min((draws <= 0).sum(), (draws >= 0).sum())
    p = min(1.0, 2 * (1 + int(beyond)) / (1 + len(draws)))
    return replace(
        found,
        effect=found.difference / spread if spread > 1e-9 else None,
        interval=tuple(bounds.tolist()),
        p=p,
        adjusted=p,
        classes=classes,
    )


def judged(
    runs: pd.DataFrame,
    comparisons: Sequence[tuple[str, str]] = COMPARISONS,
    metric: str = "R@1",
) -> dict[tuple[str, str], Comparison]:
    """Pairs of rows compared, with p adjusted by Holm for their number.

    Pairs that were not run often enough are not counted.

    Example:
        >>> runs = pd.DataFrame({"method": ["method1", "method2"] * 2,
        ...                      "seed": [0, 0, 1, 1], "R@1": [1.0, 2.0, 2.0, 3.1]})
        >>> pairs = [("method2", "method1"), ("method1", "method1")]
        >>> {pair[0]: f"{found.p:.3f} {found.adjusted:.3f}"
        ...  for pair, found in judged(runs, pairs).items()}
        {'method2': '0.031 0.061', 'method1': '1.000 1.000'}
    """
    found = {
        (a, b): compare(of_row(runs, a), of_row(runs, b), metric)
        for a, b in comparisons
    }
    tested = [pair for pair in found if found[pair].p is not None]
    tested.sort(key=lambda pair: found[pair].p)
    least = 0.0
    for k, pair in enumerate(tested):
        least = min(1.0, max(least, (len(tested) - k) * found[pair].p))
        found[pair] = replace(found[pair], adjusted=least)
    return found


def judge(runs: pd.DataFrame, a: str, b: str, metric: str = "R@1") -> Comparison:
    """Method a compared with method b, adjusted for the pairs that it was stated with.

    Those are ``COMPARISONS``, ``RIVALS`` or ``OTHER_POSITIVES``, in either order; any
    other pair stands alone.
    """
    pair, families = {(a, b), (b, a)}, (COMPARISONS, RIVALS, OTHER_POSITIVES)
    stated = next((pairs for pairs in families if pair & {*pairs}), ())
    others = [other for other in stated if other not in pair]
    return judged(runs, [(a, b), *others], metric)[a, b]


def ahead(runs: pd.DataFrame, a: str, b: str, metric: str = "R@1") -> bool:
    """Whether method a is ahead of method b, see ``judge``."""
    return judge(runs, a, b, metric).ahead


def over_folds(*folds: pd.DataFrame) -> pd.DataFrame:
    """The runs of several folds as one table: each has its own seeds and classes."""
    return pd.concat(
        [runs.assign(fold=fold) for fold, runs in enumerate(folds, start=1)],
        ignore_index=True,
    )


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


def _folds(
    one: pd.DataFrame, other: pd.DataFrame
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Of each fold the runs of the seeds that both have, in their order."""
    if not len(one) or not len(other):
        return
    key = ["fold", "seed"]
    one, other = (
        (runs if "fold" in runs else runs.assign(fold=1)).set_index(key)
        for runs in (one, other)
    )
    common = one.index.intersection(other.index).sort_values()
    for fold in common.unique("fold"):
        rows = common[common.get_level_values("fold") == fold]
        yield one.loc[rows], other.loc[rows]


def _drawn_gaps(
    gaps: np.ndarray, differences: np.ndarray | None, images: np.ndarray, fold: int
) -> np.ndarray:
    """(DRAWS,) gaps of other seeds and classes of one fold, in percentage points.

    Args:
        gaps: (S,) of the seeds.
        differences: (S, F) hits of one row minus hits of the other; none where they
            were not counted.
        images: (F,) of each class.
        fold: two folds draw differently.
    """
    s = len(gaps)
    of_seeds = gaps.var(ddof=1) / s
    steps = of_seeds**0.5 * _steps_of_t(s - 1, fold)
    # Either sign of a step, so that swapping the rows flips the sign of the draws
    if differences is None:
        return gaps.mean() + np.concatenate([steps, -steps])
    f, times = len(images), _times_drawn(len(images), fold)  # (DRAWS / 2, F)
    hits = differences.mean(0)
    drawn = 100 * (times @ hits) / (times @ images) - gaps.mean()
    # How far each class moves the gap of each seed, and what is left of that without
    # the class's and the seed's own part
    pulls = 100 * f * (differences - images * hits.sum() / images.sum()) / images.sum()
    left = pulls - pulls.mean(0) - pulls.mean(1, keepdims=True)  # their mean is 0
    noise = (left**2).sum() / (s * f * (s - 1) * max(f - 1, 1))
    of_classes = pulls.mean(0).var() / f
    twice = of_seeds + of_classes  # the noise is in both
    once = max(of_seeds, of_classes, twice - noise)
    shrink = (once / twice) ** 0.5 if twice else 1.0
    return gaps.mean() + shrink * np.concatenate([drawn + steps, drawn - steps])


@cache
def _times_drawn(classes: int, fold: int) -> np.ndarray:
    """(DRAWS / 2, F) how often each draw has each class."""
    random = np.random.default_rng(fold)
    shares = np.full(classes, 1 / classes)
    return random.multinomial(classes, shares, DRAWS // 2).astype(float)


@cache
def _steps_of_t(freedom: int, fold: int) -> np.ndarray:
    """(DRAWS / 2,) quantiles of Student's t, in an order of chance."""
    shares = (np.arange(DRAWS // 2) + 0.5) / (DRAWS // 2)
    return np.random.default_rng([1, fold]).permutation(student_t.ppf(shares, freedom))


def _counts(runs: pd.DataFrame) -> list[dict[str, list[int]]]:
    """Counts by class of each run."""
    return list(runs.by_class) if "by_class" in runs else [{}]


def _images(*rows: pd.DataFrame) -> np.ndarray:
    """(F,) images of each class, the same in all runs; 1 where none are counted."""
    counts = {tuple(c.get("images", [1])) for runs in rows for c in _counts(runs)}
    if len(counts) > 1:
        raise ValueError(
            "the runs were tested on different classes, and do not compare class by "
            "class; give runs of one data set"
        )
    return np.array(counts.pop())


def _hits(runs: pd.DataFrame, metric: str) -> np.ndarray:
    """(S, F) hits of each run and class."""
    return np.array([counts[metric] for counts in _counts(runs)], dtype=float)
