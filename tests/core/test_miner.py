"""The miner against selections on batch and memory together, and in the library."""

import importlib
import sys

import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, losses
from torch.nn.functional import normalize

from qsel import HierarchyError, miner, select_quadruplets
from qsel.miner import QuadrupletMiner, triplets

COARSE_OF_FINE = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
PLAIN = {"distance": distances.LpDistance(normalize_embeddings=False)}


def memory(n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = torch.as_tensor(rng.integers(0, 8, n))
    return torch.as_tensor(rng.normal(size=(n, 4))), labels


@pytest.mark.parametrize("method", ["method1", "method2", "hardest_negative"])
def test_within_a_batch_it_is_the_selection(method):
    points, labels = memory()
    found = QuadrupletMiner(
        COARSE_OF_FINE, method, torch.Generator().manual_seed(1), **PLAIN
    )
    anchors, positives, negatives = found(points, labels)
    wanted = select_quadruplets(
        *(points, labels, COARSE_OF_FINE[labels], torch.arange(60), method),
        torch.Generator().manual_seed(1),
    )
    r, pp, pn, n = wanted.stack()
    assert anchors.equal(torch.cat([r, r])) and positives.equal(torch.cat([pp, pp]))
    assert negatives.equal(torch.cat([pn, n])) and found.left_out == 0
    assert found.quadruplets.stack().equal(wanted.stack())


def test_from_a_memory_it_is_brute_force():
    """Method 1 as plain loops; a guest's class has no member to leave out."""
    for seed in range(20):
        points, labels = memory(40, seed)
        guests, guest_labels = memory(9, seed + 100)
        if seed % 2:
            points, guests = points.round(), guests.round()
        mine = QuadrupletMiner(COARSE_OF_FINE, "method1", **PLAIN)
        mine(guests, guest_labels, points, labels)
        x, y = points.tolist(), guests.tolist()
        coarse = COARSE_OF_FINE[labels].tolist()
        fine = labels.tolist()
        for r, pp, pn, n in mine.quadruplets.stack().T.tolist():
            f = int(guest_labels[r])
            c = int(COARSE_OF_FINE[f])

            def d(i, a=y[r], x=x):
                return sum((p - q) ** 2 for p, q in zip(a, x[i], strict=True))

            everyone = range(40)
            nearest = min((d(i), i) for i in everyone if coarse[i] != c)[1]
            assert n == nearest
            around = {
                i: sum((p - q) ** 2 for p, q in zip(x[n], x[i], strict=True))
                for i in everyone
            }
            for got, candidates in (
                (pp, [i for i in everyone if fine[i] == f]),
                (pn, [i for i in everyone if coarse[i] == c and fine[i] != f]),
            ):
                outside = [i for i in candidates if d(i) > d(n)]
                if outside:
                    assert got == min((around[i], i) for i in outside)[1]
                else:
                    assert got == min((-d(i), i) for i in candidates)[1]


def test_the_distance_normalises_as_the_loss_does():
    points, labels = memory()
    ours = QuadrupletMiner(COARSE_OF_FINE, "method1")
    ours(points[:20], labels[:20], points, labels)
    plain = QuadrupletMiner(COARSE_OF_FINE, "method1", **PLAIN)
    plain(normalize(points[:20]), labels[:20], normalize(points), labels)
    assert ours.quadruplets.stack().equal(plain.quadruplets.stack())
    cosine = QuadrupletMiner(
        COARSE_OF_FINE, "method1", distance=distances.CosineSimilarity()
    )
    cosine(points[:20], labels[:20], points, labels)
    assert cosine.quadruplets.stack().equal(ours.quadruplets.stack())


def test_anchors_without_partners_are_left_out_and_counted():
    points = torch.arange(6.0)[:, None]
    ours = QuadrupletMiner(COARSE_OF_FINE, **PLAIN)
    a, _, _ = ours(points, torch.tensor([0, 0, 1, 3, 3, 5]))
    assert a.unique().tolist() == [0, 1] and ours.left_out == 4
    # Label 7 is not in the memory at all.
    memory_labels = torch.tensor([0, 0, 1, 3, 3, 5])
    a, p, n = ours(points[:3], torch.tensor([7, 0, 1]), points, memory_labels)
    assert a.unique().tolist() == [1, 2] and ours.left_out == 1
    assert all(len(i) == 0 for i in ours(points[:2], torch.tensor([0, 3])))
    assert ours.left_out == 2 and ours.quadruplets is None


def test_it_feeds_the_losses_of_the_library():
    for loss in (losses.TripletMarginLoss(), losses.MultiSimilarityLoss()):
        points, labels = memory()
        points = points.float().requires_grad_()
        ours = QuadrupletMiner(COARSE_OF_FINE)
        reference = points.detach()[:50], labels[:50]
        value = loss(points, labels, ours(points, labels))
        chosen = ours(points, labels, *reference)
        (value + loss(points, labels, chosen, *reference)).backward()
        assert points.grad.isfinite().all() and points.grad.abs().sum() > 0


def test_three_triplets_of_each_quadruplet():
    r, pp, pn, n = torch.arange(8).view(4, 2)
    a, p, q = triplets(r, pp, pn, n, coarse_order=True)
    found = set(zip(a.tolist(), p.tolist(), q.tolist(), strict=True))
    assert found == {(i, i + 2, i + 4) for i in (0, 1)} | {
        (i, i + k, i + 6) for i in (0, 1) for k in (2, 4)
    }


POINTS, LABELS = memory()


def test_what_it_refuses():
    with pytest.raises(HierarchyError, match="one coarse class.*at least two"):
        QuadrupletMiner(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(HierarchyError, match="expected a torch tensor, integers"):
        QuadrupletMiner(torch.zeros(3))
    for distance in (distances.LpDistance(p=1), distances.SNRDistance()):
        with pytest.raises(ValueError, match="expected LpDistance with p=2"):
            QuadrupletMiner(COARSE_OF_FINE, distance=distance)
    ours = QuadrupletMiner(COARSE_OF_FINE, **PLAIN)
    bad, x = POINTS.clone(), POINTS.float()
    bad[3] = torch.nan
    for batch, words in (
        ((x[:2], torch.tensor([0, 8])), "run from 0 to 8, .* 8 fine classes"),
        ((x[:1], torch.tensor([9]), x, LABELS), "labels run from 9 to 9"),
        ((bad, LABELS), "1 of 60 .*row 3"),
        ((bad, LABELS, POINTS, LABELS), "1 of 60 .*row 3"),
        ((1e30 * x, LABELS, x, LABELS), "beyond the gallery's scale"),
    ):
        with pytest.raises(ValueError, match=words):
            ours(*batch)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning.distances", None)
    monkeypatch.delitem(sys.modules, "qsel.miner")
    with pytest.raises(ModuleNotFoundError, match="pip install pytorch-metric"):
        importlib.import_module("qsel.miner")
    assert miner.QuadrupletMiner is QuadrupletMiner
