"""The added rules, held against loops over single images."""

import pytest
import torch

from qsel.experiments import rows, variants
from qsel.experiments.config import Config
from qsel.hierarchy import Hierarchy
from qsel.selection import select_quadruplets


def data():
    torch.manual_seed(3)
    fine = [f"f{i % 6}" for i in range(60)]
    coarse = [f"c{i % 6 // 2}" for i in range(60)]
    hierarchy = Hierarchy.from_names(fine, coarse)
    centres = torch.randn(6, 3)[hierarchy.fine]
    return hierarchy, 2 * centres + torch.randn(60, 3)


def drawn(method):
    hierarchy, x = data()
    steps = torch.arange(60).split(25)
    chosen = rows.draw(Config(method=method), hierarchy, steps, lambda: x)
    assert [len(c) // len(s) for c, s in zip(chosen, steps, strict=True)] == [
        len(chosen[0]) // 25
    ] * 3
    return [
        torch.cat(kind).tolist()
        for kind in zip(
            *(c.split(len(s)) for c, s in zip(chosen, steps, strict=True)), strict=True
        )
    ]


def who(i, hierarchy):
    """Who can be P⁺, P⁻ and N of image i."""
    fine, coarse = hierarchy.fine.tolist(), hierarchy.coarse.tolist()
    everyone = range(len(fine))
    return (
        [j for j in everyone if fine[j] == fine[i] and j != i],
        [j for j in everyone if coarse[j] == coarse[i] and fine[j] != fine[i]],
        [j for j in everyone if coarse[j] != coarse[i]],
    )


@pytest.mark.parametrize(
    ("method", "nearest"),
    [("hard_sibling", "PN"), ("easy_positive", "+N"), ("nearest_all", "+PN")],
)
def test_quadruplets_take_the_nearest_of_the_kinds_they_say(method, nearest):
    hierarchy, x = data()
    r, pp, pn, n = drawn(method)
    assert r == list(range(60))
    for i in r:
        kinds = zip("+PN", who(i, hierarchy), (pp[i], pn[i], n[i]), strict=True)
        for kind, among, chosen in kinds:
            assert chosen in among
            d = {j: float((x[i] - x[j]).norm()) for j in among}
            if kind in nearest:
                assert chosen == min(d, key=d.get)
    if "+" not in nearest:  # drawn, so not always the same
        assert pp != drawn("nearest_all")[1]


def test_the_negative_is_that_of_the_papers_methods():
    hierarchy, x = data()
    labels = hierarchy.fine, hierarchy.coarse
    paper = select_quadruplets(x, *labels, torch.arange(60), "method2")
    assert drawn("hard_sibling")[3] == paper.negative.tolist()


def test_fine_labels_alone_take_positives_outside_the_nearest_of_any_other_class():
    hierarchy, x = data()
    r, p, n = drawn("fine_only")
    fell_back = 0
    for i in r:
        positives, siblings, others = who(i, hierarchy)
        d = dict(enumerate((x[i] - x).norm(dim=1).tolist()))
        assert n[i] == min(siblings + others, key=d.get)
        outside = [j for j in positives if d[j] > d[n[i]]]
        fell_back += not outside
        best = min(outside, key=d.get) if outside else max(positives, key=d.get)
        assert p[i] == best
    assert 0 < fell_back < 30


def test_blocks_change_nothing_that_is_not_drawn(monkeypatch):
    whole = drawn("nearest_all")
    monkeypatch.setattr(variants, "BLOCK", 7)
    assert drawn("nearest_all") == whole


def test_without_p_minus_the_margins_add_up():
    r, p, n = torch.tensor([[[0.0]] * 2, [[0.6]] * 2, [[0.65]] * 2])
    zeros = torch.zeros(2, dtype=torch.int64)
    batch = rows.Batch(
        images=torch.arange(6),
        fine=zeros.repeat(3),
        coarse=zeros.repeat(3),
        embeddings=torch.cat([r, p, n]),
        coarse_scores=torch.zeros(6, 2),
        fine_scores=torch.zeros(6, 4),
        proxies=torch.zeros(4, 1),
    )
    config = Config(method="fine_only", global_weight=2.0)
    found = rows.ROWS["fine_only"].objective(batch, config)
    assert found["classification"].item() == pytest.approx(0.25 * 1.386294)
    hinge, whole = 1 - 0.65 / (0.6 + 0.7), 0.6 - 0.65 + 0.7
    assert found["loss"].item() == pytest.approx(hinge + 0.25 * 1.386294 + whole)
