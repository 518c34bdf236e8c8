"""Numbers of a selection, held against a loop over the quadruplets."""

import pytest
import torch

from qsel.book.figures import selection_stages
from qsel.book.figures.selection_stages import COLUMNS
from qsel.hierarchy import Hierarchy
from qsel.selection import select_quadruplets


@pytest.fixture
def cloud():
    fine = [f"f{i // 4}" for i in range(24)]
    labels = Hierarchy.from_names(fine, [f"c{i // 8}" for i in range(24)])
    x = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
    return x, labels


@pytest.mark.parametrize("method", ["random", "method1", "method2"])
def test_numbers_equal_a_loop(cloud, method):
    x, labels = cloud
    generator = torch.Generator().manual_seed(1)
    chosen = select_quadruplets(
        x, labels.fine, labels.coarse, labels.references(), method, generator
    )
    rows = []
    for r, pp, pn, n in chosen.stack().T.tolist():
        d = (x - x[r]).double().norm(dim=1)
        hinges = max(0, 1 - d[pn] / (d[pp] + 0.4)) + max(0, 1 - d[n] / (d[pn] + 0.3))
        own = [i for i in range(24) if labels.coarse[i] == labels.coarse[r] and i != r]
        inside = sum(bool(d[i] < d[n]) for i in own)
        order = d[pp] < d[pn] < d[n]
        rows.append([d[pp] <= d[n], d[pn] <= d[n], order, hinges == 0, hinges, d[n]])
        rows[-1].append(inside)
    expected = torch.tensor(rows, dtype=torch.float64).mean(0)
    found = selection_stages.numbers(x, chosen, labels)
    assert list(found) == list(COLUMNS)
    assert list(found.values()) == pytest.approx(expected.tolist(), abs=1e-5)


def entry(epoch):
    return {"epoch": epoch, "zero": 0.1 * epoch, "distance": 0.4}


@pytest.mark.parametrize(
    ("epochs", "shown"),
    [
        (0, []),
        (1, ["epoch 1"]),
        (2, ["epoch 1", "epoch 2"]),
        (14, ["epoch 1", "epoch 7", "epoch 14"]),
    ],
)
def test_stages_show_what_was_kept_and_no_more(epochs, shown):
    before, after = dict.fromkeys(COLUMNS, 0.5), dict.fromkeys(COLUMNS, 0.25)
    curve = [entry(e) for e in range(1, epochs + 1)]
    table = selection_stages.stages(before, curve, after)
    assert table.index.tolist() == ["before", *shown, "after"]
    assert (table.loc["before"] == 0.5).all() and (table.loc["after"] == 0.25).all()
    for name in shown:
        kept = table.loc[name].dropna()
        assert kept.index.tolist() == ["zero loss", "hinges of (5)"]
        assert kept["zero loss"] == pytest.approx(0.1 * int(name.split()[1]))


def test_a_dash_where_nothing_was_kept():
    full = dict.fromkeys(COLUMNS, 0.5)
    table = selection_stages.stages(full, [entry(1)], full)
    html = selection_stages.show(table, "stage").to_html()
    assert html.count(">–<") == len(COLUMNS) - 2 and ">0.100<" in html


def test_names_of_stages_are_text():
    table = selection_stages.stages(full := dict.fromkeys(COLUMNS, 0.5), [], full)
    table.index = ["<img src=x>", "after"]
    html = selection_stages.show(table, "stage").to_html()
    assert "<img" not in html and "&lt;img src=x&gt;" in html and ">0.500<" in html
