"""The look of all figures, and Figures 1 and 2, on inputs tiny enough for seconds."""

import io
from dataclasses import replace
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from bench_record import cpu
from matplotlib import rc_context
from matplotlib.image import AxesImage
from matplotlib.text import Text

from qsel import losses
from qsel.book import figures
from qsel.book.figures import (
    framework,
    hinges,
    image_rows,
    maps,
    objectives,
    outcomes,
    timings,
)
from qsel.data.images import ImageSet
from qsel.experiments.comparison import COMPARISONS
from qsel.experiments.config import preset
from qsel.experiments.row_names import BY_DEFAULT
from qsel.experiments.table1 import MEASURED
from qsel.experiments.trunks import build_trunk
from qsel.hierarchy import Hierarchy
from qsel.model import EmbeddingModel, Head
from qsel.selection import Quadruplets, select_quadruplets


def image_set(fine, coarse, name="synthcars test", grey=99):
    pixels = np.full((len(fine), 3, 8, 8), grey, np.uint8)
    return ImageSet.from_array(name, pixels, Hierarchy.from_names(fine, coarse))


CLOUD = image_set([f"f{i // 4}" for i in range(24)], [f"c{i // 8}" for i in range(24)])
LABELS = CLOUD.hierarchy
X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
CHOSEN = {
    method: select_quadruplets(
        X, LABELS.fine, LABELS.coarse, LABELS.references(), method
    )
    for method in ("random", "method1", "method2")
}
SWITCH = "margin_derived"
FOUR = torch.tensor([[0.0, 0.0], [1.0, 0.2], [0.45, -0.7], [-0.5, 0.45]])


def framework_figure(images=CLOUD):
    config = replace(preset("smoke"), weights=None, embedding_dim=7)
    with torch.device("meta"):
        trunk, width = build_trunk(config)
        head = Head(width, 3, 6, config.embedding_dim, config.dropout, config.normalise)
        model = EmbeddingModel(trunk, head)
    four = Quadruplets(*torch.tensor([[0], [1], [4], [8]]))
    return framework.framework(model, config.trunk, images, four), trunk, width


def plane(*methods, fallback=False):
    points, labels = figures.scene(fallback)
    return figures.selection_in_the_plane(
        [(f"Method {m[-1]}: nearest to N", m, points, labels) for m in methods]
    )


def runs():
    rows = [(m, seed, SWITCH) for m in figures.SHORT for seed in range(3)]
    table = pd.DataFrame(rows, columns=["method", "seed", "ablation"])
    for metric in MEASURED:
        table[metric] = 40 + np.random.default_rng(0).normal(0, 2, len(table))
        table[f"{metric} change"] = 5 * (table[metric] - 40)
    return table


def curve():
    rows = [(m, e, 0.4) for m in CHOSEN for e in range(1, 29)]
    return pd.DataFrame(rows, columns=["method", "epoch", "loss"])


def of_the_table() -> pd.DataFrame:
    """As many rows as the pages draw."""
    table = runs()
    return table[table.method.isin(BY_DEFAULT)]


