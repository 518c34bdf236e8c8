"""The book's look, and Figure 2 of the paper, drawn by the package itself.

One look throughout: a colour stands for a coarse class, a marker for a fine class
within it. Every function takes tensors or objects and returns a matplotlib ``Figure``,
at most ``WIDTH`` wide, so that its type can be read on a telephone.
"""

import io
from collections.abc import Sequence

import matplotlib
import seaborn
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import Image, Markdown
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
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
WIDTH = 5.2  # inches; at 390 pixels type of 9 points is then as high as 8.5 pixels
# An SVG learns from the page around it whether that is dark. Then the ground is clear
# and the ink light; colours keep their hue, and pictures stay as they are.
ON_DARK = """<style>@media (prefers-color-scheme: dark) {
#patch_1 {display: none}
#figure_1, image[id^="picture"] {filter: invert(1) hue-rotate(180deg)}
}</style>"""
HALO = [patheffects.withStroke(linewidth=2.5, foreground="white")]


def style() -> None:
    """Set the book's look; in a notebook also its format."""
    seaborn.set_theme(style="white", context="notebook", font_scale=0.9)
    matplotlib.rcParams.update(
        {
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "savefig.dpi": 160,
            "svg.hashsalt": "qsel",
            "axes.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "legend.frameon": False,
        }
    )
    if InteractiveShell.initialized():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg")
        formatters = InteractiveShell.instance().display_formatter.formatters
        formatters["image/svg+xml"].for_type(Figure, as_svg)


def as_svg(figure: Figure) -> str:
    """A figure for a page, the same bytes each time; it follows a dark page."""
    stream = io.StringIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(stream, format="svg", bbox_inches="tight", metadata=metadata)
    head, drawing = stream.getvalue().split('<g id="figure_1">', 1)
    return f'{head}{ON_DARK}<g id="figure_1">{drawing}'


def blank(width: float, height: float) -> Figure:
    """An empty figure in the book's look; sides in inches."""
    style()
    return Figure(figsize=(width, height), layout="constrained")


def sentence(words: str) -> Figure:
    """A figure that says why there is none."""
    figure = blank(3, 0.6)
    figure.text(0.5, 0.5, words, ha="center", va="center")
    return figure


def picture(ax: Axes, image: Tensor) -> None:
    """A (3, H, W) picture without axes, which a dark page leaves as it is."""
    name = "picture{:.3f}-{:.3f}".format(*ax.get_position().p0)
    ax.imshow(image.permute(1, 2, 0).numpy(), interpolation="none", gid=name)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True)


def as_pixels(contact_sheet: Pictures.Image) -> Image:
    """A sheet of many pictures for a page, in 256 colours: a third of the bytes."""
    stream = io.BytesIO()
    contact_sheet.convert("RGB").quantize(256, dither=Pictures.Dither.NONE).save(
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
    figure = blank(min(WIDTH, 3.6 * len(panels)), 3.6)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    quadruplets = []
    for ax, (title, method, points, labels) in zip(axes, panels, strict=True):
        chosen = select_quadruplets(
            points, labels.fine, labels.coarse, torch.tensor([0]), method
        )
        quadruplets.append(chosen)
        r, *positives, n = points[chosen.stack()[:, 0]]  # (2,) each
        radius = torch.dist(r, n)
        edge = dict(facecolor="0.96", edgecolor="0.2", linestyle="--", linewidth=1.3)
        ax.add_patch(Circle(r.tolist(), float(radius), zorder=0, **edge))
        ax.plot(*torch.stack([r, n]).T, ":", color="0.3", zorder=1)
        for p in positives:
            outside = torch.dist(r, p) > radius
            start = n if outside and method == "method1" else r
            ax.plot(*torch.stack([start, p]).T, "-", color="0.3", lw=1, zorder=1)
        scatter(ax, points, labels, size=36)
        ax.set(title=title, aspect="equal", xticks=[], yticks=[])
        ax.spines[:].set(visible=True, color="0.8")
    handles, names = axes[0].get_legend_handles_labels()
    place = dict(loc="outside lower center", ncols=len(names), columnspacing=1)
    figure.legend(handles, names, title="fine class", handletextpad=0.2, **place)
    figure.draw_without_rendering()  # names need the places
    for ax, (_, _, points, _), chosen in zip(axes, panels, quadruplets, strict=True):
        mark(ax, points, chosen)
    return figure


def scatter(ax: Axes, xy: Tensor, labels: Hierarchy, size: float) -> None:
    """Every sample: colour by coarse class, marker by fine class."""
    colours = coarse_colours(len(labels.coarse_names))
    for f, marker in enumerate(fine_markers(labels.coarse_of_fine)):
        ax.scatter(
            *xy[labels.fine == f].T,
            s=size,
            color=colours[labels.coarse_of_fine[f]],
            marker=marker,
            linewidths=0.3,
            edgecolors="white",
            zorder=2,
            label=literal(labels.fine_names[f]),
        )


def literal(name: str) -> str:
    """A name as matplotlib text that shows it as it is: no dollar begins a formula.

    Example:
        >>> print(literal("under $9"))
        under \\$9
    """
    return name.replace("$", r"\$")


def mark(ax: Axes, xy: Tensor, quadruplet: Quadruplets) -> None:
    """Ring and name the members of one quadruplet; draw and place all else before.

    A name stands where it covers least of the points, lines and circles.
    """
    scale = 72 / ax.figure.dpi
    drawn = torch.cat([_pixels_of(artist) for artist in ax.get_children()]) * scale
    for role, i in zip(ROLES, quadruplet.stack()[:, 0].tolist(), strict=True):
        ax.scatter(*xy[i], s=110, facecolors="none", edgecolors="black", zorder=4)
        at = torch.from_numpy(ax.transData.transform(xy[i].tolist())) * scale
        half = torch.tensor([4.5 * len(role), 8.0])
        turns = torch.arange(16) * torch.pi / 8
        offsets = torch.stack([turns.cos(), turns.sin()], dim=1) * (half + 6)
        gaps = (drawn - (at + offsets)[:, None]).abs() < half  # (16, M, 2)
        best = offsets[gaps.all(2).sum(1).argmin()]
        tag(ax, xy[i].tolist(), role, tuple(best.tolist()))
        corners = torch.cartesian_prod(*torch.tensor([[-1.0, 0.0, 1.0]] * 2))
        drawn = torch.cat([drawn, at + best + half * corners])


def _pixels_of(artist: Artist) -> Tensor:
    """(M, 2) where points, a line or a circle cover the page, in pixels."""
    if isinstance(artist, PathCollection):
        places = artist.get_offset_transform().transform(artist.get_offsets())
    elif isinstance(artist, Line2D):
        ends = torch.from_numpy(artist.get_transform().transform(artist.get_xydata()))
        places = ends[:1] + torch.linspace(0, 1, 30)[:, None] * (ends[-1:] - ends[:1])
    elif isinstance(artist, Circle):
        path = artist.get_transform().transform_path(artist.get_path())
        places = path.to_polygons()[0]
    else:
        places = torch.empty(0, 2)
    return torch.as_tensor(places, dtype=torch.float64)


def tag(
    ax: Axes,
    at: Sequence[float],
    text: str,
    offset: tuple[float, float],
    size: float = 11,
    side: str = "center",
) -> None:
    """Text beside a point, offset in points of type, readable over others."""
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
    )
