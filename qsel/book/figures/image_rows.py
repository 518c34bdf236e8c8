"""Pictures of data: a schema of retrieval, hardest negatives, quadruplets as rows.

Nothing here asks whether pictures may be passed on; a page does, with
``qsel.book.figures.withheld``. Right and wrong are told by words and frames, never by
colour alone.
"""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from torch import Tensor

from qsel import losses
from qsel.book.figures import HALO, ROLES, SHORT, WIDTH, blank, literal, picture
from qsel.data.images import ImageSet
from qsel.selection import Quadruplets

LONGEST = 17  # letters of a class name under a small picture
# Of the schema: where five stored pictures stand, and the query, nearest to the first.
STORED = ((0.5, 0.68), (0.12, 0.27), (0.14, 0.8), (0.88, 0.75), (0.84, 0.27))
QUERY = (0.44, 0.22)


def retrieval(images: ImageSet, fine_classes: Sequence[int]) -> Figure:
    """How an embedding recognises a model that it was not trained on.

    A query picture goes through the network and becomes a point; one picture of each
    known model is stored as a point; the nearest one names the query. The places of
    the points are drawn by hand.

    Args:
        images: any data set.
        fine_classes: five at most. The first is the query's; it needs two pictures.
    """
    labels = images.hierarchy
    members = [(labels.fine == f).nonzero().squeeze(1).tolist() for f in fine_classes]
    figure = blank(WIDTH, 5.6)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 5.2), ylim=(0, 5.6))
    ax.axis("off")
    box = dict(boxstyle="round,pad=0,rounding_size=0.12", zorder=-1, ec="0.4")
    ax.add_patch(FancyBboxPatch((0.1, 0.1), 5, 3.5, fc="0.96", **box))
    ax.text(5, 3.7, "embedding space", ha="right", fontsize=10)

    def place(at: tuple[float, float]) -> tuple[float, float]:
        return 0.1 + 5 * at[0], 0.1 + 3.5 * at[1]

    query, nearest = place(QUERY), place(STORED[0])
    ax.plot(*zip(query, nearest, strict=True), color="black", lw=2, zorder=1)
    for k, (at, own) in enumerate(zip(STORED, members, strict=False)):
        x, y = place(at)
        if k:
            ax.plot([query[0], x], [query[1], y], ":", color="0.5", lw=1, zorder=0)
        _thumbnail(ax, images[own[0]], (x, y), frame="black" if k == 0 else "0.6")
        name = _short(labels.fine_names[fine_classes[k]])
        # Above the nearest, since the line to it comes from below.
        height, side = (y - 0.42, "top") if k else (y + 0.4, "bottom")
        ax.text(x, height, name, ha="center", va=side, fontsize=9)
    ax.plot(*query, "*", ms=17, color="black")
    ax.text(query[0] + 0.15, query[1] - 0.15, "query", va="top", fontsize=9)
    middle = [(a + b) / 2 for a, b in zip(query, nearest, strict=True)]
    word = dict(ha="right", fontsize=9, path_effects=HALO)
    ax.text(middle[0] - 0.1, middle[1], "nearest", **word)

    _thumbnail(ax, images[members[0][1]], (0.75, 4.75), frame="black", zoom=1.4)
    ax.text(0.75, 5.4, "a new picture", ha="center", fontsize=9)
    ax.add_patch(FancyBboxPatch((2, 4.4), 1.3, 0.7, fc="#dce9f5", **box))
    ax.text(2.65, 4.75, "network $f_\\theta$", ha="center", va="center", fontsize=10)
    for start, end in (((1.35, 4.75), (1.9, 4.75)), ((2.9, 4.3), query)):
        arrow = dict(arrowstyle="-|>", mutation_scale=14, color="0.3", shrinkB=8)
        bent = dict(connectionstyle="arc3,rad=-0.35") if end is query else {}
        ax.add_patch(FancyArrowPatch(start, end, **arrow, **bent))
    return figure


