"""Quadruplet selection over the whole training set (§3.3 of the paper).

For a reference R every method chooses P⁺ from R's fine class, P⁻ from R's coarse but
another fine class, and N from another coarse class:

- random: each uniformly from its set, as in the paper's baseline [9].
- method1: N is the nearest to R; the sphere around R through N is the hypersphere.
  P⁺ and P⁻ are those outside it that are nearest to N (§3.3.1).
- method2: N as above. P⁻'s fine class is drawn uniformly among R's siblings; P⁺ and P⁻
  are those outside the hypersphere that are nearest to R (§3.3.2).
- hardest_negative: N as above, P⁺ and P⁻ as in random. Not in the paper: the control
  that tells what the rule for the positives adds to the rule for the negative.

Where nothing lies outside, Methods 1 and 2 take the furthest from R inside; the paper
says so for Method 2 only. Ties go to the lowest index.

Three switches turn Methods 1 and 2 into other readings of the paper, or into controls:

- negative="random": N is drawn uniformly, and the hypersphere goes through it.
- siblings: P⁻ comes from "all" other fine classes of R's coarse class (Method 1's own
  rule), from one that is "drawn" (Method 2's), or from the whole "coarse" class, R's
  fine class included: all that §3.3.1 says in words.
- fallback="nearest": where nothing lies outside, Method 1 keeps to its own rule and
  takes the nearest to N.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from qsel import neighbors
from qsel.hierarchy import ClassIndex, HierarchyError
from qsel.neighbors import Gallery, Queries

METHODS = ("random", "method1", "method2", "hardest_negative")
NEGATIVES = ("nearest", "random")
SIBLINGS = ("own rule", "all", "drawn", "coarse")
FALLBACKS = ("furthest", "nearest")


@dataclass(frozen=True)
class Rule:
    """A method and its switches, as the module's text explains them.

    Raises:
        ValueError: an unknown method or switch; what is known is named.
    """

    method: str = "method2"
    negative: str = "nearest"
    siblings: str = "own rule"
    fallback: str = "furthest"

    def __post_init__(self):
        choices = (METHODS, NEGATIVES, SIBLINGS, FALLBACKS)
        for field, known in zip(fields(self), choices, strict=True):
            if (value := getattr(self, field.name)) not in known:
                raise ValueError(
                    f"{field.name}={value!r}; expected one of {', '.join(known)}"
                )

    @property
    def where(self) -> str:
        """Where P⁻ comes from: "all", "drawn" or "coarse"."""
        own = "all" if self.method == "method1" else "drawn"
        return own if self.siblings == "own rule" else self.siblings


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
        return torch.stack(
            [
                self.reference,
                self.positive_positive,
                self.positive_negative,
                self.negative,
            ]
        )


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

    N = argmin over other coarse classes of ‖f(x_R) - f(x_N)‖₂ (§3.3) for all methods
    but random; P⁺ and P⁻ as the module's text says. The search is exact: it agrees
    with float64 brute force.

    Args:
        embeddings: (N, D) floating point, on any device. May be None for random,
            which does not look at them.
        fine: (N,) integer fine labels; any numbers.
        coarse: (N,) integer coarse labels; any numbers.
        references: (B,) int64 indices of the references R.
        method: "random", "method1", "method2" or "hardest_negative".
        generator: a CPU generator for what is drawn at random (everything in random,
            the positives in hardest_negative, P⁻'s fine class in method2).
        negative: "nearest" or "random"; of methods 1 and 2.
        siblings: "own rule", "all", "drawn" or "coarse"; of methods 1 and 2.
        fallback: "furthest" or "nearest"; of method 1.

    Returns:
        Quadruplets on the device of the embeddings, or of the labels without them.

    Raises:
        HierarchyError: a fine class under two coarse ones, or a reference without
            P⁺, P⁻ or N; its class is named.
        ValueError: bad shapes, an unknown method or switch, an index out of range, or
            NaN or infinite embeddings; the row is named.

    Example:
        >>> points = torch.tensor([[0.0], [0.5], [4.0], [2.5], [2.0]])
        >>> fine, coarse = torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 0, 0, 0, 1])
        >>> select_quadruplets(points, fine, coarse, torch.tensor([0]))
        Quadruplets(reference=tensor([0]), positive_positive=tensor([2]), \
positive_negative=tensor([3]), negative=tensor([4]))
    """
    rule = Rule(method, negative, siblings, fallback)
    classes, gallery = ClassIndex(fine, coarse), None
    if embeddings is None and method != "random":
        raise ValueError(f"method={method!r} needs embeddings; only random does not")
    classes = beside(embeddings, classes)
    if method != "random":
        gallery = Gallery(embeddings, classes.order)
    return complete(classes, gallery, references, rule, generator)


