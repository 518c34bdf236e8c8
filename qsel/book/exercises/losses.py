"""Exercises of chapters 2, 3.1 and 3.2: equations (1) to (6)."""

import math

import torch
from torch import Tensor

from qsel import losses
from qsel.book.exercises import Slip, at_distances, exercise, hold, near


def _batches() -> list[tuple[str, tuple[Tensor, Tensor, Tensor]]]:
    """Distances of batches; the first three try one part of (3) or (5) at a time."""
    g = torch.Generator().manual_seed(0)
    random = 2 * torch.rand(3, 24, generator=g)
    tied = torch.randint(0, 3, (3, 24), generator=g) / 2
    in_order = torch.tensor([0.1, 0.9, 1.9])[:, None] + random / 4
    one_each = torch.tensor([[0.2, 1.0, 1.7], [0.5, 0.2, 1.9], [0.1, 0.9, 0.5]])
    in_order_alone, first_alone, second_alone = one_each[..., None].expand(3, 3, 4)
    return [
        ("a batch in good order, without variance", tuple(in_order_alone)),
        ("a batch in which the first hinge alone pays", tuple(first_alone)),
        ("a batch in which the second hinge alone pays", tuple(second_alone)),
        ("a batch in good order, with variance", tuple(in_order)),
        ("a random batch", tuple(random)),
        ("a batch in the reverse order", tuple(in_order.flip(0))),
        ("a batch with many ties", tuple(tied)),
        ("a batch of one", tuple(random[:, :1])),
        ("a batch of zeros", tuple(torch.zeros(3, 4))),
    ]


# --- chapter 2 -------------------------------------------------------------------


@exercise("2b")
def read_the_map(answer: object) -> str:
    """The least D(R,N) at which a triplet costs nothing."""
    truth = math.sqrt(0.6**2 + 0.5)
    slips = {
        0.6 + 0.5: "that is 0.6 + 0.5; are the distances in (2) plain?",
        truth**2: "that is its square",
        0.5**0.5: "that would do if R and P were the same image",
    }
    near(answer, truth, 0.01, slips)
    return f"Squares are compared, so N must stand at sqrt(0.36 + 0.5) = {truth:.3f}."


@exercise("2c")
def means_can_mislead(answer: object) -> str:
    """A batch in the wrong order that pays no hinge."""
    try:
        given = torch.as_tensor([list(part) for part in answer]).double()
    except (TypeError, ValueError, RuntimeError):
        raise Slip("expected three lists of two distances each: P+, P-, N") from None
    if given.shape != (3, 2) or not (given >= 0).all() or given.isinf().any():
        raise Slip("expected three lists of two distances each, none of them negative")
    four = at_distances(*given)
    spread = losses.global_loss(*four, weight1=0.0, weight2=0.0).item()
    for hinge, weights in (("first", (1.0, 0.0)), ("second", (0.0, 1.0))):
        paid = losses.global_loss(*four, 0.7, 0.3, *weights).item() - spread
        if paid > 1e-6:
            raise Slip(f"the {hinge} hinge of (3) costs {paid:.2f}")
    d_pp, d_pn, d_n = given
    in_order = (d_pp < d_pn) & (d_pn < d_n)
    if in_order.all():
        raise Slip("the hinges are zero, but both quadruplets are in order")
    i = int((~in_order).nonzero()[0])
    single = losses.joint_loss(*four, reduction="none")[i].item()
    return (
        f"Quadruplet {i} is out of order and pays {single:.2f} in (5); (3) sees only "
        f"the variances, {spread:.2f}."
    )


@exercise("2d")
def global_cost(answer: object) -> str:
    """Against ``losses.global_loss``, a batch of one included."""
    count = hold(answer, _batches(), lambda *d: losses.global_loss(*at_distances(*d)))
    return f"It agrees with equation (3) on {count} batches, a batch of one included."


# --- chapter 3.1 -----------------------------------------------------------------


@exercise("3.1b")
def certainty(answer: object) -> str:
    """The own score at which a head of 98 classes costs 0.01."""

    def score(weight: float) -> float:  # weight · ln(1 + 97 exp(-score)) = 0.01
        return math.log(97 / math.expm1(0.01 / weight))

    truth = score(losses.FINE_WEIGHT)
    slips = {
        score(1.0): "that leaves out the weight of the fine head",
        score(losses.COARSE_WEIGHT): "that has the weight of the coarse head",
    }
    near(answer, truth, 0.02, slips)
    others = 97 * math.exp(-truth)
    return (
        f"At s = {truth:.2f} the odds against the own class are {others:.3f}, all 97 "
        "others together."
    )


