"""Figures draw what the package computes, on inputs tiny enough to run in seconds."""

import io
from dataclasses import replace
from html import escape

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from qsel.book import figures
from qsel.book.figures import framework, image_rows, maps
from qsel.data.images import ImageSet
from qsel.experiments.config import preset
from qsel.experiments.trunks import build_trunk
from qsel.hierarchy import Hierarchy
from qsel.model import EmbeddingModel, Head
from qsel.selection import Quadruplets, select_quadruplets


def texts(figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def places(ax) -> dict[str, tuple[float, ...]]:
    """What is named in an axis, and the point that each name belongs to."""
    return {
        note.get_text(): tuple(round(float(v), 4) for v in note.xy)
        for note in ax.texts
        if hasattr(note, "xy")
    }


@pytest.fixture
def cloud():
    generator = torch.Generator().manual_seed(0)
    fine = [f"f{i // 4}" for i in range(24)]
    labels = Hierarchy.from_names(fine, [f"c{i // 8}" for i in range(24)])
    return torch.randn(24, 5, generator=generator), labels


@pytest.fixture
def chosen(cloud):
    x, labels = cloud
    everyone = labels.references()
    return {
        method: select_quadruplets(x, labels.fine, labels.coarse, everyone, method)
        for method in ("method1", "method2")
    }


def test_24_coarse_classes_have_24_colours():
    assert len(set(figures.coarse_colours(24))) == 24


@pytest.mark.parametrize("method", ["method1", "method2"])
@pytest.mark.parametrize("fallback", [False, True])
def test_figure_2_marks_what_selection_chooses(method, fallback):
    points, labels = figures.scene(fallback)
    figure = figures.selection_in_the_plane([("title", method, points, labels)])
    found = select_quadruplets(
        points, labels.fine, labels.coarse, torch.tensor([0]), method
    )
    expected = {
        role: tuple(round(v, 4) for v in points[i].tolist())
        for role, i in zip(figures.ROLES, found.stack()[:, 0].tolist(), strict=True)
    }
    assert places(figure.axes[0]) == expected
    (circle,) = figure.axes[0].patches
    assert circle.get_radius() == pytest.approx(
        float(torch.dist(points[0], points[found.negative[0]]))
    )


def test_the_methods_disagree_in_figure_2_and_agree_where_nothing_is_outside():
    for fallback in (False, True):
        points, labels = figures.scene(fallback)
        one, two = (
            select_quadruplets(points, labels.fine, labels.coarse, torch.tensor([0]), m)
            for m in ("method1", "method2")
        )
        differing = (one.stack() != two.stack()).sum()
        assert differing == (0 if fallback else 2)


def test_framework_reads_its_numbers_off_the_model(cloud):
    _, labels = cloud
    images = ImageSet.from_array(
        "tiny", torch.zeros(24, 3, 8, 8, dtype=torch.uint8).numpy(), labels
    )
    config = replace(preset("smoke"), weights=None, embedding_dim=7)
    with torch.device("meta"):
        trunk, width = build_trunk(config)
        model = EmbeddingModel(
            trunk,
            Head(width, 3, 6, config.embedding_dim, config.dropout, config.normalise),
        )
    four = select_quadruplets(
        None, labels.fine, labels.coarse, torch.tensor([0]), "random"
    )
    written = "\n".join(texts(framework.framework(model, config.trunk, images, four)))
    weights = sum(p.numel() for p in trunk.parameters())
    for part in (
        f"small: {width} features\n{weights:,} weights",
        f"7 dimensions\n{7 * width + 7:,} weights",
        "coarse head: 3 classes\n24 weights",
        "fine head: 6 classes\n48 weights",
    ):
        assert part in written


def test_whole_classes_are_whole_and_start_with_those_asked_for(cloud):
    _, labels = cloud
    kept = maps.whole_classes(labels, most=13, first=[5])
    fine = labels.fine[kept]
    assert fine.unique().tolist() == [0, 2, 5]
    assert (fine.bincount()[fine.unique()] == 4).all()
    assert kept.tolist() == sorted(kept.tolist())


def test_count_inside_equals_a_loop(cloud, chosen):
    x, labels = cloud
    found = maps.count_inside(x, chosen["method1"], labels)
    for place, (r, _, _, n) in enumerate(chosen["method1"].stack().T.tolist()):
        radius = torch.dist(x[r], x[n])
        inside = [i for i in range(24) if i != r and torch.dist(x[r], x[i]) < radius]
        assert found[place] == len(inside)


def test_map_figures_mark_the_quadruplet_and_count_the_fields(cloud, chosen):
    x, labels = cloud
    inside = maps.count_inside(x, chosen["method1"], labels)
    place = maps.telling(*chosen.values(), inside, labels)
    kept = torch.arange(24)
    one = {m: maps.within(q, place, kept) for m, q in chosen.items()}
    xy = x[:, :2]
    figure = maps.selection_on_a_map(xy, x, labels, one)
    n = int(one["method1"].negative)
    assert places(figure.axes[0])["N"] == tuple(round(v, 4) for v in xy[n].tolist())
    r = int(one["method1"].reference)
    figure = maps.map_against_distance(xy, x, labels, r, n)
    assert sum(int(text.split()[0]) for text in texts(figure)) == 22
    figure = maps.maps({"before": xy, "after": xy}, labels)
    assert [ax.get_title() for ax in figure.axes] == ["before", "after"]


def written_at(ax, note) -> Bbox:
    """Where a name stands, in pixels, without the line that leads to it."""
    size = Text.get_window_extent(note)
    x, y = ax.transData.transform(note.xy)
    x, y = (v + o * ax.figure.dpi / 72 for v, o in zip((x, y), note.xyann, strict=True))
    left = x if note.get_ha() == "left" else x - size.width
    return Bbox.from_bounds(left, y - size.height / 2, size.width, size.height)


@pytest.mark.parametrize("places", [[[0.0, 0.0]] * 5, [[0.0, 0.0], [0.01, 0.0]] * 3])
def test_names_of_points_in_one_place_keep_apart(places):
    points = torch.tensor([*places, [1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]])
    figure = Figure(figsize=(5, 5))
    ax = figure.subplots()
    ax.scatter(*points.T)
    figures.mark(ax, points, {i: f"P⁺ {i}" for i in range(len(points))})
    figure.canvas.draw()
    boxes = [written_at(ax, note) for note in ax.texts]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
    with_line = sum(note.arrow_patch is not None for note in ax.texts)
    assert 0 < with_line < len(places)


def test_random_has_a_negative_of_its_own_and_it_is_named():
    one = Quadruplets(*torch.tensor([[0], [1], [2], [3]]))
    other = Quadruplets(*torch.tensor([[0], [1], [4], [5]]))
    names = figures.names_of({"random": other, "method1": one, "method2": one})
    assert names == {0: "R", 1: "P⁺ 1+2+r", 2: "P⁻ 1+2", 3: "N", 4: "P⁻ r", 5: "N r"}
    assert figures.names_of({"method2": one}) == dict(enumerate(figures.ROLES))


def test_the_lines_of_the_chosen_are_true_distances(cloud):
    x, labels = cloud
    everyone = labels.references()
    kept, chosen = torch.arange(24), {}
    for method in ("method1", "method2", "random"):
        found = select_quadruplets(x, labels.fine, labels.coarse, everyone, method)
        chosen[method] = maps.within(found, 3, kept)
    figure = maps.selection_on_a_map(x[:, :2], x, labels, chosen)
    below = figure.axes[-1]
    for row, (method, quadruplet) in enumerate(chosen.items()):
        r = int(quadruplet.reference)
        points = [
            line.get_xydata()[0] for line in below.lines if len(line.get_xdata()) == 1
        ]
        at = [x for x, y in points if y == row]
        d = [float(torch.dist(x[r], x[i])) for i in quadruplet.stack().flatten()]
        assert at == pytest.approx(d), method
    titles = [text.get_text() for text in below.get_yticklabels()]
    assert titles == ["Method 1", "Method 2", "Random"]


def test_figure_1_hides_withheld_photographs(cloud):
    _, labels = cloud
    pictures = torch.full((24, 3, 8, 8), 99, dtype=torch.uint8).numpy()
    config = replace(preset("smoke"), weights=None, embedding_dim=7)
    with torch.device("meta"):
        trunk, width = build_trunk(config)
        model = EmbeddingModel(
            trunk,
            Head(width, 3, 6, config.embedding_dim, config.dropout, config.normalise),
        )
    four = Quadruplets(*torch.tensor([[0], [1], [4], [8]]))
    for name, hidden in (("cars196 train", 4), ("synthcars train", 0)):
        images = ImageSet.from_array(name, pictures, labels)
        figure = framework.framework(model, config.trunk, images, four)
        assert texts(figure).count("not shown") == hidden
        drawn = [image.get_array() for ax in figure.axes for image in ax.images]
        assert all((array != 99).all() for array in drawn) == bool(hidden)


def test_within_finds_the_members_again():
    q = Quadruplets(*torch.tensor([[3, 9], [5, 7], [11, 5], [20, 3]]))
    kept = torch.tensor([3, 5, 7, 9, 20])
    found = maps.within(q, 1, kept)
    assert kept[found.stack()].flatten().tolist() == [9, 7, 5, 3]


def test_in_radii_of_the_negative_is_one(cloud):
    x, _ = cloud
    assert maps.in_radii(x, 3, 17)[17] == 1


def test_figures_stay_out_of_pyplot():
    points, labels = figures.scene()
    figures.selection_in_the_plane([("title", "method2", points, labels)])
    assert not plt.get_fignums()


def test_umap_repeats(cloud, monkeypatch):
    # Plain Python for 12 points: compiling takes half a minute, and this five seconds.
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    x, _ = cloud
    first, second = (maps.umap_of(x[::2]) for _ in range(2))
    assert first.shape == (12, 2) and torch.equal(first, second)


def test_as_pixels_is_a_small_png_of_the_same_bytes_each_time():
    def drawn() -> bytes:
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([0, 1], [0, 1])
        return figures.as_pixels(figure).data

    assert drawn()[:8] == b"\x89PNG\r\n\x1a\n" and drawn() == drawn()


@pytest.mark.parametrize("name", ["<img src=x onerror>", "$", "$x", r"a $\bad$"])
def test_a_class_of_any_name_is_drawn_and_is_text(name):
    fine = [f"{name}{i // 2}" for i in range(8)]
    labels = Hierarchy.from_names(fine, [f"{name}{i // 4}" for i in range(8)])
    pixels = torch.zeros(8, 3, 8, 8, dtype=torch.uint8).numpy()
    images = ImageSet.from_array("synthcars test", pixels, labels)
    points = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    chosen = select_quadruplets(
        points, labels.fine, labels.coarse, torch.arange(2), "method1"
    )
    quadruplets = {"method1": chosen}
    everything = [
        figures.selection_in_the_plane([("title", "method2", points, labels)]),
        maps.maps({"title": points}, labels),
        image_rows.quadruplet_rows(images, points, quadruplets, 0),
        image_rows.negatives(images, points, torch.tensor([[0], [4]])),
        image_rows.retrieval(images, range(3)),
    ]
    for figure in everything:
        with rc_context({"svg.fonttype": "none"}):  # text stays text
            figure.savefig(drawn := io.StringIO(), format="svg")
        assert "<img" not in drawn.getvalue()
        assert escape(name, quote=False) in drawn.getvalue()
