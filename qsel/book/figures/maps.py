"""Pictures of chapter 3.3 that need an embedding: maps, and what a map gets wrong.

The look is that of ``qsel.book.figures``: a colour stands for a coarse class, a marker
for a fine class within it.
"""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from qsel import losses
from qsel.book.figures import (
    HALO,
    ROLES,
    SHORT,
    blank,
    coarse_colours,
    fine_markers,
    literal,
    mark,
    names_of,
    scatter,
    tag,
)
from qsel.hierarchy import Hierarchy
from qsel.selection import Quadruplets

# Where a name stands beside its point, so that N, P⁺ and P⁻ in one place keep apart.
NAME_PLACES = {
    "R": ((0, 13), "center"),
    "P⁺": ((3, 13), "left"),
    "P⁻": ((0, -13), "center"),
    "N": ((-3, 13), "right"),
}


def whole_classes(hierarchy: Hierarchy, most: int, first: Sequence[int] = ()) -> Tensor:
    """Indices of a smaller set made of whole fine classes, in order: (M,) int64.

    Takes the fine classes in ``first``, then one of every coarse class in turn, as
    long as they fit; nothing is drawn at random.

    Args:
        hierarchy: labels of all samples.
        most: samples that M may reach; only ``first`` may exceed it.
        first: fine classes that are always taken.

    Example:
        >>> labels = Hierarchy.from_names(list("abcd"), list("xxyy"))
        >>> whole_classes(labels, most=3).tolist()
        [0, 1, 2]
    """
    parents = hierarchy.coarse_of_fine.tolist()
    turns = [(parents[:f].count(c), c, f) for f, c in enumerate(parents)]
    sizes = hierarchy.fine.bincount().tolist()
    taken = list(dict.fromkeys(first))
    total = sum(sizes[f] for f in taken)
    for *_, f in sorted(turns):
        if f not in taken and total + sizes[f] <= most:
            taken.append(f)
            total += sizes[f]
    return torch.isin(hierarchy.fine, torch.tensor(taken)).nonzero().squeeze(1)


def umap_of(embeddings: Tensor) -> Tensor:
    """A map of embeddings by UMAP on their l2 distances: (N, 2), no unit.

    A fixed seed and a single thread make it repeat.
    """
    from umap import UMAP  # slow to import: it compiles

    neighbours = min(15, len(embeddings) - 1)
    mapper = UMAP(n_neighbors=neighbours, random_state=0, n_jobs=1)
    return torch.from_numpy(mapper.fit_transform(embeddings.cpu().numpy()))


def in_radii(points: Tensor, reference: int, negative: int) -> Tensor:
    """Distance of every point from R in units of D(R, N): below 1 is inside, (N,).

    Example:
        >>> in_radii(torch.tensor([[0.0], [1.0], [2.0]]), 0, 2)
        tensor([0.0000, 0.5000, 1.0000])
    """
    d = torch.linalg.vector_norm(points - points[reference], dim=1)
    return d / d[negative]


