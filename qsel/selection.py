"""Quadruplet selection over the whole training set (§3.3 of the paper).

For a reference R every method chooses P⁺ from R's fine class, P⁻ from R's coarse but
another fine class, and N from another coarse class:

- random: each uniformly from its set, as in the paper's baseline [9].
- method1: N is the sample nearest to R; the sphere around R through N is the
  hypersphere. P⁺ and P⁻ are the samples outside it that are nearest to N (§3.3.1).
- method2: N as in method1. P⁻'s fine class is drawn uniformly among R's siblings; P⁺
  and P⁻ are the samples outside the hypersphere that are nearest to R (§3.3.2).
- hardest_negative: N as in method1, P⁺ and P⁻ as in random. This control, which is not
  in the paper, shows what the rules for the positives add.

If no candidate lies outside, Methods 1 and 2 take the one inside that is furthest from
R; the paper says so for Method 2 only. Ties go to the lowest index.

Three switches give other readings of Methods 1 and 2, or controls:

- negative="random": N is drawn uniformly, and the hypersphere passes through it.
- siblings: P⁻ comes from "all" other fine classes of R's coarse class (Method 1's own
  rule), from one that is "drawn" (Method 2's), or from the whole "coarse" class, R's
  fine class included, as §3.3.1 literally says.
- fallback="nearest": if no candidate lies outside, Method 1 takes the one nearest to N.

To change or add a rule, edit the functions under "The rules" and ``RULES``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from qsel import search
from qsel.gallery import Gallery, Points, Slices
from qsel.hierarchy import Hierarchy, HierarchyError
from qsel.vectors import check_indices, describe, squared_distances


@dataclass(frozen=True, eq=False)
class References:
    """B references and everything else that a rule may use."""

    hierarchy: Hierarchy
    gallery: Gallery | None
    points: Points | None  # the references
    fine: Tensor  # (B,) their fine classes
    place: Tensor  # (B,) their places in the gallery; N where they are not in it
    u: Tensor  # (3, B) in [0, 1): they draw P⁺, P⁻ (or its class) and N
    rule: "Rule"


# --- The rules: each returns P⁺, P⁻ and N of B references, (B,) samples --------------


def _random(r: References) -> tuple[Tensor, Tensor, Tensor]:
    """P⁺, P⁻ and N uniformly."""
    return (
        r.hierarchy.draw_positive_positive(r.fine, r.place, r.u[0]),
        r.hierarchy.draw_positive_negative(r.fine, r.u[1]),
        r.hierarchy.draw_negative(r.fine, r.u[2]),
    )


def _hardest_negative(r: References) -> tuple[Tensor, Tensor, Tensor]:
    """P⁺ and P⁻ uniformly, N = argmin ‖R - N‖."""
    positive_positive, positive_negative, _ = _random(r)
    return positive_positive, positive_negative, _nearest_negative(r)


def _method1(r: References) -> tuple[Tensor, Tensor, Tensor]:
    """N = argmin ‖R - N‖;  P⁺, P⁻ = argmin ‖N - P‖ with ‖R - P‖ > ‖R - N‖."""
    n = _negative(r)
    around_n = r.gallery.points(r.gallery.embeddings, n)
    among = _own_class(r), _sibling_classes(r, own_rule="all")
    return *(_outside(r, n, *places, nearest_to=around_n) for places in among), n


def _method2(r: References) -> tuple[Tensor, Tensor, Tensor]:
    """N = argmin ‖R - N‖;  P⁺, P⁻ = argmin ‖R - P‖ with ‖R - P‖ > ‖R - N‖."""
    n = _negative(r)
    among = _own_class(r), _sibling_classes(r, own_rule="drawn")
    return *(_outside(r, n, *places) for places in among), n


RULES = {
    "random": _random,
    "method1": _method1,
    "method2": _method2,
    "hardest_negative": _hardest_negative,
}


def _negative(r: References) -> Tensor:
    if r.rule.negative == "random":
        return r.hierarchy.draw_negative(r.fine, r.u[2])
    return _nearest_negative(r)


def _nearest_negative(r: References) -> Tensor:
    own_coarse_class = r.hierarchy.coarse_slice(r.fine)
    return search.nearest(r.gallery, r.points, skip=own_coarse_class)[:, 0]


def _outside(
    r: References,
    n: Tensor,
    among: Slices,
    without: Slices,
    nearest_to: Points | None = None,
) -> Tensor:
    """The sample nearest to R, or to ``nearest_to``, outside the hypersphere.

    If none lies outside: the one furthest from R or, with the switch, nearest to N.
    """
    x = r.gallery.embeddings
    radius = squared_distances(r.points.given, r.points.which, x, n)  # (B,), D²(R,N)
    around = r.points if nearest_to else None  # R is the centre without being told
    centre = nearest_to or r.points
    chosen = search.choose(r.gallery, centre, among, without, radius, around)
    if len(lacking := (chosen < 0).nonzero().squeeze(1)):
        among, without = ((s[lacking], e[lacking]) for s, e in (among, without))
        to_n = nearest_to is not None and r.rule.fallback == "nearest"
        centre = nearest_to if to_n else r.points
        chosen[lacking] = search.choose(
            r.gallery, centre[lacking], among, without, furthest=not to_n
        )
    return chosen


def _own_class(r: References) -> tuple[Slices, Slices]:
    """Places of P⁺: R's fine class without R."""
    return r.hierarchy.fine_slice(r.fine), (r.place, r.place + 1)


