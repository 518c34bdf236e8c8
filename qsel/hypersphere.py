"""Methods 1 and 2 on a prepared gallery, or on one process's share of it.

For references that are sorted by class: so that those who search the same places stand
together, and a class is a slice. What the methods are, and their switches, stands in
``qsel.selection``.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from qsel import neighbors
from qsel.distributed import Shards
from qsel.hierarchy import ClassIndex
from qsel.neighbors import Gallery, Queries
from qsel.vectors import squared_distances

METHODS = ("random", "method1", "method2", "hardest_negative")
NEGATIVES = ("nearest", "random")
SIBLINGS = ("own rule", "all", "drawn", "coarse")
FALLBACKS = ("furthest", "nearest")


@dataclass(frozen=True)
class Rule:
    """A method and its switches, as ``qsel.selection`` explains them.

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


def select(
    shards: Shards,
    classes: ClassIndex,
    here: ClassIndex,
    r: Tensor,
    at_r: tuple[Tensor, Tensor],
    rule: Rule,
    draw: Tensor,
) -> Tensor:
    """(3, B): P⁺, P⁻ and N of the references r, (B,), sorted by class.

    Args:
        shards: the gallery, or this process's share of it.
        classes: of all samples.
        here: the places of the samples in this shard.
        r: the references.
        at_r: their points, as ``shards.points`` has them.
        rule: the method and its switches.
        draw: (3, B) numbers in [0, 1), for what is drawn.
    """
    gallery = shards.gallery
    q = gallery.queries(*at_r)
    fine, coarse, place = classes.fine[r], classes.coarse[r], here.position[r]
    # Slices of places, (B,) starts and (B,) ends.
    of_fine = here.fine_start[fine], here.fine_start[fine] + here.fine_size[fine]
    of_coarse = (
        here.coarse_start[coarse],
        here.coarse_start[coarse] + here.coarse_size[coarse],
    )
    if rule.negative == "random" and rule.method != "hardest_negative":
        n = classes.draw_negative(r, draw[2])  # (B,)
    else:
        n = shards.best(q, gallery.nearest(q, skip=of_coarse)[:, 0])
    if rule.method == "hardest_negative":
        pp = classes.draw_positive_positive(r, draw[0])
        pn = classes.draw_positive_negative(r, draw[1])
        return torch.stack([pp, pn, n])

    at_n = shards.points(n)
    radius = squared_distances(*at_r, *at_n)  # (B,)
    around_n = gallery.queries(*at_n) if rule.method == "method1" else None
    search = Search(q, radius, around_n, rule.fallback == "nearest")
    pp = _positive(shards, search, of_fine, (place, place + 1))
    if rule.where == "drawn":
        # Not in the order of the references: sorted by the class that was drawn.
        sibling = classes.draw_sibling(r, draw[1])
        by_class = classes.fine_start[sibling].argsort(stable=True)
        start = here.fine_start[sibling[by_class]]
        of_sibling = start, start + here.fine_size[sibling[by_class]]
        pn = torch.empty_like(pp)
        pn[by_class] = _positive(shards, search[by_class], of_sibling, (start, start))
    else:
        without = (place, place + 1) if rule.where == "coarse" else of_fine
        pn = _positive(shards, search, of_coarse, without)
    return torch.stack([pp, pn, n])


@dataclass(frozen=True, eq=False)
class Search:
    """What the positives of B references are sought by.

    Attributes:
        around_r: the references.
        radius: (B,) exact squared radii of their hyperspheres, float64.
        around_n: their negatives, if the nearest to N is sought (Method 1).
        keep_to_rule: so it is where nothing lies outside, too.
    """

    around_r: Queries
    radius: Tensor
    around_n: Queries | None
    keep_to_rule: bool

    def __getitem__(self, rows: Tensor | slice) -> "Search":
        around_n = None if self.around_n is None else self.around_n[rows]
        radius = self.radius[rows]
        return Search(self.around_r[rows], radius, around_n, self.keep_to_rule)


def _positive(
    shards: Shards,
    search: Search,
    candidates: tuple[Tensor, Tensor],
    without: tuple[Tensor, Tensor],
) -> Tensor:
    """(B,) of each reference's candidates the one that its method takes.

    Args:
        shards: where the candidates are.
        search: by what they are sought.
        candidates: slices of places, (B,) starts and (B,) ends.
        without: the same, of places that are no candidates.
    """
    around_r, around_n = search.around_r, search.around_n
    centre = around_r if around_n is None else around_n
    outside = _in_shard(shards.gallery, search, candidates, without, outside=True)
    chosen = shards.best(centre, outside)
    lacking = (chosen < 0).nonzero().squeeze(1)
    if len(lacking):
        furthest = around_n is None or not search.keep_to_rule
        part = [tuple(x[lacking] for x in pair) for pair in (candidates, without)]
        inside = _in_shard(shards.gallery, search[lacking], *part, outside=False)
        centre = around_r if furthest else around_n
        chosen[lacking] = shards.best(centre[lacking], inside, furthest)
    return chosen


def _in_shard(
    gallery: Gallery,
    search: Search,
    candidates: tuple[Tensor, Tensor],
    without: tuple[Tensor, Tensor],
    outside: bool,
) -> Tensor:
    """(B,) what ``_positive`` takes from one shard, by its own numbers; -1 for none.

    Args:
        outside: look outside of the hypersphere; else at all candidates, if there is
            none outside.
    """
    start, size = candidates[0], candidates[1] - candidates[0]
    found = torch.full_like(start, -1)
    step = max(1, neighbors.BLOCK_BYTES // (64 * max(1, int(size.max()))))
    for i in range(0, len(start), step):
        rows = slice(i, i + step)
        part, first = search[rows], start[rows]
        q, around_n = part.around_r, part.around_n
        d, error = gallery.members(q, first, size[rows])
        place = first[:, None] + torch.arange(d.shape[1], device=d.device)
        left_out = (place >= without[0][rows, None]) & (place < without[1][rows, None])
        d.masked_fill_(left_out, torch.inf)
        allowed = d < torch.inf
        if outside:
            allowed = gallery.beyond(q, part.radius, first, d, error)
        furthest = not outside and (around_n is None or not search.keep_to_rule)
        if around_n is not None and not furthest:
            q = around_n
            d, error = gallery.members(q, first, size[rows])
        d = d.masked_fill(~allowed, torch.inf)
        found[rows] = gallery.choose(q, first, d, error, furthest)
    return found
