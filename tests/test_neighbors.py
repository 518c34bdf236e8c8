"""Exact neighbours in blocks against float64 brute force, ties included."""

import math

import numpy as np
import pytest
import torch
from blocks import small_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

import qsel.neighbors
from qsel.neighbors import Gallery, nearest_others

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


# The slow twins.


def squared(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def slow_nearest_others(points, k):
    x = points.double().tolist()
    return [
        sorted(
            (j for j in range(len(x)) if j != i), key=lambda j: (squared(x[i], x[j]), j)
        )[:k]
        for i in range(len(x))
    ]


def slow_choose(points, row, candidates, k, furthest):
    """The k best candidates, then -1."""
    x = points.double().tolist()
    sign = -1 if furthest else 1
    best = sorted(candidates, key=lambda j: (sign * squared(x[row], x[j]), j))
    return (best + [-1] * k)[:k]


def points_of(rng, kind, n, dim, dtype):
    x = {
        "normal": lambda: rng.normal(size=(n, dim)),
        "grid": lambda: rng.integers(-2, 3, size=(n, dim)),
        "equal": lambda: np.ones((n, dim)),
        "far": lambda: rng.integers(-2, 3, size=(n, dim)) + 10_000,
        "tiny": lambda: rng.normal(size=(n, dim)) * 1e-20,
        "huge": lambda: rng.normal(size=(n, dim)) * 1e12,
        "vast": lambda: rng.normal(size=(n, dim)) * 1e37,
        "outlier": lambda: np.r_[np.full((1, dim), 5e4), rng.normal(size=(n - 1, dim))],
    }[kind]()
    limit = 6e4 if dtype == torch.float16 else 3e38
    return torch.as_tensor(x).double().clamp(-limit, limit).to(dtype)


KINDS = ["normal", "grid", "equal", "far", "tiny", "huge", "vast", "outlier"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_nearest_others(kind, dtype, monkeypatch):
    rng = np.random.default_rng(KINDS.index(kind))
    for size in (None, None, None, None, 2000, 1):
        n = int(rng.integers(2, 14 if size != 1 else 5))
        small_blocks(monkeypatch, size)
        points = points_of(rng, kind, n, int(rng.integers(1, 9)), dtype)
        for k in {1, n // 2 or 1, n - 1}:
            found = nearest_others(points, k)
            assert found.dtype == torch.int64
            assert found.tolist() == slow_nearest_others(points, k)


@pytest.mark.parametrize("size", [None, 4000, 40_000])
@pytest.mark.parametrize("k", [1, 8, 60])
def test_nearest_others_where_tiles_hold_many(k, size, monkeypatch):
    # Wide enough for tiles of many columns; half of the points are copies.
    small_blocks(monkeypatch, size)
    rng = np.random.default_rng(k)
    points = points_of(rng, "normal", 700, 3, torch.float32)
    points[350:] = points[:350][torch.as_tensor(rng.permutation(350))]
    d = (points.double()[:, None] - points.double()[None, :]).square().sum(2)
    d.fill_diagonal_(torch.inf)
    assert nearest_others(points, k).equal(d.argsort(dim=1, stable=True)[:, :k])


@pytest.mark.parametrize("kind", KINDS)
def test_nearest_others_under_every_precision_of_products(kind, matmul_precision):
    points = points_of(np.random.default_rng(3), kind, 40, 33, torch.float32)
    assert nearest_others(points, 5).tolist() == slow_nearest_others(points, 5)


@st.composite
def searches(draw):
    """Integer points in some order, and for some of them a slice of places."""
    n, dim = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    values = st.lists(st.integers(-2, 2), min_size=dim, max_size=dim)
    points = draw(st.lists(values, min_size=n, max_size=n))
    order = draw(st.permutations(range(n)))
    rows = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=4))
    ends = [sorted(draw(st.tuples(*[st.integers(0, n)] * 2))) for _ in rows]
    return points, order, rows, *zip(*ends, strict=True)


def prepared(case, dtype):
    """Gallery, queries, slices; and plainly the samples in and outside of each."""
    points, order, rows, start, stop = case
    gallery = Gallery(torch.tensor(points).to(dtype), torch.tensor(order))
    q = gallery.rows(torch.tensor(rows))
    inside = [order[s:e] for s, e in zip(start, stop, strict=True)]
    outside = [order[:s] + order[e:] for s, e in zip(start, stop, strict=True)]
    return gallery, q, torch.tensor(start), torch.tensor(stop), inside, outside


@settings(max_examples=200)
@given(searches(), st.sampled_from(DTYPES), st.integers(1, 4), st.booleans())
def test_nearest_without_a_slice(case, dtype, k, small):
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, 700 if small else None)
        gallery, q, start, stop, _, outside = prepared(case, dtype)
        found = gallery.nearest(q, k, skip=(start, stop))
    x = gallery.embeddings
    assert found.tolist() == [
        slow_choose(x, r, may, k, False)
        for r, may in zip(case[2], outside, strict=True)
    ]