def _sibling_classes(r: References, own_rule: str) -> tuple[Slices, Slices]:
    """Places of P⁻, and the places among them that are excluded."""
    siblings = own_rule if r.rule.siblings == "own rule" else r.rule.siblings
    if siblings == "drawn":
        drawn = r.hierarchy.fine_slice(r.hierarchy.draw_sibling(r.fine, r.u[1]))
        return drawn, (r.place, r.place)  # excludes nothing
    coarse_class = r.hierarchy.coarse_slice(r.fine)
    if siblings == "coarse":
        return coarse_class, (r.place, r.place + 1)
    return coarse_class, r.hierarchy.fine_slice(r.fine)


METHODS = tuple(RULES)


@dataclass(frozen=True)
class Rule:
    """A method and its switches; unknown ones raise ValueError."""

    method: str = "method2"
    negative: str = "nearest"
    siblings: str = "own rule"
    fallback: str = "furthest"

    def __post_init__(self):
        choices = {
            "method": METHODS,
            "negative": ("nearest", "random"),
            "siblings": ("own rule", "all", "drawn", "coarse"),
            "fallback": ("furthest", "nearest"),
        }
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(
                    f"{name}={value!r}; expected one of {', '.join(known)}"
                )


@dataclass(frozen=True, eq=False)  # == of tensors is no single answer
class Quadruplets:
    """Indices of B quadruplets into the training set, each (B,) int64."""

    reference: Tensor
    positive_positive: Tensor
    positive_negative: Tensor
    negative: Tensor

    def __len__(self) -> int:
        return len(self.reference)

    def stack(self) -> Tensor:
        """(4, B) int64, the rows R, P⁺, P⁻, N."""
        return torch.stack([*vars(self).values()])


def select_quadruplets(
    embeddings: Tensor | None,
    fine: Tensor,
    coarse: Tensor,
    references: Tensor,
    method: str = "method2",
    generator: torch.Generator | None = None,
    negative: str = "nearest",
    siblings: str = "own rule",
    fallback: str = "furthest",
) -> Quadruplets:
    """Complete each reference to a quadruplet, searching the whole set.

    The module's docstring gives the rules. The search is exact: it agrees with float64
    brute force.

    Args:
        embeddings: (N, D) floating point; the quadruplets are returned on their device.
            "random" needs none and takes None.
        fine, coarse: (N,) integer labels; any numbers.
        references: (B,) int64 indices of the references R.
        method: "random", "method1", "method2" or "hardest_negative".
        generator: a CPU generator for random draws; by default torch's own.
        negative: "nearest" or "random", for methods 1 and 2.
        siblings: "own rule", "all", "drawn" or "coarse", for methods 1 and 2.
        fallback: "furthest" or "nearest", for method 1.

    Raises:
        HierarchyError: labels that are no two-level hierarchy, or a reference without
            P⁺, P⁻ or N.
        ValueError: a bad shape, method, switch or index, or embeddings not finite.

    Example:
        >>> points = torch.tensor([[0.0], [0.5], [4.0], [2.5], [2.0]])
        >>> fine, coarse = torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 0, 0, 0, 1])
        >>> select_quadruplets(points, fine, coarse, torch.tensor([0]))
        Quadruplets(reference=tensor([0]), positive_positive=tensor([2]), \
positive_negative=tensor([3]), negative=tensor([4]))
    """
    rule = Rule(method, negative, siblings, fallback)
    hierarchy = Hierarchy.from_labels(fine, coarse)
    gallery = None
    if embeddings is not None:
        hierarchy = hierarchy_on_device_of(embeddings, hierarchy)
        if method != "random":
            gallery = Gallery(embeddings, hierarchy.order)
    return complete(hierarchy, gallery, references, rule, generator)