def beside(embeddings: Tensor | None, classes: ClassIndex) -> ClassIndex:
    """The classes where the embeddings are.

    Raises:
        ValueError: (N, D) embeddings of another number of samples.
    """
    if not isinstance(embeddings, Tensor) or embeddings.ndim != 2:
        return classes  # nothing, or what a gallery will refuse
    if len(embeddings) != len(classes):
        raise ValueError(
            f"{len(embeddings)} embeddings but {len(classes)} labels; expected one "
            "fine and one coarse label for each embedding"
        )
    return classes.to(embeddings.device)


def complete(
    classes: ClassIndex,
    gallery: Gallery | None,
    references: Tensor,
    rule: Rule,
    generator: torch.Generator | None = None,
    guests: Tensor | None = None,
) -> Quadruplets:
    """Complete each reference to a quadruplet of a gallery that stands ready.

    Args:
        classes: of N samples.
        gallery: their embeddings, in the order of the classes; random needs none.
        references: (B,) int64 indices.
        rule: how.
        generator: a CPU generator for what is drawn at random.
        guests: (P, D) embeddings from elsewhere. The classes are visited by them, and
            references from N on are they.

    Raises:
        HierarchyError, ValueError: as ``select_quadruplets``, for the references.
    """
    r = _check_references(references, classes)
    # Random numbers come from the CPU, so that a seed means the same on every device.
    draw = torch.rand(3, len(r), generator=generator, dtype=torch.float64, device="cpu")
    draw = draw.to(r.device)
    if rule.method == "random":
        return Quadruplets(
            r,
            classes.draw_positive_positive(r, draw[0]),
            classes.draw_positive_negative(r, draw[1]),
            classes.draw_negative(r, draw[2]),
        )
    # By class, so that references that search the same places stand together.
    order = (classes.coarse[r] * len(classes.fine_labels) + classes.fine[r]).argsort()
    chosen = r.new_empty(3, len(r))
    for part in order.split(neighbors.QUERIES):
        few = r[part]
        if guests is None:
            q = gallery.rows(few)
        else:
            q = gallery.queries(guests, few - len(classes))
        chosen[:, part] = _select(gallery, classes, q, few, rule, draw[:, part])
    return Quadruplets(r, *chosen)


def _select(
    gallery: Gallery,
    classes: ClassIndex,
    q: Queries,
    r: Tensor,
    rule: Rule,
    draw: Tensor,
) -> Tensor:
    """(3, B): P⁺, P⁻ and N of the references r, (B,), sorted by class; q are they."""
    fine, coarse, place = classes.fine[r], classes.coarse[r], classes.position[r]
    of_fine = classes.fine_start[fine], classes.fine_size[fine]  # a slice each, (B,)
    of_coarse = classes.coarse_start[coarse], classes.coarse_size[coarse]
    if rule.negative == "random" and rule.method != "hardest_negative":
        n = classes.draw_negative(r, draw[2])  # (B,)
    else:
        skip = of_coarse[0], of_coarse[0] + of_coarse[1]
        n = gallery.nearest(q, skip=skip)[:, 0]
    if rule.method == "hardest_negative":
        pp = classes.draw_positive_positive(r, draw[0])
        pn = classes.draw_positive_negative(r, draw[1])
        return torch.stack([pp, pn, n])

    sphere = _Sphere(q, gallery.exact(q, torch.arange(len(q), device=n.device), n))
    around_n = gallery.rows(n) if rule.method == "method1" else None
    keep_to_rule = rule.fallback == "nearest"
    pp = _positive(gallery, sphere, around_n, of_fine, (place, place + 1), keep_to_rule)
    if rule.where == "drawn":
        # Not in the order of the references: sorted by the class that was drawn.
        sibling = classes.draw_sibling(r, draw[1])
        of_sibling = classes.fine_start[sibling], classes.fine_size[sibling]
        by_class = of_sibling[0].argsort()
        start, size = (x[by_class] for x in of_sibling)
        pn = torch.empty_like(pp)
        pn[by_class] = _positive(
            gallery,
            sphere[by_class],
            None if around_n is None else around_n[by_class],
            (start, size),
            (start, start),
            keep_to_rule,
        )
    else:
        without = of_fine[0], of_fine[0] + of_fine[1]
        if rule.where == "coarse":
            without = place, place + 1
        pn = _positive(gallery, sphere, around_n, of_coarse, without, keep_to_rule)
    return torch.stack([pp, pn, n])


