"""A selector gives what a selection on the embeddings of the moment gives."""

import numpy as np
import pytest
import torch
from blocks import DTYPES, small_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from qsel import HierarchyError, QuadrupletSelector, select_quadruplets
from qsel.selection import METHODS

FINE = torch.tensor([5, 9, 5, 2, 9, 2, 7, 7, 5, 2, 3, 3])
COARSE = torch.tensor([1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 4, 4])
USABLE = [r for r in range(12) if FINE[r] != 3]  # class 3 has no sibling


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def lives(draw):
    """Small integer points, of which most distances tie, and updates of some rows."""
    coordinates = st.lists(st.integers(-2, 2), min_size=2, max_size=2)
    points = draw(st.lists(coordinates, min_size=12, max_size=12))
    shift = draw(st.sampled_from([0, 100, -2000]))
    updates = []
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.lists(st.integers(0, 11), min_size=1, max_size=8, unique=True))
        new = draw(st.lists(coordinates, min_size=len(rows), max_size=len(rows)))
        far = draw(st.sampled_from([0, 0, 1000]))
        updates.append((torch.tensor(rows), torch.tensor(new) + far))
    return torch.tensor(points) + shift, updates


@settings(max_examples=40)
@given(
    lives(),
    st.sampled_from(METHODS),
    st.sampled_from(DTYPES),
    st.sampled_from([None, 200, 700]),
    st.sampled_from([32, 1]),
    st.booleans(),
)
def test_after_any_updates_the_answers_are_those_of_a_selection(
    life, method, dtype, block_bytes, few, hold
):
    points, updates = life
    points = points.to(dtype)
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, block_bytes, few)
        selector = QuadrupletSelector(FINE, COARSE, points, method, seeded(), hold=hold)
        other, now = seeded(), points.clone()
        for samples, new in updates:
            new = new.to(dtype)
            selector.update(samples, new)
            now[samples] = new
            references = torch.tensor(USABLE)
            found = selector.select(references)
            wanted = select_quadruplets(now, FINE, COARSE, references, method, other)
            assert found.stack().equal(wanted.stack())


def selector(**options):
    points = torch.randn(12, 3, generator=seeded())
    return QuadrupletSelector(FINE, COARSE, points, **options)


def test_a_refresh_replaces_everything():
    ours, points = selector(generator=seeded()), torch.randn(12, 5)
    ours.refresh(points)
    wanted = select_quadruplets(
        points, FINE, COARSE, torch.tensor(USABLE), generator=seeded()
    )
    assert ours.select(ours.references).stack().equal(wanted.stack())


def test_the_callers_tensor_stays_as_it_is_and_may_change():
    points = torch.randn(12, 3)
    ours = QuadrupletSelector(FINE, COARSE, points, "method1")
    before = points.clone()
    first = ours.select(ours.references).stack()
    ours.update(torch.tensor([4]), torch.ones(1, 3))
    assert points.equal(before)
    ours.refresh(points)
    points += torch.randn(12, 3)
    assert ours.select(ours.references).stack().equal(first)


def test_embeddings_made_in_inference_mode_can_be_updated():
    with torch.inference_mode():
        points = torch.randn(12, 3)
    ours = QuadrupletSelector(FINE, COARSE, points)
    ours.update(torch.tensor([0]), torch.ones(1, 3, requires_grad=True))
    assert len(ours.select(ours.references)) == len(USABLE) and len(ours) == 12


def test_rows_too_large_for_float32_change_the_whole_gallery():
    points = torch.randn(12, 3, generator=seeded())
    ours = QuadrupletSelector(FINE, COARSE, points, "method1")
    samples = torch.tensor([0, 5])
    new = 1e30 * torch.randn(2, 3, generator=seeded(1))
    ours.update(samples, new)
    points[samples] = new
    wanted = select_quadruplets(points, FINE, COARSE, ours.references, "method1")
    assert ours.select(ours.references).stack().equal(wanted.stack())


def test_random_needs_no_embeddings_and_references_are_the_usable():
    ours = QuadrupletSelector(FINE, COARSE, method="random", generator=seeded())
    assert ours.references.tolist() == USABLE
    references = torch.tensor(USABLE)
    wanted = select_quadruplets(None, FINE, COARSE, references, "random", seeded())
    assert ours.select(references).stack().equal(wanted.stack())


def test_what_it_refuses_from_the_start():
    with pytest.raises(HierarchyError, match="only one coarse class, 3.*two"):
        QuadrupletSelector(FINE, torch.full((12,), 3))
    with pytest.raises(ValueError, match="method='method3'; expected one of"):
        QuadrupletSelector(FINE, COARSE, method="method3")
    with pytest.raises(ValueError, match="fallback='none'; expected one of"):
        QuadrupletSelector(FINE, COARSE, fallback="none")
    ours = QuadrupletSelector(FINE, COARSE)
    with pytest.raises(ValueError, match="update of 1 samples.*call refresh"):
        ours.update(torch.tensor([0]), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="'method2' needs embeddings.*first"):
        ours.select(torch.tensor([0]))
    with pytest.raises(ValueError, match="from 0 to 12, but there are 12"):
        selector().select(torch.tensor([0, 12]))
    with pytest.raises(HierarchyError, match="P⁻: sample 10 .*fine class 3"):
        selector().select(torch.tensor([0, 10]))


@pytest.mark.parametrize(
    ("samples", "embeddings", "words"),
    [
        ([12], torch.zeros(1, 3), "from 12 to 12, but the gallery has 12; .*0 to 1"),
        ([0.5], torch.zeros(1, 3), "float32 of shape .*expected int64"),
        ([3, 4, 3], torch.zeros(3, 3), "sample 3 is given twice"),
        ([0], torch.zeros(2, 3), r"shape \(2, 3\); expected .* shape \(1, 3\)"),
        ([0], torch.zeros(1, 3, dtype=torch.int32), "int32 .*floating point"),
        ([0], torch.zeros(1, 3, device="meta"), "Tensor on meta; .* on cpu"),
        ([0], np.zeros((1, 3)), "ndarray on no device; expected a torch tensor"),
        ([0], torch.tensor([[0, torch.inf, 0]]), "1 of 1 .*first in row 0"),
        ([0], torch.full((1, 3), 1e300, dtype=torch.float64), "1 of 1"),
        (None, torch.zeros(0, 3), "0 embeddings but 12 labels"),
        (None, torch.full((12, 2), torch.nan), "12 of 12 .*first in row 0"),
        (None, [[0.0]], "list; expected a torch tensor"),
    ],
)
def test_a_refused_update_or_refresh_changes_nothing(samples, embeddings, words):
    ours = selector(method="method1")
    before = ours.select(ours.references).stack()
    with pytest.raises(ValueError, match=words):
        if samples is None:
            ours.refresh(embeddings)
        else:
            ours.update(torch.tensor(samples), embeddings)
    assert ours.select(ours.references).stack().equal(before)
