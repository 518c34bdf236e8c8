"""The book's look, and Figure 2 of the paper, drawn by the package itself.

One look throughout: a colour stands for a coarse class, a marker for a fine class
within it. Every function takes tensors or objects and returns a matplotlib ``Figure``.
"""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import seaborn
import torch
from IPython.display import Image, Markdown
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image as Pictures
from torch import Tensor

from qsel.data.images import ImageSet
from qsel.experiments.rows import TITLES
from qsel.hierarchy import Hierarchy
from qsel.selection import Quadruplets, select_quadruplets

ROLES = ("R", "P⁺", "P⁻", "N")
# The rows of Table 1, as figures name them.
SHORT = {
    method: title.replace(" Quadruplet Selection", "")
    .replace("Proposed ", "")
    .replace(", random positives", " (control)")
    for method, title in TITLES.items()
}
MARKERS = "os^DvPX<>*hp"
# Six hues of Okabe and Ito that colour-blind readers tell apart, violet and grey; each
# as it is, darkened and lightened, so that 24 classes differ in hue or in lightness.
HUES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7b3fa0")
HUES += ("#808080",)
LIGHTNESS = (("white", 0.0), ("black", 0.45), ("white", 0.45))  # mixed in, and how much
RASTERISE = 500  # points; more of them are stored as pixels, or a page grows by MBs
HALO = [patheffects.withStroke(linewidth=2.5, foreground="white")]


def style() -> None:
    """Set the book's look; in a notebook also its format, SVG without dates."""
    seaborn.set_theme(style="white", context="notebook", font_scale=0.9)
    matplotlib.rcParams.update(
        {
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "savefig.dpi": 160,
            "svg.hashsalt": "qsel",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "legend.frameon": False,
        }
    )
    from IPython.core.interactiveshell import InteractiveShell

    if InteractiveShell.initialized():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None, "Creator": None})


def blank(width: float, height: float, layout: str | None = "constrained") -> Figure:
    """An empty figure in the book's look; sides in inches."""
    style()
    return Figure(figsize=(width, height), layout=layout)


def sentence(words: str) -> Figure:
    """A figure that says why there is none."""
    figure = blank(3, 0.6, layout=None)
    figure.text(0.5, 0.5, words, ha="center", va="center")
    return figure


def as_pixels(figure: Figure | Pictures.Image) -> Image:
    """A figure of thousands of points, or a picture, for a page: pixels stay small.

    They have 256 colours at most, which a third of the bytes suffices for.
    """
    stream = io.BytesIO()
    if isinstance(figure, Figure):
        figure.savefig(stream, format="png", dpi=110)
        figure = Pictures.open(stream)
    stream = io.BytesIO()
    figure.convert("RGB").quantize(256, dither=Pictures.Dither.NONE).save(
        stream, format="png", optimize=True
    )
    return Image(stream.getvalue(), format="png")


def withheld(images: ImageSet) -> Markdown | None:
    """A sentence in place of pictures that may not be passed on; None where they may.

    A page is something passed on. The photographs of Stanford Cars are not ours to
    give away; SynthCars are, and over your own folder you decide.

    Example:
        >>> labels = Hierarchy.from_names(["a3", "a4"], ["sedan", "sedan"])
        >>> black = torch.zeros(2, 3, 8, 8, dtype=torch.uint8).numpy()
        >>> withheld(ImageSet.from_array("synthcars test", black, labels)) is None
        True
    """
    if images.name.split()[0] != "cars196":
        return None
    return Markdown(
        "*Not shown: the photographs of Stanford Cars may not be passed on, and a page "
        "is. With `synthcars`, or a folder of your own, pictures stand here.*"
    )


