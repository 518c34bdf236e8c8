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
from qsel.book.figures import HALO, ROLES, SHORT, blank, literal
from qsel.data.images import ImageSet
from qsel.selection import Quadruplets

LONGEST = 22  # letters of a class name under a small picture
# Of the schema: where five stored pictures stand, and the query, nearest to the first.
STORED = ((0.6, 0.72), (0.14, 0.24), (0.16, 0.8), (0.88, 0.58), (0.84, 0.2))
QUERY = (0.42, 0.38)


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
    figure = blank(8.6, 4, layout=None)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 8.6), ylim=(0, 4))
    ax.axis("off")
    left, bottom, width, high = 4.7, 0.35, 3.7, 3.2

    box = dict(boxstyle="round,pad=0,rounding_size=0.12", zorder=-1)

    def place(at: tuple[float, float]) -> tuple[float, float]:
        return left + width * at[0], bottom + high * at[1]

    ax.add_patch(
        FancyBboxPatch((left, bottom), width, high, fc="0.96", ec="0.6", **box)
    )
    ax.text(left + width / 2, 3.72, "embedding space", ha="center")
    query, nearest = place(QUERY), place(STORED[0])
    ax.plot(*zip(query, nearest, strict=True), color="black", lw=2, zorder=1)
    for k, (at, own) in enumerate(zip(STORED, members, strict=False)):
        x, y = place(at)
        if k:
            ax.plot([query[0], x], [query[1], y], ":", color="0.5", lw=1, zorder=0)
        _thumbnail(ax, images, own[0], (x, y), frame="0.6" if k else "black")
        name = _short(labels.fine_names[fine_classes[k]])
        # Above the nearest, since the line to it comes from below.
        height, side = (y - 0.42, "top") if k else (y + 0.4, "bottom")
        ax.text(x, height, name, ha="center", va=side, fontsize=7.5)
    ax.plot(*query, "*", ms=17, color="black")
    ax.text(query[0], query[1] - 0.2, "query", ha="center", va="top", fontsize=9)
    middle = [(a + b) / 2 for a, b in zip(query, nearest, strict=True)]
    word = dict(ha="right", fontsize=9, path_effects=HALO)
    ax.text(middle[0] - 0.12, middle[1] + 0.02, "nearest", **word)

    _thumbnail(ax, images, members[0][1], (0.85, 1.95), frame="black", zoom=1.5)
    ax.text(0.85, 1.15, "a new picture", ha="center", va="top", fontsize=9)
    ax.add_patch(FancyBboxPatch((2.25, 1.6), 1.3, 0.7, fc="#dce9f5", ec="0.3", **box))
    ax.text(2.9, 1.95, "network $f_\\theta$", ha="center", va="center")
    for start, end in (((1.5, 1.95), (2.1, 1.95)), ((3.7, 1.95), query)):
        arrow = dict(arrowstyle="-|>", mutation_scale=14, color="0.3", shrinkB=10)
        ax.add_patch(FancyArrowPatch(start, end, **arrow))
    return figure


def hardest_negatives(embeddings: Tensor, chosen: Quadruplets, most: int = 6) -> Tensor:
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
    figure = blank(1.5 * columns, 4)
    axes = figure.subplots(2, columns, squeeze=False)
    for column, (r, n) in enumerate(pairs.T.tolist()):
        gap = float(losses.distance(embeddings[[r]], embeddings[[n]]))
        for ax, i in zip(axes[:, column], (r, n), strict=True):
            _show(ax, images, i)
            coarse = literal(labels.coarse_names[labels.coarse[i]])
            fine = _short(labels.fine_names[labels.fine[i]])
            ax.set_xlabel(f"{coarse}\n{fine}", fontsize=7)
        axes[0, column].set_title(f"$D$ = {gap:.3f}", fontsize=9)
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
    figure = blank(6.6, 1.85 * len(chosen))
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
            ax.set_xlabel(f"{gap:.2f}: {fine}" if role != "R" else fine, fontsize=7)
            if row == 0:
                ax.set_title(role)
        axes[row, 0].set_ylabel(SHORT[method])
    return figure


def _short(name: str) -> str:
    """A fine class's name without its folder, cut where it is long."""
    name = name.rpartition("/")[2]
    return literal(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…")


def _show(ax: Axes, images: ImageSet, i: int, beyond: bool = False) -> None:
    ax.imshow(images[i].permute(1, 2, 0).numpy(), interpolation="none")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color="black", linewidth=1)
    if beyond:
        ax.spines[:].set(linestyle=(0, (4, 2)), linewidth=2.5)


def _thumbnail(
    ax: Axes,
    images: ImageSet,
    i: int,
    at: tuple[float, float],
    frame: str,
    zoom: float = 0.8,
) -> None:
    """A picture as wide as its place, 56 · zoom points, whatever its size in pixels."""
    picture = images[i].permute(1, 2, 0).numpy()
    zoom = 56 * zoom / max(picture.shape[:2])
    box = OffsetImage(picture, zoom=zoom, interpolation="nearest")
    look = dict(edgecolor=frame, linewidth=2 if frame == "black" else 1)
    ax.add_artist(AnnotationBbox(box, at, pad=0.05, bboxprops=look))
