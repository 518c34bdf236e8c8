"""ClassIndex: class members and uniform draws, against plain loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qsel.hierarchy import ClassIndex, HierarchyError


@st.composite
def labelled(draw):
    """Fine and coarse labels: any integers, any order, tiny and uneven classes."""
    parents = draw(st.lists(st.integers(-3, 3), min_size=1, max_size=6))
    numbers = draw(
        st.lists(
            st.integers(-100, 10**12),
            min_size=len(parents),
            max_size=len(parents),
            unique=True,
        )
    )
    used = draw(st.lists(st.integers(0, len(parents) - 1), min_size=1, max_size=20))
    fine = [numbers[i] for i in used]
    coarse = [10**9 * parents[i] for i in used]
    return torch.tensor(fine), torch.tensor(coarse)


def partners(fine, coarse, r):
    """P⁺, P⁻ and N of a reference, by the constraints of §2."""
    everyone = range(len(fine))
    return (
        [i for i in everyone if fine[i] == fine[r] and i != r],
        [i for i in everyone if coarse[i] == coarse[r] and fine[i] != fine[r]],
        [i for i in everyone if coarse[i] != coarse[r]],
    )


@given(labelled())
def test_members_are_those_of_a_loop(labels):
    fine, coarse = labels
    classes = ClassIndex(fine, coarse)
    assert len(classes) == len(fine)
    f, c = fine.tolist(), coarse.tolist()
    for members, dense, numbers in (
        (classes.fine_members, classes.fine, f),
        (classes.coarse_members, classes.coarse, c),
    ):
        found, is_member = members(dense)
        assert found.shape == is_member.shape
        assert 0 <= int(found.min()) <= int(found.max()) < len(fine)  # padding too
        for i in range(len(fine)):
            expected = [j for j in range(len(f)) if numbers[j] == numbers[i]]
            assert sorted(found[i][is_member[i]].tolist()) == expected
    for i in range(len(f)):
        assert classes.fine_label(i) == f[i]
        assert classes.coarse_label(i) == c[i]


@given(labelled())
def test_counts_and_draws_reach_every_partner_equally(labels):
    fine, coarse = labels
    classes = ClassIndex(fine, coarse).to(torch.device("cpu"))
    f, c = fine.tolist(), coarse.tolist()
    for r in range(len(f)):
        one = torch.tensor([r])
        for expected, count, draw in zip(
            partners(f, c, r),
            (classes.positive_positives, classes.positive_negatives, classes.negatives),
            (
                classes.draw_positive_positive,
                classes.draw_positive_negative,
                classes.draw_negative,
            ),
            strict=True,
        ):
            assert count(one).item() == len(expected)
            if expected:
                # The middles of equal parts of [0, 1): each partner exactly once.
                k = len(expected)
                u = (torch.arange(k, dtype=torch.float64) + 0.5) / k
                assert sorted(draw(one.expand(k), u).tolist()) == expected
                # The ends of the interval stay inside.
                ends = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)
                assert set(draw(one.expand(2), ends).tolist()) <= set(expected)


@given(labelled())
def test_draws_of_any_other_fine_class(labels):
    fine, coarse = labels
    classes, f = ClassIndex(fine, coarse), fine.tolist()
    for r in range(len(f)):
        expected = [i for i in range(len(f)) if f[i] != f[r]]
        if expected:
            k = len(expected)
            u = (torch.arange(k, dtype=torch.float64) + 0.5) / k
            drawn = classes.draw_other_fine(torch.tensor([r]).expand(k), u)
            assert sorted(drawn.tolist()) == expected


@given(labelled())
def test_siblings_are_the_other_fine_classes_of_the_coarse_class(labels):
    fine, coarse = labels
    classes = ClassIndex(fine, coarse)
    f, c = fine.tolist(), coarse.tolist()
    for r in range(len(f)):
        expected = sorted({f[i] for i in partners(f, c, r)[1]})
        if expected:
            k = len(expected)
            u = (torch.arange(k, dtype=torch.float64) + 0.5) / k
            drawn = classes.draw_sibling(torch.tensor([r]).expand(k), u)
            assert sorted(classes.fine_labels[drawn].tolist()) == expected


def test_a_fine_class_under_two_coarse_ones_is_named():
    fine, coarse = torch.tensor([7, 9, 9, 7]), torch.tensor([3, 5, 4, 3])
    with pytest.raises(HierarchyError, match=r"fine class 9 .*\[4, 5\].*one"):
        ClassIndex(fine, coarse)


@pytest.mark.parametrize(
    "bad", [torch.zeros(3), torch.zeros(3, 1, dtype=torch.int64), torch.tensor(1)]
)
def test_labels_that_are_not_a_row_of_integers(bad):
    good = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(HierarchyError, match="fine labels are .*expected integers"):
        ClassIndex(bad, good)
    with pytest.raises(HierarchyError, match="coarse labels are .*expected integers"):
        ClassIndex(good, bad)


def test_no_labels_and_unequal_labels():
    none, three = torch.zeros(0, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(HierarchyError, match="at least 1"):
        ClassIndex(none, none)
    with pytest.raises(HierarchyError, match="3 fine labels .* 2 coarse"):
        ClassIndex(three, three[:2])