@dataclass(frozen=True, eq=False)
class _Sphere:
    """Hyperspheres around B references, with exact squared radii (B,), float64."""

    centre: Queries
    radius: Tensor

    def __getitem__(self, rows: Tensor) -> "_Sphere":
        return _Sphere(self.centre[rows], self.radius[rows])


def _positive(
    gallery: Gallery,
    sphere: _Sphere,
    around_n: Queries | None,
    candidates: tuple[Tensor, Tensor],
    without: tuple[Tensor, Tensor],
    keep_to_rule: bool,
) -> Tensor:
    """(B,) of each reference's candidates the one that its method takes.

    Args:
        sphere: around the references.
        around_n: N of each reference, if the nearest to it is sought (Method 1).
        candidates: first place and number of places, (B,) each.
        without: the places from the first up to the second are no candidates.
        keep_to_rule: where none lies outside, the nearest to N instead of the furthest.
    """
    start, size = candidates
    chosen = torch.empty_like(start)
    step = max(1, neighbors.BLOCK_BYTES // (64 * int(size.max())))
    for i in range(0, len(start), step):
        rows = slice(i, i + step)
        q, first = sphere.centre[rows], start[rows]
        d, error = gallery.members(q, first, size[rows])
        place = first[:, None] + torch.arange(d.shape[1], device=d.device)
        left_out = (place >= without[0][rows, None]) & (place < without[1][rows, None])
        d.masked_fill_(left_out, torch.inf)
        outside = gallery.beyond(q, sphere.radius[rows], first, d, error)
        centre, from_centre, centre_error = q, d, error
        if around_n is not None:
            centre = around_n[rows]
            from_centre, centre_error = gallery.members(centre, first, size[rows])
        found = gallery.choose(
            centre,
            first,
            from_centre.masked_fill(~outside, torch.inf),
            centre_error,
        )
        lacking = (found < 0).nonzero().squeeze(1)
        if len(lacking):
            inside = d[lacking] < torch.inf
            if around_n is not None and keep_to_rule:
                found[lacking] = gallery.choose(
                    centre[lacking],
                    first[lacking],
                    from_centre[lacking].masked_fill(~inside, torch.inf),
                    centre_error[lacking],
                )
            else:
                found[lacking] = gallery.choose(
                    q[lacking], first[lacking], d[lacking], error[lacking], True
                )
        chosen[rows] = found
    return chosen


def _check_references(references: Tensor, classes: ClassIndex) -> Tensor:
    if not isinstance(references, Tensor):
        raise ValueError(
            f"references are a {type(references).__name__}; expected a torch tensor of "
            "int64 indices"
        )
    if references.ndim != 1 or references.dtype != torch.int64 or not len(references):
        raise ValueError(
            f"references are {references.dtype} of shape {tuple(references.shape)}; "
            "expected int64 indices of shape (B,) with B of at least 1"
        )
    references = references.to(classes.fine.device)
    low, high, n = int(references.min()), int(references.max()), len(classes.fine)
    if low < 0 or high >= n:
        raise ValueError(
            f"references run from {low} to {high}, but there are {n} samples; expected "
            f"indices from 0 to {n - 1}"
        )
    for partner, count, why in (
        ("P⁺", classes.positive_positives(references), "is the only sample of"),
        ("P⁻", classes.positive_negatives(references), "has no sibling class beside"),
        (
            "N",
            classes.negatives(references),
            "has no other coarse class beside that of",
        ),
    ):
        if (lacking := count == 0).any():
            r = int(references[lacking][0])
            raise HierarchyError(
                f"{int(lacking.sum())} of {len(references)} references have no "
                f"{partner}: sample {r} {why} fine class {classes.fine_label(r)} "
                f"(coarse class {classes.coarse_label(r)}); leave such samples out of "
                "the references (Hierarchy.references() lists the usable ones)"
            )
    return references
