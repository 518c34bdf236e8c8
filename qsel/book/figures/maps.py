"""Pictures of chapter 3.3 that need an embedding: the hypersphere of one reference.

By true distances it is seen as it is; on a map it is not.
"""

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from qsel import losses
from qsel.book.figures import ROLES, SHORT, WIDTH, blank, tag
from qsel.hierarchy import Hierarchy
from qsel.selection import Quadruplets

# What a sample is to R, from its own class outwards, and the colour that says so.
KINDS = {
    "R's fine class": "#0072b2",
    "its coarse class": "#56b4e9",
    "N's coarse class": "#d55e00",
    "other coarse classes": "0.72",
}
# How R, P⁺, P⁻ and N are drawn: marker, colour, and how far beside their line.
LOOKS = {"R": ("o", "white", 0), "P⁺": ("o", "#0072b2", -0.15)}
LOOKS |= {"P⁻": ("s", "#56b4e9", 0.15), "N": ("^", "#d55e00", 0)}


def umap_of(embeddings: Tensor) -> Tensor:
    """A map of embeddings by UMAP on their l2 distances: (N, 2), no unit.

    A fixed seed and a single thread make it repeat.
    """
    from umap import UMAP  # slow to import: it compiles

    neighbours = min(15, len(embeddings) - 1)
    mapper = UMAP(n_neighbors=neighbours, random_state=0, n_jobs=1)
    return torch.from_numpy(mapper.fit_transform(embeddings.cpu().numpy()))


def inside(points: Tensor, r: int, n: int) -> Tensor:
    """(N,) bool: which points are nearer to R than N is, R itself not counted.

    Example:
        >>> inside(torch.tensor([[0.0], [1.0], [2.0], [3.0]]), r=0, n=2).tolist()
        [False, True, False, False]
    """
    d = torch.linalg.vector_norm(points - points[r], dim=1)
    found = d < d[n]
    found[r] = False
    return found


def count_inside(embeddings: Tensor, chosen: Quadruplets) -> Tensor:
    """How many samples lie inside each hypersphere, R not counted: (B,) int64."""
    counts = []
    for r, n in zip(
        chosen.reference.split(512), chosen.negative.split(512), strict=True
    ):
        radius = losses.distance(embeddings[r], embeddings[n])  # (512,)
        nearer = torch.cdist(embeddings[r], embeddings) < radius[:, None]  # (512, N)
        nearer[torch.arange(len(r)), r] = False
        counts.append(nearer.sum(1))
    return torch.cat(counts)


def in_numbers(
    embeddings: Tensor,
    chosen: Quadruplets,
    margins: tuple[float, float] = (losses.MARGIN1, losses.MARGIN2),
) -> dict[str, float]:
    """What B quadruplets have in common, as means over them.

    Args:
        embeddings: (N, D).
        chosen: B quadruplets, indices into the N.
        margins: m₁ and m₂ of equation (5).

    Returns:
        "P⁺ inside" and "P⁻ inside": the share no further from R than N. "in order": the
        share with D(R,P⁺) < D(R,P⁻) < D(R,N). "zero loss": the share whose two hinges
        of (5) are both zero. "hinges of (5)": their mean sum. "mean D(R,N)". "in the
        sphere": the mean number of samples nearer to R than N.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [0.6], [1.0]])
        >>> found = in_numbers(x, Quadruplets(*torch.arange(4)[:, None]))
        >>> found["in order"], found["zero loss"], found["in the sphere"]
        (1.0, 1.0, 2.0)
    """
    r, *others = (embeddings[i].double() for i in chosen.stack())  # (B, D) each
    d_pp, d_pn, d_n = (losses.distance(r, other) for other in others)  # (B,)
    hinges = losses.joint_loss(r, *others, 0.0, *margins, reduction="none")  # (B,)
    found = {
        "P⁺ inside": d_pp <= d_n,
        "P⁻ inside": d_pn <= d_n,
        "in order": (d_pp < d_pn) & (d_pn < d_n),
        "zero loss": hinges == 0,
        "hinges of (5)": hinges,
        "mean D(R,N)": d_n,
        "in the sphere": count_inside(embeddings, chosen),
    }
    return {name: value.double().mean().item() for name, value in found.items()}