@settings(max_examples=200)
@given(searches(), st.sampled_from(DTYPES), st.booleans())
def test_choose(case, dtype, furthest):
    gallery, q, start, stop, inside, _ = prepared(case, dtype)
    d, error = gallery.members(q, start, stop - start)
    found = gallery.choose(q, start, d, error, furthest)
    x = gallery.embeddings
    assert found.tolist() == [
        slow_choose(x, r, may, 1, furthest)[0]
        for r, may in zip(case[2], inside, strict=True)
    ]


@settings(max_examples=200)
@given(searches(), st.sampled_from(DTYPES), st.integers(0, 8))
def test_beyond(case, dtype, other):
    gallery, q, start, stop, inside, _ = prepared(case, dtype)
    x = gallery.embeddings.double().tolist()
    on_sphere = torch.full((len(q),), other % len(x))
    radius = gallery.exact(q, torch.arange(len(q)), on_sphere)
    d, error = gallery.members(q, start, stop - start)
    found = gallery.beyond(q, radius, start, d, error)
    assert found.shape == d.shape
    for row, r, may in zip(found.tolist(), case[2], inside, strict=True):
        expected = [squared(x[r], x[j]) > squared(x[r], x[other % len(x)]) for j in may]
        assert row == expected + [False] * (len(row) - len(may))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_approximate_distances_keep_to_their_bounds(kind, dtype):
    rng = np.random.default_rng(5)
    for dim in (1, 3, 100):
        gallery = Gallery(points_of(rng, kind, 50, dim, dtype))
        d, error, exact = all_distances(gallery)
        assert d.shape == error.shape == (50, 50)
        assert ((d.double() - exact).abs() <= error.double()).all()
        # And the two bounds that know a distance only, and the query's norm.
        q = gallery.rows(torch.arange(50))
        for j in (0, 7, 49):
            up_to = gallery._error_up_to(d[:, j], q.norms)
            assert ((error <= up_to[:, None]) | (d > d[:, [j]])).all()
            limit = gallery._limit(d[:, j], q.norms)
            nearer = exact <= exact[:, [j]]
            assert (nearer <= (d <= limit[:, None])).all()


def all_distances(gallery):
    n = len(gallery)
    q = gallery.rows(torch.arange(n))
    zero = torch.zeros(n, dtype=torch.int64)
    i, j = torch.cartesian_prod(torch.arange(n), torch.arange(n)).T
    return *gallery.members(q, zero, zero + n), gallery.exact(q, i, j).view(n, n)


@pytest.mark.parametrize("matmul_precision", ["high", "medium"], indirect=True)
def test_the_bound_grows_where_products_are_rounded(matmul_precision):
    gallery = Gallery(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)))
    rounded = all_distances(gallery)[1]
    torch.set_float32_matmul_precision("highest")
    assert (rounded > 100 * all_distances(gallery)[1]).all()


def test_an_outlier_does_not_widen_the_bounds_of_the_others():
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    x[7] = 1e6
    gallery = Gallery(x)
    d, error, _ = all_distances(gallery)
    # The mean lies far out as well, and with it all norms; not their differences.
    others = torch.arange(50) != 7
    assert error[others][:, others].max() < error[7].max() / 100


@pytest.mark.parametrize("block_bytes", [1, 1000, 64 << 20])
def test_exact_is_the_direct_sum_in_float64(block_bytes, monkeypatch):
    monkeypatch.setattr(qsel.neighbors, "PAIR_BYTES", block_bytes)
    # Far away and close together: a product of float32 would see no distance.
    x = 1e4 + 1e-2 * torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    found = all_distances(Gallery(x))[2]
    rows = x.double().tolist()
    for i, j in np.ndindex(30, 30):
        assert math.isclose(found[i, j], squared(rows[i], rows[j]), rel_tol=1e-14)
    assert found.diagonal().eq(0).all()


