"""Exercises of chapters 2, 3.1 and 3.2: equations (1) to (6)."""

from collections.abc import Callable

import torch
from torch import Tensor

from qsel import losses
from qsel.book.exercises import Case, Slip, at_distances, choose, exercise, hold, near

BAD = (1.6, 1.1, 0.5)  # D(R,P⁺), D(R,P⁻), D(R,N): the worst order


def _least(costs: Callable[[float], float], low: float, high: float) -> float:
    """The least number at which a falling cost is zero, by bisection."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if costs(middle) <= 1e-9 else (middle, high)
    return high


def _line(*distances: float) -> Tensor:
    return at_distances(*(torch.tensor([d], dtype=torch.float64) for d in distances))


def _batches() -> list[tuple[str, tuple[Tensor, Tensor, Tensor]]]:
    """Distances of batches: random, tied, of one, and of nothing but zeros."""
    g = torch.Generator().manual_seed(0)
    random = 2 * torch.rand(3, 24, generator=g)
    tied = torch.randint(0, 3, (3, 24), generator=g) / 2
    in_order = torch.tensor([0.1, 0.9, 1.9])[:, None] + random / 50
    return [
        ("a random batch", tuple(random)),
        ("a batch in good order", tuple(in_order)),
        ("a batch in the reverse order", tuple(in_order.flip(0))),
        ("a batch with many ties", tuple(tied)),
        ("a batch of one", tuple(random[:, :1])),
        ("a batch of zeros", tuple(torch.zeros(3, 4))),
    ]


# --- chapter 2 -------------------------------------------------------------------


@exercise("2a", "Predict", "A collapse")
def a_collapse(answer: object) -> str:
    """Which of three losses has a gradient where all points are one."""
    p = torch.zeros(4, 2, requires_grad=True)
    r, pp, pn, n = p[torch.arange(4)[:, None]]  # (1, 2) each
    values = {
        "contrastive": losses.contrastive_loss(r, n, torch.zeros(1)),
        "triplet": losses.triplet_loss(r, pp, n, margin=0.5),
        "global": losses.global_loss(r, pp, pn, n),
    }
    pulls = [
        name
        for name, value in values.items()
        if torch.autograd.grad(value, p, retain_graph=True)[0].any()
    ]
    nudge = "a loss can be large and flat: what is its slope, and in which direction?"
    choose(answer, (*values, "none"), "".join(pulls) or "none", nudge)
    costs = ", ".join(f"{name} {value.item():.2f}" for name, value in values.items())
    return f"They cost something ({costs}), but every gradient is zero: all stay."


@exercise("2b", "Compute", "Read the map")
def read_the_map(answer: object) -> str:
    """The least D(R,N) at which a triplet costs nothing."""

    def costs(d_n: float) -> float:
        r, p, n = _line(0.6, d_n, 0.0)[:3]
        return losses.triplet_loss(r, p, n, margin=0.5).item()

    truth = _least(costs, 0.0, 4.0)
    slips = {
        0.6 + 0.5: "that is 0.6 + 0.5; are the distances in (2) plain?",
        truth**2: "that is its square",
        0.5**0.5: "that would do if R and P were the same image",
    }
    near(answer, truth, 0.01, slips)
    return f"Squares are compared, so N must stand at sqrt(0.36 + 0.5) = {truth:.3f}."


@exercise("2c", "Build", "Means can mislead")
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


@exercise("2d", "Build", "The global loss")
def global_cost(answer: object) -> str:
    """Against ``losses.global_loss``, a batch of one included."""
    count = hold(answer, _batches(), lambda *d: losses.global_loss(*at_distances(*d)))
    return f"It agrees with equation (3) on {count} batches, a batch of one included."


# --- chapter 3.1 -----------------------------------------------------------------


@exercise("3.1a", "Predict", "Twice as many models")
def twice_as_many(answer: object) -> str:
    """The fine head's cost at equal scores, with 98 and with 196 classes."""
    label = torch.tensor([0])

    def start(classes: int) -> float:
        scores = torch.zeros(1, classes)
        return losses.classification_loss(
            torch.zeros(1, 1), scores, label, label
        ).item()

    growth = start(196) / start(98)
    choices = "stays", "grows by less than a quarter", "doubles"
    truth = choices[(growth > 1.01) + (growth > 1.25)]
    choose(answer, choices, truth, "what does a head pay where all scores are equal?")
    return f"It pays 0.25 ln k, and ln 196 is only {growth:.2f} times ln 98."


@exercise("3.1b", "Compute", "Certainty")
def certainty(answer: object) -> str:
    """The own score at which a head of 98 classes costs 0.01."""
    label = torch.tensor([0])

    def excess(own: float, weight: float = losses.FINE_WEIGHT) -> float:
        scores = torch.zeros(1, 98, dtype=torch.float64)
        scores[0, 0] = own
        nothing = torch.zeros(1, 1, dtype=torch.float64)
        cost = losses.classification_loss(
            nothing, scores, label, label, fine_weight=weight
        )
        return cost.item() - 0.01

    truth = _least(excess, 0.0, 50.0)
    unweighted = _least(lambda own: excess(own, 1.0), 0.0, 50.0)
    coarse = _least(lambda own: excess(own, losses.COARSE_WEIGHT), 0.0, 50.0)
    slips = {
        unweighted: "that leaves out the weight of the fine head",
        coarse: "that has the weight of the coarse head",
    }
    near(answer, truth, 0.02, slips)
    others = 97 * torch.tensor(-truth).exp().item()
    return (
        f"At s = {truth:.2f} the odds against the own class are {others:.3f}, all 97 "
        "others together."
    )


