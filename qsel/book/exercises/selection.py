"""Exercises of chapter 3.3: the two selection rules."""

from functools import cache

import torch
from torch import Tensor

from qsel import select_quadruplets
from qsel.book.exercises import Case, Slip, choose, exercise, hold, number, parts

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


@exercise("3.3a", "Predict", "Move N")
def move_n(answer: object) -> str:
    """Whose positives change when N goes round R at the same distance."""
    from qsel.book.figures import scene  # draws, and loads a plotting library

    points, labels = scene()
    moved = points.clone()
    place = (points == torch.tensor([1.0, 0.0])).all(1).nonzero()[0]
    moved[place] = torch.tensor([0.0, 1.0])

    def positives(x: Tensor, method: str) -> list[int]:
        q = select_quadruplets(x, labels.fine, labels.coarse, torch.tensor([0]), method)
        return [int(q.positive_positive), int(q.positive_negative)]

    changed = [
        positives(points, method) != positives(moved, method)
        for method in ("method1", "method2")
    ]
    choices = "Method 1's", "Method 2's", "both", "neither"
    truth = choices[(3, 1, 0, 2)[2 * changed[0] + changed[1]]]
    nudge = "the radius is the same, and so are the candidates; which rule looks at N?"
    choose(answer, choices, truth, nudge)
    return "Method 2 knows N by the radius alone; Method 1 asks how near N a point is."


@exercise("3.3b", "Predict", "Scale")
def scale(answer: object) -> str:
    """Which stretching of the space changes what is selected."""
    changed = _changed()
    choices = "neither", "all coordinates", "one coordinate", "both"
    truth = choices[(changed[0] > 0) + 2 * (changed[1] > 0)]
    nudge = "selection compares distances with one another, and with nothing else"
    choose(answer, choices, truth, nudge)
    return (
        f"Of the quadruplets {changed[0]:.0%} change with all coordinates, "
        f"{changed[1]:.0%} with one: order survives a common factor."
    )


@cache
def _changed() -> list[float]:
    """Share of the quadruplets that change: all coordinates times 10; one of them."""
    g = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(96, 8, generator=g), dim=1)
    one = x * torch.tensor([10.0, *[1.0] * 7])
    fine = torch.arange(96) // 8
    everyone = torch.arange(96)

    def selected(y: Tensor) -> Tensor:
        return select_quadruplets(y, fine, fine // 3, everyone, "method1").stack()

    return [
        (selected(y) != selected(x)).any(0).double().mean().item()
        for y in (10 * x, one)
    ]


@exercise("3.3c", "Compute", "By hand")
def by_hand(answer: object) -> str:
    """Both methods on eight points."""
    x, fine, coarse = (torch.tensor(v) for v in (PLANE, PLANE_FINE, PLANE_COARSE))
    right = {
        method: tuple(_positives(x, fine, coarse, method))
        for method in ("method1", "method2")
    }
    why = {
        "P+": "does it lie outside the sphere, and what does the rule compare?",
        "P-": "does any candidate lie outside; and if not, what then?",
        "N": "is it the nearest point of another coarse class?",
    }
    two = parts(answer, 2, "two triples: Method 1's and Method 2's P+, P-, N")
    for (method, truth), given in zip(right.items(), two, strict=True):
        title = f"Method {method[-1]}"
        three = parts(given, 3, f"three points of {title}: P+, P-, N")
        for role, place, wanted in zip(why, map(number, three), truth, strict=True):
            if place != wanted:
                raise Slip(f"{title}, {role}: {place:g} is not it; {why[role]}")
    return (
        "P- comes from the fallback, the furthest inside, since no point of its class "
        "lies outside."
    )


def _positives(x: Tensor, fine: Tensor, coarse: Tensor, method: str) -> list[int]:
    q = select_quadruplets(x, fine, coarse, torch.tensor([0]), method)
    return q.stack().flatten().tolist()[1:]


@exercise("3.3d", "Build", "P⁺ of Method 2")
def method_2s_positive(answer: object) -> str:
    """Against ``select_quadruplets``: one reference at a time."""
    cases, chosen = _choices_of_method_2()
    for case, arguments in cases:
        hold(answer, [(case, arguments)], lambda *_, case=case: chosen[case])
    return f"It takes what the package takes for {len(cases)} references."


@cache
def _choices_of_method_2() -> tuple[list[Case], dict[str, Tensor]]:
    """References with their N, and the P⁺ of each."""
    g = torch.Generator().manual_seed(0)
    fine = torch.arange(48) // 8
    sets = {
        "random points": torch.randn(48, 3, generator=g),
        "points with many ties": torch.randint(0, 4, (48, 2), generator=g).float(),
        "classes far apart": 5.0 * fine[:, None] + torch.rand(48, 2, generator=g),
        "copies of one point": torch.ones(48, 2),
    }
    cases, chosen = [], {}
    for what, x in sets.items():
        q = select_quadruplets(x, fine, fine // 2, torch.arange(48), "method2")
        for r in range(0, 48, 3):
            case = f"{what}, R = {r}"
            cases.append((case, (x, fine, r, int(q.negative[r]))))
            chosen[case] = q.positive_positive[r]
    return cases, chosen