def clearest_reference(
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
        >>> clearest_reference(a, b, torch.zeros(2), labels)
        1
    """
    differing = (first.stack() != second.stack()).sum(0)  # (B,)
    rank = 2 * differing + (inside > 0)
    sizes = labels.coarse.bincount()[labels.coarse[first.reference]]  # (B,)
    gap = (sizes - sizes.median()).abs()
    gap[rank < rank.max()] = len(labels) + 1
    return int((gap == gap.min()).nonzero()[0])


def distances_from_r(
    embeddings: Tensor,
    labels: Hierarchy,
    chosen: Mapping[str, Quadruplets],
    place: int,
) -> Figure:
    """Every sample by its true distance from one R, and below whom each rule chose.

    Args:
        embeddings: (N, D).
        labels: of the N samples.
        chosen: method → B quadruplets of the same references. N of the last one sets
            the radius.
        place: which of the B.
    """
    r, *_, n = list(chosen.values())[-1].stack()[:, place].tolist()
    d = losses.distance(embeddings[r].expand_as(embeddings), embeddings)  # (N,)
    figure = blank(WIDTH, 5.2)
    everyone, few = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    kinds = _kinds(labels, r, n)
    for row, (colour, member) in enumerate(zip(KINDS.values(), kinds, strict=True)):
        heights = row + torch.linspace(-0.3, 0.3, int(member.sum()))
        everyone.scatter(d[member], heights, s=7, color=colour, rasterized=True)
    titles = [f"{k} ({m.sum()})" for k, m in zip(KINDS, kinds, strict=True)]
    everyone.set(yticks=range(4), yticklabels=titles, ylim=(3.6, -0.8))
    for row, quadruplets in enumerate(chosen.values()):
        few.axhline(row, color="0.85", lw=1, zorder=0)
        members = quadruplets.stack()[:, place].tolist()
        for role, i in zip(ROLES, members, strict=True):
            marker, colour, aside = LOOKS[role]
            few.plot(
                d[i], row + aside, marker, mfc=colour, mec="black", ms=8, label=role
            )
    few.set(yticks=range(len(chosen)), yticklabels=[SHORT[m] for m in chosen])
    few.set(ylim=(len(chosen) - 0.5, -0.5), xlabel="distance from R in the embedding")
    for ax in (everyone, few):
        ax.axvline(float(d[n]), color="black", linestyle="--", lw=1.2, zorder=0)
    everyone.text(float(d[n]), -0.6, " radius $D_{R,N}$", va="center")
    handles, names = few.get_legend_handles_labels()
    figure.legend(handles[:4], names[:4], loc="outside lower center", ncols=4)
    return figure


def circle_on_a_map(
    xy: Tensor, embeddings: Tensor, labels: Hierarchy, r: int, n: int
) -> Figure:
    """A map with the circle round R through N: who seems to be inside, and who is.

    Rings mark those that are truly inside the hypersphere.

    Args:
        xy: (N, 2) the map.
        embeddings: (N, D) what was mapped.
        labels: of the N samples.
        r: the reference.
        n: its negative.
    """
    truly, seem = inside(embeddings, r, n), inside(xy, r, n)
    figure = blank(WIDTH, 5)
    ax = figure.subplots()
    kinds = zip(KINDS.values(), _kinds(labels, r, n), strict=True)
    for colour, member in reversed(list(kinds)):
        ax.scatter(*xy[member].T, s=6, color=colour, rasterized=True)
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim(), xticks=[], yticks=[])
    ax.set_aspect("equal")
    ax.spines[:].set(visible=True, color="0.6")
    radius = float(torch.dist(xy[r], xy[n]))
    edge = dict(facecolor="0.96", edgecolor="0.2", linestyle="--", linewidth=1.3)
    ax.add_patch(Circle(xy[r].tolist(), radius, zorder=0, **edge))
    ax.scatter(*xy[truly].T, s=70, facecolors="none", edgecolors="black", linewidths=1)
    for role, i in (("R", r), ("N", n)):
        marker, colour, _ = LOOKS[role]
        ax.plot(*xy[i], marker, mfc=colour, mec="black", ms=8)
        tag(ax, xy[i].tolist(), role, (0, 13))
    both = int((truly & seem).sum())
    ax.set_xlabel(
        f"in the circle {seem.sum()}, in the hypersphere {truly.sum()}, in both {both}"
    )
    figure.legend(
        ax.collections[3::-1],
        KINDS,
        loc="outside lower center",
        ncols=2,
        markerscale=3,
    )
    return figure


def _kinds(labels: Hierarchy, r: int, n: int) -> list[Tensor]:
    """Which samples are of each of the ``KINDS``: four times (N,) bool."""
    own = labels.fine == labels.fine[r]
    related = labels.coarse == labels.coarse[r]
    of_n = labels.coarse == labels.coarse[n]
    return [own, related & ~own, of_n, ~related & ~of_n]
