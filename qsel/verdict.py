"""What runs with several seeds say about which of two methods is ahead.

The sentence is computed, so that a chapter cannot claim more than its runs show.
"""

from dataclasses import dataclass

import pandas as pd
from scipy import stats

LEVEL = 0.95  # of the confidence intervals


@dataclass(frozen=True)
class Difference:
    """By how much one method is ahead of another, over their runs.

    Attributes:
        first: a method.
        second: the method it is compared with.
        column: the metric.
        points: mean of the first less mean of the second, in percentage points.
        sds: standard deviation over the seeds, of the first and of the second; None
            with one run.
        seeds: runs of the first and of the second.
        half_width: of the confidence interval around ``points``; None where either
            method has one run only.
    """

    first: str
    second: str
    column: str
    points: float
    sds: tuple[float | None, float | None]
    seeds: tuple[int, int]
    half_width: float | None

    @property
    def verdict(self) -> str:
        """ "ahead", "behind", "level", or "unknown" with a single run."""
        if self.half_width is None:
            return "unknown"
        if abs(self.points) <= self.half_width:
            return "level"
        return "ahead" if self.points > 0 else "behind"

    def sentence(self, names: dict[str, str] | None = None) -> str:
        """One sentence on the two methods; ``names`` says what to call them."""
        first = (names or {}).get(self.first, self.first)
        second = (names or {}).get(self.second, self.second)
        if self.verdict == "unknown":
            return (
                f"{first} against {second}: {self.points:+.2f} {self.column}, but one "
                "run tells no order."
            )
        if self.verdict == "level":
            return (
                f"{first} and {second} are level in {self.column} "
                f"({self.points:+.2f} ± {self.half_width:.2f})."
            )
        place = "ahead of" if self.verdict == "ahead" else "behind"
        return (
            f"{first} is {place} {second} by {abs(self.points):.2f} ± "
            f"{self.half_width:.2f} in {self.column}."
        )


def compare(
    runs: pd.DataFrame, first: str, second: str, column: str = "R@1"
) -> Difference:
    """Compare two methods over their seeds.

    The interval is Welch's, at 95 %: the runs of a method are independent draws, and
    the two methods may spread differently. It speaks of other seeds on the same
    images, and not of other images.

    Args:
        runs: one row a run, as ``qsel.table1.gather`` gives it: columns "method" and
            the metrics, in percent.
        first: a method.
        second: another method.
        column: the metric.

    Raises:
        ValueError: no runs of a method, or no such metric.

    Example:
        >>> runs = pd.DataFrame({"method": ["a", "a", "b", "b"], "R@1": [9., 8, 2, 1]})
        >>> compare(runs, "a", "b").sentence()
        'a is ahead of b by 7.00 ± 3.04 in R@1.'
        >>> runs["R@1"] = [4.0, 1.0, 2.0, 3.0]
        >>> compare(runs, "a", "b").sentence()
        'a and b are level in R@1 (+0.00 ± 13.27).'
    """
    both = []
    for method in (first, second):
        if column not in runs or "method" not in runs:
            raise ValueError(
                f"no column {column!r} among {', '.join(map(str, runs.columns))}; "
                "expected a table as from qsel.table1.gather"
            )
        values = runs.loc[runs["method"] == method, column].to_numpy()
        if not len(values):
            raise ValueError(f"no runs of {method!r}; run `qsel table1` first")
        both.append(values)
    a, b = both
    points = float(a.mean() - b.mean())
    several = [len(values) > 1 for values in both]
    sds = tuple(
        float(values.std(ddof=1)) if more else None
        for values, more in zip(both, several, strict=True)
    )
    half_width = None
    if all(several):
        half_width = 0.0
        if any(sds):
            interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval(LEVEL)
            half_width = float(interval.high - interval.low) / 2
    return Difference(first, second, column, points, sds, (len(a), len(b)), half_width)
