"""The scenes of the selection lab, and the picture that stands in for it on paper.

The lab itself is book/_static/lab: the same rules, written for the browser. What it
starts from comes from here, in two files that are committed and held against this
module by the tests:

    python -m qsel.book.figures.lab
"""

import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from qsel import losses
from qsel.book import figures
from qsel.hierarchy import Hierarchy
from qsel.selection import select_quadruplets

FOLDER = Path("book") / "_static" / "lab"


@dataclass(frozen=True, eq=False)
class Scene:
    """Points in the plane, and which reference and method to begin with."""

    key: str  # in the address of the page
    title: str
    points: Tensor  # (N, 2) float64
    labels: Hierarchy
    reference: int = 0
    method: str = "method1"


def scenes() -> list[Scene]:
    """The four scenes of the lab.

    Example:
        >>> [scene.key for scene in scenes()]
        ['figure-2', 'fallback', 'single', 'siblings']
    """
    points, labels = _exact(*figures.scene())
    alone = int((labels.fine == labels.fine_names.index("c1")).nonzero()[0])
    inside = _exact(*figures.scene(fallback=True))
    return [
        Scene("figure-2", "Figure 2", points, labels),
        Scene("fallback", "Nothing outside", *inside),
        Scene("single", "A single model", points, labels, alone),
        Scene("siblings", "Three siblings", *_siblings(), method="method2"),
    ]


def scenes_script() -> str:
    """The scenes as the script that the page loads."""
    listed = []
    for scene in scenes():
        fine = zip(scene.points.tolist(), scene.labels.fine.tolist(), strict=True)
        listed.append(
            {
                "key": scene.key,
                "title": scene.title,
                "reference": scene.reference,
                "method": scene.method,
                "fineNames": scene.labels.fine_names,
                "coarseNames": scene.labels.coarse_names,
                "coarseOf": scene.labels.coarse_of_fine.tolist(),
                "points": [[*xy, f] for xy, f in fine],
            }
        )
    body = ",\n".join(f"  {json.dumps(scene)}" for scene in listed)
    return (
        "// Written by qsel.book.figures.lab; points are [x, y, fine class].\n"
        "globalThis.QselLab ??= {};\n"
        f"QselLab.SCENES = [\n{body}\n];\n"
    )


def twin() -> Figure:
    """What stands in for the lab in print and without scripts: six quadruplets.

    Under each panel the three distances from R, the distance part of equation (5), and
    equation (3), which of a single quadruplet has no variances.
    """
    figures.style()
    matplotlib.rcParams["font.family"] = "DejaVu Sans"  # comes with matplotlib
    first, inside, alone, siblings = scenes()
    panels = [
        ("Figure 2, Method 1", first, "method1"),
        ("Figure 2, Method 2", first, "method2"),
        ("Nothing outside, either method", inside, "method1"),
        ("Three siblings, Method 1", siblings, "method1"),
        ("Three siblings, Method 2", siblings, "method2"),
        ("A single model: no P⁻, no quadruplet", alone, "method1"),
    ]
    figure = Figure(figsize=(9.6, 7))
    axes = figure.subplots(2, 3)
    figure.subplots_adjust(0.01, 0.1, 0.99, 0.96, 0.05, 0.2)
    for ax, (title, scene, method) in zip(axes.flat, panels, strict=True):
        _panel(ax, scene, method)
        ax.set_title(title, fontsize=10.5)
    handles, names = axes[1, 0].get_legend_handles_labels()
    names = [f"fine class {name}" for name in names]
    figure.legend(handles, names, loc="lower center", ncols=len(names), fontsize=9)
    return figure


def hero() -> Figure:
    """What the README begins with: both methods on the points of Figure 2."""
    panels = [(f"Method {k}", f"method{k}", *figures.scene()) for k in (1, 2)]
    return figures.selection_in_the_plane(panels)


def write(root: Path = Path(".")) -> None:
    """Write all three files below the root of the repository."""
    folder = root / FOLDER
    (folder.parent / "hero.svg").write_text(figures.as_svg(hero()), encoding="utf-8")
    (folder / "scenes.js").write_text(scenes_script(), encoding="utf-8")
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text stays text
        metadata = {"Date": None, "Creator": None}
        twin().savefig(folder / "twin.svg", format="svg", metadata=metadata)


def _exact(points: Tensor, labels: Hierarchy) -> tuple[Tensor, Hierarchy]:
    """Hundredths as float64, without the rounding of float32."""
    return (points.double() * 100).round() / 100, labels


def _siblings() -> tuple[Tensor, Hierarchy]:
    """Three fine classes under R's coarse class, so that Method 2 has one to draw."""
    found = {
        "a1": [(0, 0), (-0.95, -0.2), (1.35, 0.3), (0.3, 0.4), (-1.65, 0.8)],
        "a2": [(0.3, -0.95), (1.5, -0.4), (-0.4, -0.35), (0.5, -1.7)],
        "a3": [(-0.35, 0.95), (-1.2, -1.2), (0.6, 1.5)],
        "b1": [(0.85, 0), (1.95, 0.2), (2.15, -0.7)],
        "b2": [(1.6, 1.15), (2.05, 1.6)],
        "c1": [(-1.9, -0.35), (-2.1, 0.3)],
        "c2": [(-1.1, 1.75), (-1.85, 1.5)],
    }
    fine = [name for name, points in found.items() for _ in points]
    hierarchy = Hierarchy.from_names(fine, [name[0] for name in fine])
    xy = [p for points in found.values() for p in points]
    return torch.tensor(xy, dtype=torch.float64), hierarchy


def _panel(ax: Axes, scene: Scene, method: str) -> None:
    points, labels = scene.points, scene.labels
    ax.set(xlim=(-2.45, 2.55), ylim=(-2.15, 2.35), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color="0.8")
    figures.scatter(ax, points, labels, size=44)
    if scene.reference not in labels.references():
        r = points[scene.reference].tolist()
        ax.scatter(*r, s=120, facecolors="none", edgecolors="black", zorder=4)
        figures.tag(ax, r, "R", (-9, 0), side="right")
        return
    chosen = select_quadruplets(
        points,
        labels.fine,
        labels.coarse,
        torch.tensor([scene.reference]),
        method,
        torch.Generator().manual_seed(0),
    )
    r, *others = four = [points[i] for i in chosen.stack()]  # (1, 2) each
    distances = [float(losses.distance(r, other)) for other in others]
    edge = dict(facecolor="0.96", edgecolor="0.2", linestyle="--", linewidth=1.1)
    ax.add_patch(Circle(r[0].tolist(), distances[2], zorder=0, **edge))
    for other in others:
        ax.plot(*torch.cat([r, other]).T, ":", color="0.3", lw=1, zorder=1)
    figures.mark(ax, points, chosen)
    joint, whole = losses.joint_loss(*four), losses.global_loss(*four)
    # One line: several would be placed by the width of their letters.
    values = (*distances, float(joint), float(whole))
    text = "to P⁺ {:.2f}, P⁻ {:.2f}, N {:.2f}; (5) {:.2f}, (3) {:.2f}"
    ax.set_xlabel(text.format(*values), fontsize=9)


if __name__ == "__main__":
    write()
