"""The hypersphere of chapter 3.3: figures and numbers, held against loops."""

import pytest
import torch

from qsel.book.figures import maps
from qsel.hierarchy import Hierarchy
from qsel.selection import select_quadruplets

LABELS = Hierarchy.from_names(
    [f"f{i // 4}" for i in range(24)], [f"c{i // 8}" for i in range(24)]
)
X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
CHOSEN = {
    method: select_quadruplets(
        X,
        LABELS.fine,
        LABELS.coarse,
        LABELS.references(),
        method,
        torch.Generator().manual_seed(1),
    )
    for method in ("random", "method1", "method2")
}


@pytest.mark.parametrize("method", CHOSEN)
def test_numbers_equal_a_loop(method):
    rows = []
    for r, pp, pn, n in CHOSEN[method].stack().T.tolist():
        d = (X - X[r]).double().norm(dim=1)
        hinges = max(0, 1 - d[pn] / (d[pp] + 0.4)) + max(0, 1 - d[n] / (d[pn] + 0.3))
        order = d[pp] < d[pn] < d[n]
        inside = sum(bool(d[i] < d[n]) for i in range(24) if i != r)
        rows.append([d[pp] <= d[n], d[pn] <= d[n], order, hinges == 0, hinges, d[n]])
        rows[-1].append(inside)
    expected = torch.tensor(rows, dtype=torch.float64).mean(0)
    found = maps.in_numbers(X, CHOSEN[method])
    assert list(found.values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_distances_are_true_and_every_sample_is_drawn():
    figure = maps.distances_from_r(X, LABELS, CHOSEN, 3)
    everyone, few = figure.axes
    r = int(CHOSEN["method2"].reference[3])
    d = (X - X[r]).norm(dim=1)
    drawn = torch.cat(
        [torch.tensor(c.get_offsets()[:, 0]) for c in everyone.collections]
    )
    assert drawn.sort().values.tolist() == pytest.approx(d.sort().values.tolist())
    titles = [text.get_text() for text in few.get_yticklabels()]
    assert titles == ["Random", "Method 1", "Method 2"]
    marks = [line for line in few.lines if line.get_label() in maps.LOOKS]
    for row, quadruplets in enumerate(CHOSEN.values()):
        at = [float(line.get_xdata()[0]) for line in marks[4 * row : 4 * row + 4]]
        assert at == pytest.approx(d[quadruplets.stack()[:, 3]].tolist(), abs=1e-6)
    n = int(CHOSEN["method2"].negative[3])
    radius = [ax.lines[-1].get_xdata()[0] for ax in figure.axes]
    assert radius == pytest.approx([float(d[n])] * 2)


def test_the_map_rings_who_is_inside_and_counts():
    xy = X[:, :2]
    r, n = int(CHOSEN["method1"].reference[0]), int(CHOSEN["method1"].negative[0])
    figure = maps.circle_on_a_map(xy, X, LABELS, r, n)
    (ax,) = figure.axes
    (circle,) = ax.patches
    assert circle.get_radius() == pytest.approx(float(torch.dist(xy[r], xy[n])))
    d, on_map = (X - X[r]).norm(dim=1), (xy - xy[r]).norm(dim=1)
    inside = {i for i in range(24) if i != r and d[i] < d[n]}
    seem = {i for i in range(24) if i != r and on_map[i] < on_map[n]}
    assert ax.get_xlabel() == (
        f"in the circle {len(seem)}, in the hypersphere {len(inside)}, "
        f"in both {len(inside & seem)}"
    )
    assert len(ax.collections[-1].get_offsets()) == len(inside)