def coarse_colours(classes: int) -> list[tuple[float, float, float]]:
    """One RGB colour for each coarse class; they repeat after 24.

    Neighbours differ in hue and in lightness. Many classes cannot all be told apart by
    colour alone, so the figures name their classes in place too.

    Example:
        >>> len(set(coarse_colours(22)))
        22
    """
    colours = []
    for c in range(classes):
        other, share = LIGHTNESS[(c % len(HUES) + c // len(HUES)) % len(LIGHTNESS)]
        mixed = zip(to_rgb(HUES[c % len(HUES)]), to_rgb(other), strict=True)
        colours.append(tuple((1 - share) * a + share * b for a, b in mixed))
    return colours


def fine_markers(coarse_of_fine: Tensor) -> list[str]:
    """One marker for each fine class; under one coarse class they repeat after 12.

    Example:
        >>> fine_markers(torch.tensor([0, 0, 1]))
        ['o', 's', 'o']
    """
    parents = coarse_of_fine.tolist()
    ranks = (parents[:f].count(c) for f, c in enumerate(parents))
    return [MARKERS[rank % len(MARKERS)] for rank in ranks]


def scene(fallback: bool = False) -> tuple[Tensor, Hierarchy]:
    """Points in a plane like the paper's Figure 2; the reference is point 0.

    Args:
        fallback: a second scene, in which no positive lies outside the hypersphere.

    Returns:
        (N, 2) points and their two label levels.
    """
    own = {"a1": [(0, 0), (-0.4, 0.35), (0.25, -0.55)], "a2": [(0.1, 0.62)]}
    if fallback:
        own["a1"] += [(-0.75, -0.1)]
        own["a2"] += [(-0.3, -0.5), (0.5, 0.75)]
    else:
        own["a1"] += [(1.45, 0.42), (-1.12, 0.3), (-1.6, -1.0), (0.35, 1.75)]
        own["a2"] += [(1.35, -0.5), (-0.4, -1.12), (-1.75, 0.95), (0.9, -1.5)]
    others = {
        "b1": [(1, 0), (1.85, -0.05), (2.1, 0.6)],
        "b2": [(1.75, 1.3), (2.05, -0.95)],
        "c1": [(-0.9, 1.5), (-0.5, 1.9), (-1.3, 2.0)],
    }
    points = {**own, **others}
    fine = [name for name, found in points.items() for _ in found]
    hierarchy = Hierarchy.from_names(fine, [name[0] for name in fine])
    return torch.tensor([p for found in points.values() for p in found]), hierarchy


def selection_in_the_plane(
    panels: Sequence[tuple[str, str, Tensor, Hierarchy]],
) -> Figure:
    """Figure 2: what ``select_quadruplets`` chooses among points in a plane.

    A dashed circle is the hypersphere. Thin lines join each chosen positive to what it
    is measured from: N in Method 1, R in Method 2 and where nothing lies outside.

    Args:
        panels: title, method, (N, 2) points and labels of each; R is point 0.
    """
    figure = blank(4.3 * len(panels), 4.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, method, points, labels) in zip(axes, panels, strict=True):
        chosen = select_quadruplets(
            points, labels.fine, labels.coarse, torch.tensor([0]), method
        )
        r, *positives, n = points[chosen.stack()[:, 0]]  # (2,) each
        radius = torch.dist(r, n)
        edge = dict(facecolor="0.96", edgecolor="0.2", linestyle="--", linewidth=1.3)
        ax.add_patch(Circle(r.tolist(), float(radius), zorder=0, **edge))
        ax.plot(*torch.stack([r, n]).T, ":", color="0.3", zorder=1)
        ax.text(*((r + n) / 2 + torch.tensor([0, 0.09])), "$D_{R,N}$", ha="center")
        for p in positives:
            outside = torch.dist(r, p) > radius
            start = n if outside and method == "method1" else r
            ax.plot(*torch.stack([start, p]).T, "-", color="0.3", lw=1, zorder=1)
        scatter(ax, points, labels, size=55)
        mark(ax, points, names_of({method: chosen}))
        ax.set(title=title, aspect="equal", xticks=[], yticks=[])
        ax.set(xlabel="first coordinate", ylabel="second coordinate")
    handles, names = axes[0].get_legend_handles_labels()
    names = [f"fine class {name}" for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def scatter(
    ax: Axes, xy: Tensor, labels: Hierarchy, size: float, faint: Tensor | None = None
) -> None:
    """Every sample: colour by coarse class, marker by fine class."""
    faint = torch.zeros(len(labels), dtype=torch.bool) if faint is None else faint
    colours = coarse_colours(len(labels.coarse_names))
    for f, marker in enumerate(fine_markers(labels.coarse_of_fine)):
        colour = colours[labels.coarse_of_fine[f]]
        member = labels.fine == f
        shade = [0.3 if is_faint else 1.0 for is_faint in faint[member].tolist()]
        ax.scatter(
            *xy[member].T,
            s=size,
            color=colour,
            marker=marker,
            alpha=shade,
            linewidths=0.3,
            edgecolors="white",
            zorder=2,
            rasterized=len(labels) > RASTERISE,
            label=literal(labels.fine_names[f]),
        )


def literal(name: str) -> str:
    """A name as matplotlib text that shows it as it is: no dollar begins a formula.

    Example:
        >>> print(literal("under $9"))
        under \\$9
    """
    return name.replace("$", r"\$")


def names_of(chosen: Mapping[str, Quadruplets]) -> dict[int, str]:
    """Sample → what to write beside it: its role, and by which method if they differ.

    Methods 1 and 2 have the same N; that of Random is its own, and so named.

    Args:
        chosen: method → one quadruplet of the same R.
    """
    names: dict[int, str] = {}
    for method in sorted(chosen, key=lambda m: m == "random"):  # its names come last
        short = "r" if method == "random" else method[-1]
        own = ("P⁺", "P⁻", "N") if method == "random" else ("P⁺", "P⁻")
        members = chosen[method].stack()[:, 0].tolist()
        for role, i in zip(ROLES, members, strict=True):
            number = short if len(chosen) > 1 and role in own else ""
            if i not in names:
                names[i] = f"{role} {number}".strip()
            elif number:
                names[i] += f"+{number}"
    return names


def mark(ax: Axes, xy: Tensor, names: Mapping[int, str]) -> None:
    """Ring and name the members of quadruplets; set the limits of the axes before.

    Names lie outwards. Where they would cover one another they move apart, and a line
    leads to what is named.
    """
    members = xy[list(names)]
    at = torch.from_numpy(ax.transData.transform(members)) * 72 / ax.figure.dpi
    away = at - at.mean(0)  # (M, 2), points of type
    away = away / away.norm(dim=1, keepdim=True).clamp_min(1e-9)
    wanted = torch.stack([9 * away[:, 0], 13 * away[:, 1]], dim=1)
    right = (away[:, 0] > 0).tolist()
    moved = _apart(at + wanted, right, list(names.values()))
    for point, (x, y), up, on_right, name in zip(
        members, wanted.tolist(), moved, right, names.values(), strict=True
    ):
        ax.scatter(*point, s=120, facecolors="none", edgecolors="black", zorder=4)
        side = "left" if on_right else "right"
        tag(ax, point.tolist(), name, (x, y + up), side=side, line=up > 0)


def _apart(
    at: Tensor, right: Sequence[bool], names: Sequence[str], high: float = 14
) -> list[float]:
    """How far up each name has to go so that none covers another, in points of type.

    Args:
        at: (M, 2) where they begin, or end where they stand on the left.
        right: M times whether a name runs from its place to the right.
        names: M of them.
        high: a line of type.
    """
    places = at.tolist()
    width = [0.5 * high * len(name) for name in names]
    left = [x - w * (not r) for (x, _), w, r in zip(places, width, right, strict=True)]
    up = [0.0] * len(names)
    order = sorted(range(len(names)), key=lambda i: places[i][1])
    for k, i in enumerate(order):
        for j in order[:k]:  # what lies below is settled
            beside = left[i] < left[j] + width[j] and left[j] < left[i] + width[i]
            gap = places[i][1] + up[i] - places[j][1] - up[j]
            if beside and gap < high:
                up[i] += high - gap
    return up


def tag(
    ax: Axes,
    at: Sequence[float],
    text: str,
    offset: tuple[float, float],
    size: float = 11,
    side: str = "center",
    line: bool = False,
) -> None:
    """Text beside a point, offset in points of type, readable over others."""
    near = {"left": (0, 0.5), "right": (1, 0.5), "center": (0.5, 0.5)}[side]
    leader = dict(arrowstyle="-", color="0.3", lw=0.7, shrinkA=0, shrinkB=5)
    leader["relpos"] = near
    ax.annotate(
        text,
        at,
        offset,
        textcoords="offset points",
        ha=side,
        va="center",
        fontsize=size,
        fontweight="bold",
        path_effects=HALO,
        zorder=5,
        arrowprops=leader if line else None,
    )
