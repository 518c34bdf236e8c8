"""What the runs say of the paper's questions, in sentences held to the records."""

from collections.abc import Sequence

import pandas as pd

from qsel.experiments.comparison import Comparison, judge, of_row
from qsel.experiments.rows import TITLES


def words(found: Comparison) -> str:
    """A comparison in points: difference, 95 % interval, and whether it is clear.

    Example:
        >>> found = Comparison((-1.0, -2.0), -1.5, -2.1, (-2.9, -0.1), 0.04, 0.08, 9)
        >>> print(words(found))
        −1.5 (−2.9 to −0.1), not clear
    """
    if found.interval is None:
        return "too few runs to tell"
    low, high = (_rounded(bound) for bound in found.interval)
    gap, clear = _rounded(found.difference), "clear" if found.clear else "not clear"
    return f"{'' if gap[0] == '−' else '+'}{gap} ({low} to {high}), {clear}"


def p_value(found: Comparison) -> str:
    """The p-value after Holm's correction, for a table or a sentence."""
    return "p < 0.001" if found.adjusted < 0.001 else f"p = {found.adjusted:.3f}"


# Rows, what each is compared with, and the answer if one is ahead, if none differs
# clearly, and if none is ahead but one is behind.
_QUESTIONS = {
    "a": (
        ("method1", "method2", "hardest_negative"),
        "random",
        "Selection beats random quadruplets",
        "No selection measurably beats random quadruplets",
        "Selection does not beat random quadruplets",
    ),
    "b": (
        ("method1", "method2"),
        "hardest_negative",
        "The rule for the positives adds to the hard negative",
        "The rules for the positives add nothing measurable to the hard negative",
        "The rules for the positives add nothing to the hard negative, and can cost",
    ),
    "c": (
        ("method2",),
        "classification",
        "The quadruplet loss adds to classification alone",
        "The quadruplet loss adds nothing measurable to classification alone",
        "The quadruplet loss does worse than classification alone",
    ),
    "d": (
        ("method2",),
        "fine_only",
        "The coarse level helps, against the same rule with fine labels alone",
        "The coarse level makes no measurable difference to the same rule with fine "
        "labels alone",
        "The coarse level hurts, against the same rule with fine labels alone",
    ),
    "e": (
        ("proxy_anchor", "multi_similarity"),
        "method2",
        "A present-day loss goes further than Method 2 ({method2})",
        "No present-day loss measurably beats Method 2 ({method2})",
        "No present-day loss beats Method 2 ({method2})",
    ),
    "f": (
        ("hard_sibling", "easy_positive", "nearest_all"),
        "hardest_negative",
        "Another rule for the positives beats random ones",
        "No other rule for the positives measurably beats random ones",
        "No other rule for the positives beats random ones, and some cost",
    ),
}
_NAMES = {
    "method1": "Method 1",
    "method2": "Method 2",
    "hardest_negative": "the hard negative with random positives",
    "proxy_anchor": "Proxy-Anchor",
    "multi_similarity": "Multi-Similarity",
    "hard_sibling": "the nearest P⁻",
    "easy_positive": "the nearest P⁺",
    "nearest_all": "the nearest of both",
}