def selection_on_a_map(
    xy: Tensor,
    embeddings: Tensor,
    labels: Hierarchy,
    chosen: Mapping[str, Quadruplets],
) -> Figure:
    """Quadruplets of one reference: on a map, and by their true distances from R.

    Args:
        xy: (N, 2) the map.
        embeddings: (N, D) what was mapped.
        labels: of the N samples.
        chosen: method → one quadruplet of the same R, indices into the N. The first
            one's N sets the radius.
    """
    figure = blank(11, 6.2)
    panels = figure.subplot_mosaic(
        [["map", "all"], ["map", "chosen"]],
        width_ratios=(1, 1.15),
        height_ratios=(3, 2),
    )
    left, right, below = (panels[name] for name in ("map", "all", "chosen"))
    names = names_of(chosen)
    r, *_, n = next(iter(chosen.values())).stack()[:, 0].tolist()
    d = torch.linalg.vector_norm(embeddings - embeddings[r], dim=1)  # (N,)
    inside = (d < d[n]) & (torch.arange(len(d)) != r)
    related = labels.coarse == labels.coarse[r]

    scatter(left, xy, labels, size=16, faint=~related)
    ring = dict(facecolors="none", edgecolors="black", linewidths=0.9, zorder=3)
    left.scatter(*xy[inside].T, s=45, label="inside the hypersphere", **ring)
    left.set(xticks=[], yticks=[], xlabel="map, first axis", ylabel="map, second axis")
    left.margins(0.12)  # room for names at the rim
    handles, texts = left.get_legend_handles_labels()
    left.legend(handles[-1:], texts[-1:], loc="upper left", borderaxespad=0)

    own = labels.fine == labels.fine[r]
    rows = {"R's fine class": own, "its coarse class": related & ~own}
    rows["other coarse classes"] = ~related
    line = torch.empty(len(labels), 2)  # distance from R, row
    for row, member in enumerate(rows.values()):
        line[member, 0] = d[member].float()
        line[member, 1] = row + torch.linspace(-0.3, 0.3, int(member.sum()))
    scatter(right, line, labels, size=16)
    right.axvline(d[n], color="black", linestyle="--", lw=1.2)
    right.text(d[n], -0.62, " radius $D_{R,N}$", va="center", fontsize=10)
    right.set(yticks=range(3), yticklabels=rows, ylim=(2.6, -0.8), title="everyone")
    _members_by_distance(below, d, labels, chosen)
    below.axvline(d[n], color="black", linestyle="--", lw=1.2)
    below.set(xlabel="distance from R in the embedding (l2, no unit)")
    for ax in (right, below):
        ax.set(xlim=(-0.06 * float(d.max()), 1.06 * float(d.max())))
    figure.draw_without_rendering()  # names need the places
    mark(left, xy, names)
    return figure


def _members_by_distance(
    ax: Axes, d: Tensor, labels: Hierarchy, chosen: Mapping[str, Quadruplets]
) -> None:
    """A line for each method: R at 0, and its three others where they are."""
    colours = coarse_colours(len(labels.coarse_names))
    markers = fine_markers(labels.coarse_of_fine)
    for row, quadruplet in enumerate(chosen.values()):
        ax.axhline(row, color="0.85", lw=1, zorder=0)
        members = quadruplet.stack()[:, 0].tolist()
        for role, i in zip(ROLES, members, strict=True):
            look = dict(color=colours[labels.coarse[i]], mec="black", ms=8)
            ax.plot(d[i], row, markers[labels.fine[i]], **look)
            offset, side = NAME_PLACES[role]
            tag(ax, (float(d[i]), row), role, offset, size=10, side=side)
    titles = [SHORT[method] for method in chosen]
    ax.set(yticks=range(len(chosen)), yticklabels=titles, title="the chosen ones")
    ax.set(ylim=(len(chosen) - 0.4, -0.6))


def map_against_distance(
    xy: Tensor, embeddings: Tensor, labels: Hierarchy, reference: int, negative: int
) -> Figure:
    """Distance from R on the map against the true one, both in radii D(R, N).

    The lines at 1 cut four fields; each says how many samples lie in it, R and N not
    counted. Top left and bottom right are the map's mistakes.
    """
    others = torch.ones(len(labels), dtype=torch.bool)
    others[[reference, negative]] = False
    kept = others.nonzero().squeeze(1)
    true = in_radii(embeddings, reference, negative)[kept]
    mapped = in_radii(xy, reference, negative)[kept]
    figure = blank(6, 4.8)
    ax = figure.subplots()
    scatter(ax, torch.stack([true, mapped], dim=1), labels.subset(kept), size=14)
    ax.axvline(1, color="black", linestyle="--", lw=1.2)
    ax.axhline(1, color="black", linestyle="--", lw=1.2)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    for axis, values in ((ax.xaxis, true), (ax.yaxis, mapped)):
        axis.set_major_formatter("{x:g}")
        axis.set_view_interval(min(0.3, float(values.min()) / 1.2), 2.0, ignore=False)
    for x, side, is_inside in ((0.02, "left", true < 1), (0.98, "right", true >= 1)):
        for y, edge, looks in (
            (0.02, "bottom", mapped < 1),
            (0.98, "top", mapped >= 1),
        ):
            count = int((is_inside & looks).sum())
            where = ("inside" if x < 0.5 else "outside") + ",\n"
            where += "but looks " if (x < 0.5) != (y < 0.5) else "looks "
            where += "inside" if y < 0.5 else "outside"
            look = dict(ha=side, va=edge, fontsize=9, path_effects=HALO, zorder=5)
            ax.text(x, y, f"{count} {where}", transform=ax.transAxes, **look)
    ax.set(xlabel="true distance from R, in radii $D_{R,N}$ (log scale)")
    ax.set(ylabel="distance on the map, in the map's $D_{R,N}$ (log scale)")
    return figure


