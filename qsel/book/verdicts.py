"""What the runs say of two rows, in sentences that say no more than they show."""

import pandas as pd

from qsel.experiments.ablations import SWITCHES
from qsel.experiments.comparison import Comparison, Interval, ahead, compare, of_row
from qsel.experiments.rows import TITLES


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
        runs: as ``qsel.experiments.table1.gather`` returns them.
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


def ablation_verdict(
    runs: pd.DataFrame,
    base: pd.DataFrame,
    name: str,
    method: str,
    metric: str = "R@1",
    against: str | None = None,
) -> str:
    """A sentence on one ablation and the table's runs, by the table's two intervals.

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
