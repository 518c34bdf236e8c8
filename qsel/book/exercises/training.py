"""Exercises of "The paper in 150 lines": change one thing, train, compare.

What is built is held against the package. What comes out of a training differs between
machines, so a prediction is held against what its own reader measured.
"""

import torch
from torch import Tensor

from qsel import select_quadruplets
from qsel.book.exercises import Slip, ask, choose, exercise, hold, near, parts
from qsel.hierarchy import Hierarchy

CLEAR = 2.0  # points of Recall@1 by which equal runs may differ
BESIDE = "lower", "about the same", "higher"


def _compared(prediction: object, measured: object, names: tuple[str, str]) -> str:
    """Hold a prediction against two measured percentages; what was seen, in words."""
    one, other = parts(measured, 2, f"two numbers measured: {' and '.join(names)}")
    for value, name in zip((one, other), names, strict=True):
        near(value, 50, 50, part=f"what was measured of {name}, in percent")
    gap = float(one) - float(other)
    found = f"{names[0]} {float(one):.1f} %, {names[1]} {float(other):.1f} %"
    nudge = f"you measured {found}; what explains it?"
    choose(prediction, BESIDE, BESIDE[(gap >= -CLEAR) + (gap > CLEAR)], nudge)
    return f"{found}. One seed is no evidence: chapter 4 has that."


def _parts(answer: object, count: int) -> list:
    return parts(answer, count, f"the {count} parts that the stub hands over")


def _made_up(labels: object) -> tuple[Hierarchy, Tensor, Tensor]:
    """The page's labels, random embeddings of its pictures, and all references."""
    if not isinstance(labels, Hierarchy):
        raise Slip("expected the page's `labels` first; run the cells above")
    x = torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(0))
    return labels, x.double(), labels.references()


def _select(labels: Hierarchy, x: Tensor, r: Tensor, method: str) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return select_quadruplets(x, labels.fine, labels.coarse, r, method, g).stack()


@exercise("lines-a")
def the_control(answer: object) -> str:
    """The hardest negative with random positives, role by role, and what it gives."""
    labels, rule, prediction, measured = _parts(answer, 4)
    labels, x, r = _made_up(labels)
    g = torch.Generator().manual_seed(0)
    u = torch.rand(3, len(r), generator=g, dtype=torch.float64)
    chosen = ask(rule, "random embeddings", (x, r, u))
    if chosen.shape != (4, len(r)):
        raise Slip(f"the rule returns {tuple(chosen.shape)}; expected (4, {len(r)})")
    right = (chosen == _select(labels, x, r, "hardest_negative")).double().mean(1)
    if (right < 1).any():
        shares = zip(("R", "P+", "P-", "N"), right.tolist(), strict=True)
        said = ", ".join(f"{role} for {share:.0%}" for role, share in shares)
        raise Slip(f"the rule is right in {said} of the references")
    return _compared(prediction, measured, ("the control", "Random"))


@exercise("lines-b")
def select_once(answer: object) -> str:
    """How many negatives are still the nearest after training."""
    labels, share, prediction, measured = _parts(answer, 4)
    labels, x, r = _made_up(labels)

    def truth(old: Tensor, new: Tensor, r: Tensor) -> Tensor:
        n = [_select(labels, y, r, "hardest_negative")[3] for y in (old, new)]
        return 100 * (n[0] == n[1]).double().mean()

    moved = x + 0.2 * x.flip(0)
    cases = [
        ("embeddings that stay", (x, x, r)),
        ("embeddings that move a little", (x, moved, r)),
        ("a few references", (x, moved, r[::7])),
    ]
    hold(share, cases, truth)
    near(measured, 50, 50, part="the share measured, in percent")
    near(prediction, float(measured), 15, part="the prediction")
    return f"{float(measured):.0f} % are; the others were chosen by a stale map."


@exercise("lines-c")
def no_distance(answer: object) -> str:
    """Equation (4) alone in the place of (6)."""
    alone, prediction, measured = _parts(answer, 3)
    g = torch.Generator().manual_seed(0)
    batches = [torch.rand(4, n, generator=g) for n in (32, 1)]
    cases = [(f"a batch of {len(b[3])}", (b[:3], b[3])) for b in batches]
    hold(alone, cases, lambda d, classes: classes.mean())
    return _compared(prediction, measured, ("equation (4) alone", "Random"))


@exercise("lines-d")
def a_cold_start(answer: object) -> str:
    """Hard negatives for a network that has learnt nothing."""
    prediction, measured = _parts(answer, 2)
    return _compared(prediction, measured, ("Method 2", "Random"))
