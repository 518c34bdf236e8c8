"""Figure 1 of the paper, read off the model."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from qsel.book.figures import ROLES, blank, withheld
from qsel.data.images import ImageSet
from qsel.model import EmbeddingModel
from qsel.selection import Quadruplets


def framework(
    model: EmbeddingModel, trunk: str, images: ImageSet, quadruplet: Quadruplets
) -> Figure:
    """Figure 1: four images, one network, two heads, the losses.

    Every number is read off the model; nothing in it needs to be trained, and it may
    live on the meta device.

    Args:
        model: trunk and head.
        trunk: the trunk's name in the settings.
        images: the training set; grey fields stand for those that are withheld.
        quadruplet: the one to show, the first if there are several.
    """
    figure = blank(9.6, 4.6, layout=None)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 96), ylim=(0, 46))
    ax.axis("off")
    head = model.head
    colours = ("#dce9f5", "#fdebd0", "#e3f1e5")  # shared weights, heads, losses

    for row, (role, i) in enumerate(
        zip(ROLES, quadruplet.stack()[:, 0].tolist(), strict=True)
    ):
        y = 39 - 10.5 * row
        place = dict(extent=(6, 14, y - 4, y + 4), zorder=2)
        if withheld(images):
            ax.imshow([[0.9]], cmap="gray", vmin=0, vmax=1, **place)
            ax.text(10, y, "not shown", ha="center", va="center", fontsize=7)
        else:
            picture = images[i].permute(1, 2, 0).numpy()
            ax.imshow(picture, interpolation="none", **place)
        ax.text(4.5, y, role, ha="right", va="center", fontsize=13)
        _box(ax, 19, y, 15, 6.5, "trunk", colours[0])
        _box(ax, 40, y, 15, 6.5, "FC layer", colours[0])
        _arrow(ax, (14.3, y), (18.7, y))
        _arrow(ax, (34.3, y), (39.7, y))
    ax.set_aspect("auto")
    for left in (26.5, 47.5):  # the same weights in all four rows
        for row in range(3):
            y = 39 - 10.5 * row
            ax.plot([left, left], [y - 3.7, y - 6.8], ":", color="0.35", lw=1.6)
            ax.text(left + 0.9, y - 5.25, "shared", va="center", fontsize=8.5)
    width, dim = head.embedding.in_features, head.embedding.out_features
    under = dict(ha="center", va="top", fontsize=9, linespacing=1.35)
    text = f"{trunk}: {width} features\n{_count(model.trunk)} weights"
    ax.text(26.5, 3.6, text, **under)
    text = f"{dim} dimensions\n{_count(head.embedding)} weights"
    ax.text(47.5, 3.6, text, **under)

    for y, name, layer in ((42, "coarse", head.coarse), (34.5, "fine", head.fine)):
        text = f"{name} head: {layer.out_features} classes\n{_count(layer)} weights"
        _box(ax, 61, y, 17, 5.6, text, colours[1])
        _arrow(ax, (55.3, 39), (60.7, y))
        _arrow(ax, (78.3, y), (82.7, 38.25 + (y - 38.25) / 3))
    _box(ax, 83, 38.25, 11, 7, "softmax (4)\nof R alone", colours[2])
    _box(ax, 61, 22.5, 17, 7, "distances from R\nto P⁺, P⁻ and N", colours[2])
    for row in range(4):
        _arrow(ax, (55.3, 39 - 10.5 * row), (60.7, 24.5 - 1.3 * row))
    _box(ax, 83, 22.5, 11, 7, "joint (5)", colours[2])
    _box(ax, 61, 8, 17, 7, "global (3)\nover the batch", colours[2])
    _box(ax, 83, 8, 11, 7, "combined (6)\n(5) + η (3)", colours[2])
    _arrow(ax, (78.3, 22.5), (82.7, 22.5))
    _arrow(ax, (69.5, 18.8), (69.5, 11.7))
    _arrow(ax, (88.5, 34.5), (88.5, 26.2))
    _arrow(ax, (88.5, 18.8), (88.5, 11.7))
    _arrow(ax, (78.3, 8), (82.7, 8))
    return figure


def _box(ax: Axes, x: float, y: float, w: float, h: float, text: str, colour: str):
    ax.add_patch(
        FancyBboxPatch(
            (x, y - h / 2),
            w,
            h,
            boxstyle="round,pad=0.1,rounding_size=0.9",
            facecolor=colour,
            edgecolor="0.25",
        )
    )
    ax.text(x + w / 2, y, text, ha="center", va="center", fontsize=9, linespacing=1.3)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops=dict(arrowstyle="-|>", color="0.3", lw=1))


def _count(layer: nn.Module) -> str:
    return f"{sum(p.numel() for p in layer.parameters()):,}"