def test_a_gallery_in_parts_is_that_in_one_piece(monkeypatch):
    x = torch.randn(60, 9, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    start, stop = torch.full((60,), 10), torch.full((60,), 40)
    found = []
    for size, hold in ((None, False), (1500, False), (1500, True)):
        small_blocks(monkeypatch, size)
        gallery = Gallery(x, order, hold)
        q = gallery.rows(torch.arange(60))
        assert len(gallery) == 60 and gallery.device == torch.device("cpu")
        found.append(gallery.nearest(q, 3, skip=(start, stop)))
    assert all(f.equal(found[0]) for f in found)
    assert not torch.isin(found[0], order[10:40]).any()


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_updated_gallery_is_a_new_one(kind, hold, monkeypatch):
    rng = np.random.default_rng(5)
    order = torch.as_tensor(rng.permutation(30))
    for size in (None, 1500):
        small_blocks(monkeypatch, size)
        x = points_of(rng, "normal", 30, 5, torch.float32)
        gallery = Gallery(x.clone(), order, hold)
        for _ in range(3):
            samples = torch.as_tensor(rng.permutation(30)[:7])
            x[samples] = points_of(rng, kind, 7, 5, torch.float32)
            gallery.update(samples, x[samples])
            everyone = torch.arange(30)
            found = gallery.nearest(gallery.rows(everyone), 4)
            new = Gallery(x, order, hold)
            assert found.equal(new.nearest(new.rows(everyone), 4))
            assert gallery.embeddings.equal(x)


def test_points_from_elsewhere_are_compared_like_samples():
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    gallery, some = Gallery(x), torch.tensor([3, 3, 11])
    elsewhere = gallery.queries(x[11:12].double(), torch.tensor([0, 0]))
    assert gallery.nearest(gallery.rows(some), 2)[2:].equal(
        gallery.nearest(elsewhere, 2)[:1]
    )


@settings(max_examples=200)
@given(st.lists(st.integers(1, 12), min_size=1), st.integers(1, 9))
def test_blocks_hold_every_row_once_and_keep_to_their_size(sizes, most):
    ends = np.cumsum(sizes).tolist()
    runs = [(end - size, end, 0, 0) for size, end in zip(sizes, ends, strict=True)]
    blocks = list(qsel.neighbors._blocks(runs, most))
    rows = [row for i, j in blocks for row in range(i, j)]
    assert rows == list(range(ends[-1]))
    assert all(0 < j - i <= most for i, j in blocks)
    for begin, end, *_ in runs:  # a large run shares no block
        if end - begin >= most / 2:
            inside = [b for b in blocks if b[0] < end and b[1] > begin]
            assert all(begin <= i and j <= end for i, j in inside)


def test_copies_of_a_sample_are_its_neighbours_and_the_sample_is_not():
    # A matrix product may put copies apart, and even a sample from itself.
    x = 100 * torch.randn(1, 512, generator=torch.Generator().manual_seed(2))
    found = nearest_others(x.repeat(6, 1), 5)
    assert found.tolist() == [[j for j in range(6) if j != i] for i in range(6)]


def test_gradients_are_not_kept():
    x = torch.randn(5, 2, requires_grad=True)
    assert not all_distances(Gallery(x))[0].requires_grad


@pytest.mark.parametrize("k", [0, -1, 4, 100])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match=f"k={k} neighbours of 4 samples; .* 1 to 3"):
        nearest_others(torch.randn(4, 2), k)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([[0.0]], "list; expected a torch tensor"),
        (torch.zeros(3), r"\(3,\); expected floating point of shape \(N, D\)"),
        (torch.zeros(0, 2), r"\(0, 2\).*at least 1"),
        (torch.zeros(2, 0), r"\(2, 0\).*at least 1"),
        (torch.zeros(2, 2).long(), "int64.*floating point"),
        (torch.tensor([[0.0], [torch.nan], [torch.inf]]), "2 of 3 .*first in row 1"),
    ],
)
def test_embeddings_that_cannot_be_compared(bad, words):
    for refuse in (Gallery, lambda x: nearest_others(x, 1)):
        with pytest.raises(ValueError, match=words):
            refuse(bad)


def test_the_newer_settings_of_torch_for_rounded_products():
    # torch refuses its older question about precision once the newer is set.
    points = points_of(np.random.default_rng(3), "normal", 40, 33, torch.float32)
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    narrow = all_distances(Gallery(points))[1]
    try:
        matmul.fp32_precision = "bf16"
        assert (all_distances(Gallery(points))[1] > narrow).all()
        assert nearest_others(points, 5).tolist() == slow_nearest_others(points, 5)
    finally:
        matmul.fp32_precision = before
