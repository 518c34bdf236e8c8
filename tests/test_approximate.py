"""Looking into every list, the approximate search is the exact one."""

import pytest
import torch

pytest.importorskip("faiss")
from benchmarks.approximate import ApproximateNegatives


def labelled(n=300, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.arange(n) % 5
    centres = 3 * torch.randn(5, 8, generator=generator)
    return centres[coarse] + torch.randn(n, 8, generator=generator), coarse


def brute_force(x, coarse):
    d = torch.cdist(x.double(), x.double())
    d[coarse[:, None] == coarse] = torch.inf
    return d.argmin(1)


def test_with_all_lists_it_is_brute_force():
    x, coarse = labelled()
    found = ApproximateNegatives(x, coarse, lists=10).nearest(x, coarse, probes=10)
    assert found.equal(brute_force(x, coarse))


def test_lists_of_the_own_class_alone_are_passed_over():
    """Far from all others, a class fills the lists around it; a probe is not lost."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 8, generator=generator)
    coarse = torch.arange(2000) // 1000
    x[1000:, 0] += 60
    index = ApproximateNegatives(x, coarse, lists=40)
    exact = brute_force(x, coarse)
    found = [index.nearest(x, coarse, probes) for probes in (1, 4, 40)]
    assert all((coarse[f] != coarse).all() for f in found)
    right = [(f == exact).float().mean() for f in found]
    assert right[0] < right[1] and right[2] == 1


def test_lists_that_hold_nothing_are_passed_over():
    x = torch.tensor([0.0, 0.0, 0.0, 9.0, 9.0])[:, None]
    coarse = torch.tensor([0, 0, 1, 1, 1])
    found = ApproximateNegatives(x, coarse, lists=5).nearest(x, coarse, probes=1)
    assert found[0] == found[1] == 2 and (coarse[found] != coarse).all()
