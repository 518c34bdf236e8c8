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
from qsel.hypersphere import Rule, select
from qsel.neighbors import Gallery, check_embeddings

METHODS = ("random", "method1", "method2", "hardest_negative")
NEGATIVES = ("nearest", "random")
SIBLINGS = ("own rule", "all", "drawn", "coarse")
FALLBACKS = ("furthest", "nearest")


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

    Example:
        >>> points = torch.tensor([[0.0], [0.5], [4.0], [2.5], [2.0]])
        >>> fine, coarse = torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 0, 0, 0, 1])
        >>> select_quadruplets(points, fine, coarse, torch.tensor([0]))
        Quadruplets(reference=tensor([0]), positive_positive=tensor([2]), \
positive_negative=tensor([3]), negative=tensor([4]))
    """
    for name, value, known in (
        ("method", method, METHODS),
        ("negative", negative, NEGATIVES),
        ("siblings", siblings, SIBLINGS),
        ("fallback", fallback, FALLBACKS),
    ):
        if value not in known:
            raise ValueError(f"{name}={value!r}; expected one of {', '.join(known)}")
    if embeddings is None and method != "random":
        raise ValueError(f"method={method!r} needs embeddings; only random does not")
    classes = ClassIndex(fine, coarse)
    if embeddings is not None:
        check_embeddings(embeddings)
        if team.size == 1 and len(embeddings) != len(classes):
            raise ValueError(
                f"{len(embeddings)} embeddings but {len(classes)} labels; expected one "
                "fine and one coarse label for each embedding"
            )
    references = _check_references(references, classes)
    # Random numbers come from the CPU, so that a seed means the same on every device.
    draw = torch.rand(
        3, len(references), generator=generator, dtype=torch.float64, device="cpu"
    )
    device = classes.fine.device if embeddings is None else embeddings.device
    classes, references, draw = (x.to(device) for x in (classes, references, draw))

    if method == "random":
        return Quadruplets(
            references,
            classes.draw_positive_positive(references, draw[0]),
            classes.draw_positive_negative(references, draw[1]),
            classes.draw_negative(references, draw[2]),
        )
    shards, here = _shards(embeddings, classes, team)
    if siblings == "own rule":
        siblings = "all" if method == "method1" else "drawn"
    rule = Rule(method, negative, siblings, fallback)
    # By class, so that references that search the same places stand together.
    order = classes.position[references].argsort()
    chosen = references.new_empty(3, len(references))
    for part in order.split(neighbors.QUERIES):
        chosen[:, part] = select(
            shards, classes, here, references[part], rule, draw[:, part]
        )
    return Quadruplets(references, *chosen)


def _shards(
    embeddings: Tensor, classes: ClassIndex, team: Team
) -> tuple[Shards, ClassIndex]:
    """This process's share of the gallery, and the places of its samples."""
    lengths = team.lengths(len(embeddings), embeddings.device)
    if sum(lengths) != len(classes):
        raise TeamError(
            f"the processes hold {lengths} embeddings, {sum(lengths)} in all, but "
            f"there are {len(classes)} labels; expected one embedding for each label, "
            "the first of them with rank 0"
        )
    first = sum(lengths[: team.rank])
    here = classes
    if team.size > 1:
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
    low, high = int(references.min()), int(references.max())
    if low < 0 or high >= len(classes):
        raise ValueError(
            f"references run from {low} to {high}, but there are {len(classes)} "
            f"samples; expected indices from 0 to {len(classes) - 1}"
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