def answers(runs: pd.DataFrame) -> dict[str, str]:
    """The questions behind the paper, each answered by one sentence.

    (a) Does any selection beat random quadruplets? (b) Does the positive rule add to
    the hard negative? (c) Does the quadruplet loss add to classification alone,
    equation (4)? (d) Does the coarse level help? (e) How far does a present-day loss
    get? And (f), does any other rule for the positives beat random ones? A question is
    left out if its rows were not run with two common seeds.

    Args:
        runs: as ``qsel.experiments.table1.gather`` returns them; those of several folds
            as ``qsel.experiments.comparison.over_folds`` joins them.

    Example:
        >>> runs = pd.DataFrame({"method": ["random"] * 3 + ["method1"] * 3,
        ...                      "seed": [0, 1, 2] * 2,
        ...                      "R@1": [61.0, 61.5, 62.0, 65.1, 65.4, 66.2]})
        >>> print(answers(runs)["a"])
        Selection beats random quadruplets: Method 1 gains 4.1 points of R@1 (95 % \
interval 3.7 to 4.4).
    """
    said = {}
    for letter, (rows, against, yes, no, worse) in _QUESTIONS.items():
        found = {row: judge(runs, row, against) for row in rows}
        found = {row: gap for row, gap in found.items() if gap.interval is not None}
        if not found:
            continue
        head = no
        if any(gap.ahead for gap in found.values()):
            head = yes
        elif any(gap.behind for gap in found.values()):
            head = worse
        reached = {row: _reached(runs, row) for row in (*found, against)}
        clauses = {True: [], False: []}  # the clear ones first
        for row, gap in sorted(found.items(), key=lambda of_row: not of_row[1].clear):
            name = _NAMES[row] + (f" ({reached[row]})" if letter == "e" else "")
            clauses[gap.clear].append(
                _clause(name, gap, first=not any(clauses.values()))
            )
        clear, unclear = _listed(clauses[True]), _listed(clauses[False])
        if clear and unclear:
            unclear += ", which is not clear"
        listed = "; ".join(filter(None, (clear, unclear)))
        said[letter] = f"{head.format(**reached)}: {listed}."
    return said


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _clause(name: str, gap: Comparison, first: bool) -> str:
    """One difference in words; the first of a sentence names the units."""
    points = f"{_rounded(abs(gap.difference))} points{' of R@1' * first}"
    span = f"({'95 % interval ' * first}{_span(gap)})"
    if gap.clear:
        return f"{name} {'gains' if gap.ahead else 'loses'} {points} {span}"
    return f"{name} is {points} {'below' if gap.difference < 0 else 'above'} {span}"


def _reached(runs: pd.DataFrame, method: str) -> str:
    """The mean R@1 of a row, over folds each with the same weight."""
    of_method = of_row(runs, method)
    if "fold" in of_method:
        of_method = of_method.groupby("fold")[["R@1"]].mean()
    return f"{of_method['R@1'].mean():.1f}"


def _span(found: Comparison, digits: int = 1) -> str:
    """The interval of the positive difference."""
    low, high = found.interval
    if found.difference < 0:
        low, high = -high, -low
    return f"{_rounded(low, digits)} to {_rounded(high, digits)}"


def _rounded(value: float, digits: int = 1) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")  # no −0.0


def against_recorded(here: pd.DataFrame, recorded: pd.DataFrame) -> str:
    """Where a machine's R@1 leaves the recorded runs of the same seeds, in a sentence.

    Another kind of processor rounds sums differently, and each step of the training
    enlarges the difference. A gap is named where its mean over the common seeds is
    larger than the standard deviation of the row's recorded seeds.

    Args:
        here: this machine's runs, as ``qsel.experiments.table1.gather`` has them.
        recorded: the recorded ones of the same preset and data.

    Example:
        >>> recorded = pd.DataFrame({"method": ["random"] * 3, "seed": [0, 1, 2],
        ...                          "R@1": [40.0, 41.0, 42.0]})
        >>> here = recorded.assign(**{"R@1": recorded["R@1"] + 3})[:2]
        >>> print(against_recorded(here, recorded)[:69])
        **This machine's runs differ from the recorded ones**, in R@1 of rows
    """
    far = []
    for method, title in TITLES.items():
        known, found = (
            of_row(runs, method).set_index("seed")["R@1"] if len(runs) else pd.Series()
            for runs in (recorded, here)
        )
        gaps = (found - known).dropna()
        if len(gaps) and len(known) > 1 and abs(gaps.mean()) > known.std():
            far.append(f"{title} by {gaps.mean():+.2f} points")
    if not far:
        return (
            "This machine's runs agree with the recorded ones of the same seeds: no "
            "row is further off in R@1 than its recorded seeds are apart (one sd)."
        )
    return (
        "**This machine's runs differ from the recorded ones**, in R@1 of rows and "
        f"seeds that both have: {', '.join(far)}. Another kind of processor rounds "
        "sums differently, and every step of the training enlarges that, so a few "
        "seeds of one machine are no verdict. The recorded runs, of more seeds, are "
        "the result."
    )