EVERY = {
    "framework": lambda: framework_figure()[0],
    "selection": lambda: plane("method1", "method2"),
    "fallback": lambda: plane("method2", fallback=True),
    "distances": lambda: maps.distances_from_r(X, LABELS, CHOSEN, 3),
    "map": lambda: maps.circle_on_a_map(X[:, :2], X, LABELS, 0, 8),
    "rows": lambda: image_rows.quadruplet_rows(CLOUD, X, CHOSEN, 3),
    "hardest": lambda: image_rows.negatives(CLOUD, X, torch.arange(8).reshape(2, 4)),
    "retrieval": lambda: image_rows.retrieval(CLOUD, range(5)),
    "neighbours": lambda: objectives.neighbours(
        CLOUD, [0, 9], torch.tensor([[1, 4, 8, 2, 3], [8, 10, 0, 1, 2]])
    ),
    "contrastive": objectives.contrastive_curve,
    "triplet": objectives.triplet_map,
    "histograms": lambda: objectives.distance_histograms(
        {"start": dict(zip(objectives.COLOUR, X.abs().T[:3]))}  # noqa: B905
    ),
    "gradients": lambda: objectives.score_gradients(
        {"coarse head, weight 0.08": X[0, :2], "fine head, weight 0.25": X[0]},
        {"coarse head, weight 0.08": 0, "fine head, weight 0.25": 1},
    ),
    "joint": objectives.joint_curves,
    "arrows": lambda: objectives.descent_arrows(
        FOUR, {"(3) global": losses.global_loss, "(5) joint": losses.joint_loss}
    ),
    "differences": lambda: objectives.paired_differences(runs(), COMPARISONS),
    "by rule": lambda: hinges.by_rule((curve(), "epoch", "loss")),
    "curve": lambda: outcomes.training_curve(curve()[:28]),
    "table": lambda: outcomes.table_dots(of_the_table()),
    "ablations": lambda: outcomes.ablation_dots(runs()[-6:]),
    "peers": lambda: timings.peer_bars(cpu()),
    "growth": lambda: timings.growth_lines(cpu()),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_figure_can_be_read_on_a_telephone_and_its_ticks_keep_apart(name):
    figure = EVERY[name]()
    figure.canvas.draw()
    width = figure.get_figwidth() * 96  # pixels of a page; 358 are left at 390
    assert width <= figures.WIDTH * 96
    visible = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    smallest = min(text.get_fontsize() for text in visible) * 96 / 72
    assert smallest * min(1, 358 / width) >= 8.5
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        boxes = [
            tick.label1.get_window_extent()
            for tick in axis.get_major_ticks()
            if tick.label1.get_text() and low <= tick.get_loc() <= high
        ]
        for i, box in enumerate(boxes):
            apart = box.expanded(1.02, 0.9)
            assert not any(apart.overlaps(other) for other in boxes[:i])


def test_on_a_dark_page_the_ground_is_clear_and_pictures_stay():
    svg = figures.as_svg(EVERY["rows"]())
    assert svg == figures.as_svg(EVERY["rows"]())
    rule = svg.partition("prefers-color-scheme: dark")[2].partition("</style>")[0]
    assert "#patch_1 {display: none}" in rule and 'image[id^="picture"]' in rule
    assert svg.index("</style>") < svg.index('<g id="figure_1">')
    assert svg.count('id="picture') == 12 and "<image" not in figures.as_svg(
        plane("method1")
    )


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("method", ["method1", "method2"])
def test_figure_2_marks_what_selection_chooses(method, fallback):
    points, labels = figures.scene(fallback)
    ax = plane(method, fallback=fallback).axes[0]
    everything = points, labels.fine, labels.coarse
    found = select_quadruplets(*everything, torch.tensor([0]), method)
    members = found.stack()[:, 0].tolist()
    assert {note.get_text(): list(note.xy) for note in ax.texts} == {
        role: points[i].tolist() for role, i in zip(figures.ROLES, members, strict=True)
    }
    (circle,) = ax.patches
    radius = float(torch.dist(points[0], points[found.negative[0]]))
    assert circle.get_radius() == pytest.approx(radius)
    other = {"method1": "method2", "method2": "method1"}[method]
    beside = select_quadruplets(*everything, torch.tensor([0]), other)
    assert (found.stack() != beside.stack()).sum() == (0 if fallback else 2)


@pytest.mark.parametrize("name", ["selection", "fallback"])
def test_names_cover_no_point_and_not_the_circle(name):
    figure = EVERY[name]()
    figure.canvas.draw()
    for ax in figure.axes:
        drawn = torch.cat([figures._pixels_of(artist) for artist in ax.get_children()])
        for note in ax.texts:
            box = Text.get_window_extent(note)
            assert not box.count_contains(drawn.numpy()), note.get_text()


def test_framework_reads_its_numbers_off_the_model():
    figure, trunk, width = framework_figure()
    written = "\n".join(text.get_text() for ax in figure.axes for text in ax.texts)
    weights = sum(p.numel() for p in trunk.parameters())
    for part in (
        f"small: {width} features, {weights:,} weights",
        f"7 dimensions\n{7 * width + 7:,} weights",
        "coarse head\n3 classes\n24 weights",
        "fine head\n6 classes\n48 weights",
    ):
        assert part in written


@pytest.mark.parametrize(
    ("name", "hidden"), [("cars196 train", 4), ("synthcars train", 0)]
)
def test_figure_1_hides_withheld_photographs(name, hidden):
    images = ImageSet.from_array(name, np.full((24, 3, 8, 8), 99, np.uint8), LABELS)
    figure, *_ = framework_figure(images)
    words = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert words.count("not\nshown") == hidden
    drawn = [image.get_array() for image in figure.findobj(AxesImage)]
    assert len(drawn) == 4
    assert all((array != 99).all() for array in drawn) == bool(hidden)


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("synthcars test", True),
        ("cars196fans train", True),
        ("cars196 train", False),
        ("cars196 (train part) test", False),
    ],
)
def test_photographs_of_stanford_cars_are_withheld(name, may):
    words = figures.withheld(image_set("aabb", "aaaa", name))
    assert (words is None) == may
    assert may or "may not be passed on" in words.data


@pytest.mark.parametrize("name", ["<img src=x onerror>", "$", r"a $\bad$"])
def test_a_class_of_any_name_is_drawn_and_is_text(name):
    fine = [f"{name}{i // 2}" for i in range(8)]
    images = image_set(fine, [f"{name}{i // 4}" for i in range(8)])
    labels = images.hierarchy
    points = X[:8, :2]
    chosen = select_quadruplets(
        points, labels.fine, labels.coarse, torch.arange(2), "method1"
    )
    everything = [
        figures.selection_in_the_plane([("title", "method2", points, labels)]),
        image_rows.quadruplet_rows(images, points, {"method1": chosen}, 0),
        image_rows.negatives(images, points, torch.tensor([[0], [4]])),
        image_rows.retrieval(images, range(3)),
    ]
    for figure in everything:
        with rc_context({"svg.fonttype": "none"}):  # text stays text
            figure.savefig(drawn := io.StringIO(), format="svg")
        assert "<img" not in drawn.getvalue()
        assert escape(name[:12], quote=False) in drawn.getvalue()


def test_figures_stay_out_of_pyplot_and_24_classes_have_24_colours():
    plane("method2")
    assert not plt.get_fignums()
    assert len(set(figures.coarse_colours(24))) == 24
