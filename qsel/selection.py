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

from dataclasses import dataclass

import torch
from torch import Tensor

from qsel import neighbors
from qsel.distributed import ALONE, Shards, Team, TeamError
from qsel.hierarchy import ClassIndex, HierarchyError
from qsel.hypersphere import METHODS, Rule, select
from qsel.neighbors import Gallery
from qsel.vectors import check_embeddings

__all__ = ["METHODS", "Quadruplets", "Rule", "complete", "select_quadruplets"]


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
    team: Team = ALONE,
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
        team: where several processes hold the embeddings, each gives its own, (M, D):
            first those of rank 0, then of rank 1, and so on. All other arguments, and
            the state of the generator, are the same in all.

    Returns:
        Quadruplets on the device of the embeddings, or of the labels without them.

    Raises:
        HierarchyError: a fine class under two coarse ones, or a reference without
            P⁺, P⁻ or N; its class is named.
        ValueError: bad shapes, an unknown method or switch, an index out of range, or
            NaN or infinite embeddings; the row is named.
        TeamError: shares that do not add up to the labels.

    Example:
        >>> points = torch.tensor([[0.0], [0.5], [4.0], [2.5], [2.0]])
        >>> fine, coarse = torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 0, 0, 0, 1])
        >>> select_quadruplets(points, fine, coarse, torch.tensor([0]))
        Quadruplets(reference=tensor([0]), positive_positive=tensor([2]), \
positive_negative=tensor([3]), negative=tensor([4]))
    """
    rule = Rule(method, negative, siblings, fallback)
    classes = ClassIndex(fine, coarse)
    if embeddings is None and method != "random":
        raise ValueError(f"method={method!r} needs embeddings; only random does not")
    if team.size == 1:
        classes = beside(embeddings, classes)
    if method == "random":
        return complete(classes, None, references, rule, generator)
    shards, here = _shards(embeddings, classes, team)
    return complete(classes, shards, references, rule, generator, here=here)


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
    shards: Shards | None,
    references: Tensor,
    rule: Rule,
    generator: torch.Generator | None = None,
    guests: Tensor | None = None,
    here: ClassIndex | None = None,
) -> Quadruplets:
    """Complete each reference to a quadruplet of a gallery that stands ready.

    Args:
        classes: of N samples.
        shards: their embeddings, in the order of the classes; random needs none.
        references: (B,) int64 indices.
        rule: how.
        generator: a CPU generator for what is drawn at random.
        guests: (P, D) embeddings from elsewhere. The classes are visited by them, and
            references from N on are they.
        here: the places in this process's shard, if it is not the whole gallery.

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
    by_class = classes.coarse[r] * len(classes.fine_labels) + classes.fine[r]
    chosen = r.new_empty(3, len(r))
    for part in by_class.argsort(stable=True).split(neighbors.QUERIES):
        few = r[part]
        points = (guests, few - len(classes))
        if guests is None:
            points = shards.points(few)
        chosen[:, part] = select(
            shards, classes, here or classes, few, points, rule, draw[:, part]
        )
    return Quadruplets(r, *chosen)


def _shards(
    embeddings: Tensor, classes: ClassIndex, team: Team
) -> tuple[Shards, ClassIndex]:
    """This process's share of the gallery, and the places of its samples."""
    check_embeddings(embeddings)
    if team.size == 1:
        return Shards(Gallery(embeddings, classes.order)), classes
    lengths = team.lengths(len(embeddings), embeddings.device)
    if sum(lengths) != len(classes):
        raise TeamError(
            f"the processes hold {lengths} embeddings, {sum(lengths)} in all, but "
            f"there are {len(classes)} labels; expected one embedding for each label, "
            "the first of them with rank 0"
        )
    first = sum(lengths[: team.rank])
    here = classes.share(slice(first, first + len(embeddings)))
    return Shards(Gallery(embeddings, here.order), first, team), here


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
