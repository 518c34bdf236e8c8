"""Exact neighbours against float64 brute force: ties, copies, rounding."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from blocks import DTYPES, FAMILIES, points_of, small_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from qsel import search, vectors
from qsel.gallery import Gallery
from qsel.search import choose, nearest_others

# The slow twins.


def squared(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def slow_best(points, centre, candidates, k=1, furthest=False):
    """The k candidates nearest to (or furthest from) a centre, then -1."""
    sign = -1 if furthest else 1
    best = sorted(candidates, key=lambda j: (sign * squared(centre, points[j]), j))
    return (best + [-1] * k)[:k]


def slow_nearest_others(points, k):
    x = points.double().tolist()
    n = range(len(x))
    return [slow_best(x, x[i], [j for j in n if j != i], k) for i in n]


# How searches are cut into blocks, and when candidates are many.
SIZES = st.sampled_from([None, None, 200, 700, 3000])
MANY = st.sampled_from([32, 4, 1])


def settings_of(patch, data):
    small_blocks(patch, data.draw(SIZES), data.draw(MANY))


@settings(max_examples=150)
@given(
    st.data(),
    st.sampled_from(list(FAMILIES)),
    st.sampled_from(DTYPES),
    st.integers(2, 40),
    st.integers(1, 8),
    st.integers(0, 10_000),
)
def test_nearest_others(data, family, dtype, n, d, seed):
    points = points_of(np.random.default_rng(seed), family, n, d, dtype)
    k = data.draw(st.integers(1, n - 1))
    with pytest.MonkeyPatch.context() as patch:
        settings_of(patch, data)
        found = nearest_others(points, k)
    assert found.dtype == torch.int64
    assert found.tolist() == slow_nearest_others(points, k)


@pytest.mark.parametrize("k", [1, 8])
def test_nearest_others_where_tiles_hold_many(k, monkeypatch):
    # Wide enough for tiles of many columns; half of the points are copies.
    small_blocks(monkeypatch, 40_000)
    rng = np.random.default_rng(k)
    points = points_of(rng, "normal", 700, 3, torch.float32)
    points[350:] = points[:350][torch.as_tensor(rng.permutation(350))]
    d = (points.double()[:, None] - points.double()[None, :]).square().sum(2)
    d.fill_diagonal_(torch.inf)
    assert nearest_others(points, k).equal(d.argsort(dim=1, stable=True)[:, :k])


def test_nearest_others_under_every_precision_of_products(matmul_precision):
    for family in FAMILIES:
        points = points_of(np.random.default_rng(3), family, 40, 33, torch.float32)
        assert nearest_others(points, 5).tolist() == slow_nearest_others(points, 5)


@st.composite
def searches(draw):
    """Points in some order; for some of them slices of places, within one another."""
    family = draw(st.sampled_from(["grid", "grid", *FAMILIES]))
    n, d = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    points = points_of(rng, family, n, d, dtype)
    order = draw(st.permutations(range(n)))
    rows = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=5))
    among, without = [], []
    for _ in rows:
        s, e, f, g = sorted(draw(st.tuples(*[st.integers(0, n)] * 4)))
        among.append((s, g))
        without.append((e, f))
    return points, order, rows, among, without


def slices(pairs):
    start, stop = zip(*pairs, strict=True)
    return torch.tensor(start), torch.tensor(stop)


@settings(max_examples=200)
@given(
    st.data(),
    searches(),
    st.sampled_from([None, "own", "other"]),
    st.booleans(),
    st.integers(0, 11),
)
def test_choose(data, case, sphere, furthest, other):
    """With a sphere through a sample, around the points or around other samples."""
    points, order, rows, among, without = case
    x = points.double().tolist()
    on_sphere = other % len(x)
    centres = rows[::-1] if sphere == "other" else rows
    with pytest.MonkeyPatch.context() as patch:
        settings_of(patch, data)
        gallery = Gallery(points, torch.tensor(order))
        q = gallery.points(points, torch.tensor(rows))
        radius = around = None
        if sphere:
            i, j = torch.tensor(centres), torch.full((len(rows),), on_sphere)
            radius = vectors.squared_distances(points, i, points, j)
        if sphere == "other":
            around = gallery.points(points, torch.tensor(centres))
        found = choose(
            gallery, q, slices(among), slices(without), radius, around, furthest
        )
    expected = []
    for r, c, (s, e), (f, g) in zip(rows, centres, among, without, strict=True):
        may = order[s:f] + order[g:e]
        if sphere:
            on = squared(x[c], x[on_sphere])
            may = [j for j in may if squared(x[c], x[j]) > on]
        expected.append(slow_best(x, x[r], may, 1, furthest)[0])
    assert found.tolist() == expected


def test_a_gallery_in_a_file_is_read_in_parts(tmp_path, monkeypatch):
    x = torch.randn(60, 9, generator=torch.Generator().manual_seed(1))
    np.save(tmp_path / "x.npy", x.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    small_blocks(monkeypatch, 1500)
    read = []
    prepare = Gallery._prepare
    monkeypatch.setattr(
        Gallery, "_prepare", lambda g, x, t: read.append(len(x)) or prepare(g, x, t)
    )
    assert nearest_others(mapped, 3).tolist() == slow_nearest_others(x, 3)
    assert max(read) <= 1500 // (4 * 9)


# Few distinct vectors, and what is nearly equal.


def test_copies_are_compared_once(monkeypatch):
    """2,000 rows of 5 vectors: far fewer pairs are measured than there are."""
    rng = np.random.default_rng(0)
    which = rng.integers(0, 5, 2000)
    x = torch.as_tensor(rng.normal(size=(5, 16))[which]).float()
    measured = []
    exact = vectors.squared_distances
    monkeypatch.setattr(
        search, "squared_distances", lambda *a: measured.append(len(a[1])) or exact(*a)
    )
    found = nearest_others(x, 3)
    for i in range(0, 2000, 97):
        same = [j for j in np.flatnonzero(which == which[i]) if j != i]
        assert found[i].tolist() == same[:3]
    assert sum(measured) < 2000 * 20


def test_numbers_of_vectors(monkeypatch):
    x = torch.tensor([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0], [0.0, -0.0], [2.0, 1.0]])
    order = torch.tensor([4, 2, 0, 1, 3])
    for dtype in DTYPES:
        a, b, c, d, e = vectors.number_vectors(x.to(dtype), order).tolist()
        assert b == c and len({a, b, d}) == len({a, b, e}) == 3
    # Where sums agree by chance, rows are told apart all the same.
    monkeypatch.setattr(torch, "randint", lambda *a, **k: torch.zeros(2).long())
    assert vectors.number_vectors(x, order).tolist() == [0, 1, 2, 3, 4]


def test_what_float32_cannot_tell_apart_is_not_measured_pair_by_pair(monkeypatch):
    # Within 1e-4 of one another, 1e3 from the mean: one product in float64 will do.
    rng = np.random.default_rng(1)
    x = rng.normal(size=(600, 8)) * 1e-4
    x[::2, 0] += 1e3
    measured = []
    exact = vectors.squared_distances
    monkeypatch.setattr(
        search, "squared_distances", lambda *a: measured.append(len(a[1])) or exact(*a)
    )
    x = torch.as_tensor(x).float()
    assert nearest_others(x, 2).tolist() == slow_nearest_others(x, 2)
    assert sum(measured) < 600 * 40


# The bound.


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_approximate_distances_keep_to_their_bound(dtype, matmul_precision):
    rng = np.random.default_rng(5)
    i, j = torch.cartesian_prod(torch.arange(50), torch.arange(50)).T
    for family, d in product(FAMILIES, (1, 3, 100)):
        x = points_of(rng, family, 50, d, dtype)
        gallery = Gallery(x)
        exact = vectors.squared_distances(x, i, x, j).view(50, 50)
        q = gallery.points(x, torch.arange(50))
        for here in (q, gallery.in_float64(q)):
            whole = torch.zeros(50).long(), torch.full((50,), 50)
            found, error = search._distances(gallery, here, *whole)
            assert ((found.double() - exact).abs() <= error.double()).all()


def test_the_bound_grows_where_products_are_rounded(monkeypatch):
    exact = vectors.rounding(torch.float32, 8)[0]
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    try:
        for name, factor in (("tf32", 2.0**-8), ("bf16", 2.0**-5)):
            matmul.fp32_precision = name
            assert vectors.rounding(torch.float32, 8)[0] == exact + factor
            assert vectors.rounding(torch.float64, 8)[0] < 1e-13
            points = points_of(
                np.random.default_rng(3), "normal", 40, 33, torch.float32
            )
            assert nearest_others(points, 5).tolist() == slow_nearest_others(points, 5)
    finally:
        matmul.fp32_precision = before


def test_exact_is_the_direct_sum_in_float64(monkeypatch):
    monkeypatch.setattr(vectors, "PAIR_BYTES", 1000)
    # Far away and close together: a product of float32 would see no distance.
    x = 1e4 + 1e-2 * torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    i, j = torch.cartesian_prod(torch.arange(30), torch.arange(30)).T
    found = vectors.squared_distances(x, i, x, j).view(30, 30)
    rows = x.double().tolist()
    for a, b in np.ndindex(30, 30):
        assert math.isclose(found[a, b], squared(rows[a], rows[b]), rel_tol=1e-14)
    assert found.diagonal().eq(0).all()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([[0.0]], "list; expected a torch tensor"),
        (torch.zeros(3), r"\(3,\); expected floating point of shape \(N, D\)"),
        (torch.zeros(0, 2), r"\(0, 2\).*at least 1"),
        (torch.zeros(2, 2).long(), "int64.*floating point"),
        (torch.tensor([[0.0], [torch.nan], [torch.inf]]), "2 of 3 .*first in row 1"),
        (torch.tensor([[1e150]], dtype=torch.float64), "overflows float64"),
        (torch.zeros(4, 2), "k=9 neighbours of 4 samples; .* 1 to 3"),
    ],
)
def test_embeddings_that_cannot_be_compared(bad, words):
    with pytest.raises(ValueError, match=words):
        nearest_others(bad, 9)
