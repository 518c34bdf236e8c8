"""Figure 1 of the paper, read off the model."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from qsel.book.figures import ROLES, WIDTH, blank, picture, withheld
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
    figure = blank(WIDTH, 5.8)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.axis("off")
    head = model.head
    shared, heads, losses = "#dce9f5", "#fdebd0", "#e3f1e5"
    columns = (9, 20, 31, 42)  # R, P⁺, P⁻ and N
    members = quadruplet.stack()[:, 0].tolist()
    for x, role, i in zip(columns, ROLES, members, strict=True):
        place = ax.inset_axes((x - 4, 48, 8, 8), transform=ax.transData)
        hidden = withheld(images)
        picture(place, torch.full((3, 1, 1), 0.9) if hidden else images[i])
        if hidden:
            ax.text(x, 52, "not\nshown", ha="center", va="center", fontsize=9, zorder=9)
        ax.text(x, 57.5, role, ha="center", va="center", fontsize=11)
        _arrow(ax, (x, 47.6), (x, 45))
        _arrow(ax, (x, 38), (x, 36.4))
    width, dim = head.embedding.in_features, head.embedding.out_features
    text = f"trunk {trunk}: {width} features, {_count(model.trunk)} weights"
    _box(ax, 25.5, 41.5, 46, 6, f"{text}\nthe same for all four", shared)
    text = f"fully connected layer: {dim} dimensions\n{_count(head.embedding)} weights"
    _box(ax, 25.5, 33, 46, 6, f"{text}, the same for all four", shared)
    for x, name, layer in ((7, "coarse", head.coarse), (20.5, "fine", head.fine)):
        text = f"{name} head\n{layer.out_features} classes\n{_count(layer)} weights"
        _box(ax, x, 22, 12, 8, text, heads)
        _arrow(ax, (9, 29.6), (x, 26.4))
        _arrow(ax, (x, 17.6), (13.75 + (x - 13.75) / 3, 14.4))
    _box(ax, 13.75, 11, 25.5, 6, "softmax (4) of R alone", losses)
    _box(ax, 39.5, 22, 19, 8, "distances from R\nto P⁺, P⁻ and N", losses)
    for x in columns:
        _arrow(ax, (x, 29.6), (36 + (x - 9) / 5, 26.4))
    _box(ax, 34.5, 11, 9, 6, "joint\n(5)", losses)
    _box(ax, 45, 11, 9, 6, "global\n(3)", losses)
    _arrow(ax, (26.9, 11), (29.6, 11))
    _arrow(ax, (34.5, 17.6), (34.5, 14.4))
    _arrow(ax, (45, 17.6), (45, 14.4))
    _box(ax, 39.5, 2.8, 19, 3.6, "combined (6): (5) + η (3)", losses)
    _arrow(ax, (34.5, 7.6), (36, 5))
    _arrow(ax, (45, 7.6), (43.5, 5))
    ax.set(xlim=(0, 51), ylim=(0, 59))
    return figure


def _box(
    ax: Axes, x: float, y: float, width: float, height: float, text: str, colour: str
) -> None:
    """Text in a box, both round the middle (x, y)."""
    look = dict(boxstyle="round,pad=0.1,rounding_size=0.9", fc=colour, ec="0.25")
    corner = x - width / 2, y - height / 2
    ax.add_patch(FancyBboxPatch(corner, width, height, **look))
    ax.text(x, y, text, ha="center", va="center", fontsize=9, linespacing=1.2)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops=dict(arrowstyle="-|>", color="0.3", lw=1))


def _count(layer: nn.Module) -> str:
    return f"{sum(p.numel() for p in layer.parameters()):,}"
