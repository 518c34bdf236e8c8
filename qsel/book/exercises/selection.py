"""Exercises of chapter 3.3: the two selection rules."""

import torch

from qsel import losses, select_quadruplets
from qsel.book.exercises import Slip, exercise, hold, near, number, parts

# The points of exercise 3.3c: R is point 0.
PLANE = (
    (0.0, 0.0),
    (0.0, 1.5),
    (0.5, 0.5),
    (2.0, 0.0),
    (-0.7, 0.2),
    (0.0, -0.9),
    (1.0, 0.0),
    (1.5, -1.5),
)
PLANE_FINE = (0, 0, 0, 0, 1, 1, 2, 2)
PLANE_COARSE = (0, 0, 0, 0, 0, 0, 1, 1)


@exercise("3.3c")
def by_hand(answer: object) -> str:
    """Both methods on eight points."""
    x, fine, coarse = (torch.tensor(v) for v in (PLANE, PLANE_FINE, PLANE_COARSE))
    why = {
        "P+": "does it lie outside the sphere, and what does the rule compare?",
        "P-": "does any candidate lie outside; and if not, what then?",
        "N": "is it the nearest point of another coarse class?",
    }
    two = parts(answer, 2, "two triples: Method 1's and Method 2's P+, P-, N")
    for method, given in zip(("method1", "method2"), two, strict=True):
        title = f"Method {method[-1]}"
        three = parts(given, 3, f"three points of {title}: P+, P-, N")
        q = select_quadruplets(x, fine, coarse, torch.tensor([0]), method)
        truth = q.stack().flatten().tolist()[1:]
        for role, place, wanted in zip(why, map(number, three), truth, strict=True):
            if place != wanted:
                raise Slip(f"{title}, {role}: {place:g} is not it; {why[role]}")
    return (
        "P- comes from the fallback, the furthest inside, since no point of its class "
        "lies outside."
    )


@exercise("3.3d")
def method_2s_positive(answer: object) -> str:
    """Against ``select_quadruplets``: one reference at a time."""
    g = torch.Generator().manual_seed(0)
    fine = torch.arange(48) // 8
    sets = {
        "random points": torch.randn(48, 3, generator=g),
        "points with many ties": torch.randint(0, 4, (48, 2), generator=g).float(),
        "classes far apart": 5.0 * fine[:, None] + torch.rand(48, 2, generator=g),
        "copies of one point": torch.ones(48, 2),
    }
    references = torch.arange(0, 48, 3)
    for what, x in sets.items():
        q = select_quadruplets(x, fine, fine // 2, references, "method2")
        for r, truth, _, n in q.stack().T.tolist():
            case = f"{what}, R = {r}", (x, fine, r, n)
            hold(answer, [case], lambda *_, truth=truth: truth)
    return f"It takes what the package takes, {len(references)} times in 4 sets."


@exercise("3.3e")
def always_something_to_pay(answer: object) -> str:
    """What the second hinge of (5) exceeds where P⁻ lies outside the sphere."""
    m2 = losses.MARGIN2
    slips = {
        m2 / (1 + m2): "two embeddings of length 1 may be further apart than 1",
        m2: "that is the margin; what is it divided by?",
        0.4 / 2.4: "the margin of the second fraction is m2",
    }
    near(answer, m2 / (2 + m2), 0.002, slips)
    return (
        f"It exceeds 0.3 / 2.3 = {m2 / (2 + m2):.3f}: such quadruplets never run dry."
    )