def hardest_negatives(embeddings: Tensor, chosen: Quadruplets, most: int = 4) -> Tensor:
    """The worst mix-ups: R and N with the least distance between them, (2, K).

    A picture is in one pair at most: of pairs that share one, the nearest is taken.

    Args:
        embeddings: (N, D).
        chosen: B quadruplets with the hardest negatives.
        most: K at most.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [5.0], [5.1]])
        >>> r, n = torch.tensor([0, 1, 2, 3]), torch.tensor([1, 0, 3, 2])
        >>> hardest_negatives(x, Quadruplets(r, r, r, n)).tolist()
        [[2, 0], [3, 1]]
    """
    d = losses.distance(embeddings[chosen.reference], embeddings[chosen.negative])
    used: set[int] = set()
    pairs = []
    for place in d.argsort(stable=True).tolist():
        pair = int(chosen.reference[place]), int(chosen.negative[place])
        if used.isdisjoint(pair) and len(pairs) < most:
            pairs.append(pair)
            used |= set(pair)
    return torch.tensor(pairs).T


def negatives(images: ImageSet, embeddings: Tensor, pairs: Tensor) -> Figure:
    """Each R above its N, with their classes and the distance between them.

    Args:
        images: N of them.
        embeddings: (N, D).
        pairs: (2, K) indices, R and N.
    """
    labels, columns = images.hierarchy, pairs.shape[1]
    figure = blank(WIDTH, 4.2)
    axes = figure.subplots(2, columns, squeeze=False)
    for column, (r, n) in enumerate(pairs.T.tolist()):
        gap = float(losses.distance(embeddings[[r]], embeddings[[n]]))
        for ax, i in zip(axes[:, column], (r, n), strict=True):
            _show(ax, images, i)
            coarse = literal(labels.coarse_names[labels.coarse[i]])
            fine = _short(labels.fine_names[labels.fine[i]])
            ax.set_xlabel(f"{coarse}\n{fine}", fontsize=9)
        axes[0, column].set_title(f"$D$ = {gap:.3f}", fontsize=10)
    for ax, role in zip(axes[:, 0], ("R", "N"), strict=True):
        ax.set_ylabel(role, rotation=0, ha="right", va="center", fontweight="bold")
    return figure


def quadruplet_rows(
    images: ImageSet, embeddings: Tensor, chosen: Mapping[str, Quadruplets], place: int
) -> Figure:
    """One reference's quadruplet under each method: R, P⁺, P⁻ and N, a row each.

    Under each picture its distance from R and its fine class. A dashed frame means
    further from R than N.

    Args:
        images: N of them.
        embeddings: (N, D).
        chosen: method → B quadruplets of the same references.
        place: which of the B.
    """
    labels = images.hierarchy
    figure = blank(WIDTH, 1.75 * len(chosen))
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)  # room for thick frames
    axes = figure.subplots(len(chosen), 4, squeeze=False)
    for row, (method, quadruplets) in enumerate(chosen.items()):
        members = quadruplets.stack()[:, place]
        four = embeddings[members].double()
        d = losses.distance(four[:1].expand_as(four), four)  # (4,), from R
        for ax, role, i, gap in zip(
            axes[row], ROLES, members.tolist(), d.tolist(), strict=True
        ):
            _show(ax, images, i, beyond=role in ROLES[1:3] and gap > d[3])
            fine = _short(labels.fine_names[labels.fine[i]])
            ax.set_xlabel(f"{gap:.2f}: {fine}" if role != "R" else fine, fontsize=9)
            if row == 0:
                ax.set_title(role)
        axes[row, 0].set_ylabel(SHORT[method])
    return figure


def _short(name: str) -> str:
    """A fine class's name without its folder, cut where it is long."""
    name = name.rpartition("/")[2]
    return literal(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…")


def _show(ax: Axes, images: ImageSet, i: int, beyond: bool = False) -> None:
    picture(ax, images[i])
    ax.spines[:].set(color="black", linewidth=1)
    if beyond:
        ax.spines[:].set(linestyle=(0, (4, 2)), linewidth=2.5)


def _thumbnail(
    ax: Axes, image: Tensor, at: tuple[float, float], frame: str, zoom: float = 0.9
) -> None:
    """A picture as wide as its place, 56 · zoom points, whatever its size in pixels."""
    pixels = image.permute(1, 2, 0).numpy()
    drawn = OffsetImage(pixels, zoom=56 * zoom / max(pixels.shape[:2]))
    drawn.image.set(interpolation="nearest", gid=f"picture{at[0]:g}-{at[1]:g}")
    look = dict(edgecolor=frame, linewidth=2 if frame == "black" else 1)
    ax.add_artist(AnnotationBbox(drawn, at, pad=0.05, bboxprops=look))