@exercise("3.1c", "Build", "The other reading")
def the_other_reading(answer: object) -> str:
    """Against ``losses.classification_loss``, with both readings of the weights."""
    g = torch.Generator().manual_seed(0)
    printed, swapped = (0.08, 0.25), (0.25, 0.08)
    scores = torch.randn(8, 5, generator=g), torch.randn(8, 12, generator=g)
    labels = torch.arange(8) % 5, torch.arange(8)
    large = tuple(1000 * s for s in scores)
    fresh = torch.zeros(1, 22), torch.zeros(1, 98)
    first = torch.tensor([0]), torch.tensor([0])
    single = torch.randn(3, 1, generator=g), torch.randn(3, 4, generator=g)
    own = torch.tensor([0, 0, 0]), torch.tensor([3, 0, 1])
    cases = [
        ("random scores", (*scores, *labels, *printed)),
        ("random scores with swapped weights", (*scores, *labels, *swapped)),
        ("equal scores", (*fresh, *first, *printed)),
        ("scores in the thousands", (*large, *labels, *printed)),
        ("a single coarse class", (*single, *own, *printed)),
    ]

    def truth(*arguments) -> Tensor:
        return losses.classification_loss(*arguments, reduction="none")

    hold(answer, cases, truth)
    zero = torch.zeros(1, 1)
    parts = [
        losses.classification_loss(*x, *first, *w).item()
        for w in (printed, swapped)
        for x in ((fresh[0], zero), (zero, fresh[1]))
    ]
    return (
        f"With 22 and 98 classes a fresh network pays {parts[0]:.2f} coarse and "
        f"{parts[1]:.2f} fine; swapped, {parts[2]:.2f} and {parts[3]:.2f}."
    )


# --- chapter 3.2 -----------------------------------------------------------------


@exercise("3.2a", "Predict", "Scale")
def scale(answer: object) -> str:
    """What the hinges of (5) tend to as all distances grow."""
    costs = [
        losses.joint_loss(*_line(*(s * d for d in BAD))).item() for s in (1, 1e3, 1e6)
    ]
    choices = (
        "grows without limit",
        "falls to a limit above zero",
        "falls to zero",
        "stays the same",
    )
    settled = abs(costs[2] - costs[1]) < 1e-3
    truth = choices[0]
    if settled and abs(costs[1] - costs[0]) < 1e-3:
        truth = choices[3]
    elif settled and costs[1] < costs[0]:
        truth = choices[1] if costs[2] > 1e-3 else choices[2]
    choose(answer, choices, truth, "what becomes of a margin of 0.4 beside 1600?")
    return (
        f"From {costs[0]:.2f} to {costs[2]:.2f}: the margins fade, and 1 minus each "
        "plain ratio remains."
    )


@exercise("3.2b", "Compute", "The collapsed network")
def the_collapsed_network(answer: object) -> str:
    """Equation (6) where all distances are zero."""
    zeros = _line(0.0, 0.0, 0.0)
    joint = losses.joint_loss(*zeros).item()
    whole = losses.combined_loss(*zeros).item()
    slips = {
        joint: "that is (5) alone; (6) adds (3)",
        whole - joint: "that is (3) alone; (6) adds (5)",
        whole + 0.3: "the first hinge of (3) has t1 - t2, not t1",
    }
    near(answer, whole, 0.01, slips)
    return (
        f"Each hinge of (5) is at its most, {joint:.0f} together; (3) adds 0.4 + 0.3."
    )


@exercise("3.2c", "Compute", "The window of P⁻")
def the_window(answer: object) -> str:
    """The least D(R,N) that leaves P⁻ a place where both hinges are zero."""
    places = torch.linspace(0, 2, 2001, dtype=torch.float64)

    def least(d_n: float, reading: str) -> float:
        d_pp, d = torch.full_like(places, 0.5), torch.full_like(places, d_n)
        four = at_distances(d_pp, places, d)
        values = losses.joint_loss(*four, first_margin=reading, reduction="none")
        return values.min().item()

    printed, derived = (
        _least(lambda d, r=reading: least(d, r), 0.0, 4.0)
        for reading in ("difference", "derived")
    )
    slips = {
        derived: "that is for the derived margin; the formula has m1 - m2",
        printed - 0.3: "that is where the window begins; N needs room beyond it",
    }
    near(answer, printed, 0.01, slips)
    return (
        f"P- must lie beyond 0.5 + 0.4, and N 0.3 further: {printed:.2f}. With the "
        f"derived margin it is {derived:.2f}."
    )


@exercise("3.2d", "Build", "Two ratios")
def two_ratios(answer: object) -> str:
    """Against ``losses.joint_loss``, with zero distances and zero margins."""
    margins = (0.7, 0.3), (0.9, 0.2), (0.0, 0.0)
    cases: list[Case] = [
        (f"{what}, margins {m1} and {m2}", (*d, m1, m2))
        for m1, m2 in margins
        for what, d in _batches()
    ]

    def truth(d_pp: Tensor, d_pn: Tensor, d_n: Tensor, m1: float, m2: float) -> Tensor:
        four = at_distances(d_pp, d_pn, d_n)
        return losses.joint_loss(*four, 0.0, m1, m2, reduction="none")

    count = hold(answer, cases, truth)
    return f"It agrees with equation (5) on {count} batches, 0 / 0 included."
