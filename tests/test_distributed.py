"""Several processes agree with one: shares, gathering, selection."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import together
from test_selection import FAMILIES, random_labels, random_points, usable

from qsel import select_quadruplets
from qsel.distributed import Team
from qsel.hierarchy import ClassIndex
from qsel.selection import METHODS


@given(st.integers(0, 50), st.integers(1, 7))
def test_shares_are_all_there_is_in_order_and_nearly_equal(n, size):
    shares = [Team(rank, size).share(n) for rank in range(size)]
    assert [i for s in shares for i in range(n)[s]] == list(range(n))
    sizes = [s.stop - s.start for s in shares]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 10_000))
def test_the_places_of_a_share(first, length, seed):
    fine, coarse = random_labels(np.random.default_rng(seed))
    samples = slice(min(first, len(fine)), min(first + length, len(fine)))
    classes = ClassIndex(fine, coarse)
    here = classes.share(samples)
    for kind in ("fine", "coarse"):
        labels = getattr(classes, kind)
        for c in range(int(labels.max()) + 1):
            start = int(getattr(here, f"{kind}_start")[c])
            size = int(getattr(here, f"{kind}_size")[c])
            found = here.order[start : start + size] + samples.start
            assert sorted(found.tolist()) == [
                i for i in range(samples.start, samples.stop) if labels[i] == c
            ]
    for i, place in enumerate(here.position.tolist()):
        inside = samples.start <= i < samples.stop
        assert (place >= 0) == inside
        assert not inside or here.order[place] + samples.start == i


def gathered(team, n):
    values = torch.arange(float(n))[:, None] * torch.ones(2)
    share = values[team.share(n)].requires_grad_()
    every = team.gather(share, n)
    (every * torch.arange(1.0, n + 1)[:, None]).sum().backward()
    return every.detach().equal(values), share.grad[:, 0].tolist()


@pytest.mark.parametrize(("size", "n"), [(2, 5), (3, 7), (3, 2)])
def test_gathering_keeps_the_order_and_ones_own_gradient(size, n):
    found = together(gathered, size, n)
    assert all(equal for equal, _ in found)
    assert [g for _, own in found for g in own] == [float(i + 1) for i in range(n)]


def selections(team, cases):
    """For each case the quadruplets, from a shard of any size in each process."""
    found = []
    for points, fine, coarse, ends, references, method, switches in cases:
        ends = [0, *ends, len(points)]
        shard = points[ends[team.rank] : ends[team.rank + 1]]
        generator = torch.Generator().manual_seed(1)
        q = select_quadruplets(
            *(shard, fine, coarse, references, method, generator),
            **switches,
            team=team,
        )
        found.append(q.stack().tolist())
    return found


@pytest.mark.parametrize("size", [2, 3])
def test_selection_from_uneven_shards_is_that_of_one_process(size):
    rng = np.random.default_rng(size)
    cases = []
    for case in range(96):
        fine, coarse = random_labels(rng)
        family = list(FAMILIES)[case % len(FAMILIES)]
        points = random_points(rng, family, len(fine), torch.float32)
        references = usable(fine.tolist(), coarse.tolist())
        if not references:
            continue
        cuts = rng.choice(np.arange(1, len(fine)), size - 1, replace=False)
        method = METHODS[case % len(METHODS)]
        switches = {}
        if method in ("method1", "method2"):
            switches = {
                "negative": str(rng.choice(["nearest", "random"])),
                "siblings": str(rng.choice(["own rule", "all", "drawn", "coarse"])),
                "fallback": str(rng.choice(["furthest", "nearest"])),
            }
        cases.append(
            (
                *(points, fine, coarse, sorted(cuts.tolist())),
                *(torch.tensor(references), method, switches),
            )
        )
    assert len(cases) > 50
    found = together(selections, size, cases)
    for i, (points, fine, coarse, _, references, method, switches) in enumerate(cases):
        alone = select_quadruplets(
            *(points, fine, coarse, references, method),
            torch.Generator().manual_seed(1),
            **switches,
        )
        assert all(answers[i] == alone.stack().tolist() for answers in found)


def too_few(team):
    fine = torch.arange(12) % 4
    select_quadruplets(torch.randn(5, 2), fine, fine // 2, torch.arange(3), team=team)


def test_shards_that_do_not_add_up_are_refused():
    with pytest.raises(RuntimeError, match=r"hold \[5, 5\] embeddings, 10 in all.* 12"):
        together(too_few, 2)