@exercise("3.1c")
def the_other_reading(answer: object) -> str:
    """Against ``losses.classification_loss``, with both readings of the weights."""
    g = torch.Generator().manual_seed(0)
    printed, swapped = (0.08, 0.25), (0.25, 0.08)
    scores = torch.randn(8, 5, generator=g), torch.randn(8, 12, generator=g)
    labels = torch.arange(8) % 5, torch.arange(8)
    nothing = 0 * labels[0]
    sole = torch.zeros(8, 1)
    cases = [
        ("the coarse head alone", (scores[0], sole, labels[0], nothing, *printed)),
        ("the fine head alone", (sole, scores[1], nothing, labels[1], *printed)),
        ("random scores", (*scores, *labels, *printed)),
        ("random scores with swapped weights", (*scores, *labels, *swapped)),
        (
            "scores in the thousands",
            (1000 * scores[0], 1000 * scores[1], *labels, *printed),
        ),
    ]

    def truth(*arguments) -> Tensor:
        return losses.classification_loss(*arguments, reduction="none")

    hold(answer, cases, truth)
    fresh = [w * math.log(k) for w in printed for k in (22, 98)]
    return (
        f"With 22 and 98 classes a fresh network pays {fresh[0]:.2f} coarse and "
        f"{fresh[3]:.2f} fine; swapped, {fresh[2]:.2f} and {fresh[1]:.2f}."
    )


# --- chapter 3.2 -----------------------------------------------------------------


@exercise("3.2b")
def the_collapsed_network(answer: object) -> str:
    """Equation (6) where all distances are zero."""
    slips = {
        2.0: "that is (5) alone; (6) adds (3)",
        0.7: "that is (3) alone; (6) adds (5)",
        3.0: "the first hinge of (3) has t1 - t2, not t1",
    }
    near(answer, losses.combined_loss(*torch.zeros(4, 1, 1)).item(), 0.01, slips)
    return "Each hinge of (5) is at its most, 2 together; (3) adds 0.4 + 0.3."


@exercise("3.2c")
def the_window(answer: object) -> str:
    """The least D(R,N) that leaves P⁻ a place where both hinges are zero."""
    printed, derived = 0.5 + 0.4 + 0.3, 0.5 + 0.7 + 0.3
    slips = {
        derived: "that is for the derived margin; the formula has m1 - m2",
        printed - 0.3: "that is where the window begins; N needs room beyond it",
    }
    near(answer, printed, 0.01, slips)
    return (
        f"P- must lie beyond 0.5 + 0.4, and N 0.3 further: {printed:.2f}. With the "
        f"derived margin it is {derived:.2f}."
    )


@exercise("3.2d")
def two_ratios(answer: object) -> str:
    """Against ``losses.joint_loss``, with zero distances and zero margins."""
    cases = [
        (f"{what}, margins {m1} and {m2}", (*d, m1, m2))
        for m1, m2 in ((0.7, 0.3), (0.9, 0.2), (0.0, 0.0))
        for what, d in _batches()
    ]

    def truth(d_pp: Tensor, d_pn: Tensor, d_n: Tensor, m1: float, m2: float) -> Tensor:
        four = at_distances(d_pp, d_pn, d_n)
        return losses.joint_loss(*four, 0.0, m1, m2, reduction="none")

    count = hold(answer, cases, truth)
    return f"It agrees with equation (5) on {count} batches, 0 / 0 included."


@exercise("3.2e")
def where_the_push_turns(answer: object) -> str:
    """D(R,P⁻) at which (5) is largest, for P⁺ at 1.2 and N at 0.5."""
    turn = math.sqrt(0.5 * (1.2 + 0.4)) - 0.3
    slips = {
        turn + 0.3: "that is D(R,P-) + m2; which distance is asked for?",
        math.sqrt(0.5 * (1.2 + 0.7)) - 0.3: "the first fraction has m1 - m2, not m1",
        (turn + 0.3) ** 2: "that is the square of D(R,P-) + m2",
    }
    near(answer, turn, 0.005, slips)
    return f"Nearer than {turn:.3f} P- is pulled in, further away it is pushed out."
