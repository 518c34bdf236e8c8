"""Exact neighbours in blocks against float64 brute force, ties included."""

import math

import numpy as np
import pytest
import torch
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


def slow_choose(points, row, candidates, allowed, k, furthest):
    """The k best allowed candidates, then -1."""
    x = points.double().tolist()
    sign = -1 if furthest else 1
    kept = [j for j, a in zip(candidates, allowed, strict=True) if a]
    kept.sort(key=lambda j: (sign * squared(x[row], x[j]), j))
    return (kept + [-1] * k)[:k]


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
    for case in range(6):
        n = int(rng.integers(2, 14))
        monkeypatch.setattr(
            qsel.neighbors, "BLOCK_BYTES", [1, 100, 400, 64 << 20][case % 4]
        )
        points = points_of(rng, kind, n, int(rng.integers(1, 9)), dtype)
        for k in {1, n // 2 or 1, n - 1}:
            found = nearest_others(points, k)
            assert found.dtype == torch.int64
            assert found.tolist() == slow_nearest_others(points, k)


@pytest.mark.parametrize("kind", KINDS)
def test_nearest_others_under_every_precision_of_products(kind, matmul_precision):
    points = points_of(np.random.default_rng(3), kind, 40, 33, torch.float32)
    assert nearest_others(points, 5).tolist() == slow_nearest_others(points, 5)


@st.composite
def choices(draw):
    """Integer points, candidates in any order, some of them not allowed."""
    n, dim = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    values = st.lists(st.integers(-2, 2), min_size=dim, max_size=dim)
    points = draw(st.lists(values, min_size=n, max_size=n))
    m, b = draw(st.integers(1, n)), draw(st.integers(1, 4))
    rows = draw(st.lists(st.integers(0, n - 1), min_size=b, max_size=b))
    candidates = [draw(st.permutations(range(n)))[:m] for _ in rows]
    allowed = [draw(st.lists(st.booleans(), min_size=m, max_size=m)) for _ in rows]
    return points, rows, candidates, allowed, draw(st.integers(1, m))


@settings(max_examples=200)
@given(choices(), st.sampled_from(DTYPES), st.booleans())
def test_choose(case, dtype, furthest):
    points, rows, candidates, allowed, k = case
    gallery = Gallery(torch.tensor(points).to(dtype))
    r, columns = torch.tensor(rows), torch.tensor(candidates)
    d, bound = gallery.approximate(r)
    found = gallery.choose(
        r, columns, d.gather(1, columns), bound, torch.tensor(allowed), k, furthest
    )
    assert found.tolist() == [
        slow_choose(gallery.embeddings, *row, k, furthest)
        for row in zip(rows, candidates, allowed, strict=True)
    ]


@settings(max_examples=200)
@given(choices(), st.sampled_from(DTYPES), st.integers(0, 8))
def test_beyond(case, dtype, other):
    points, rows, candidates, allowed, _ = case
    gallery = Gallery(torch.tensor(points).to(dtype))
    x = gallery.embeddings.double().tolist()
    r, columns = torch.tensor(rows), torch.tensor(candidates)
    on_sphere = torch.full_like(r, other % len(points))
    d, bound = gallery.approximate(r)
    found = gallery.beyond(
        r,
        gallery.exact(r, on_sphere),
        columns,
        d.gather(1, columns),
        bound,
        torch.tensor(allowed),
    )
    assert found.tolist() == [
        [
            a and squared(x[i], x[j]) > squared(x[i], x[other % len(x)])
            for j, a in zip(row, may, strict=True)
        ]
        for i, row, may in zip(rows, candidates, allowed, strict=True)
    ]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_approximate_distances_keep_to_their_bound(kind, dtype):
    rng = np.random.default_rng(5)
    for dim in (1, 3, 100):
        gallery = Gallery(points_of(rng, kind, 50, dim, dtype))
        rows = torch.arange(50)
        d, bound = gallery.approximate(rows)
        assert d.shape == (50, 50) and bound.shape == (50, 1)
        i, j = torch.cartesian_prod(rows, rows).T
        exact = gallery.exact(i, j).view(50, 50)
        assert ((d.double() - exact).abs() <= bound.double()).all()


@pytest.mark.parametrize("matmul_precision", ["high", "medium"], indirect=True)
def test_the_bound_grows_where_products_are_rounded(matmul_precision):
    x = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(20)
    rounded = Gallery(x).approximate(rows)[1]
    torch.set_float32_matmul_precision("highest")
    assert (rounded > 100 * Gallery(x).approximate(rows)[1]).all()


@pytest.mark.parametrize("block_bytes", [1, 1000, 64 << 20])
def test_exact_is_the_direct_sum_in_float64(block_bytes, monkeypatch):
    monkeypatch.setattr(qsel.neighbors, "PAIR_BYTES", block_bytes)
    # Far away and close together: a product of float32 would see no distance.
    x = 1e4 + 1e-2 * torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    i, j = torch.cartesian_prod(torch.arange(30), torch.arange(30)).T
    found = Gallery(x).exact(i, j)
    rows = x.double().tolist()
    for a, b, d in zip(i.tolist(), j.tolist(), found.tolist(), strict=True):
        assert math.isclose(d, squared(rows[a], rows[b]), rel_tol=1e-14)
    assert found.view(30, 30).diagonal().eq(0).all()


def test_blocks_hold_every_row_once_and_keep_to_their_size(monkeypatch):
    gallery = Gallery(torch.randn(10, 3))
    monkeypatch.setattr(qsel.neighbors, "BLOCK_BYTES", 3 * 10 * 4)
    parts = list(gallery.blocks(torch.arange(10)))
    assert [len(p) for p in parts] == [3, 3, 3, 1]
    assert torch.cat(parts).equal(torch.arange(10))
    assert len(gallery) == 10 and gallery.device == torch.device("cpu")


def test_copies_of_a_sample_are_its_neighbours_and_the_sample_is_not():
    # A matrix product may put copies apart, and even a sample from itself.
    x = 100 * torch.randn(1, 512, generator=torch.Generator().manual_seed(2))
    found = nearest_others(x.repeat(6, 1), 5)
    assert found.tolist() == [[j for j in range(6) if j != i] for i in range(6)]


def test_gradients_are_not_kept():
    x = torch.randn(5, 2, requires_grad=True)
    assert not Gallery(x).approximate(torch.arange(5))[0].requires_grad


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
    rows = torch.arange(40)
    narrow = Gallery(points).approximate(rows)[1]
    try:
        matmul.fp32_precision = "bf16"
        assert (Gallery(points).approximate(rows)[1] > narrow).all()
        assert nearest_others(points, 5).tolist() == slow_nearest_others(points, 5)
    finally:
        matmul.fp32_precision = before