def maps(views: Mapping[str, Tensor], labels: Hierarchy) -> Figure:
    """Maps of the same samples side by side, coarse classes named where they gather.

    Where two names would overlap, the smaller class goes without; the legend has all.

    Args:
        views: title → (N, 2) map.
        labels: of the N samples.
    """
    figure = blank(5.4 * len(views), 5.2)
    axes = figure.subplots(1, len(views), squeeze=False)[0]
    for ax, (title, xy) in zip(axes, views.items(), strict=True):
        scatter(ax, xy, labels, size=14)
        ax.set(title=title, xticks=[], yticks=[])
        ax.set(xlabel="map, first axis", ylabel="map, second axis")
        ax.margins(x=0.12)  # room for names at the rim
        taken: list[Tensor] = []
        span = xy.amax(0) - xy.amin(0)
        for c in labels.coarse.bincount().argsort(descending=True, stable=True):
            own = xy[labels.coarse == c]
            middle = own[torch.cdist(own, own).median(1).values.argmin()]
            gaps = [((middle - other) / span).abs() for other in taken]
            if all(gap[0] > 0.2 or gap[1] > 0.05 for gap in gaps):
                name = literal(labels.coarse_names[c])
                tag(ax, middle.tolist(), name, (0, 0), size=9)
                taken.append(middle)
    colours = coarse_colours(len(labels.coarse_names))
    handles = [Line2D([], [], marker="o", ls="", color=colour) for colour in colours]
    names = map(literal, labels.coarse_names)
    figure.legend(handles, names, loc="outside lower center", ncols=8)
    return figure


def count_inside(embeddings: Tensor, chosen: Quadruplets, labels: Hierarchy) -> Tensor:
    """How many samples lie inside each hypersphere, R not counted: (B,) int64.

    N is the nearest of the other coarse classes, so only R's own can be inside.
    """
    counts = []
    for r, n in zip(
        chosen.reference.split(512), chosen.negative.split(512), strict=True
    ):
        radius = losses.distance(embeddings[r], embeddings[n])  # (512,)
        related = labels.coarse[r][:, None] == labels.coarse  # (512, N)
        related[torch.arange(len(r)), r] = False
        inside = torch.cdist(embeddings[r], embeddings) < radius[:, None]
        counts.append((inside & related).sum(1))
    return torch.cat(counts)


def telling(
    first: Quadruplets, second: Quadruplets, inside: Tensor, labels: Hierarchy
) -> int:
    """Which reference shows best that two methods differ: its place among the B.

    Both positives differ if that happens at all, else one of them. Among those, one
    with samples inside its hypersphere if there is any; then the one whose coarse class
    is nearest to the median size; then the lowest place.

    Args:
        first: B quadruplets of one method.
        second: those of the other, of the same references.
        inside: (B,) how many samples each hypersphere holds.
        labels: of all samples.

    Example:
        >>> labels = Hierarchy.from_names(list("aabb"), list("aabb"))
        >>> zero, one = torch.tensor([[0, 0], [1, 2]]), torch.tensor([[0, 1], [1, 3]])
        >>> a, b = (Quadruplets(x[0], x[1], x[1], x[1]) for x in (zero, one))
        >>> telling(a, b, torch.zeros(2), labels)
        1
    """
    differing = (first.stack() != second.stack()).sum(0)  # (B,)
    rank = 2 * differing + (inside > 0)
    sizes = labels.coarse.bincount()[labels.coarse[first.reference]]  # (B,)
    gap = (sizes - sizes.median()).abs()
    gap[rank < rank.max()] = len(labels) + 1
    return int((gap == gap.min()).nonzero()[0])


def within(chosen: Quadruplets, place: int, kept: Tensor) -> Quadruplets:
    """One quadruplet of many, by its members' places among the samples kept.

    Args:
        chosen: B quadruplets of the whole set.
        place: which of them.
        kept: (M,) sorted indices into the whole set that hold its four members.
    """
    members = chosen.stack()[:, place : place + 1].contiguous()  # (4, 1)
    return Quadruplets(*torch.searchsorted(kept, members))
