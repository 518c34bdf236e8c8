import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from qsel.hierarchy import Hierarchy, HierarchyError


@st.composite
def labelled(draw, smallest=1):
    """(fine names, coarse names) of some samples, a true two-level hierarchy."""
    parent = draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))
    fine = draw(
        st.lists(st.integers(0, len(parent) - 1), min_size=smallest, max_size=15)
    )
    return [f"f{f}" for f in fine], [f"c{parent[f]}" for f in fine]


def names(labels):
    """Fine and coarse name of each sample, one at a time."""
    fine = [labels.fine_names[f] for f in labels.fine.tolist()]
    coarse = [labels.coarse_names[c] for c in labels.coarse.tolist()]
    return fine, coarse


def slow_lacking(fine, coarse):
    found = {}
    for f, c in zip(fine, coarse, strict=True):
        siblings = {g for g, d in zip(fine, coarse, strict=True) if d == c and g != f}
        if fine.count(f) < 2:
            found[f] = "has a single image, so no P⁺"
        elif not siblings:
            found[f] = f"is alone in {c!r}, so no P⁻"
    return found


def slow_references(fine, coarse):
    """Samples for which P⁺, P⁻ and N all exist, found by trying every other one."""
    n = range(len(fine))
    return [
        r
        for r in n
        if any(fine[i] == fine[r] and i != r for i in n)
        and any(coarse[i] == coarse[r] and fine[i] != fine[r] for i in n)
        and any(coarse[i] != coarse[r] for i in n)
    ]


@given(labelled())
def test_from_names_gives_the_names_back_numbered_by_appearance(sample):
    fine, coarse = sample
    labels = Hierarchy.from_names(fine, coarse)
    assert names(labels) == (fine, coarse)
    assert len(labels) == len(fine)
    for given_names, known in (
        (fine, labels.fine_names),
        (coarse, labels.coarse_names),
    ):
        seen = []
        for name in given_names:
            if name not in seen:
                seen.append(name)
        assert list(known) == seen


@given(labelled(), st.data())
def test_subset_keeps_every_samples_names_and_no_empty_class(sample, data):
    fine, coarse = sample
    positions = st.lists(st.integers(0, len(fine) - 1), min_size=1, max_size=20)
    keep = data.draw(positions)  # in any order, also twice
    labels = Hierarchy.from_names(fine, coarse)
    part = labels.subset(torch.tensor(keep))
    assert names(part) == ([fine[i] for i in keep], [coarse[i] for i in keep])
    assert set(part.fine_names) == {fine[i] for i in keep}
    order = [labels.fine_names.index(name) for name in part.fine_names]
    assert order == sorted(order)
    mask = torch.tensor([i in keep for i in range(len(fine))])
    whole = labels.subset(sorted(set(keep)))
    assert names(labels.subset(mask)) == names(whole)


@given(labelled())
def test_lacking_is_its_slow_twin(sample):
    labels = Hierarchy.from_names(*sample)
    assert labels.lacking() == slow_lacking(*sample)


@given(labelled())
def test_members_are_the_samples_of_each_class(sample):
    labels = Hierarchy.from_names(*sample)
    found = [m.tolist() for m in labels.members()]
    f = labels.fine.tolist()
    expected = [[i for i in range(len(f)) if f[i] == c] for c in sorted(set(f))]
    assert found == expected


@given(labelled(smallest=3))
def test_references_is_its_slow_twin(sample):
    labels = Hierarchy.from_names(*sample)
    expected = slow_references(*sample)
    if expected:
        assert labels.references().tolist() == expected
        return
    said = "only one coarse" if len(labels.coarse_names) < 2 else "no sample can be"
    with pytest.raises(HierarchyError, match=said):
        labels.references()


@given(labelled(), st.data())
def test_a_fine_class_under_two_coarse_ones_is_named(sample, data):
    fine, coarse = sample
    i = data.draw(st.integers(0, len(fine) - 1))
    assume(fine.count(fine[i]) > 1)
    coarse = [*coarse[:i], "elsewhere", *coarse[i + 1 :]]
    with pytest.raises(
        HierarchyError, match=f"fine class '{fine[i]}' stands under two"
    ):
        Hierarchy.from_names(fine, coarse)


def test_no_reference_names_an_example():
    labels = Hierarchy.from_names(["a", "b"], ["c", "d"])
    with pytest.raises(HierarchyError, match="'a' has a single image, so no P⁺"):
        labels.references()


@pytest.mark.parametrize(
    ("fine", "coarse", "said"),
    [(["a"], [], "1 fine labels but 0 coarse"), ([], [], "no samples")],
)
def test_from_names_refuses(fine, coarse, said):
    with pytest.raises(HierarchyError, match=said):
        Hierarchy.from_names(fine, coarse)


@pytest.mark.parametrize(
    ("fine", "coarse_of_fine", "fine_names", "coarse_names", "said"),
    [
        ([0.0, 1.0], [0, 0], "ab", "c", "fine labels are torch.float32"),
        ([[0, 1]], [0, 0], "ab", "c", r"of shape \(1, 2\); expected int64"),
        ([0, 2], [0, 0], "ab", "c", "run from 0 to 2, but there are 2 fine names"),
        ([0, -1], [0, 0], "ab", "c", "run from -1 to 0"),
        ([0, 0], [0, 0], "ab", "c", "fine class 'b' has no sample"),
        ([0, 1], [0, 0], "ab", "cd", "coarse class 'd' has no sample"),
        ([0, 1], [0, 1, 1], "ab", "cd", "coarse class of 3 fine classes, but there"),
        ([0, 1], [0, 0], "aa", "c", "two fine classes are both named 'a'"),
        ([0, 1], [0, 1], "ab", "cc", "two coarse classes are both named 'c'"),
    ],
)
def test_labels_that_are_no_hierarchy(
    fine, coarse_of_fine, fine_names, coarse_names, said
):
    with pytest.raises(HierarchyError, match=said):
        Hierarchy(
            torch.tensor(fine),
            torch.tensor(coarse_of_fine),
            tuple(fine_names),
            tuple(coarse_names),
        )
