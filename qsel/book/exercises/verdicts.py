"""Exercises of chapters 4, 4.1 and 5: what numbers say, and how surely."""

from itertools import count

import numpy as np
import pandas as pd
import torch
from scipy.stats import t, ttest_1samp

from qsel import nmi
from qsel.book.exercises import exercise, hold, near
from qsel.experiments.comparison import Comparison, compare


def _compare(one: dict[int, float], other: dict[int, float]) -> Comparison:
    """Two rows of runs, seed → a metric in percent, as the book compares them."""
    tables = (
        pd.DataFrame({"seed": list(row), "NMI": list(row.values())}, dtype=float)
        for row in (one, other)
    )
    return compare(*tables, "NMI")


def _ahead(gaps: list[float]) -> bool:
    return _compare(dict(enumerate(gaps)), dict.fromkeys(range(len(gaps)), 0.0)).ahead


# --- chapter 4 -------------------------------------------------------------------


@exercise("4a")
def every_photograph_twice(answer: object) -> str:
    """Recall@1 of a set in which each photograph stands twice, in percent."""
    near(answer, 100, 0.5, {1: "that is a fraction; expected percent"})
    return "100 % even for random embeddings: the copy is always nearest."


@exercise("4b")
def nmi_of_nothing(answer: object) -> str:
    """NMI of random embeddings of 400 samples in 40 classes."""
    g = torch.Generator().manual_seed(0)
    found = nmi(torch.randn(400, 16, generator=g), torch.arange(400) // 10)
    near(answer, found, 0.06)
    return (
        f"{found:.2f} in another draw. NMI is not corrected for chance: many small "
        "clusters agree with anything to some degree."
    )


@exercise("4c")
def ahead_or_not(answer: object) -> str:
    """Against the verdict over seeds of ``qsel.experiments.comparison``."""
    g = np.random.default_rng(0)
    cases = [
        ("five gaps around 1", [0.8, 1.1, 0.9, 1.3, 1.0]),
        ("five gaps around 0", [0.4, -0.3, 0.2, -0.5, 0.1]),
        ("a row that is clearly behind", [-0.8, -1.1, -0.9]),
        ("three gaps that only a normal distribution calls clear", [0.2, 0.6, 1.0]),
        ("a single seed", [2.0]),
        ("three equal gaps", [0.5, 0.5, 0.5]),
        ("three gaps of zero", [0.0, 0.0, 0.0]),
    ]
    cases += [
        (f"gaps drawn at random, {n} seeds", g.normal(0.4, 0.5, n).round(2).tolist())
        for n in range(2, 12)
    ]
    named = [(what, (gaps,)) for what, gaps in cases]
    hold(answer, named, _ahead)
    return f"It decides {len(named)} sets of gaps as the book does, over seeds."


# --- chapter 4.1 -----------------------------------------------------------------


@exercise("4.1b")
def how_many_false_alarms(answer: object) -> str:
    """Forty switches without effect, three seeds each."""
    draws = np.random.default_rng(0).normal(size=(40_000, 3))
    p = ttest_1samp(draws, 0, axis=1).pvalue
    one, held = 40 * (p < 0.05).mean(), 40 * (p < 0.05 / 40).mean()
    near(answer, one, 0.3, {one / 2: "a switch may seem to help, or to harm"})
    return (
        f"About {one:.0f} of forty; {held:.2f} if p has to stay below 0.05/40, which "
        "Holm's correction asks of the smallest."
    )


@exercise("4.1c")
def seed_by_seed(answer: object) -> str:
    """Against the paired difference of ``qsel.experiments.comparison``."""
    g = np.random.default_rng(0)
    level = g.normal(50, 3, 6)  # what a seed gives to both
    switch = {s: round(level[s] + 0.5, 2) for s in range(6)}
    base = {s: round(level[s], 2) for s in range(6)}
    cases = [
        ("six common seeds", (switch, base)),
        ("three of six seeds", ({s: switch[s] for s in (0, 3, 4)}, base)),
        ("seeds in another order", (dict(reversed(switch.items())), base)),
        ("one common seed", ({5: switch[5], 9: 80.0}, base)),
        ("no common seed", ({7: 50.0, 8: 51.0}, base)),
    ]
    hold(answer, cases, lambda a, b: _compare(a, b).difference, 1e-6)
    return f"It agrees on {len(cases)} pairs of rows; without a common seed, NaN."


# --- chapter 5 -------------------------------------------------------------------


def _seeds(difference: float, deviation: float) -> int:
    """The least number of seeds at which Student's t calls the difference clear."""
    return next(
        n
        for n in count(2)
        if t.ppf(0.975, n - 1) * deviation / n**0.5 < abs(difference)
    )


@exercise("5b")
def how_many_seeds(answer: object) -> str:
    """For a gap of 0.3 with a standard deviation of 0.5."""
    truth = _seeds(0.3, 0.5)
    near(answer, truth, 0.1, {11: "that is with 1.96; few seeds need Student's t"})
    return f"{truth} seeds of two rows: {2 * truth} runs for three tenths of a point."


@exercise("5c")
def seeds_needed(answer: object) -> str:
    """Against the book's own verdicts on made-up gaps."""
    pairs = ((0.3, 0.5), (1.0, 0.5), (0.2, 0.5), (-0.3, 0.5), (0.5, 0.1), (3.0, 0.5))
    cases = [(f"difference {d}, deviation {s}", (d, s)) for d, s in pairs]
    cases.append(("difference 0.1, deviation 0", (0.1, 0.0)))
    hold(answer, cases, _seeds)
    return "A tenth of the gap takes about a hundred times the seeds."
