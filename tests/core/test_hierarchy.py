"""Hierarchy: names, classes as slices, usable references, draws; against loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qsel.hierarchy import Hierarchy, HierarchyError


@st.composite
def labelled(draw):
    """(fine names, coarse names) of some samples, a true two-level hierarchy."""
    parent = draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))
    fine = draw(st.lists(st.integers(0, len(parent) - 1), min_size=1, max_size=15))
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
        elif len(set(coarse)) < 2:
            found[f] = f"is in {c!r}, the only coarse class, so no N"
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
def test_members_and_who_can_be_a_reference_are_their_slow_twins(sample):
    labels = Hierarchy.from_names(*sample)
    f = labels.fine.tolist()
    members = [[i for i in range(len(f)) if f[i] == c] for c in sorted(set(f))]
    assert [m.tolist() for m in labels.members()] == members
    assert labels.lacking() == slow_lacking(*sample)
    expected = slow_references(*sample)
    if expected:
        assert labels.references().tolist() == expected
        return
    said = "only one coarse" if len(labels.coarse_names) < 2 else "no sample can be"
    with pytest.raises(HierarchyError, match=said):
        labels.references()


# --- any integers as labels, classes as slices, draws


@st.composite
def numbered(draw):
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


@given(numbered())
def test_from_labels_gives_the_numbers_back_in_order(labels):
    found = Hierarchy.from_labels(*labels)
    assert names(found) == (labels[0].tolist(), labels[1].tolist())
    assert list(found.fine_names) == sorted(set(labels[0].tolist()))
    assert list(found.coarse_names) == sorted(set(labels[1].tolist()))


@given(numbered())
def test_classes_are_slices_of_the_order(labels):
    h = Hierarchy.from_labels(*labels).to(torch.device("cpu"))
    f, c = h.fine.tolist(), h.coarse.tolist()
    assert h.order[h.place].tolist() == list(range(len(f)))
    keys = [(c[i], f[i], i) for i in h.order.tolist()]
    assert keys == sorted(keys)
    for slices, level in ((h.fine_slice, f), (h.coarse_slice, c)):
        for i, (start, stop) in enumerate(zip(*slices(h.fine), strict=True)):
            members = [j for j in range(len(f)) if level[j] == level[i]]
            assert sorted(h.order[start:stop].tolist()) == members


def partners(fine, coarse, r):
    """P⁺, P⁻ and N of a reference, by the constraints of §2."""
    everyone = range(len(fine))
    return (
        [i for i in everyone if fine[i] == fine[r] and i != r],
        [i for i in everyone if coarse[i] == coarse[r] and fine[i] != fine[r]],
        [i for i in everyone if coarse[i] != coarse[r]],
    )


def reached(draw, k):
    """What the middles of k equal parts of [0, 1) draw; the ends draw no other."""
    u = (torch.arange(k, dtype=torch.float64) + 0.5) / k
    ends = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)
    found = draw(u).tolist()
    assert set(draw(ends).tolist()) <= set(found)
    return sorted(found)


@given(numbered())
def test_counts_and_draws_reach_every_partner_equally(labels):
    h = Hierarchy.from_labels(*labels)
    f, c = h.fine.tolist(), h.coarse.tolist()
    for r in range(len(f)):
        pps, pns, ns = partners(f, c, r)

        def fine(u, r=r):
            return h.fine[r].expand(len(u))

        def positive(u, place=h.place[r], r=r):
            return h.draw_positive_positive(fine(u, r), place.expand(len(u)), u)

        counts = h.partners(h.fine[[r]])[:, 0].tolist()
        assert counts == [len(pps), len(pns), len(ns)]
        assert h.partners(h.fine[[r]], own=0)[0] == len(pps) + 1
        draws = [
            (pps, positive),
            # One that is no sample itself may have any of the class.
            (sorted([*pps, r]), lambda u: positive(u, torch.tensor(len(h)))),
            (pns, lambda u: h.draw_positive_negative(fine(u), u)),
            (ns, lambda u: h.draw_negative(fine(u), u)),
            (
                [i for i in range(len(f)) if f[i] != f[r]],
                lambda u: h.draw_other_fine(fine(u), u),
            ),
            (sorted({f[i] for i in pns}), lambda u: h.draw_sibling(fine(u), u)),
        ]
        for expected, draw in draws:
            if expected:
                assert reached(draw, len(expected)) == expected


ZEROS = torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("fine", "coarse", "said"),
    [
        ([7, 9, 9, 7], [3, 5, 4, 3], "fine class 9 stands .*, 4 and 5; give"),
        (torch.zeros(3), ZEROS, "fine labels are .*expected a torch tensor, integers"),
        (ZEROS, ZEROS[:, None], "coarse labels are .*integers"),
        (ZEROS[:0], ZEROS[:0], "no samples"),
        (ZEROS, ZEROS[:2], "3 fine labels .* 2 coarse"),
        (ZEROS, ZEROS.to("meta"), "on cpu, coarse .*meta.*one device"),
    ],
)
def test_labels_that_are_no_hierarchy(fine, coarse, said):
    with pytest.raises(HierarchyError, match=said):
        Hierarchy.from_labels(torch.as_tensor(fine), torch.as_tensor(coarse))


@pytest.mark.parametrize(
    ("fine", "coarse_of_fine", "fine_names", "coarse_names", "said"),
    [
        ([[0, 1]], [0, 0], "ab", "c", r"of shape \(1, 2\); expected int64"),
        ([0, 2], [0, 0], "ab", "c", "run from 0 to 2, but there are 2 fine names"),
        ([0, 0], [0, 0], "ab", "c", "fine class 'b' has no sample"),
        ([0, 1], [0, 0], "ab", "cd", "coarse class 'd' has no sample"),
        ([0, 1], [0, 1, 1], "ab", "cd", "coarse class of 3 fine classes, but there"),
        ([0, 1], [0, 0], "aa", "c", "two fine classes are named 'a'"),
    ],
)
def test_names_that_do_not_fit(fine, coarse_of_fine, fine_names, coarse_names, said):
    labels = torch.tensor(fine), torch.tensor(coarse_of_fine)
    with pytest.raises(HierarchyError, match=said):
        Hierarchy(*labels, tuple(fine_names), tuple(coarse_names))
