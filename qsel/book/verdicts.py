"""What the runs say of two rows, in sentences that say no more than they show."""

from collections.abc import Sequence

import pandas as pd

from qsel.experiments.ablations import SWITCHES
from qsel.experiments.comparison import Comparison, compare, judge, judged, of_row
from qsel.experiments.rows import TITLES


def verdict(runs: pd.DataFrame, a: str, b: str, metric: str = "R@1") -> str:
    """A sentence on two rows that says no more than the runs show.

    Example:
        >>> runs = pd.DataFrame({"method": ["random", "method2"] * 3,
        ...                      "seed": [0, 0, 1, 1, 2, 2],
        ...                      "NMI": [40.0, 49.0, 40.5, 49.2, 39.8, 49.1]})
        >>> print(verdict(runs, "method2", "random", "NMI"))
        Proposed Method 2 is ahead of Random Quadruplet Selection in NMI by 9.00 \
points (95 % interval over 3 seeds 8.25 to 9.75, p < 0.001; classes were not drawn \
anew).
    """
    found = judge(runs, a, b, metric)
    return sentence(found, TITLES[a], TITLES[b], metric)


def sentence(found: Comparison, one: str, other: str, metric: str = "R@1") -> str:
    """A comparison in words: the size first, then how sure it is.

    Args:
        found: of the runs called ``one`` with those called ``other``.
        one: a name.
        other: a name.
        metric: what was compared.

    Example:
        >>> found = Comparison((-1.0, -2.0), -1.5, -2.1, (-2.9, -0.1), 0.04, 0.08, 9)
        >>> print(sentence(found, "A", "B"))
        B and A cannot be told apart in R@1: a difference of 1.50 points (95 % \
interval over 2 seeds and 9 classes 0.10 to 2.90, p = 0.080 after Holm's correction).
    """
    count = len(found.gaps)
    seeds = f"{count or 'no'} common seed{'s' * (count != 1)}"
    if found.interval is None:
        return f"{one} and {other} in {metric}: {seeds}, too few to tell."
    if found.difference < 0:
        one, other = other, one
    points = f"{abs(found.difference):.2f} points"
    if found.clear:
        words = f"{one} is ahead of {other} in {metric} by {points}"
    else:
        words = f"{one} and {other} cannot be told apart in {metric}: a difference of "
        words += points
    over = seeds.replace(" common", "")
    if found.classes:
        over += f" and {found.classes} class{'es' * (found.classes != 1)}"
    p = "p < 0.001" if found.adjusted < 0.001 else f"p = {found.adjusted:.3f}"
    if found.adjusted > found.p:
        p += " after Holm's correction"
    if not found.classes:
        p += "; classes were not drawn anew"
    span = _span(found, 2)
    return f"{words[0].upper()}{words[1:]} (95 % interval over {over} {span}, {p})."


def on_the_control(runs: pd.DataFrame, alike: bool = False) -> str:
    """What the control says of the paper's point, in R@1, and no more than that.

    Args:
        runs: as ``qsel.experiments.table1.gather`` returns them.
        alike: all rows were run with one setting, so that no gain can come from it.

    Example:
        >>> on_the_control(pd.DataFrame())
        'The control was not run often enough to tell.'
    """
    found = judged(runs)
    if any(c.p is None for pair, c in found.items() if "hardest_negative" in pair):
        return "The control was not run often enough to tell."
    methods = [(m, found[m, "hardest_negative"]) for m in ("method1", "method2")]
    better = [method for method, of_method in methods if of_method.ahead]
    behind = [method for method, of_method in methods if of_method.behind]
    if better:
        names = " and ".join(TITLES[method] for method in better)
        adds = "adds" if alike else "or the settings that it won with, adds"
        said = (
            f"{names} {'are' if len(better) > 1 else 'is'} ahead of the control in "
            "R@1: here the nearest negative is not all, and the rule for the "
            f"positives{' ' if alike else ', '}{adds} to it."
        )
    elif found["hardest_negative", "random"].ahead:
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
}
_NAMES = {
    "method1": "Method 1",
    "method2": "Method 2",
    "hardest_negative": "the hard negative with random positives",
    "proxy_anchor": "Proxy-Anchor",
    "multi_similarity": "Multi-Similarity",
}


def answers(runs: pd.DataFrame, ablated: pd.DataFrame | None = None) -> dict[str, str]:
    """The five questions behind the paper, each answered by one sentence.

    (a) Does any selection beat random quadruplets? (b) Does the positive rule add to
    the hard negative? (c) Does the quadruplet loss add to classification alone,
    equation (4)? (d) Does the coarse level help? (e) How far does a present-day loss
    get? A question is left out if its rows were not run with two common seeds.

    Args:
        runs: as ``qsel.experiments.table1.gather`` returns them; those of several folds
            as ``qsel.experiments.comparison.over_folds`` joins them.
        ablated: as ``qsel.experiments.ablations.gather`` returns them; if it has
            "fine_only", that stands for the row of that name.

    Example:
        >>> runs = pd.DataFrame({"method": ["random"] * 3 + ["method1"] * 3,
        ...                      "seed": [0, 1, 2] * 2,
        ...                      "R@1": [61.0, 61.5, 62.0, 65.1, 65.4, 66.2]})
        >>> print(answers(runs)["a"])
        Selection beats random quadruplets: Method 1 gains 4.1 points of R@1 (95 % \
interval 3.7 to 4.4).
    """
    if ablated is not None and len(ablated):
        fine_only = ablated[ablated.ablation == "fine_only"]
        runs = pd.concat(
            [runs, of_row(fine_only, "method2").assign(method="fine_only")]
        )
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


def ablation_verdict(
    runs: pd.DataFrame,
    base: pd.DataFrame,
    name: str,
    method: str,
    metric: str = "R@1",
    against: str | None = None,
) -> str:
    """A sentence on one ablation and the table's runs, judged by itself.

    Args:
        runs: as ``qsel.experiments.ablations.gather`` returns them.
        base: the table's own runs.
        name: of ``SWITCHES``.
        method: the row that it was run with.
        metric: a column of both.
        against: the row of the table to compare with; by default the same one.
    """
    of_switch = runs[runs.ablation == name] if len(runs) else runs
    found = compare(of_row(of_switch, method), of_row(base, against or method), metric)
    words = f"“{SWITCHES[name].words}” ({TITLES[method]})"
    other = TITLES[against] if against else "the row's own setting"
    return sentence(found, words, other, metric)


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
