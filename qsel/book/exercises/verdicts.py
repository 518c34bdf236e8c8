"""Exercises of chapters 4, 4.1 and 5: what numbers say, and how surely."""

from functools import cache

import numpy as np
import pandas as pd
import torch
from scipy.stats import ttest_1samp

from qsel import losses, nmi, recall_at_k
from qsel.book.exercises import choose, exercise, hold, near
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


@exercise("4a", "Predict", "Every photograph twice")
def every_photograph_twice(answer: object) -> str:
    """Recall@1 of random embeddings in which each stands twice."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(50, 8, generator=g)
    labels = torch.arange(50) % 10
    found = 100 * recall_at_k(x.repeat(2, 1), labels.repeat(2), ks=(1,))[1]
    once = 100 * recall_at_k(x, labels, ks=(1,))[1]
    near(answer, found, 0.5, {found / 100: "that is a fraction; expected percent"})
    return (
        f"{found:.0f} % even for random embeddings, which have {once:.0f} % without "
        "the copies: the copy is always nearest."
    )


@exercise("4b", "Compute", "NMI of nothing")
def nmi_of_nothing(answer: object) -> str:
    """NMI of random embeddings; over three seeds."""
    values = _random_nmi()
    near(answer, sum(values) / 3, 0.05)
    return (
        f"{min(values):.2f} to {max(values):.2f} over three draws. NMI is not "
        "corrected for chance: many small clusters agree with anything to some degree."
    )


@cache
def _random_nmi() -> list[float]:
    labels = torch.arange(400) // 10
    return [
        nmi(torch.randn(400, 16, generator=torch.Generator().manual_seed(s)), labels)
        for s in range(3)
    ]


@exercise("4c", "Build", "Ahead or not")
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
    count = hold(answer, named, _ahead)
    return f"It decides {count} sets of gaps as the book does, over seeds."


# --- chapter 4.1 -----------------------------------------------------------------


@exercise("4.1a", "Predict", "Sum or mean")
def sum_or_mean(answer: object) -> str:
    """Which part of (6) pulls less when all of a sum is divided by B."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4, 128, 8, generator=g, dtype=torch.float64)
    x = torch.nn.functional.normalize(x, dim=2).requires_grad_()
    scores = [torch.randn(128, k, generator=g, dtype=torch.float64) for k in (5, 9)]
    for score in scores:
        score.requires_grad_()
    own = torch.arange(128) % 5, torch.arange(128) % 9

    def pulls(reduction: str, eta: float, divide: int) -> dict[str, torch.Tensor]:
        heads = losses.classification_loss(*scores, *own, reduction=reduction)
        joint = losses.joint_loss(*x, reduction=reduction)
        whole = losses.combined_loss(*x, global_weight=eta, reduction=reduction)
        parts = {
            "the joint loss": (joint, x),
            "the global loss": (whole - joint, x),
            "the class heads": (heads, scores[1]),
        }
        return {
            name: torch.autograd.grad(loss, at, retain_graph=True)[0] / divide
            for name, (loss, at) in parts.items()
        }

    mean, total = pulls("mean", 128.0, 1), pulls("sum", 1.0, 128)
    share = {name: (total[name].norm() / mean[name].norm()).item() for name in mean}
    (truth,) = (name for name, value in share.items() if abs(value - 1) > 0.01)
    nudge = "which parts are sums over quadruplets, and which is a mean in either case?"
    choose(answer, (*share, "none of them"), truth, nudge)
    return f"It weighs 1/{1 / share[truth]:.0f} of what it did, one over the batch."


@exercise("4.1b", "Compute", "How many false alarms?")
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


@exercise("4.1c", "Build", "Seed by seed")
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
    count = hold(answer, cases, lambda a, b: _compare(a, b).difference, 1e-6)
    return (
        f"It agrees with the book on {count} pairs of rows; without a common seed, NaN."
    )


# --- chapter 5 -------------------------------------------------------------------


@exercise("5a", "Predict", "Pick the best?")
def pick_the_best(answer: object) -> str:
    """The best of five runs against the mean of five, both of one method."""
    draws = np.random.default_rng(0).normal(0, 0.5, (20_000, 2, 5))
    gain = (draws[:, 0].max(1) - draws[:, 1].mean(1)).mean()
    sizes = 0.0, 0.2, 0.6, 1.2
    choices = "nothing", "about 0.2 points", "about 0.6 points", "about 1.2 points"
    truth = choices[int(np.abs(np.array(sizes) - gain).argmin())]
    nudge = "how far above the mean is the largest of five draws, in deviations?"
    choose(answer, choices, truth, nudge)
    return f"{gain:.2f} points, out of nothing: more than a standard deviation."


@cache
def _seeds(difference: float, deviation: float) -> int:
    """The least number of seeds at which the book calls the difference clear."""
    n = 2
    while n < 1000:
        signs = np.resize([1.0, -1.0], n)
        signs[n - 1] = 0.0 if n % 2 else signs[n - 1]
        spread = signs.std(ddof=1)
        gaps = abs(difference) + signs * deviation / spread
        if _ahead(gaps.tolist()):
            return n
        n += 1
    raise ValueError(f"more than {n} seeds")


@exercise("5b", "Compute", "How many seeds?")
def how_many_seeds(answer: object) -> str:
    """For a gap of 0.3 with a standard deviation of 0.5."""
    truth = _seeds(0.3, 0.5)
    near(answer, truth, 0.1, {11: "that is with 1.96; few seeds need Student's t"})
    return f"{truth} seeds of two rows: {2 * truth} runs for three tenths of a point."


@exercise("5c", "Build", "Seeds needed")
def seeds_needed(answer: object) -> str:
    """Against the book's own verdicts on made-up gaps."""
    pairs = ((0.3, 0.5), (1.0, 0.5), (0.2, 0.5), (-0.3, 0.5), (0.5, 0.1), (3.0, 0.5))
    cases = [(f"difference {d}, deviation {s}", (d, s)) for d, s in pairs]
    cases.append(("difference 0.1, deviation 0", (0.1, 0.0)))
    hold(answer, cases, _seeds)
    return "A tenth of the gap takes about a hundred times the seeds."