def complete(
    hierarchy: Hierarchy,
    gallery: Gallery | None,
    references: Tensor,
    rule: Rule,
    generator: torch.Generator | None = None,
    guests: tuple[Tensor, Tensor] | None = None,
) -> Quadruplets:
    """As ``select_quadruplets``, from a gallery in the hierarchy's order.

    ``guests`` are points (P, D) from outside the gallery and fine classes (B,). The
    references then index these points, and no sample is excluded as R itself.
    """
    if gallery is None and rule.method != "random":
        raise ValueError(
            f"method={rule.method!r} needs embeddings; give those of all samples first"
        )
    if guests is None:
        references = _check_references(references, hierarchy)
        given = None if gallery is None else gallery.embeddings
        fine, place = hierarchy.fine[references], hierarchy.place[references]
    else:
        given, fine = guests
        place = torch.full_like(fine, len(hierarchy))
    # Random numbers come from the CPU, so that a seed means the same on every device.
    u = torch.rand(3, len(fine), generator=generator, dtype=torch.float64, device="cpu")
    u = u.to(fine.device)
    chosen = fine.new_empty(3, len(fine))
    # Sorted by class, so that neighbouring references search the same places.
    by_class = hierarchy.fine_slice(fine)[0].argsort(stable=True)
    for some in by_class.split(search.QUERIES):
        drawn = rule.method == "random"
        points = None if drawn else gallery.points(given, references[some])
        part = (points, fine[some], place[some], u[:, some], rule)
        found = RULES[rule.method](References(hierarchy, gallery, *part))
        chosen[:, some] = torch.stack(found)
    return Quadruplets(references, *chosen)


def hierarchy_on_device_of(embeddings: Tensor, hierarchy: Hierarchy) -> Hierarchy:
    """The hierarchy on the device of its embeddings, which the gallery checks."""
    if not isinstance(embeddings, Tensor) or embeddings.ndim != 2:
        return hierarchy
    if len(embeddings) != len(hierarchy):
        raise ValueError(
            f"{len(embeddings)} embeddings but {len(hierarchy)} labels; expected one "
            "fine and one coarse label for each embedding"
        )
    return hierarchy.to(embeddings.device)


def _check_references(references: Tensor, hierarchy: Hierarchy) -> Tensor:
    good = isinstance(references, Tensor) and references.dtype == torch.int64
    if not good or references.ndim != 1 or not len(references):
        raise ValueError(
            f"references are {describe(references)}; expected a torch tensor, int64 "
            "indices of shape (B,) with B of at least 1"
        )
    references, n = references.to(hierarchy.fine.device), len(hierarchy)
    check_indices("references", references, n, f"there are {n} samples")
    fine = hierarchy.fine[references]
    for partner, count in zip(("P⁺", "P⁻", "N"), hierarchy.partners(fine), strict=True):
        if (lacking := count == 0).any():
            name = hierarchy.fine_names[f := int(fine[lacking][0])]
            coarse = hierarchy.coarse_names[hierarchy.coarse_of_fine[f]]
            raise HierarchyError(
                f"{int(lacking.sum())} of {len(references)} references have no "
                f"{partner}: sample {int(references[lacking][0])} is of fine class "
                f"{name!r} (coarse class {coarse!r}), which {hierarchy.lacking()[name]}"
                "; leave such samples out (Hierarchy.references() lists the usable)"
            )
    return references
